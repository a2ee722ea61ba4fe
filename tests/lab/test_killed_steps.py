"""kill -9 after every single step of create: whatever is half done then, the next create finishes it.

The engine's package stays on the host between the rounds, so that a round takes seconds; the installation
that is cut off is in test_create_faults.py, and here where the agent is what dies.
"""

from __future__ import annotations

import signal
import time

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

READY = "everything is as it should be"
UNITS = "docker.socket docker machinectl-agent machinectl-containers"
UNDO = f"""
systemctl disable -q --now machinectl-agent machinectl-containers
systemctl stop {UNITS}
rm -rf /etc/docker /etc/systemd/system/docker.service.d /etc/systemd/system/machinectl-*.service \
    /var/lib/machinectl /run/machinectl /etc/modules-load.d/machinectl.conf /etc/sysctl.d/99-machinectl.conf
systemctl daemon-reload
systemctl reset-failed
systemctl start docker
"""
"""All that create has done but the package, which is left as its installation leaves it: running."""


def steps_of(said, name):
    """The lines of the steps that were done, as the controller says them, without how long each took."""
    lines = [line.removeprefix(f"{name}: ") for line in said.splitlines()]
    return [line.rpartition(" (")[0] for line in lines if line[:2] in ("+ ", "~ ", "- ", "! ")]


def start(controller, host):
    return controller.start("create", "--ip", host.ip, "--ssh-key", host.key, host.name)


def kill_after(controller, host, step):
    """SIGKILL to a create as soon as it says that the step is done."""
    run = start(controller, host)
    seen = []
    for line in run.stderr:
        seen.append(line)
        if line.startswith(f"{host.name}: {step} ("):
            break
    run.send_signal(signal.SIGKILL)
    rest = run.communicate()[1]
    assert run.returncode == -signal.SIGKILL, f"{step}: {seen} {rest}"


def answers_over_tls(controller, host):
    return controller.docker(host.name, "info", "-f", "{{.Name}}") == host.name


@pytest.fixture(scope="module")
def installed(make_host, new_controller, lab):
    """A bookworm host with the engine's package, the first create on which lost its agent to kill -9."""
    host = make_host("killsteps", "bookworm")
    controller = new_controller()
    run = start(controller, host)
    end = time.monotonic() + 100
    while host.run("pidof dpkg", check=False).returncode != 0:
        assert time.monotonic() < end and run.poll() is None, run.communicate()
    host.run("pkill -9 -f 'machinectl/agent/.* [a]pply'")
    began = time.monotonic()
    said = run.communicate(timeout=60)[1]
    outcome = run.returncode, said, time.monotonic() - began
    yield host, controller, outcome
    lab.down([host.name])


def test_a_killed_agent_is_one_clear_error_and_the_next_create_succeeds(installed):
    """In the middle of the installation: dpkg is left behind on the host."""
    host, controller, (status, said, seconds) = installed
    assert status == 1
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        "error: killsteps: the agent ended without an answer"
    ]
    assert "  why: " in said and "  try: " in said
    assert "Traceback" not in said
    assert seconds < 15
    assert "is ready at tcp://" in controller.create(host).stderr
    assert answers_over_tls(controller, host)
    assert READY in controller.create(host).stderr


def test_a_create_killed_after_any_step_is_finished_by_the_next(installed, new_controller):
    host, _, _ = installed
    host.run(UNDO, check=False)
    undisturbed = steps_of(new_controller().create(host).stderr, host.name)
    assert len(undisturbed) >= 10
    finished = {}
    for step in undisturbed:
        host.run(UNDO, check=False)
        controller = new_controller()
        kill_after(controller, host, step)
        again = controller.create(host)
        assert "is ready at tcp://" in again.stderr, f"after {step}: {again.stderr}"
        finished[step] = steps_of(again.stderr, host.name)
        assert answers_over_tls(controller, host), step
        third = controller.create(host).stderr
        assert READY in third, f"after {step}: {third}"
    # the agent goes on until it notices: but the first ones were cut off in the middle, the last one was not
    assert any(0 < len(left) < len(undisturbed) for left in finished.values()), finished
    assert not finished[undisturbed[-1]]
