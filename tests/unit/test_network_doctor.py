"""The doctor's judgements: facts in, words out. Real faults are in tests/lab/test_network_doctor.py."""

from __future__ import annotations

import datetime
import json

import pytest

from machinectl_agent.network.doctor import (
    dns,
    docker,
    etcd,
    firewall,
    leaks,
    members,
    questions,
    reach,
    rules,
)
from machinectl_agent.network.doctor.examine import mark_fixed
from machinectl_agent.network.doctor.expiry import not_after
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.engine import DockerNetwork
from machinectl_agent.network.paths import RESOLVER
from machinectl_agent.network.probe.packet import ASK, LEAST, Probe, decode, encode
from machinectl_agent.network.probe.prober import Reach
from machinectl_agent.network.probe.responder import Ask, decode_ask, encode_ask
from machinectl_agent.network.records import (
    AddressRecord,
    EndpointRecord,
    MachineRecord,
    NetworkRecord,
    Pool,
)

DEMO = NetworkRecord("d" * 64, "demo", 5000, (Pool("10.77.1.0/24"),))


def whats(found):
    return [one.what for one in found]


def judged(found_reach, up=False, closed=""):
    return list(reach.judge("node2", "10.0.0.2", found_reach, 1500, 4789, host_answers=up, closed=closed))


def test_a_probe_is_a_vxlan_packet_of_no_network():
    payload = encode(Probe(ASK, b"12345678", 1500, 1.5), 1472)
    assert len(payload) == 1472
    assert payload[:8] == bytes.fromhex("08000000ffffff00")
    assert decode(payload) == Probe(ASK, b"12345678", 1500, 1.5)
    assert decode(payload[:4] + b"\0\0\1\0" + payload[8:]) is None
    assert decode(payload[:20]) is None


def test_a_question_survives_its_way_through_etcd():
    ask = Ask("id1", b"\0\1\2\3\4\5\6\7", "10.0.0.1", 1234)
    assert decode_ask("id1", encode_ask(ask)) == ask
    with pytest.raises(ValueError, match="no probe"):
        decode_ask("id1", b'{"vtep": 1}')


def test_blocked_and_down_are_told_apart():
    quiet = Reach(listening=True)
    assert whats(judged(quiet, up=True)) == ["UDP 4789 to 10.0.0.2 is blocked"]
    assert whats(judged(quiet, up=False)) == ["10.0.0.2 is not reached"]
    one_way = judged(Reach(listening=True, heard={LEAST}), closed="ip filter INPUT has a rule")
    assert "on its way here" in one_way[0].what
    assert "ip filter INPUT" in one_way[0].why
    assert "nothing can be said" in judged(Reach())[0].what
    assert "can't send" in judged(Reach(refused={LEAST: "Operation not permitted"}))[0].what


def test_all_sizes_through_is_no_finding_and_less_names_what_passes():
    assert judged(Reach(True, {LEAST, 1500}, {LEAST, 1500})) == []
    found = judged(Reach(True, {LEAST, 1400}, {LEAST, 1400}))
    assert whats(found) == ["packets of 1500 bytes don't reach 10.0.0.2, 1400 bytes do"]
    assert "--mtu 1350" in found[0].hint
    local = judged(Reach(True, {LEAST}, {LEAST}, {1500: "Message too long"}))
    assert "Message too long" in local[0].why


@pytest.mark.parametrize(
    ("ahead", "delay", "said"), [(0.5, 0.001, 0), (30.0, 0.001, 1), (-30.0, 0.001, 1), (2.4, 1.0, 0)]
)
def test_clocks_that_differ_are_named_unless_the_way_explains_it(ahead, delay, said):
    assert len(list(reach.clock("node2", Reach(clock=ahead, delay=delay)))) == said


def test_two_machines_of_one_vtep():
    machines = [MachineRecord(str(n), f"node{n}", vtep) for n, vtep in enumerate(("a", "b", "a"))]
    found = list(members.duplicates(machines))
    assert [one.subject for one in found] == ["machines node0, node2"]


def test_leaks_are_named_by_whose_they_are():
    endpoint = EndpointRecord("e1", DEMO.id, "me", "10.77.1.2", "", "02:42:0a:4d:01:02", "c1")
    addresses = {
        "10.77.1.1": AddressRecord("me", "gateway"),
        "10.77.1.2": AddressRecord("me", endpoint="e1"),
        "10.77.1.3": AddressRecord("me"),
        "10.77.1.4": AddressRecord("gone"),
        "10.77.1.5": AddressRecord("peer"),
    }
    found = whats(leaks.leaked_addresses(DEMO, addresses, [endpoint], "me", {"me", "peer"}))
    assert found == [
        "the address 10.77.1.3 is taken by no container",
        "the address 10.77.1.4 belongs to a machine that is no member",
    ]
    assert whats(leaks.leaked_endpoints(DEMO, [endpoint], set(), "me", {"me"})) == [
        "the endpoint c1 (10.77.1.2) is of no container here"
    ]
    assert whats(leaks.leaked_endpoints(DEMO, [endpoint], {"e1"}, "me", {"me"})) == []


def test_networks_of_docker_and_of_etcd():
    replica = DockerNetwork("x", "demo", DEMO.id, replica=True)
    stranger = DockerNetwork("y", "old", "o" * 64, replica=True)
    assert list(docker.compare([replica], [DEMO], "node1")) == []
    assert len(list(docker.compare([stranger], [DEMO, DEMO], "node1"))) == 3
    only = NetworkRecord("n" * 64, "far", 1, (), on=("node9",))
    assert list(docker.compare([replica], [DEMO, only], "node1")) == []
    assert len(list(docker.unknown_endpoints("demo", {"a", "b"}, {"a"}))) == 1


