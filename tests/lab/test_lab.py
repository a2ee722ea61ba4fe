"""The lab itself: fast, repeatable, healed after crashes, gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from machinectl.errors import LabError
from machinectl.lab.images import remove_image
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


def traces(settings):
    """Everything of a lab that is outside its folders."""
    names = (settings.bridge, settings.table, str(settings.state))
    found = {
        "mounts": Path("/proc/mounts").read_text(),
        "links": subprocess.run(["ip", "link"], capture_output=True, text=True, check=True, timeout=20).stdout,
        "rules": subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True, timeout=20).stdout,
        "cgroups": "\n".join(map(str, [*Path("/sys/fs/cgroup").glob("*"), *Path("/sys/fs/cgroup").glob("*/*")])),
        "processes": subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True, timeout=20).stdout,
    }  # fmt: skip
    return {what: [name for name in names if name in text] for what, text in found.items()}


@pytest.fixture
def own(lab):
    """A lab of this test's own, beside the session's."""
    number = int(lab.settings.bridge.removeprefix("mctest"))
    state = lab.settings.state.with_name(f"{number}-own")
    settings = Settings(state, bridge=f"mcown{number}", subnet=f"198.19.{number}.0/24")
    own = Lab(settings)
    own.down()
    yield own
    own.down()


def test_two_hosts_are_up_in_seconds_and_reach_each_other(own):
    own.up([HostWish("warm")])  # the image, if this is the first test ever
    began = time.monotonic()
    one, two = own.up([HostWish("node1"), HostWish("node2")])
    assert time.monotonic() - began < 60  # it is a second where nothing else runs
    assert [one.ip.rpartition(".")[2], two.ip.rpartition(".")[2]] == ["12", "13"]  # warm has .11
    assert one.run("systemctl is-system-running --wait").stdout.strip() == "running"
    assert "1 received" in one.run(f"ping -c 1 -W 5 {two.ip}").stdout
    leaders = [one.leader, two.leader]
    assert [host.leader for host in own.up([HostWish("node1"), HostWish("node2")])] == leaders
    inventory = (own.settings.state / "inventory.yml").read_text()
    assert f"node2:\n      ansible_host: {two.ip}" in inventory


def test_packages_come_from_the_machines_mirror_unless_isolated(own):
    connected, isolated = own.up([HostWish("node1"), HostWish("node2", isolated=True)])
    connected.run("apt-get update -q && apt-get install -q -y hello")
    assert connected.run("hello").stdout.startswith("Hello")
    cut = isolated.run("timeout 20 apt-get update -q -o Acquire::Retries=0 2>&1; true").stdout
    assert "Err:" in cut or "Failed" in cut
    assert "1 received" in isolated.run(f"ping -c 1 -W 5 {connected.ip}").stdout


def test_a_reboot_keeps_files_and_ends_processes(own):
    (host,) = own.up([HostWish("node1")])
    host.run("echo kept > /root/kept; setsid sleep 1000 >/dev/null 2>&1 & true")
    before = host.leader
    own.reboot("node1")
    assert host.leader != before
    assert host.run("cat /root/kept").stdout == "kept\n"
    assert host.run("pidof sleep", check=False).returncode == 1


def test_a_reboot_from_inside_comes_back_by_itself(own):
    (host,) = own.up([HostWish("node1")])
    before = host.leader
    host.run("systemctl reboot", check=False)
    host.wait_for_reboot(before)
    assert host.run("hostname").stdout == "node1\n"


def test_a_power_cut_keeps_what_was_synced(own):
    (host,) = own.up([HostWish("node1")])
    host.run("echo synced > /root/synced && sync /root/synced")
    own.power_cut("node1")
    assert not host.running
    assert own.start("node1").run("cat /root/synced").stdout == "synced\n"


def test_what_a_crash_took_down_is_booted_by_the_next_up(own):
    one, two = own.up([HostWish("node1"), HostWish("node2")])
    running = two.leader
    for pid in (one.keeper, one.leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    again, other = own.up([HostWish("node1"), HostWish("node2")])
    assert again.running
    assert other.leader == running


def test_down_leaves_nothing_behind(own):
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    own.up([HostWish("node1", "bookworm"), HostWish("node2", "trixie", cgroup="v1")])
    assert own.down(["node1"]) == ["node1"]
    assert [host.name for host in own.hosts()] == ["node2"]
    assert own.down() == ["node2"]
    assert not any(traces(own.settings).values()), traces(own.settings)
    assert not own.settings.state.exists()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before
    assert own.down() == []


@pytest.mark.parametrize("killed", ["keeper", "nspawn", "leader"])
def test_whatever_is_killed_the_next_up_heals_it(own, killed):
    (host,) = own.up([HostWish("node1")])
    host.run("echo kept > /root/kept && sync /root/kept")
    before = host.leader
    nspawn = int(Path(f"/proc/{host.keeper}/task/{host.keeper}/children").read_text().split()[0])
    os.kill({"keeper": host.keeper, "nspawn": nspawn, "leader": before}[killed], signal.SIGKILL)
    until(lambda: not host.running)
    (again,) = own.up([HostWish("node1")])
    assert again.leader not in (0, before)
    assert again.run("cat /root/kept").stdout == "kept\n"
    argv = f"{own.settings.bridge}-node1"
    assert subprocess.run(["pgrep", "-cf", f"^systemd-nspawn.*{argv}"], capture_output=True, text=True, check=False, timeout=20).stdout == "1\n"  # fmt: skip


@pytest.mark.parametrize("seconds", [0.3, 0.4, 0.6])
def test_an_up_that_is_killed_is_finished_by_the_next(controller, own, seconds):
    own.up([HostWish("warm")])
    env = {
        "MACHINECTL_LAB_DIR": str(own.settings.state),
        "MACHINECTL_LAB_BRIDGE": own.settings.bridge,
        "MACHINECTL_LAB_SUBNET": own.settings.subnet,
    }
    with contextlib.suppress(subprocess.TimeoutExpired):  # it ends with SIGKILL, or was quicker
        controller.run("lab", "up", timeout=seconds, **env)
    controller.run("lab", "up", **env)
    for name in ("node1", "node2"):
        assert controller.run("lab", "ssh", name, "--", "hostname", **env).stdout.strip() == name


def test_a_fresh_host_does_not_inherit_the_machines_forwarding(own):
    (host,) = own.up([HostWish("node1")])
    assert host.run("cat /proc/sys/net/ipv4/ip_forward").stdout == "0\n"
    host.run("echo net.ipv4.ip_forward=1 > /etc/sysctl.d/50-test.conf")
    own.reboot("node1")
    assert host.run("cat /proc/sys/net/ipv4/ip_forward").stdout == "1\n"


def test_forwarding_is_as_it_was_when_the_last_lab_is_gone(own):
    number = own.settings.bridge.removeprefix("mcown")
    state = own.settings.state.with_name(f"{number}-second")
    second = Lab(Settings(state, bridge=f"mcown{number}b", subnet=f"198.19.{int(number) + 64}.0/24"))
    second.down()
    own.up([HostWish("node1")])
    found = json.loads((own.settings.state / "lab.json").read_text())["forwarding_before"]
    try:
        second.up([HostWish("node1")])
        own.down()
        assert json.loads((state / "lab.json").read_text())["forwarding_before"] == found
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"  # the second lab needs it still
    finally:
        second.down()


def test_engines_can_make_groups_in_the_old_cgroup_tree(own):
    (host,) = own.up([HostWish("node1", cgroup="v1")])
    host.run(
        "mkdir /sys/fs/cgroup/memory/test && echo 33554432 > /sys/fs/cgroup/memory/test/memory.limit_in_bytes"
    )
    assert host.run("cat /sys/fs/cgroup/memory/test/memory.limit_in_bytes").stdout == "33554432\n"


def test_down_spares_files_that_are_not_the_labs(own):
    own.settings.state.mkdir(parents=True)
    stranger = own.settings.state / "thesis.txt"
    folder = own.settings.state / "hosts/notes"
    folder.mkdir(parents=True)
    stranger.write_text("years of work")
    own.down()
    own.up([HostWish("node1")])
    own.down()
    assert sorted(path.name for path in own.settings.state.iterdir()) == ["hosts", "thesis.txt"]
    assert folder.is_dir()
    folder.rmdir()
    folder.parent.rmdir()
    stranger.unlink()


def test_an_image_that_hosts_run_from_stays(own):
    own.up([HostWish("node1")])
    with pytest.raises(LabError, match="hosts run from the image"):
        remove_image(own.settings.cache, "bookworm")


def test_a_host_with_an_engine_runs_it_from_the_beginning(own):
    bare, host = own.up([HostWish("node1"), HostWish("node2", engine=True)])
    assert host.run("systemctl is-system-running --wait").stdout == "running\n"
    assert host.run("docker info -f '{{.ServerVersion}}'").stdout.startswith("20.10.")
    assert host.run("test -e /etc/docker/daemon.json", check=False).returncode
    assert bare.run("command -v dockerd", check=False).stdout == ""
    own.down(["node1"])  # its image is below the other's, too
    with pytest.raises(LabError, match="hosts run from the image"):
        remove_image(own.settings.cache, "bookworm")
    own.power_cut("node2")
    own.start("node2")
    assert host.run("systemctl is-system-running --wait").stdout == "running\n"
    assert host.run("systemctl is-active docker").stdout == "active\n"


def test_a_lab_whose_record_is_lost_can_be_removed(own):
    own.up([HostWish("node1")])
    record = own.settings.state / "lab.json"
    record.write_text("{torn")
    with pytest.raises(LabError, match="is damaged") as damaged:
        own.down()
    assert str(record) in damaged.value.hint
    record.unlink()
    own.down()
    assert not any(traces(own.settings).values()), traces(own.settings)
    assert not own.settings.state.exists()


def test_a_clash_is_named_before_anything_changes(own, lab, make_host):
    make_host("clash")
    subnet = Lab(Settings(own.settings.state, bridge=own.settings.bridge, subnet=lab.settings.subnet))
    with pytest.raises(LabError, match="is in use on this machine") as refused:
        subnet.up([HostWish("node1")])
    assert "--subnet" in refused.value.hint
    bridge = Lab(Settings(own.settings.state, bridge=lab.settings.bridge, subnet=own.settings.subnet))
    with pytest.raises(LabError, match="not this lab's"):
        bridge.up([HostWish("node1")])
    assert not any(traces(own.settings).values())
    assert own.hosts() == []
    assert own.up([HostWish("node1")])[0].running  # what was refused has left no record that is in the way


@pytest.mark.parametrize("route", [["blackhole"], ["unreachable"]])
def test_a_route_to_nowhere_is_a_clash_too(own, route):
    inside = own.settings.subnet.replace("/24", "/25")
    subprocess.run(["ip", "route", "add", *route, inside], check=True, timeout=20)
    try:
        with pytest.raises(LabError, match="is in use on this machine"):
            own.up([HostWish("node1")])
    finally:
        subprocess.run(["ip", "route", "del", *route, inside], check=True, timeout=20)


def test_the_command_line(controller, own):
    settings = own.settings
    env = {
        "MACHINECTL_LAB_DIR": str(settings.state),
        "MACHINECTL_LAB_BRIDGE": settings.bridge,
        "MACHINECTL_LAB_SUBNET": settings.subnet,
    }
    up = controller.run("lab", "up", "--machines", "3", "--suite", "mixed", **env)
    assert [line.split("\t")[2] for line in up.stdout.splitlines()] == ["bookworm", "trixie", "sid"]
    listed = json.loads(controller.run("lab", "ls", "--output", "json", **env).stdout)
    assert [(one["name"], one["state"]) for one in listed] == [(f"node{n}", "Running") for n in (1, 2, 3)]
    said = controller.run("lab", "ssh", "node2", "--", "cat", "/etc/os-release", **env).stdout
    assert "trixie" in said
    failed = controller.run("lab", "ssh", "node2", "exit 7", check=False, **env)
    assert failed.returncode == 7
    controller.run("lab", "reboot", "node3", **env)
    unknown = controller.run("lab", "reboot", "nobody", check=False, **env)
    assert unknown.returncode == 1
    assert "the lab has no host 'nobody'" in unknown.stderr
    assert "bookworm" in controller.run("lab", "images", **env).stdout
    assert controller.run("lab", "down", **env).stderr.strip() == "removed: node1, node2, node3"
    assert controller.run("lab", "down", **env).stderr.strip() == "there is no lab"
