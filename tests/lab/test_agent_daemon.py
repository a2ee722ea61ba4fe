"""The agent's daemon on a real host: it comes back, brings dockerd back, and leaves alone what an admin stops."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

import machinectl_agent.wire
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

UNIT = "machinectl-agent.service"
AGENT = Path(machinectl_agent.wire.__file__).parent


@pytest.fixture(scope="module")
def machine(make_host, controller):
    host = make_host("agent1", engine=True)
    controller.create(host)
    return host


@pytest.fixture
def status(machine, controller):
    """`status()` → what `machinectl agent status` says about the machine, as JSON."""
    return lambda: json.loads(controller.run("agent", "status", "--output", "json", machine.name).stdout)[0]


def show(host, unit, name):
    return host.run(f"systemctl show --value -p {name} {unit}").stdout.strip()


def reaches(status, state, deadline=30.0):
    return until(lambda: (now := status())["engine"]["state"] == state and now, deadline)


def test_it_runs_at_every_boot_and_only_root_reaches_it(machine):
    assert machine.run(f"systemctl is-enabled {UNIT}").stdout.strip() == "enabled"
    assert show(machine, UNIT, "ActiveState") == "active"
    modes = machine.run("stat -c %a:%u /run/machinectl /run/machinectl/agent.sock").stdout.split()
    assert modes == ["700:0", "600:0"]
    assert "python" not in machine.run("ss -Hlntup").stdout


def test_status_over_ssh(machine, controller, status):
    now = reaches(status, "running")
    assert now["current"] is True
    assert str(now["agent"]["pid"]) == show(machine, UNIT, "MainPID")
    assert now["agent"]["memory"] < 25e6
    assert now["engine"]["version"].startswith("20.10.")
    assert until(lambda: status()["engine"]["latency"]) < 5000
    print(f"resident memory of the daemon: {now['agent']['memory'] / 1e6:.1f} MB")
    line = controller.run("agent", "status", machine.name).stdout.splitlines()[1]
    assert line.startswith(f"{machine.name} ") and " running " in line
    assert "serves /run/machinectl/agent.sock" in controller.run("agent", "logs", machine.name).stdout


def test_a_killed_agent_is_back(machine, status):
    before = status()["agent"]["pid"]
    machine.run(f"kill -9 {before}")
    until(lambda: show(machine, UNIT, "MainPID") not in ("0", str(before)))
    until(lambda: show(machine, UNIT, "ActiveState") == "active")
    assert status()["agent"]["pid"] != before


def test_an_agent_that_hangs_is_noticed_and_provision_restarts_it(machine, controller, status):
    before = status()["agent"]["pid"]
    machine.run(f"kill -STOP {before}")
    said = controller.run("provision", machine.name).stderr
    assert f"+ start {UNIT}" in said
    assert status()["agent"]["pid"] != before
    assert "everything is as it should be" in controller.run("provision", machine.name).stderr


def test_nothing_to_do_is_said_by_the_daemon(machine, controller, status):
    """Without an agent of its own, which can't even start here; where there is something to do, that is wanted."""
    session = (
        machine.run("realpath /opt/machinectl/agent/current").stdout.strip() + "/machinectl_agent/session.py"
    )
    words = ("--engine-label", "a=b", machine.name)
    machine.run(f"mv {session} {session}.away")
    try:
        assert "everything is as it should be" in controller.run("provision", machine.name).stderr
        assert (
            controller.run("provision", "--dry-run", machine.name).stdout
            == f"{machine.name}: everything is as it should be\n"
        )
        assert "a=b" in controller.run("provision", "--dry-run", *words).stdout
        refused = controller.run("provision", *words, check=False)
        assert "No module named 'machinectl_agent.session'" in refused.stderr
    finally:
        machine.run(f"mv {session}.away {session}")
    assert "reload docker.service (labels)" in controller.run("provision", *words).stderr
    assert status()["agent"]["memory"] < 40e6


def test_a_killed_dockerd_is_back_and_counted(machine, status):
    before = reaches(status, "running")["engine"]
    machine.run(f"kill -9 {before['pid']}")
    now = until(lambda: (seen := status()["engine"])["restarts"] > before["restarts"] and seen)
    assert now["pid"] != before["pid"]


def test_a_dockerd_that_systemd_has_given_up_is_started_again(machine, status):
    began = reaches(status, "running")["engine"]["interventions"]
    # as a crash loop would: the start limit of Debian's unit is 3 in 60 s, which may begin anew in the middle
    machine.run(
        "for i in $(seq 12); do systemctl is-failed -q docker && break; "
        "systemctl kill -s KILL docker; sleep 0.5; systemctl start docker; done",
        check=False,
        deadline=300,
    )
    until(lambda: status()["engine"]["interventions"] > began, 120)
    now = reaches(status, "running", 120)
    assert any("starting docker.service" in event["text"] for event in now["events"])


