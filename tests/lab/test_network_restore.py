"""etcd restored from an older snapshot under running containers: packets go on, and what was made since is back."""

from __future__ import annotations

import pytest

from tests.lab.network_cluster import Pings, make_cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox, lab):
    hosts = [make_host("rs0", "bookworm", engine=True), make_host("rs1", "trixie", engine=True)]
    yield make_cluster(new_controller(), hosts, busybox)
    lab.down([host.name for host in hosts])


def run(cluster, number, name, network, more=""):
    words = f"run -d --name {name} --network {network} {more} busybox sleep infinity"
    cluster.docker(cluster.names[number], words)
    return cluster.address(cluster.names[number], name, network)


def endpoints(cluster, network):
    """Name → address, as etcd has it."""
    found = cluster.ask(cluster.names[0], "network", name=network)["network"]["endpoints"]
    return {one["name"]: one["ip"] for one in found}


def test_containers_and_networks_made_since_the_copy_are_back(cluster, tmp_path):
    first, second = cluster.names
    controller = cluster.controller
    controller.run("network", "create", "demo")
    until(lambda: all("demo" in cluster.networks(name) for name in cluster.names))
    wanted = {"old": run(cluster, 0, "old", "demo")}
    left = run(cluster, 0, "left", "demo")
    until(lambda: set(endpoints(cluster, "demo")) == {"old", "left"})
    controller.run("etcd", "backup", tmp_path / "etcd.db")

    # since: one container gone, its address another's on the other machine; new ones; a network with, one without any
    cluster.docker(first, "rm -f left")
    wanted["heir"] = run(cluster, 1, "heir", "demo", f"--ip {left}")
    wanted["new"] = run(cluster, 1, "new", "demo")
    controller.run("network", "create", "young")
    controller.run("network", "create", "empty")
    until(lambda: all({"young", "empty"} <= set(cluster.networks(name)) for name in cluster.names))
    young = {"one": run(cluster, 0, "one", "young"), "two": run(cluster, 1, "two", "young")}
    until(lambda: set(endpoints(cluster, "demo")) == set(wanted))
    until(lambda: cluster.works(first, "exec old ping -c 1 -W 1 heir"))
    until(lambda: cluster.works(first, "exec one ping -c 1 -W 1 two"))
    ways = (("old", wanted["heir"]), ("one", young["two"]))
    pings = [Pings(cluster, first, source, address, every=0.1) for source, address in ways]

    controller.run("etcd", "restore", "--yes", tmp_path / "etcd.db")

    # at once: nobody gets an address that somebody has
    made: dict[str, object] = {}
    for number in (0, 1, 0, 1):
        name = f"next{len(made)}"
        # pings go on meanwhile
        made[name] = run(cluster, number, name, "demo")
    assert len({*made.values(), *wanted.values()}) == len(made) + len(wanted)
    until(lambda: endpoints(cluster, "demo") == {**wanted, **made})
    until(lambda: endpoints(cluster, "young") == young)
    until(lambda: all("empty" not in cluster.networks(name) for name in cluster.names))
    for one in pings:
        sent, answers = one.end()
        assert len(set(answers)) == sent
    for name in ("new", "heir", "next3"):
        assert cluster.works(first, f"exec old ping -c 1 -W 1 {name}"), name
    assert not cluster.works(first, "exec old nslookup left")
    assert cluster.works(second, "exec two ping -c 1 -W 1 one")


def test_a_machine_whose_service_starts_only_afterwards_is_waited_for(cluster, tmp_path):
    """It learns from its file that etcd is another one, and puts back what it has before anybody gets an address."""
    first, second = cluster.names
    host = cluster.hosts[second]
    cluster.controller.run("etcd", "backup", tmp_path / "etcd.db")
    late = run(cluster, 1, "late", "demo")
    until(lambda: cluster.works(first, "exec old ping -c 1 -W 1 late"))
    before = endpoints(cluster, "demo")
    pings = Pings(cluster, first, "old", late, every=0.1)
    host.run("systemctl stop machinectl-network.service")
    cluster.controller.run("etcd", "restore", "--yes", tmp_path / "etcd.db")
    words = "docker run -d --name early --network demo busybox sleep infinity"
    cluster.hosts[first].run(f"systemd-run -q {words}")
    host.run("systemctl start machinectl-network.service")
    until(lambda: set(endpoints(cluster, "demo")) == {*before, "early"})
    found = endpoints(cluster, "demo")
    assert {name: ip for name, ip in found.items() if name != "early"} == before
    assert len(set(found.values())) == len(found)
    sent, answers = pings.end()
    assert len(set(answers)) == sent


def test_the_doctor_finds_nothing(cluster):
    """Whose findings are there for a moment: what the network settles after a restoration."""

    def found():
        return cluster.controller.run("network", "doctor", "--output", "json", check=False)

    until(lambda: found().returncode == 0, pause=1.0)
