"""What the data plane makes of a kernel that was left half-made, or changed behind its back."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from machinectl_agent.network.drivers import device
from machinectl_agent.network.drivers.interface import Peer
from machinectl_agent.network.netlink import namespaces
from machinectl_agent.problems import Problem
from tests.dataplane_hosts import (
    Bench,
    Container,
    Host,
    bench,
    network_id,
    peers,
    run,
    tell,
)
from tests.waiting import until

pytestmark = pytest.mark.root

NETWORK = network_id(0xFA11)
PROGRAM = Path(__file__).parent / "dataplane_killed.py"
ENDPOINT, MAC = "5e" * 32, "02:42:0a:32:00:09"


@pytest.fixture
def table(request):
    with bench(request.node.name.partition("[")[0]) as made:
        yield made


def own_namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def start(host: Host, step: int, verb: str) -> subprocess.Popen[str]:
    words = [sys.executable, str(PROGRAM), host.path, host.folder, str(step), verb, NETWORK, host.vtep]
    agent = str(Path(namespaces.__file__).parents[3])
    return subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": agent},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("verb", ["ensure", "attach", "detach", "remove"])
def test_killed_before_any_step_and_finished_by_the_next_run(table: Bench, verb):
    host, _ = table.pair()
    steps = 0
    while True:
        killed = start(host, steps, verb)
        _, errors = killed.communicate(timeout=30)
        plane = host.new_plane()
        finish(plane, host, verb)
        plane.remove_network(NETWORK)
        assert plane.networks() == set()
        plane.close()
        assert host.links() == {"lo", "u0"}
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, errors
        steps += 1
    assert steps >= {"ensure": 8, "attach": 3, "detach": 2, "remove": 1}[verb]


def finish(plane, host: Host, verb: str) -> None:
    """The next run does the same again, or takes it back; either must leave what is right."""
    if verb == "remove":
        plane.remove_network(NETWORK)
        plane.remove_network(NETWORK)
        return
    plane.ensure_network(host.wiring(NETWORK))
    assert not plane.ensure_network(host.wiring(NETWORK))
    if verb == "detach":
        plane.detach(NETWORK, ENDPOINT)
        plane.detach(NETWORK, ENDPOINT)
        assert plane.attached(NETWORK) == set()
    else:
        name = plane.attach(NETWORK, ENDPOINT, MAC)
        assert name == plane.attach(NETWORK, ENDPOINT, MAC)
        assert name in host.links()
        assert plane.attached(NETWORK) == {ENDPOINT[:12]}
    assert plane.findings(host.wiring(NETWORK), {}) == []


def test_many_at_once_make_one_network(table: Bench):
    """Two threads here and two processes beside."""
    host, _ = table.pair()
    for _ in range(3):
        others = [start(host, 1000, "ensure") for _ in range(2)]
        errors: list[BaseException] = []

        def ensure(errors: list[BaseException] = errors) -> None:
            try:
                host.plane.ensure_network(host.wiring(NETWORK))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=ensure) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        for other in others:
            assert other.wait(30) == 0, other.communicate()[1]
        assert errors == []
        assert host.plane.findings(host.wiring(NETWORK), {}) == []
        host.plane.remove_network(NETWORK)


def test_made_and_removed_at_once(table: Bench):
    """Whoever is last: either the whole network is there, or nothing of it."""
    host, _ = table.pair()
    for _ in range(5):
        other = start(host, 1000, "remove")
        while other.poll() is None:
            host.plane.ensure_network(host.wiring(NETWORK))
        host.plane.ensure_network(host.wiring(NETWORK))
        assert other.returncode == 0, other.communicate()[1]
        assert host.plane.findings(host.wiring(NETWORK), {}) == []
        host.plane.remove_network(NETWORK)
    assert host.links() == {"lo", "u0"}


DAMAGE = {
    "vxlan0 deleted": "ip link del vxlan0",
    "br0 deleted": "ip link del br0",
    "vxlan0 down": "ip link set vxlan0 down",
    "br0 down": "ip link set br0 down",
    "port down": "ip link set PORT down",
    "vxlan0 out of the bridge": "ip link set vxlan0 nomaster",
    "port out of the bridge": "ip link set PORT nomaster",
    "small MTU": "ip link set vxlan0 mtu 1300",
    "small MTU of the port": "ip link set PORT mtu 1300",
    "no DNS address": "ip addr del 169.254.77.53/32 dev br0",
    "no routes": "ip route flush dev br0",
    "another MAC": "ip link set br0 address 02:4d:00:00:00:01",
    "learning": "bridge link set dev vxlan0 learning on",
    "port learning": "bridge link set dev PORT learning on",
    "spanning tree": "ip link set br0 type bridge stp_state 1 ageing_time 30000",
    "no remote MAC": "bridge fdb del 02:42:0a:33:00:01 dev vxlan0 self",
    "no bridged MAC": "bridge fdb del 02:42:0a:33:00:01 dev vxlan0 master",
    "no port's MAC": "bridge fdb del 02:42:0a:32:00:02 dev PORT master",
    "wrong VTEP": "bridge fdb replace 02:42:0a:33:00:02 dev vxlan0 dst 198.51.100.77 self",
    "strange MAC": "bridge fdb add 02:42:01:02:03:04 dev vxlan0 dst 198.51.100.77 self permanent",
    "strange bridged MAC": "bridge fdb add 02:42:01:02:03:05 dev vxlan0 master static",
    "no flood": "bridge fdb del 00:00:00:00:00:00 dev vxlan0 dst 198.51.100.101",
    "strange flood": "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst 198.51.100.77",
    "learned MAC": "bridge fdb add 02:42:01:02:03:06 dev vxlan0 dst 198.51.100.77 self dynamic",
    "no neighbour": "ip neigh del 10.51.0.3 dev vxlan0",
    "no IPv6 neighbour": "ip neigh del fd00:51::4 dev vxlan0",
    "wrong neighbour": "ip neigh replace 10.51.0.3 lladdr 02:42:01:02:03:04 dev vxlan0 nud permanent",
    "stale neighbour": "ip neigh replace 10.51.0.4 lladdr 02:42:0a:33:00:04 dev vxlan0 nud stale",
    "strange neighbour": "ip neigh add 10.51.9.9 lladdr 02:42:01:02:03:04 dev vxlan0 nud permanent",
    "namespace without a name": "",
}


@pytest.fixture(scope="module")
def damaged():
    """One network with a container of its own and five peers, for all examples."""
    with bench("damaged") as made:
        host, _ = made.pair()
        host.plane.ensure_network(host.wiring(NETWORK))
        yield host, Container(host, "one", NETWORK, "10.50.0.2", "fd00:50::2")


@given(st.lists(st.sampled_from(sorted(DAMAGE)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_found_and_repaired(damaged, damages):
    host, one = damaged
    told = peers(5, vteps=3)
    heal(host, told)
    for name in damages:
        damage(host, one, name)
    heal(host, told)
    assert host.plane.attached(NETWORK) == {one.endpoint[:12]}
    assert run("bridge", "fdb", "show", "br", "br0", inside=host.inside(NETWORK)).count(one.mac) == 1


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_each_damage_is_found_and_repaired(damaged, name):
    host, one = damaged
    told = peers(5, vteps=3)
    heal(host, told)
    assert host.plane.findings(host.wiring(NETWORK), told) == []
    damage(host, one, name)
    assert host.plane.findings(host.wiring(NETWORK), told), name
    heal(host, told)


def heal(host: Host, told: Mapping[str, Peer]) -> None:
    host.plane.ensure_network(host.wiring(NETWORK))
    host.plane.set_peers(NETWORK, told)
    assert host.plane.findings(host.wiring(NETWORK), told) == []
    assert not host.plane.ensure_network(host.wiring(NETWORK))
    assert host.plane.set_peers(NETWORK, told) == 0


def damage(host: Host, one: Container, name: str) -> None:
    """An earlier damage can have taken away what this one is for."""
    path = host.inside(NETWORK)
    if name == "namespace without a name":
        namespaces.remove(host.folder, f"mctl-{NETWORK[:12]}")
    elif namespaces.is_namespace(path):
        words = DAMAGE[name].replace("PORT", f"p{one.endpoint[:12]}").split()
        subprocess.run(["nsenter", f"--net={path}", *words], capture_output=True, timeout=30, check=False)


def test_a_namespace_that_was_replaced(table: Bench):
    """By another program, while our socket held the old one: that one's VNI is free, and the new one is used."""
    host, _ = table.pair()
    host.plane.ensure_network(host.wiring(NETWORK))
    namespaces.remove(host.folder, f"mctl-{NETWORK[:12]}")
    namespaces.ensure(host.folder, f"mctl-{NETWORK[:12]}")
    assert host.plane.ensure_network(host.wiring(NETWORK))
    assert host.plane.findings(host.wiring(NETWORK), {}) == []


