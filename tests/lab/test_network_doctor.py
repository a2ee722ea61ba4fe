"""network doctor on two machines, with real faults: each is made, found, named, and ended."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.lab.network_cluster import make_cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox):
    """Two engines, a network, a container on each."""
    hosts = [make_host("doctor-1", "bookworm", engine=True), make_host("doctor-2", "trixie", engine=True)]
    for host in hosts:
        host.run("apt-get update -q && apt-get install -q -y nftables", deadline=300)
    made = make_cluster(new_controller(), hosts, busybox)
    made.controller.run("network", "create", "demo")
    for number, name in enumerate(made.names):
        until(lambda name=name: "demo" in made.networks(name))
        made.docker(name, f"run -d --name c{number} --network demo busybox sleep infinity")
    return made


@pytest.fixture(scope="module")
def first(cluster):
    return cluster.hosts[cluster.names[0]]


@pytest.fixture(scope="module")
def second(cluster):
    return cluster.hosts[cluster.names[1]]


def findings(cluster, machine="", fix=False):
    """Of one machine (the first where none is named)."""
    return cluster.ask(machine or cluster.names[0], "doctor", fix=fix)["findings"]


def said(cluster, machine="", fix=False):
    return "\n".join(
        f"{one['subject']}: {one['what']} | {one['why']}" for one in findings(cluster, machine, fix)
    )


@contextlib.contextmanager
def nft(host, chain, rule):
    """A base chain of its own with one rule."""
    host.run(f"nft 'add table inet fault; add chain inet fault c {{ {chain} }}'")
    if rule:
        host.run(f"nft 'add rule inet fault c {rule}'")
    try:
        yield
    finally:
        host.run("nft delete table inet fault")


def in_etcd(host, code):
    """Runs Python in the host with `kv` and `layout` of the network service's own configuration."""
    head = (
        "import sys; sys.path.insert(0, '/opt/machinectl/agent/current')\n"
        "from machinectl_agent.network.settings import load\n"
        "from machinectl_agent.network.records import *\n"
        "from machinectl_agent.kv.gateway import Gateway\n"
        "from machinectl_agent.kv.tls import Tls\n"
        "s = load(); kv = Gateway(s.endpoints, tls=Tls(s.ca, s.cert, s.key)); layout = Layout(s.prefix)\n"
    )
    return host.run("python3 -", stdin=head + code).stdout.strip()


def network(cluster):
    return json.loads(cluster.controller.run("network", "inspect", "demo").stdout)[0]


def subnet(cluster):
    return network(cluster)["IPAM"]["Config"][0]["Subnet"]


def test_nothing_is_wrong(cluster):
    until(lambda: not any(findings(cluster, name) for name in cluster.names), pause=0.5)
    until(
        lambda: "nothing is wrong" in cluster.controller.run("network", "doctor", check=False).stdout,
        pause=0.5,
    )


def tells(cluster, *words):
    """A probe lasts seconds: where the other side is not as quick, nothing can be said, and it is asked again."""
    until(lambda: (text := said(cluster)) and all(one in text for one in words), pause=0.5)


@pytest.mark.parametrize("hook", ["input", "output"])
def test_udp_4789_is_blocked_and_the_host_is_up(cluster, second, hook):
    with nft(second, f"type filter hook {hook} priority 0;", "udp dport 4789 drop"):
        direction = "so the host is up" if hook == "input" else "its answers do not come in"
        tells(cluster, "UDP 4789", "blocked", direction)

        def is_told():
            done = cluster.controller.run("network", "doctor", "demo", check=False)
            return done.returncode == 1 and "try: let UDP 4789" in done.stdout

        until(is_told, pause=0.5)
    until(lambda: "blocked" not in said(cluster), pause=0.5)


def test_a_lowered_mtu_is_measured(cluster, second):
    before = int(second.run("cat /sys/class/net/host0/mtu").stdout)
    second.run("ip link set host0 mtu 1300")
    try:
        tells(cluster, f"packets of {before} bytes don't reach", "1280 bytes do")
    finally:
        second.run(f"ip link set host0 mtu {before}")
    cluster.ask(cluster.names[1], "reconcile")
    until(lambda: not any(findings(cluster, name) for name in cluster.names), pause=0.5)


