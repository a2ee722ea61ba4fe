"""kill -9 after every single step of create: whatever is half done then, the next create finishes it.

The engine's package stays on the host between the rounds, so that a round takes seconds; the installation
that is cut off is in test_create_faults.py, and here where the agent is what dies.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

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
    """SIGKILL to a create as soon as it says that the step is done; after one of the last it may have ended before."""
    run = start(controller, host)
    seen, done = [], False
    for line in run.stderr:
        seen.append(line)
        done = line.startswith(f"{host.name}: {step} (")
        if done:
            break
    run.send_signal(signal.SIGKILL)
    rest = run.communicate()[1]
    assert run.returncode == -signal.SIGKILL or (not run.returncode and done), f"{step}: {seen} {rest}"


def answers_over_tls(controller, host):
    return controller.docker(host.name, "info", "-f", "{{.Name}}") == host.name


@pytest.fixture(scope="module")
def hosts(make_host, lab):
    """Two that are bare at first, for half of the steps each."""
    made = [make_host(f"killsteps{number}", "bookworm") for number in (1, 2)]
    yield made
    lab.down([host.name for host in made])


def test_a_killed_agent_is_one_clear_error_and_the_next_create_succeeds(hosts, new_controller):
    """In the middle of the installation: dpkg is left behind on the host."""
    host, controller = hosts[0], new_controller()
    run = start(controller, host)
    end = time.monotonic() + 600
    while host.run("pidof dpkg", check=False).returncode != 0:
        assert time.monotonic() < end and run.poll() is None, run.communicate()
    host.run("pkill -9 -f 'machinectl/agent/.* [a]pply'")
    began = time.monotonic()
    said = run.communicate(timeout=60)[1]
    assert time.monotonic() - began < 15
    assert run.returncode == 1
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        f"error: {host.name}: the agent ended without an answer"
    ]
    assert "  why: " in said and "  try: " in said
    assert "Traceback" not in said
    assert "is ready at tcp://" in controller.create(host).stderr
    assert answers_over_tls(controller, host)
    assert READY in controller.create(host).stderr


def test_a_create_killed_after_any_step_is_finished_by_the_next(hosts, new_controller):
    def undisturbed(host):
        if host.run("command -v dockerd", check=False).returncode != 0:
            new_controller().create(host)
        host.run(UNDO, check=False)
        return steps_of(new_controller().create(host).stderr, host.name)

    def disturbed(host, steps):
        finished = {}
        for step in steps:
            host.run(UNDO, check=False)
            controller = new_controller()
            kill_after(controller, host, step)
            again = controller.create(host).stderr
            assert "is ready at tcp://" in again, f"after {step}: {again}"
            finished[step] = steps_of(again, host.name)
            assert answers_over_tls(controller, host), step
            third = controller.create(host).stderr
            assert READY in third, f"after {step}: {third}"
        return finished

    with ThreadPoolExecutor(2) as pool:
        steps, same = pool.map(undisturbed, hosts)
        assert steps == same
        assert len(steps) >= 10
        halves = list(pool.map(disturbed, hosts, (steps[::2], steps[1::2])))
    finished = {**halves[0], **halves[1]}
    assert set(finished) == set(steps)
    # the agent goes on until it notices: but some were cut off in the middle, and the last one was not
    assert any(0 < len(left) < len(steps) for left in finished.values()), finished
    assert not finished[steps[-1]]
