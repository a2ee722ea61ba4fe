"""The README's first session, as `make demo` runs it, in a lab of its own; and that the README shows that one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from machinectl.lab.lab import Lab
from machinectl.lab.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_the_first_session_ends_with_containers_on_both_machines(controller, lab, tmp_path):
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
    try:
        done = subprocess.run(
            [ROOT / "docs/first-session.sh"],
            env=env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    finally:
        Lab(settings).down()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nhello\n" in done.stdout
    assert re.search(r"busybox +.*Up .* one\n", done.stdout)
    assert re.search(r"busybox +.*Up .* two\n", done.stdout)
    assert done.stderr.count("is ready at tcp://") == 3
    assert "everything is as it should be" in done.stderr


def test_the_readme_shows_the_sessions_commands():
    script = (ROOT / "docs/first-session.sh").read_text()
    shown = re.search(
        r"<!-- first-session -->(.*)<!-- /first-session -->", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert shown
    commands = [line.removeprefix("$ ") for line in shown[1].splitlines() if line.startswith("$ ")]
    assert len(commands) >= 8
    script = (
        script.replace("$node1", "198.18.0.11")
        .replace("$node2", "198.18.0.12")
        .replace("$lab", "/var/lib/machinectl-lab")
    )
    assert all(command in script for command in commands)
