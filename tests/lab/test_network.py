"""The guides' story on three engines (20.10, 26, 28): etcd on the machines, a network made on one is on all, containers
talk by name, an application on one and its Redis on another, a published port reachable from outside."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request

import pytest

from tests.lab.app_image import build_app_image
from tests.lab.network_cluster import make_cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

SUITES = ("bookworm", "trixie", "sid")


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox):
    return make_cluster(
        new_controller(), [make_host(f"net-{suite}", suite, engine=True) for suite in SUITES], busybox
    )


@pytest.fixture(scope="module")
def demo(cluster):
    """A network made with Docker's own command on the first machine."""
    first = cluster.names[0]
    cluster.docker(first, "network create -d machinectl --ipam-driver machinectl demo")
    for name in cluster.names:
        until(lambda name=name: "demo" in cluster.networks(name))
    return "demo"


@pytest.fixture(scope="module")
def pair(cluster, demo):
    """c0, c1, c2: a container on each machine."""
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"run -d --name c{number} --network demo busybox sleep infinity")
    return [f"c{number}" for number in range(len(cluster.names))]


def test_a_network_made_on_one_machine_is_on_all_within_a_second(cluster, demo):
    first = cluster.names[0]

    def appears(name):
        began = time.monotonic()
        cluster.docker(first, f"network create -d machinectl --ipam-driver machinectl {name}")
        for one in cluster.names:
            until(lambda one=one: name in cluster.networks(one))
        took = time.monotonic() - began
        cluster.docker(first, f"network rm {name}")
        return took

    # the fastest of several, as others keep this machine busy, too
    assert any(appears(f"quick{number}") < 1.5 for number in range(30))
    listed = json.loads(cluster.controller.run("network", "ls", "--output", "json").stdout)
    assert [one["name"] for one in listed if one["name"] == demo] == [demo]
    inspected = [json.loads(cluster.docker(name, "network inspect demo"))[0] for name in cluster.names]
    assert len({one["IPAM"]["Config"][0]["Subnet"] for one in inspected}) == 1


def test_containers_reach_each_other_by_name_both_ways(cluster, pair):
    for number, name in enumerate(cluster.names):
        for other in pair:
            until(
                lambda name=name, number=number, other=other: (
                    cluster.docker(name, f"exec c{number} ping -c 1 -W 2 {other}", check=False).returncode
                    == 0
                )
            )


def test_names_with_the_network_and_back(cluster, pair):
    first = cluster.names[0]
    assert cluster.docker(first, "exec c0 nslookup c1.demo", check=False).returncode == 0
    address = json.loads(cluster.docker(cluster.names[1], "inspect c1"))[0]["NetworkSettings"]["Networks"][
        "demo"
    ]["IPAddress"]
    assert "c1.demo" in cluster.docker(first, f"exec c0 nslookup {address}", check=False).stdout


def test_addresses_differ_on_all_machines(cluster, pair):
    found = [
        json.loads(cluster.docker(name, f"inspect c{number}"))[0]["NetworkSettings"]["Networks"]["demo"][
            "IPAddress"
        ]
        for number, name in enumerate(cluster.names)
    ]
    assert len(set(found)) == len(found)


