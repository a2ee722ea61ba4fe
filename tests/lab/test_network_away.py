"""A network service that starts while etcd is away, and one whose etcd moves to other machines."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.network_cluster import make_cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

AWAY = "etcd does not answer, nothing new can be joined to a network"
KNOWN = "/var/lib/machinectl/network-known.json"


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox, lab):
    """Two machines, etcd on the first only, a container on each."""
    hosts = [make_host("aw0", "bookworm", engine=True), make_host("aw1", "trixie", engine=True)]
    cluster = make_cluster(new_controller(), hosts, busybox)
    cluster.controller.run("network", "create", "demo")
    for number, name in enumerate(cluster.names):
        until(lambda name=name: "demo" in cluster.networks(name))
        cluster.docker(name, f"run -d --name c{number} --network demo busybox sleep infinity")
    until(lambda: all(reaches(cluster, one) for one in (0, 1)))
    yield cluster
    lab.down([host.name for host in hosts])


def reaches(cluster, one):
    """By name."""
    return cluster.works(cluster.names[one], f"exec c{one} ping -c 1 -W 1 c{1 - one}")


def stale_since(cluster, number):
    return cluster.ask(cluster.names[number], "status")["etcd"]["stale_since"]


def test_remote_names_are_known_while_etcd_is_away(cluster):
    first, second = (cluster.hosts[name] for name in cluster.names)
    assert stale_since(cluster, 1) == 0
    # written lazily
    until(lambda: '"name":"c0"' in second.run(f"cat {KNOWN}", check=False).stdout)
    assert second.run(f"stat -c %a {KNOWN}").stdout.strip() == "600"
    first.run("systemctl stop machinectl-etcd")
    try:
        second.run("systemctl kill -s KILL machinectl-network.service")
        until(lambda: reaches(cluster, 1))
        until(lambda: cluster.works(cluster.names[1], "exec c1 nslookup c0.demo"))
        assert time.time() - 600 < stale_since(cluster, 1) < time.time()
        found = cluster.ask(cluster.names[1], "doctor")["findings"]
        assert any("what is known of other machines is of " in one["what"] for one in found), found
        second.run("systemctl restart machinectl-network.service")
        until(lambda: reaches(cluster, 1))
    finally:
        first.run("systemctl start machinectl-etcd")
    until(lambda: stale_since(cluster, 1) == 0)
    # what changed since counts at once
    cluster.docker(cluster.names[0], "run -d --name after --network demo busybox sleep infinity")
    until(lambda: cluster.works(cluster.names[1], "exec c1 ping -c 1 -W 1 after"))
    cluster.docker(cluster.names[0], "rm -f after")
    until(lambda: not cluster.works(cluster.names[1], "exec c1 nslookup after"))


def test_a_host_that_boots_while_etcd_is_away(cluster, lab):
    """As after a power cut of all machines: dockerd tries to start its containers once, and they can't be joined to the
    network. They come when etcd does, and none that nobody wants to have restarted."""
    name = cluster.names[1]
    second = cluster.hosts[name]
    cluster.docker(name, "update --restart always c1")
    cluster.docker(name, "run -d --name once --network demo busybox sleep infinity")
    cluster.docker(name, "run -d --name ended --restart unless-stopped --network demo busybox sleep infinity")
    cluster.docker(name, "stop -t 0 ended")
    until(lambda: json.loads(second.run(f"cat {KNOWN}").stdout)["machines"])
    cluster.hosts[cluster.names[0]].run("systemctl stop machinectl-etcd")
    try:
        lab.reboot(name)
        until(
            lambda: second.run("systemctl is-active machinectl-network", check=False).returncode == 0, 120.0
        )
        until(lambda: stale_since(cluster, 1))
        # dockerd has given up
        told = "inspect -f '{{.State.Status}} {{.State.Error}}' c1"
        until(lambda: AWAY in cluster.docker(name, told, check=False).stdout, 120.0)
        assert cluster.docker(name, told).startswith("exited ")
        assert cluster.docker(name, "start once", check=False).returncode != 0
    finally:
        cluster.hosts[cluster.names[0]].run("systemctl start machinectl-etcd")
    until(lambda: reaches(cluster, 1) and reaches(cluster, 0), 150.0, 0.5)
    assert cluster.docker(name, "ps --format '{{.Names}}'").split() == ["c1"]
    until(lambda: "container c1 is started: etcd was away" in cluster.journal(name))
    cluster.docker(name, "rm -f once ended")


def told(cluster, number):
    """Where this machine's service looks for etcd."""
    return cluster.ask(cluster.names[number], "status")["etcd"]["endpoints"]


def test_all_of_etcds_members_are_replaced(cluster):
    """Nobody runs provision: the machines follow, and find etcd again after a restart."""
    first, second = cluster.names
    urls = {name: f"https://{cluster.hosts[name].ip}:2379" for name in cluster.names}
    assert [told(cluster, 0), told(cluster, 1)] == [[urls[first]]] * 2
    cluster.controller.run("etcd", "add", second)
    both = sorted(urls.values())
    until(lambda: [sorted(told(cluster, 0)), sorted(told(cluster, 1))] == [both] * 2, 120.0)
    cluster.controller.run("etcd", "remove", first)
    until(lambda: [told(cluster, 0), told(cluster, 1)] == [[urls[second]]] * 2, 120.0)
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"run -d --name n{number} --network demo busybox sleep infinity")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 n1"))
    for name in cluster.names:
        cluster.hosts[name].run("systemctl restart machinectl-network")
    assert [told(cluster, 0), told(cluster, 1)] == [[urls[second]]] * 2
    until(lambda: not any(cluster.ask(name, "status")["etcd"]["trouble"] for name in cluster.names))
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"rm -f n{number}")
        words = f"run --rm --network demo busybox ping -c 1 -W 2 c{1 - number}"
        until(lambda name=name, words=words: cluster.works(name, words))
    # the configuration on the hosts catches up when it is written for another reason
    cluster.controller.run("network", "join", first, second, timeout=300)
    assert [told(cluster, 0), told(cluster, 1)] == [[urls[second]]] * 2
    until(lambda: reaches(cluster, 0) and reaches(cluster, 1))