def test_old_knowledge_is_named_with_its_age():
    assert list(etcd.stale(0.0)) == []
    assert whats(etcd.stale(1e9)) == ["what is known of other machines is of 2001-09-09 01:46:40 UTC"]


def test_dns_order():
    assert list(dns.order({"dns": [RESOLVER, "9.9.9.9"]}, "n")) == []
    assert "comes before" in whats(dns.order({"dns": ["9.9.9.9", RESOLVER]}, "n"))[0]
    assert "is not among" in whats(dns.order({}, "n"))[0]


def test_a_certificate_and_a_slow_etcd(tmp_path):
    from machinectl.pki.authority import ensure_authority  # noqa: PLC0415 - the only use of the controller here

    pem = ensure_authority(tmp_path).certificate.decode()
    ends = not_after(pem)
    years = (ends - datetime.datetime.now(datetime.timezone.utc).timestamp()) / 86400 / 365
    assert 0.9 < years < 30
    assert list(etcd.certificate("cert.pem", ends, ends - 30 * 86400)) == []
    assert "expires soon" in whats(etcd.certificate("cert.pem", ends, ends - 86400))[0]
    assert "has expired" in whats(etcd.certificate("cert.pem", ends, ends + 1))[0]
    assert etcd.slow("u", 0.01) is None
    slow = etcd.slow("u", 0.5)
    assert slow
    assert "0.50 s" in slow.what


SAVED = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker_gwbridge -j DOCKER
COMMIT
"""


def nft(family, table, chain, hook, policy, *expressions):
    parts = [
        {
            "chain": {
                "family": family,
                "table": table,
                "name": chain,
                "hook": hook,
                "type": "filter",
                "policy": policy,
            }
        }
    ]
    parts += [
        {"rule": {"family": family, "table": table, "chain": chain, "expr": one}} for one in expressions
    ]
    return json.dumps({"nftables": [{"metainfo": {}}, *parts]})


PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 4789}}


def test_what_closes_the_port_here():
    assert rules.closing(rules.parse_save("ip", SAVED), 4789) == [
        "ip filter INPUT has the policy drop, and no rule for UDP 4789"
    ]
    assert rules.closing(rules.parse_save("ip", SAVED), 53) == []
    dropping = rules.parse_nft(nft("inet", "mine", "in", "input", "accept", [PORT, {"drop": None}]))
    assert rules.closing(dropping, 4789) == ["inet mine in has a rule that drops UDP 4789"]
    letting = rules.parse_nft(nft("inet", "mine", "in", "input", "drop", [PORT, {"accept": None}]))
    assert rules.closing(letting, 4789) == []
    assert rules.parse_nft("nonsense") == []


def test_forward_chains_that_close_the_way_out():
    def said(chains):
        return whats(firewall.judge(chains, has_containers=True))

    assert said(rules.parse_save("ip", SAVED)) == []
    flushed = ":FORWARD DROP [0:0]\n"
    assert "Docker's rules are not in it" in said(rules.parse_save("ip", flushed))[0]
    foreign = rules.parse_nft(nft("inet", "mine", "fwd", "forward", "drop"))
    assert "does not know docker_gwbridge" in said(foreign)[0]
    first = ":FORWARD ACCEPT [0:0]\n-A FORWARD -i docker_gwbridge -j DROP\n-A FORWARD -j DOCKER-USER\n"
    assert "drops what containers send" in said(rules.parse_save("ip", first))[0]
    assert said(rules.parse_nft(nft("inet", "mine", "fwd", "forward", "accept"))) == []


UFW = """*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p udp -m udp --dport 4789 -j ACCEPT
"""


@pytest.mark.parametrize(
    ("more", "is_closed"),
    [
        ("", True),
        ("-A ufw-user-input -p udp -m udp --dport 53 -j ACCEPT", False),
        ("-A ufw-user-input -d 169.254.77.53/32 -p udp -m udp --dport 53 -j ACCEPT", False),
        ("-A ufw-user-input -i docker0 -j ACCEPT", False),
        ("-A ufw-user-input -p udp -j ACCEPT", False),
        ("-A ufw-user-input -p tcp -m tcp --dport 53 -j ACCEPT", True),
        ("-A INPUT -j ACCEPT", False),
    ],
)
def test_a_firewall_that_drops_containers_questions(more, is_closed):
    found = list(questions.judge(rules.parse_save("ip", UFW + more)))
    assert [one.subject for one in found] == ["dns"] * is_closed
    assert all("ip filter INPUT drops" in one.what and "--dport 53" in one.hint for one in found)


def test_other_chains_and_policies_drop_no_question():
    assert list(questions.judge(rules.parse_save("ip", ":INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"))) == []
    dropping = ":INPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j DROP\n-A INPUT -p udp -j ACCEPT\n"
    assert len(list(questions.judge(rules.parse_save("ip", dropping)))) == 1
    closed = rules.parse_nft(nft("inet", "mine", "in", "input", "drop"))
    assert len(list(questions.judge(closed))) == 1
    opened = rules.parse_nft(nft("inet", "mine", "in", "input", "drop", [PORT, {"accept": None}]))
    assert len(list(questions.judge(opened))) == 1, "that is VXLAN's port"
    # a chain that jumps to itself by another ends
    loop = ":INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n-A b -j a\n"
    assert len(list(questions.judge(rules.parse_save("ip", loop)))) == 1


def test_what_a_reconcile_ended_is_marked():
    gone, stays = Finding("network demo", "a", check="kernel"), Finding("network demo", "b", check="kernel")
    other, new = Finding("etcd", "c", check="etcd"), Finding("network demo", "d", check="leaks")
    marked = mark_fixed([gone, stays, other], [stays, new])
    assert [(one.what, one.fixed) for one in marked] == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d", False),
    ]
