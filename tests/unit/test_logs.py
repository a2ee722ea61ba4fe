"""What `logs` asks journalctl for."""

from __future__ import annotations

import pytest

from machinectl.actions.logs import UNITS, parse_since, render_journalctl
from machinectl.cli.logs import WHAT


def test_the_command():
    assert tuple(UNITS) == WHAT
    told = render_journalctl("docker.service", lines="7", since="", follow=True)
    assert told == "exec journalctl -q -o short-iso --no-pager -n 7 -u docker.service -f"
    told = render_journalctl("", lines="all", since="yesterday; reboot", follow=False)
    assert told == "exec journalctl -q -o short-iso --no-pager -n all '--since=yesterday; reboot'"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("10m", "-10m"),
        ("2h30m", "-2h30m"),
        ("1d", "-1d"),
        ("2026-01-31T10:00:00Z", "@1769853600"),
        ("2026-01-31T10:00:00.5+01:00", "@1769850000"),
        ("2026-01-31T25:00", "2026-01-31T25:00"),
        ("2026-01-31 10:00", "2026-01-31 10:00"),
        ("yesterday", "yesterday"),
        ("-1h", "-1h"),
    ],
)
def test_since(given, told):
    assert parse_since(given) == told
