"""The guides' story on three engines (20.10, 26, 28): etcd on the machines, a network made on one is on all, containers
talk by name, an application on one and its Redis on another, a published port reachable from outside."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request

import pytest

from tests.lab.app_image import build_app_image
from tests.lab.network_cluster import make_cluster, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SUITES = ("bookworm", "trixie", "sid")


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox):
    return make_cluster(new_controller(), [make_host(f"net-{suite}", suite) for suite in SUITES], busybox)


@pytest.fixture(scope="module")
def demo(cluster):
    """A network made with Docker's own command on the first machine."""
    first = cluster.names[0]
    began = time.monotonic()
    cluster.docker(first, "network create -d machinectl --ipam-driver machinectl demo")
    for name in cluster.names:
        until(lambda name=name: "demo" in cluster.networks(name), 5.0)
    cluster.appeared = time.monotonic() - began
    return "demo"


@pytest.fixture(scope="module")
def pair(cluster, demo):
    """c0, c1, c2: a container on each machine."""
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"run -d --name c{number} --network demo busybox sleep infinity")
    return [f"c{number}" for number in range(len(cluster.names))]


def test_a_network_made_on_one_machine_is_on_all_within_a_second(cluster, demo):
    assert cluster.appeared < 1.5
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
                ),
                5.0,
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
        assert cluster.docker(name, f"exec c{number} ping -c 1 -W 2 198.18.0.1", check=False) is not None
        assert "default via" in cluster.docker(name, f"exec c{number} ip route")


def test_a_network_with_containers_is_not_removed(cluster, pair):
    done = cluster.controller.run("network", "rm", "demo", check=False)
    assert done.returncode == 1
    assert "c1 on net-trixie" in done.stderr


def test_docker_removes_it_only_when_it_is_empty_everywhere(cluster, pair):
    """Removed on a machine without containers of its own it comes back there, for others have some."""
    first = cluster.names[0]
    cluster.docker(first, "rm -f c0")
    cluster.docker(first, "network rm demo")
    until(lambda: "demo" in cluster.networks(first), 5.0)
    cluster.docker(first, "run -d --name c0 --network demo busybox sleep infinity")
    until(lambda: cluster.docker(first, "exec c0 ping -c 1 -W 2 c1", check=False).returncode == 0)


def test_all_of_it_goes(cluster, pair):
    for number, name in enumerate(cluster.names):
        cluster.docker(name, f"rm -f c{number}")
    cluster.docker(cluster.names[1], "network rm demo")
    for name in cluster.names:
        until(lambda name=name: "demo" not in cluster.networks(name), 5.0)
    assert json.loads(cluster.controller.run("network", "ls", "--output", "json").stdout) == []
