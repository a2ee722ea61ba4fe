"""Twenty machines from one inventory: from bare to ready, nothing to do, one line changed on all, and three that fail."""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest

from machinectl.lab.lab import HostWish
from tests.lab.inventories import Repository

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

COUNT = 20
FILL = """cp -a /etc/docker /root/docker
mount -t tmpfs -o size=64k tmpfs /etc/docker
cp -a /root/docker/. /etc/docker/
dd if=/dev/zero of=/etc/docker/fill 2>/dev/null || true
"""


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(lab):
    return lab.up([HostWish(f"f{number:02}", "bookworm") for number in range(1, COUNT + 1)])


@pytest.fixture(scope="module")
def repository(tmp_path_factory, hosts):
    repository = Repository(tmp_path_factory.mktemp("fleet") / "inventory")
    repository.hosts(hosts)
    repository.write("group_vars/all.yml", "machinectl:\n  registry-mirrors: [http://127.0.0.1:5000]\n")
    return repository


@pytest.fixture(scope="module")
def run(controller, repository):
    def run(command, *words, **more):
        return controller.run(command, "-i", repository.folder, *words, **more)

    return run


@pytest.fixture(scope="module")
def ready(run, hosts):
    done = run("apply", "--yes", timeout=800)
    assert done.stdout.splitlines()[-1].startswith(f"{COUNT} machines: ")
    return hosts


def containers(host):
    return host.run("docker ps -q").stdout


def test_from_bare_to_ready_and_then_nothing(ready, run, controller):
    states = json.loads(controller.run("ls", "--output", "json").stdout)
    assert [one["State"] for one in states] == ["Running"] * COUNT
    again = run("apply", "--yes", "--output", "json")
    summary = json.loads(again.stdout)["summary"]
    assert summary == {"machines": COUNT, "changed": 0, "restarts": 0, "failed": 0}


def test_one_changed_mirror_reaches_all_and_containers_stay(ready, run, repository, busybox, controller):
    controller.docker("f01", "import", "-", "busybox:latest", stdin=busybox)
    controller.docker("f01", "run", "-d", "busybox", "sleep", "9999")
    before = containers(ready[0])
    pids = [one.run("systemctl show -p MainPID docker").stdout for one in ready]
    repository.write("group_vars/all.yml", "machinectl:\n  registry-mirrors: [http://127.0.0.1:5001]\n")
    done = run("apply", "--yes")
    assert f"{COUNT} machines: {COUNT * 4} changed, 0 engines restarted" in done.stdout
    assert all("5001" in one.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout for one in ready)
    assert [one.run("systemctl show -p MainPID docker").stdout for one in ready] == pids
    assert containers(ready[0]) == before != ""


def test_three_fail_in_their_own_ways_and_the_others_finish(ready, run, repository, lab):
    """One is dead, one has no room, one loses SSH while it is at work. The same command again finishes."""
    dead, full, cut = ready[1:4]
    lab.power_cut(dead.name)
    full.run(FILL)
    # the agent's own lock is held: its run has begun and waits, and then its sshd goes. Neither nsenter nor flock
    # forks here: who ends this process ends the lock
    lock = ["flock", "--no-fork", "/run/machinectl/apply.lock", "sleep", "9999"]
    holder = subprocess.Popen(["nsenter", "-t", str(cut.leader), "-m", *lock])
    repository.write("group_vars/all.yml", "machinectl:\n  registry-mirrors: [http://127.0.0.1:5002]\n")

    ended = threading.Event()

    def lose_ssh():
        while not ended.wait(0.2):
            if cut.run("pgrep -f 'machinectl/agent/[0-9a-f]* apply'", check=False).stdout:
                cut.run("pkill -9 -f '^sshd: root'", check=False)

    killer = threading.Thread(target=lose_ssh)
    killer.start()
    began = time.monotonic()
    done = run("apply", "--yes", check=False)
    ended.set()
    killer.join()
    took = time.monotonic() - began
    assert done.returncode == 3, done.stderr
    assert f"3 of {COUNT} machines failed" in done.stderr
    report = done.stderr.partition("machines failed")[2]
    for host, what in (
        (dead, ("it does not answer", "the host can't be reached")),  # the kernel may give up on ARP first
        (full, ("No space left on device",)),
        (cut, ("the host closed it", "reset by peer")),  # where sshd had not read all yet
    ):
        assert f"\n{host.name}: " in report
        assert any(one in report for one in what), report
    others = [one for one in ready if one not in (dead, full, cut)]
    assert all("5002" in one.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout for one in others)
    # a dead host costs one deadline, not one per step
    assert took < 150, took
    holder.kill()
    holder.wait()
    full.run("umount /etc/docker")
    lab.start(dead.name)
    assert run("apply", "--yes", timeout=400).returncode == 0
    for host in (dead, full, cut):
        assert "5002" in host.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout
