"""start, stop, kill and restart: the engine by systemd, the host by a true reboot."""

from __future__ import annotations

import time

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAMES = ("pow1", "pow2")
IDENTITY = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat"


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(make_host, controller, busybox, lab):
    made = [
        make_host(name, suite, engine=True) for name, suite in zip(NAMES, ("bookworm", "trixie"), strict=True)
    ]
    for host in made:
        controller.create(host)
        controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
    yield made
    lab.down(list(NAMES))


def states(controller):
    lines = controller.run("ls", "-f", "{{.Name}} {{.State}}").stdout.splitlines()
    return dict(line.split() for line in lines)


def uptime(controller, host, name):
    return controller.docker(host.name, "inspect", "-f", "{{.State.StartedAt}}", name)


def test_stop_and_start_leave_containers_alone(hosts, controller):
    for host in hosts:
        controller.docker(host.name, "run", "-d", "--name", "on", "busybox", "sleep", "infinity")
    began = [uptime(controller, host, "on") for host in hosts]
    said = controller.run("stop", *NAMES)
    assert said.stdout.splitlines() == [f'Machine "{name}" was stopped.' for name in NAMES]
    assert "1 container goes on running" in said.stderr
    assert states(controller) == dict.fromkeys(NAMES, "Stopped")
    assert controller.run("status", "pow1").stdout.strip() == "Stopped"
    for host in hosts:
        # a client on the host opens the socket: it must not start the engine
        host.run("docker ps", check=False)
        assert (
            host.run("systemctl is-active docker.service docker.socket", check=False).stdout.split()
            == ["inactive"] * 2
        )
        assert host.run("pidof sleep", check=False).returncode == 0
    assert "is already stopped" in controller.run("stop", "pow1").stdout
    said = controller.run("start", *NAMES)
    assert said.stdout.splitlines() == [f'Machine "{name}" was started.' for name in NAMES]
    assert states(controller) == dict.fromkeys(NAMES, "Running")
    assert [uptime(controller, host, "on") for host in hosts] == began
    assert "is already running" in controller.run("start", "pow1").stdout


def test_a_stopped_engine_stays_stopped_until_start(hosts, controller, lab):
    host = hosts[0]
    controller.run("stop", host.name)
    said = controller.run("provision", "--engine-label", "rack=r1", host.name).stderr
    assert "the engine stays stopped, as wished by " in said
    assert states(controller)[host.name] == "Stopped"
    lab.reboot(host.name)
    host.run("systemctl is-system-running --wait", check=False)
    assert host.run("systemctl is-active docker.service", check=False).stdout.strip() == "inactive"
    controller.run("start", host.name)
    # what was provisioned meanwhile is in force
    assert controller.docker(host.name, "info", "-f", "{{.Labels}}") == "[rack=r1]"
    assert host.run("systemctl is-enabled docker.service docker.socket").stdout.split() == ["enabled"] * 2
    assert "everything is as it should be" in controller.run("provision", host.name).stderr


def test_who_starts_it_on_the_host_wins(hosts, controller):
    host = hosts[1]
    controller.run("stop", host.name)
    host.run("systemctl start docker")
    said = controller.run("provision", host.name).stderr
    assert "forget that the engine was stopped" in said
    assert states(controller)[host.name] == "Running"
    assert "everything is as it should be" in controller.run("provision", host.name).stderr


def test_kill_ends_an_engine_that_hangs(hosts, controller):
    host = hosts[1]
    controller.docker(host.name, "rm", "-f", "on")
    controller.docker(
        host.name, "run", "-d", "--name", "held", "--restart", "always", "busybox", "sleep", "infinity"
    )
    host.run("kill -STOP $(pidof dockerd)")
    began = time.monotonic()
    said = controller.run("kill", "--containers", host.name)
    assert time.monotonic() - began < 60
    assert said.stdout.strip() == f'Machine "{host.name}" was killed.'
    assert "1 container ended" in said.stderr
    assert host.run("pidof dockerd sleep", check=False).stdout.strip() == ""
    assert states(controller)[host.name] == "Stopped"
    assert host.run("systemctl is-failed docker", check=False).stdout.strip() == "inactive"
    controller.run("start", host.name)
    until(lambda: "held Up" in controller.docker(host.name, "ps", "--format", "{{.Names}} {{.Status}}"))


def test_restart_reboots_several_hosts(hosts, controller):
    controller.run("stop", "pow2")
    for name in NAMES[:1]:
        controller.docker(name, "rm", "-f", "on")
        controller.docker(
            name, "run", "-d", "--name", "held", "--restart", "always", "busybox", "sleep", "infinity"
        )
    before = [host.run(IDENTITY).stdout for host in hosts]
    said = controller.run("restart", *NAMES)
    assert [line.split(" (")[0] for line in said.stdout.splitlines()] == [
        f'Machine "{name}" was restarted' for name in NAMES
    ]
    # it has returned: nothing is left to wait for but the containers
    assert states(controller) == dict.fromkeys(NAMES, "Running")
    assert all(host.run(IDENTITY).stdout != one for host, one in zip(hosts, before, strict=True))
    for name in NAMES:
        until(
            lambda name=name: "held Up" in controller.docker(name, "ps", "--format", "{{.Names}} {{.Status}}")
        )


def test_of_several_the_one_that_fails_is_named(hosts, controller, lab):
    lab.power_cut("pow2")
    for command in ("stop", "start", "restart"):
        done = controller.run(command, *NAMES, check=False)
        assert done.returncode == 3, done.stderr
        assert 'Machine "pow1" was' in done.stdout
        assert "1 of 2 machines failed" in done.stderr
        assert "pow2: " in done.stderr
    lab.start("pow2")
    unknown = controller.run("stop", "pow1", "nosuch", check=False)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert states(controller)["pow1"] == "Running"
