"""Which containers are started when etcd is back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from machinectl_agent.network.plugin import AWAY
from machinectl_agent.network.revive import is_down_for_us

DOWN: dict[str, Any] = {
    "Name": "/db",
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    "State": {
        "Status": "exited",
        "Running": False,
        "ExitCode": 128,
        "Error": f"failed to create endpoint db on network demo: IpamDriver.RequestAddress: {AWAY}: no leader",
        "StartedAt": "2026-01-01T08:00:00.5Z",
    },
}


def test_one_that_etcd_kept_down():
    assert is_down_for_us(DOWN)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("HostConfig", "RestartPolicy", {"Name": "no"}),
        ("HostConfig", "RestartPolicy", {"Name": ""}),  # as 20.10 says it
        ("HostConfig", "RestartPolicy", None),
        ("State", "Error", ""),
        ("State", "Error", "driver failed programming external connectivity: port is already allocated"),
        ("State", "Running", True),
        ("State", "StartedAt", "0001-01-01T00:00:00Z"),  # whoever ran it was told that it failed
    ],
)
def test_no_other(part, key, value):
    found = copy.deepcopy(DOWN)
    found[part][key] = value
    assert not is_down_for_us(found)


def test_what_says_nothing():
    assert not is_down_for_us({})
