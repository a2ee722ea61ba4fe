"""An underlay of MTU 1400, with the oldest engine that we know: bullseye's 20.10.5 beside trixie's 26, on etcd 3.3."""

from __future__ import annotations

import json

import pytest

from tests.lab.network_cluster import Cluster, import_image
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

LARGE = 16
"""MB of the transfers."""


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox, lab):
    hosts = [make_host("nar0", "bullseye", engine=True), make_host("nar1", "trixie", engine=True)]
    for host in hosts:
        host.run("ip link set host0 mtu 1400")
    controller = new_controller()
    creates = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    controller.run("etcd", "deploy", "--v2", hosts[0].name, timeout=400)
    pool = ("--pool", "10.88.0.0/16", "--pool-size", "26")
    controller.run("network", "join", *pool, *(one.name for one in hosts), timeout=400)
    for one in hosts:
        import_image(one, busybox)
    cluster = Cluster(controller, hosts)
    controller.run("network", "create", "demo")
    for number, (name, alias) in enumerate(zip(cluster.names, ("zero", "one"), strict=True)):
        until(lambda name=name: "demo" in cluster.networks(name))
        cluster.docker(
            name, f"run -d --name c{number} --network demo --network-alias {alias} busybox sleep infinity"
        )
    until(lambda: all(cluster.works(cluster.names[n], f"exec c{n} ping -c 1 -W 2 c{1 - n}") for n in (0, 1)))
    yield cluster
    lab.down([host.name for host in hosts])


def mtu(cluster, number, prefix="c"):
    name = cluster.names[number]
    return int(cluster.docker(name, f"exec {prefix}{number} cat /sys/class/net/eth0/mtu"))


def sends(cluster, one, other, prefix="c"):
    """A large transfer by TCP from one machine's container to the other's arrives whole."""
    source, target = cluster.names[one], cluster.names[other]
    # busybox's nc ends with the end of its own input
    listen = "mkfifo -m 600 /tmp/open 2>/dev/null; nc -l -p 9000 <>/tmp/open"
    cluster.docker(
        target, f"exec -d {prefix}{other} sh -c '{listen} | sha256sum > /tmp/got; mv /tmp/got /tmp/sum'"
    )
    until(lambda: cluster.works(target, f"exec {prefix}{other} sh -c 'netstat -ltn | grep -q :9000'"))
    words = f"dd if=/dev/urandom of=/tmp/sent bs=1M count={LARGE} 2>/dev/null; sha256sum < /tmp/sent"
    wanted = cluster.docker(source, f'exec {prefix}{one} sh -c "{words}"')
    cluster.docker(source, f"exec {prefix}{one} sh -c 'nc {prefix}{other} 9000 < /tmp/sent'", deadline=60.0)
    got = until(lambda: cluster.docker(target, f"exec {prefix}{other} cat /tmp/sum", check=False).stdout)
    cluster.docker(target, f"exec {prefix}{other} rm /tmp/sum")
    assert got.strip() == wanted


def findings(cluster, number):
    return cluster.ask(cluster.names[number], "doctor")["findings"]


def said(cluster, number):
    return "\n".join(f"{one['what']} | {one['why']} | {one['hint']}" for one in findings(cluster, number))


def test_the_engine_is_the_oldest(cluster):
    version = cluster.docker(cluster.names[0], "version -f '{{.Server.Version}}'")
    assert version.startswith("20.10.5"), version


def test_containers_have_what_the_underlay_leaves(cluster):
    assert [mtu(cluster, 0), mtu(cluster, 1)] == [1350, 1350]
    for one, other in ((0, 1), (1, 0)):
        name = cluster.names[one]
        # 1322 bytes, ICMP's 8 and IPv4's 20: 1350
        assert cluster.works(name, f"exec c{one} ping -c 1 -W 2 -s 1322 c{other}")
        sends(cluster, one, other)
    until(lambda: not any(findings(cluster, number) for number in (0, 1)), pause=0.5)


def test_subnets_are_of_the_pool_that_was_given(cluster):
    found = json.loads(cluster.docker(cluster.names[1], "network inspect demo"))[0]["IPAM"]["Config"]
    assert found[0]["Subnet"] == "10.88.0.0/26"
    cluster.docker(cluster.names[0], "network create -d machinectl --ipam-driver machinectl chosen")
    found = json.loads(cluster.docker(cluster.names[0], "network inspect chosen"))[0]["IPAM"]["Config"]
    assert found[0]["Subnet"] == "10.88.0.64/26"
    until(lambda: "chosen" in cluster.networks(cluster.names[1]))
    cluster.controller.run("network", "rm", "chosen")
    # kept by a join that says nothing of it
    assert "network.json" not in cluster.controller.run("network", "join", "--dry-run", *cluster.names).stdout