def test_a_deleted_fdb_entry_is_found_and_put_back(cluster, first):
    entry = network(cluster)
    mac = next(one["MacAddress"] for one in entry["Containers"].values() if one["Name"] == "c1")
    delete = (
        f"nsenter --net=/run/netns/mctl-{entry['Id'][:12]} bridge fdb del {mac} dev vxlan0 "
        f"dst {cluster.hosts[cluster.names[1]].ip} self"
    )

    def about_it(*, fix):
        first.run(delete, check=False)
        return [one for one in findings(cluster, fix=fix) if mac in one["what"]]

    # again where the reconcile of each minute came before the doctor
    assert ["missing" in one["what"] for one in until(lambda: about_it(fix=False))] == [True]
    assert [one["fixed"] for one in until(lambda: about_it(fix=True))] == [True]
    until(lambda: findings(cluster) == [], pause=0.5)
    assert cluster.works(cluster.names[0], "exec c0 ping -c 1 -W 2 c1")


def test_a_leaked_address_is_named(cluster, first):
    pool = subnet(cluster)
    address = pool.rpartition(".")[0] + ".200"
    in_etcd(first, f"kv.put(layout.address('{pool}', '{address}'), encode(AddressRecord(machine=s.id)))")
    try:
        assert f"the address {address} is taken by no container" in said(cluster)
    finally:
        in_etcd(first, f"kv.delete(layout.address('{pool}', '{address}'))")
    until(lambda: findings(cluster) == [], pause=0.5)


def test_a_leaked_endpoint_of_a_stranger_is_named(cluster, first):
    entry = network(cluster)
    record = (
        f"EndpointRecord('e'*64, '{entry['Id']}', 'nobody', '10.1.1.1', '', '02:42:0a:01:01:01', 'ghost')"
    )
    in_etcd(first, f"kv.put(layout.endpoint('{entry['Id']}', 'e'*64), encode({record}))")
    try:
        assert "ghost (10.1.1.1) is of a machine that is no member" in said(cluster)
    finally:
        in_etcd(first, f"kv.delete(layout.endpoint('{entry['Id']}', 'e'*64))")


def test_a_second_machine_with_our_vtep(cluster, first):
    in_etcd(first, f"kv.put(layout.machine('twin'), encode(MachineRecord('twin', 'twin', '{first.ip}')))")
    try:
        text = said(cluster)
        assert f"they have the same VTEP address {first.ip}" in text
        assert "machine twin: it has not been heard of" in text
    finally:
        in_etcd(first, "kv.delete(layout.machine('twin'))")
    until(lambda: findings(cluster) == [])


def test_a_foreign_forward_policy_is_named(cluster, first):
    with nft(first, "type filter hook forward priority 10; policy drop;", ""):
        text = said(cluster)
        assert "firewall: the chain inet fault c drops what it does not know" in text
        # containers of our networks are not concerned
        assert cluster.works(cluster.names[0], "exec c0 ping -c 1 -W 2 c1")


STRICT = """table inet fault {
    chain c {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname "lo" accept
        meta l4proto { tcp, icmp } accept
        udp dport 4789 accept
    }
}
"""


def test_an_input_policy_that_drops_containers_questions(cluster, first):
    """Containers in Docker's own networks are concerned, those in ours are not."""

    def waits():
        words = "run --rm busybox nslookup example.org 169.254.77.53"
        done = cluster.docker(cluster.names[0], words, check=False)
        return "timed out" in done.stdout + done.stderr

    assert not waits()
    first.run("nft -f -", stdin=STRICT)
    try:
        assert "dns: inet fault c drops what containers ask 169.254.77.53" in said(cluster)
        assert waits()
        assert cluster.works(cluster.names[0], "run --rm --network demo busybox ping -c 3 -W 2 c1")
        first.run("nft 'add rule inet fault c ip daddr 169.254.77.53 udp dport 53 accept'")
        assert "drops what containers ask" not in said(cluster)
        assert not waits()
    finally:
        first.run("nft delete table inet fault")


def test_flushed_rules_under_a_drop_policy(cluster, first):
    first.run("iptables -P FORWARD DROP && iptables -F FORWARD")
    try:
        assert "Docker's rules are not in it" in said(cluster)
    finally:
        first.run("iptables -P FORWARD ACCEPT; systemctl restart docker")
    until(lambda: findings(cluster) == [], pause=0.5)


def test_a_machine_that_is_down(cluster, second):
    """Its agent's lease ends; then it is called dead, not blocked."""
    second.run("systemctl stop machinectl-network")
    try:
        text = until(lambda: (text := said(cluster)) and "has not been heard of" in text and text, 180.0, 1.0)
        assert "blocked" not in text
    finally:
        second.run("systemctl start machinectl-network")
    until(lambda: findings(cluster) == [], pause=0.5)


def test_a_network_that_is_not_there(cluster):
    done = cluster.controller.run("network", "doctor", "nowhere", check=False)
    assert done.returncode != 0
    assert "there is no network nowhere" in done.stderr