def test_a_folder_that_was_emptied_before_the_agent_started(table: Bench, monkeypatch: pytest.MonkeyPatch):
    """Nobody holds the old namespace any more: all is made anew, and a new container talks."""
    monkeypatch.setattr(device, "_PATIENCE", 60.0)  # the kernel ends namespaces in batches, others' too
    first, second = table.pair()
    for host in (first, second):
        host.plane.ensure_network(host.wiring(NETWORK))
    first.plane.close()
    namespaces.remove(first.folder, f"mctl-{NETWORK[:12]}")
    first.plane = first.new_plane()
    assert first.plane.ensure_network(first.wiring(NETWORK))
    one = Container(first, "one", NETWORK, "10.50.0.2")
    two = Container(second, "two", NETWORK, "10.50.0.3")
    tell(one, two)
    assert one.ping(two.ip)


def test_nothing_is_left_of_a_network(table: Bench):
    host, _ = table.pair()
    gc.collect()  # what other tests left may be closed meanwhile: less than before is as good
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    for number in range(5):
        network = network_id(number + 1)
        host.plane.ensure_network(host.wiring(network, vni=7100 + number))
        host.plane.attach(network, ENDPOINT, MAC)
        host.plane.set_peers(network, peers(3))
        assert host.plane.networks() == {network[:12]}
        host.plane.remove_network(network)
        host.plane.remove_network(network)
        host.plane.detach(network, ENDPOINT)
        assert host.plane.attached(network) == set()
    assert host.plane.networks() == set()
    assert list(Path(host.folder).iterdir()) == []
    assert host.links() == {"lo", "u0"}
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert threading.active_count() <= threads