def test_names_and_ports_on_the_oldest_engine(cluster):
    first, second = cluster.names
    assert cluster.address(first, "c0", "demo") in cluster.docker(second, "exec c1 nslookup zero")
    assert cluster.address(second, "c1", "demo") in cluster.docker(first, "exec c0 nslookup one.demo")
    cluster.docker(
        first, "run -d --name web --network demo -p 8081:80 busybox sh -c 'echo hi >/i; httpd -f -h /'"
    )
    assert (
        until(lambda: cluster.docker(second, "exec c1 wget -qO- http://web/i", check=False).stdout) == "hi\n"
    )
    outside = f"http://{cluster.hosts[first].ip}:8081/i"
    assert cluster.hosts[second].run(f"curl -s {outside} || wget -qO- {outside}").stdout == "hi\n"
    cluster.docker(first, "rm -f web")


def test_one_side_that_is_wider_is_told(cluster):
    """TCP agrees on the smaller one by itself; other large packets towards the narrow side are lost."""
    host = cluster.hosts[cluster.names[1]]
    host.run("ip link set host0 mtu 1500")
    try:
        cluster.ask(cluster.names[1], "reconcile")
        wanted = ("packets of 1500 bytes don't reach", "1400 bytes do", "--mtu 1350")
        until(lambda: (text := said(cluster, 1)) and all(one in text for one in wanted), pause=0.5)
        sends(cluster, 0, 1)
        cluster.controller.run("network", "create", "--mtu", "1350", "fixed")
        until(lambda: all("fixed" in cluster.networks(name) for name in cluster.names))
        shown = cluster.docker(
            cluster.names[1], "run --rm --network fixed busybox cat /sys/class/net/eth0/mtu"
        )
        assert shown == "1350"
        cluster.controller.run("network", "rm", "fixed")
    finally:
        host.run("ip link set host0 mtu 1400")
        cluster.ask(cluster.names[1], "reconcile")
    until(lambda: not any(findings(cluster, number) for number in (0, 1)), pause=0.5)


def test_a_link_that_gets_narrower_under_running_containers(cluster):
    """The reconcile fits their interfaces: what they send in larger packets would be lost."""
    first, second = cluster.names
    for name in cluster.names:
        cluster.hosts[name].run("ip link set host0 mtu 1500")
        cluster.ask(name, "reconcile")
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"run -d --name d{number} --network demo busybox sleep infinity")
    assert mtu(cluster, 0, "d") == 1450
    until(lambda: cluster.works(first, "exec d0 ping -c 1 -W 2 -s 1422 d1"))
    for name in cluster.names:
        cluster.hosts[name].run("ip link set host0 mtu 1400")
    for name in cluster.names:
        cluster.ask(name, "reconcile")
    assert [mtu(cluster, 0, "d"), mtu(cluster, 1, "d")] == [1350, 1350]
    for name, other in ((first, "d1"), (second, "d0")):
        here = "d0" if name == first else "d1"
        # larger than the MTU: in fragments that fit
        assert cluster.works(name, f"exec {here} ping -c 1 -W 2 -s 1422 {other}")
    sends(cluster, 0, 1, "d")
    until(lambda: not findings(cluster, 0), pause=0.5)
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"rm -f d{number}")


def test_classic_mode_on_the_oldest_engine(cluster):
    """Docker's own overlay beside ours; one machine is enough to see that dockerd takes it."""
    first = cluster.names[0]
    cluster.controller.run("network", "join", "--driver", "overlay", first, timeout=300)
    cluster.controller.run("network", "create", "--driver", "overlay", "--machine", first, "old")
    cluster.docker(first, "run -d --name o1 --network old busybox sleep infinity")
    assert until(lambda: cluster.works(first, "run --rm --network old busybox ping -c 1 -W 2 o1"))
    listed = json.loads(cluster.controller.run("network", "ls", "--output", "json").stdout)
    assert {one["name"]: one["driver"] for one in listed} == {"demo": "machinectl", "old": "overlay"}
    cluster.docker(first, "rm -f o1")
    cluster.controller.run("network", "rm", "old")
    cluster.controller.run("network", "leave", "--driver", "overlay", first, timeout=300)
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 2 c1"))