def test_the_counter_application(cluster, demo):
    """Redis on one machine, the page on another, a published port that is asked from outside."""
    first, second, third = cluster.names
    image = build_app_image(cluster.hosts[first])
    for name in (second, third):
        shutil.copy(f"{cluster.hosts[first].root}{image}", f"{cluster.hosts[name].root}{image}")
        cluster.docker(name, f"load -i {image}")
    cluster.docker(first, "run -d --name redis --network demo app redis-server --protected-mode no")
    cluster.docker(second, "run -d --name page --network demo -p 5000:5000 app python3 /app/app.py")

    def page(name):
        try:
            with urllib.request.urlopen(f"http://{cluster.hosts[name].ip}:5000/", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    assert "I have been seen" in until(lambda: page(second))
    before = int(page(second).split("seen ")[1].split()[0])
    assert int(page(second).split("seen ")[1].split()[0]) == before + 1
    cluster.docker(first, "rm -f redis")
    cluster.docker(second, "rm -f page")


def test_the_way_out_still_works(cluster, pair):
    """The default route is docker_gwbridge's, as with Docker's own overlay."""
    for number, name in enumerate(cluster.names):
        assert "default via" in cluster.docker(name, f"exec c{number} ip route")
        gateway = cluster.hosts[name].run("ip route show default").stdout.split()[2]
        until(lambda name=name, number=number, gateway=gateway: cluster.works(
            name, f"exec c{number} ping -c 1 -W 2 {gateway}"))  # fmt: skip


def test_an_address_by_hand_and_an_alias_on_two_machines(cluster, pair):
    """Replicas with one alias are all answered; an address in use is refused on every machine.

    Docker itself refuses --ip where the network was made without --subnet: that is the first machine here."""
    second, first, third = cluster.names
    prefix = cluster.address(first, "c1", "demo").rpartition(".")[0]
    cluster.docker(
        first, f"run -d --name w0 --network demo --ip {prefix}.200 --network-alias web busybox sleep infinity"
    )
    cluster.docker(second, "run -d --name w1 --network demo --network-alias web busybox sleep infinity")
    addresses = {f"{prefix}.200", cluster.address(second, "w1", "demo")}

    def answered():
        text = cluster.docker(third, "exec c2 nslookup web", check=False).stdout
        return all(one in text for one in addresses)

    until(answered)
    refused = cluster.docker(third, f"run --rm --network demo --ip {prefix}.200 busybox true", check=False)
    assert refused.returncode != 0
    assert f"{prefix}.200" in refused.stderr
    cluster.docker(first, "rm -f w0")
    cluster.docker(second, "rm -f w1")
    until(lambda: not cluster.works(third, "exec c2 nslookup web"))
    assert cluster.works(third, f"run --rm --network demo --ip {prefix}.200 busybox true")


def test_several_networks_and_hot_connects(cluster, pair):
    """Names answer only to containers of their network, also after a container has left its first one."""
    first, second, third = cluster.names
    cluster.controller.run("network", "create", "--internal", "back")
    until(lambda: "back" in cluster.networks(second))
    cluster.docker(second, "run -d --name hidden --network back busybox sleep infinity")
    assert not cluster.works(third, "exec c2 nslookup hidden")
    cluster.docker(first, "network connect --alias front back c0")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 hidden"))
    until(lambda: cluster.works(second, "exec hidden ping -c 1 -W 1 front"))
    assert cluster.works(first, "exec c0 ping -c 1 -W 1 c1")
    cluster.docker(first, "network disconnect demo c0")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 hidden"))
    assert not cluster.works(first, "exec c0 nslookup c1")
    cluster.docker(first, "network connect demo c0")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 c1"))
    cluster.docker(first, "network disconnect back c0")
    assert "default" not in cluster.docker(second, "exec hidden ip route")
    assert not cluster.works(second, "exec hidden ping -c 1 -W 1 198.18.0.1")
    assert not cluster.works(second, "exec hidden nslookup deb.example.org")
    cluster.docker(second, "rm -f hidden")
    cluster.controller.run("network", "rm", "back")


def test_a_renamed_container(cluster, pair):
    first, second, _ = cluster.names
    cluster.docker(second, "rename c1 other")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 other"))
    until(lambda: not cluster.works(first, "exec c0 nslookup c1"))
    cluster.docker(second, "rename other c1")
    until(lambda: cluster.works(first, "exec c0 ping -c 1 -W 1 c1"))


def test_ipv6(cluster, pair):
    cluster.controller.run("network", "create", "--ipv6", "six")
    for number, name in enumerate(cluster.names):
        until(lambda name=name: "six" in cluster.networks(name))
        cluster.docker(name, f"run -d --name s{number} --network six busybox sleep infinity")
    for number, name in enumerate(cluster.names):
        until(lambda name=name, number=number: all(
            cluster.works(name, f"exec s{number} ping6 -c 1 -W 1 s{other}") for other in range(3)))  # fmt: skip
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"rm -f s{number}")
    cluster.controller.run("network", "rm", "six")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-d machinectl", "--ipam-driver machinectl"),
        ("-d machinectl --ipam-driver machinectl -o encrypted=true", "no option 'encrypted'"),
        ("-d machinectl --ipam-driver machinectl --subnet 198.18.0.0/15", "198.18.0.0/15"),
    ],
)
def test_what_can_not_work_is_refused_with_the_way_out(cluster, demo, words, said):
    done = cluster.docker(cluster.names[0], f"network create {words} wrong", check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "wrong" not in cluster.networks(cluster.names[0])


COMPOSE = """
version: "2.4"
services:
  page:
    image: busybox
    command: sleep infinity
    networks: [app]
networks:
  app:
    driver: machinectl
    ipam:
      driver: machinectl
"""


def test_a_compose_file(cluster, pair):
    """Compose makes the network; a container on another machine talks to its services by their names."""
    first, second, _ = cluster.names
    host = cluster.hosts[first]
    host.run("apt-get install -q -y --no-install-recommends docker-compose >/dev/null", deadline=300)
    host.run("mkdir -p /root/story && cat > /root/story/docker-compose.yml", stdin=COMPOSE)
    host.run("cd /root/story && docker-compose up -d", deadline=120)
    until(lambda: "story_app" in cluster.networks(second))
    until(lambda: cluster.works(second, "run --rm --network story_app busybox ping -c 1 -W 1 page"))
    host.run("cd /root/story && docker-compose down -t 1", deadline=120)
    until(lambda: "story_app" not in cluster.networks(second))


def test_a_network_with_containers_is_not_removed(cluster, pair):
    done = cluster.controller.run("network", "rm", "demo", check=False)
    assert done.returncode == 1
    assert "c1 on net-trixie" in done.stderr


def test_docker_removes_it_only_when_it_is_empty_everywhere(cluster, pair):
    """Removed on a machine without containers of its own it comes back there, for others have some."""
    first = cluster.names[0]
    cluster.docker(first, "rm -f c0")
    cluster.docker(first, "network rm demo")
    until(lambda: "demo" in cluster.networks(first))
    cluster.docker(first, "run -d --name c0 --network demo busybox sleep infinity")
    until(lambda: cluster.docker(first, "exec c0 ping -c 1 -W 2 c1", check=False).returncode == 0)


def test_all_of_it_goes(cluster, pair):
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"rm -f c{number}")
    cluster.docker(cluster.names[1], "network rm demo")
    for name in cluster.names:
        until(lambda name=name: "demo" not in cluster.networks(name))
    assert json.loads(cluster.controller.run("network", "ls", "--output", "json").stdout) == []