def test_a_network_that_a_socket_holds_gives_its_vni_back(table: Bench):
    """The DNS's sockets live on a moment longer: the same VNI must be free at once."""
    host, _ = table.pair()
    host.plane.ensure_network(host.wiring(NETWORK))
    udp, tcp = host.plane.listen(NETWORK)
    with udp, tcp:
        host.plane.remove_network(NETWORK)
        assert host.plane.ensure_network(host.wiring(network_id(0xFA12)))


def test_a_vni_that_somebody_else_has(table: Bench):
    host, _ = table.pair()
    run("ip", "link", "add", "theirs", "type", "vxlan", "id", "7001", "dstport", "4789", inside=host.path)
    with pytest.raises(Problem) as refused:
        host.plane.ensure_network(host.wiring(NETWORK))
    assert refused.value.code == "vni-taken"
    assert "theirs" in refused.value.why
    run("ip", "link", "del", "theirs", inside=host.path)
    assert host.plane.ensure_network(host.wiring(NETWORK))
    with pytest.raises(Problem) as refused:
        host.plane.ensure_network(host.wiring(network_id(0xFA12)))
    assert NETWORK[:12] in refused.value.why


def test_a_port_that_somebody_else_has(table: Bench):
    host, _ = table.pair()

    def take() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", 4789))
        return made

    with namespaces.inside(host.path, take):
        with pytest.raises(Problem) as refused:
            host.plane.ensure_network(host.wiring(NETWORK))
        assert refused.value.code == "vxlan-port-taken"
    host.plane.ensure_network(host.wiring(NETWORK))
    assert host.plane.findings(host.wiring(NETWORK), {}) == []


def test_a_container_that_is_gone_took_its_port_with_it(table: Bench):
    host, _ = table.pair()
    host.plane.ensure_network(host.wiring(NETWORK))
    one = Container(host, "one", NETWORK, "10.50.0.2")
    table.remove_namespace(one.path)
    until(lambda: host.plane.attached(NETWORK) == set())
    host.plane.detach(NETWORK, one.endpoint)
    # the same endpoint again, and one whose other end a container has
    again = Container(host, "one", NETWORK, "10.50.0.2")
    name = host.plane.attach(NETWORK, again.endpoint, again.mac)
    assert name in host.links()


def test_the_calling_thread_stays_in_its_namespace(table: Bench):
    host, _ = table.pair()
    here = own_namespace()

    def fail() -> None:
        assert own_namespace() != here
        raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        namespaces.inside(host.path, fail)
    with pytest.raises(OSError, match="can't enter"):
        namespaces.inside("/proc/self/ns/mnt", fail)
    host.plane.ensure_network(host.wiring(NETWORK))
    assert own_namespace() == here
