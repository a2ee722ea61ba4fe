"""The README's first session, as `make demo` runs it, in a lab of its own; and that the README shows that one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from machinectl.lab.lab import Lab
from machinectl.lab.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(controller, lab, tmp_path):
    """`session(SCRIPT)` → the ended process, in a lab of its own."""
    number = int(lab.settings.bridge.removeprefix("mctest"))
    state = lab.settings.state.with_name(f"{number}-demo")
    settings = Settings(state, bridge=f"mcdemo{number}", subnet=f"198.19.{64 + number}.0/24")
    env = {
        **controller.env,
        "MACHINECTL_LAB_DIR": str(settings.state),
        "MACHINECTL_LAB_BRIDGE": settings.bridge,
        "MACHINECTL_LAB_SUBNET": settings.subnet,
        "NODE1": str(settings.network[11]),
        "NODE2": str(settings.network[12]),
        "TMPDIR": str(tmp_path),
    }
    Lab(settings).down()  # what a killed run left

    def run(script):
        done = subprocess.run(
            [ROOT / "docs" / script], env=env, capture_output=True, text=True, timeout=1000, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    yield run
    Lab(settings).down()


@pytest.mark.lab
@pytest.mark.timeout(1200)
def test_the_first_session_ends_with_containers_on_both_machines(session):
    done = session("first-session.sh")
    assert "\nhello\n" in done.stdout
    assert re.search(r"busybox +.*Up .* one\n", done.stdout)
    assert re.search(r"busybox +.*Up .* two\n", done.stdout)
    assert done.stderr.count("is ready at tcp://") == 3
    assert "everything is as it should be" in done.stderr


@pytest.mark.lab
@pytest.mark.timeout(1200)
def test_the_session_with_an_inventory_goes_there_and_back(session):
    done = session("inventory-session.sh")
    assert "node1 (new)" in done.stdout
    assert '+        "http://mirror.lab:5001"' in done.stdout
    assert "2 machines: 8 to change, 0 to restart the engine, " in done.stdout
    assert "2 machines: 0 to change, 0 to restart the engine, " in done.stdout
    assert done.stdout.rstrip().endswith("[http://mirror.lab:5000/]")


def commands_of(script):
    """What a session shows, with the values that its page has."""
    text = (ROOT / "docs" / script).read_text()
    return (
        text.replace("$node1", "198.18.0.11")
        .replace("$node2", "198.18.0.12")
        .replace("$lab", "/var/lib/machinectl-lab")
        .replace('\\"', '"')
    )


def shown_in(page, name):
    """The commands of a page's session."""
    text = (ROOT / page).read_text()
    shown = re.search(rf"<!-- {name} -->(.*)<!-- /{name} -->", text, re.DOTALL)
    assert shown
    return [line.removeprefix("$ ") for line in shown[1].splitlines() if line.startswith("$ ")]


def test_pages_show_the_sessions_commands():
    for page, name in (("README.md", "first-session"), ("docs/apply.md", "inventory-session")):
        commands = shown_in(page, name)
        assert len(commands) >= 8
        script = commands_of(f"{name}.sh")
        assert [one for one in commands if one not in script] == []