def test_a_stopped_dockerd_is_left_alone(machine, status):
    reaches(status, "running")
    began = status()["engine"]["interventions"]
    machine.run("systemctl stop docker.service")
    reaches(status, "stopped")
    time.sleep(12)  # more than two rounds; whoever connects to docker.sock would start it
    assert show(machine, "docker.service", "ActiveState") == "inactive"
    assert status()["engine"]["interventions"] == began
    machine.run("systemctl start docker.service")
    reaches(status, "running")


def test_a_stopped_agent_is_explained_and_upgrade_starts_it(machine, controller):
    machine.run(f"systemctl stop {UNIT}")
    done = controller.run("agent", "status", machine.name, check=False)
    assert done.returncode == 1
    assert "the agent's daemon does not run on this host" in done.stderr
    assert f"`machinectl agent upgrade {machine.name}`" in done.stderr
    assert "no agent → " in controller.run("agent", "upgrade", machine.name).stdout
    assert "already" in controller.run("agent", "upgrade", machine.name).stdout


def test_upgrade_replaces_the_agent_and_nothing_else(machine, controller, status, tmp_path):
    shutil.copytree(AGENT, tmp_path / "agent" / "machinectl_agent")
    if not (AGENT / "templates").is_dir():
        shutil.copytree(AGENT.parents[1] / "templates", tmp_path / "templates")
    version = tmp_path / "agent" / "machinectl_agent" / "version.py"
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "9.'))
    newer = {"PYTHONPATH": str(tmp_path / "agent")}
    before = reaches(status, "running")

    said = controller.run("agent", "upgrade", machine.name, **newer).stdout
    after = reaches(status, "running")
    assert after["agent"]["version"].startswith("9.")
    assert f"{before['agent']['bundle'][:12]} → {after['agent']['bundle'][:12]}" in said
    assert after["current"] is False
    assert after["engine"]["pid"] == before["engine"]["pid"]
    assert "(not ours)" in controller.run("agent", "status", machine.name).stdout

    said = controller.run("provision", machine.name).stderr
    assert f"! restart {UNIT} (it runs from {after['agent']['bundle'][:12]})" in said
    again = reaches(status, "running")
    assert again["current"] is True
    assert again["engine"]["pid"] == before["engine"]["pid"]


def test_another_wire_version_is_explained_and_upgraded(machine, controller, status, tmp_path):
    shutil.copytree(AGENT, tmp_path / "agent" / "machinectl_agent")
    if not (AGENT / "templates").is_dir():
        shutil.copytree(AGENT.parents[1] / "templates", tmp_path / "templates")
    wire = tmp_path / "agent" / "machinectl_agent" / "wire.py"
    wire.write_text(wire.read_text().replace("\nWIRE = 1\n", "\nWIRE = 2\n"))
    later = {"PYTHONPATH": str(tmp_path / "agent")}
    done = controller.run("agent", "status", machine.name, check=False, **later)
    assert done.returncode == 1
    assert "the agent on this host is of another version" in done.stderr
    assert "wire version 1, this controller 2" in done.stderr
    controller.run("agent", "upgrade", machine.name, **later)
    assert controller.run("agent", "status", machine.name, **later).stdout
    assert (
        "wire version 2, this controller 1"
        in controller.run("agent", "status", machine.name, check=False).stderr
    )
    controller.run("agent", "upgrade", machine.name)
    assert reaches(status, "running")["current"] is True


def test_one_machine_that_fails_hides_no_other(machine, controller):
    ghost = controller.store / "machines" / "ghost"
    shutil.copytree(controller.store / "machines" / machine.name, ghost)
    document = json.loads((ghost / "config.json").read_text())
    document.update(name="ghost", ip="127.0.0.1", ssh={**document["ssh"], "host": "127.0.0.1", "port": 1})
    (ghost / "config.json").write_text(json.dumps(document))
    try:
        done = controller.run("agent", "status", "ghost", machine.name, check=False)
        assert done.returncode == 3
        ghosts, ours = done.stdout.splitlines()[1:]
        assert ghosts.startswith("ghost ") and ghosts.endswith("unreachable")
        assert " running " in ours
        assert "1 of 2 machines failed" in done.stderr and "ghost: " in done.stderr
    finally:
        shutil.rmtree(ghost)
