"""Membership on the host: what is planned from every state, what is written, what daemon.json gets."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from machinectl.actions.network.membership import joining, leaving, network_spec, settled
from machinectl.model import Machine, SshAddress
from machinectl_agent.engine import daemon_json, resolvers
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.network import admission, paths, underlay
from machinectl_agent.network.membership import (
    CERTIFICATES,
    KEY,
    identified,
    mode,
    parse_identity,
    render_config,
)
from machinectl_agent.phases import network as phase_module
from machinectl_agent.phases import network_leave, network_service
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.network import MODULES_FILE, NetworkPhase, Seen
from machinectl_agent.phases.network_leave import Member, NetworkGonePhase, NetworkLeavePhase
from machinectl_agent.phases.order import PHASES
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, NetworkSpec, Spec, TlsSpec

MINE, OTHER = "a" * 32, "b" * 32
WANTED = NetworkSpec("1f", "", ("https://10.0.0.1:2379",), "CA", "CERT", "KEY-TEXT")
CONFIG = render_config("node1", WANTED, ())
UNITS = {network_service.unit_file(unit): text for unit, text in network_service.unit_texts().items()}
MODULES = "# written by machinectl; changes are undone by the next provision\nvxlan\nbridge\nveth\n"
TEXTS = {
    CERTIFICATES[0]: "KEY-TEXT",
    CERTIFICATES[1]: "CERT",
    CERTIFICATES[2]: "CA",
    paths.CONFIG: CONFIG,
    **UNITS,
}
READY = Seen(
    member=True,
    config=CONFIG,
    files={name: (text, mode(name)) for name, text in TEXTS.items()},
    modules_text=MODULES,
    enabled=True,
    listening=True,
    current=MINE,
    running=network_service.Running(MINE, 7, stale=False),
)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    for module in (phase_module, network_service):
        monkeypatch.setattr(module, "own_hash", lambda: MINE)


def context(network=WANTED, **engine):
    spec = Spec("node1", EngineSpec(**engine), TlsSpec("", "", ""), network=network)
    return Context(spec, gather(Host("/nowhere")))


def titles(seen=READY, network=WANTED, **differing):
    return [
        one.title for one in NetworkPhase().plan(dataclasses.replace(seen, **differing), context(network))
    ]


def without(*names):
    return {name: (None, None) if name in names else found for name, found in READY.files.items()}


def test_nothing_where_all_is_there():
    assert titles() == []
    assert titles(network=None) == []


def test_everything_on_a_machine_that_joins():
    bare = Seen(
        member=True,
        config=CONFIG,
        files=without(*READY.files),
        loadable=("vxlan",),
        current=OTHER,
    )
    assert titles(bare) == [
        f"+ write {MODULES_FILE}",
        "+ load the kernel module vxlan",
        f"~ make {MINE[:12]} the current agent",
        *(f"+ write {name}" for name in CERTIFICATES),
        *(f"+ write {name}" for name in UNITS),
        f"+ write {paths.CONFIG}",
        "+ enable machinectl-network.socket and machinectl-network.service at boot",
        "+ start machinectl-network.socket",
        "+ start machinectl-network.service",
        "+ join the networks",
    ]


@pytest.mark.parametrize(
    ("differing", "wanted"),
    [
        (
            {"running": network_service.Running(OTHER, 7)},
            [f"! restart machinectl-network.service (it runs from {OTHER[:12]})"],
        ),
        ({"running": network_service.SILENT}, ["+ start machinectl-network.service"]),
        (
            {"running": network_service.Running(MINE, 7, stale=True)},
            ["! restart machinectl-network.service (it has an older configuration)"],
        ),
        (
            {"listening": False},
            [
                "+ start machinectl-network.socket",
                "! restart machinectl-network.service (its socket changes)",
            ],
        ),
        ({"enabled": False}, ["+ enable machinectl-network.socket and machinectl-network.service at boot"]),
        ({"files": without(KEY)}, [f"+ write {KEY}"]),
        ({"modules_text": ""}, [f"+ write {MODULES_FILE}"]),
    ],
)
def test_only_what_differs(differing, wanted):
    assert titles(**differing) == wanted


def test_another_configuration_is_joined_anew():
    assert titles(config=CONFIG.replace("10.0.0.1", "10.0.0.2")) == [
        f"~ write {paths.CONFIG}",
        "! restart machinectl-network.service (its configuration changes)",
        "~ join the networks anew",
    ]


def test_without_a_wish_only_the_service_is_kept_on_this_bundle():
    files = {**READY.files, KEY: ("another key", 0o600)}
    assert titles(network=None, files=files, running=network_service.Running(OTHER, 7)) == [
        f"! restart machinectl-network.service (it runs from {OTHER[:12]})"
    ]


def test_no_step_shows_a_key():
    bare = Seen(member=True, config=CONFIG, files=without(*READY.files))
    for step in NetworkPhase().plan(bare, context()):
        assert "KEY-TEXT" not in json.dumps(step.to_json()) + repr(step)
    assert "KEY-TEXT" not in repr(WANTED)
    assert "KEY-TEXT" not in json.dumps(context().spec.redacted()) + repr(context().spec)


def test_nobody_becomes_a_member_unasked(tmp_path):
    host = Host(str(tmp_path))
    phases: list[Any] = [NetworkPhase(), NetworkLeavePhase(), NetworkGonePhase()]
    for phase in phases:
        assert phase.plan(phase.observe(host, context(None)), context(None)) == []


def test_what_stands_in_the_way_is_said_before_anything_changes(tmp_path):
    host, phase = Host(str(tmp_path)), NetworkPhase()
    (tmp_path / "sys/module/vxlan").mkdir(parents=True)
    away = context(dataclasses.replace(WANTED, endpoints=("http://127.0.0.1:1",), ca="", cert="", key=""))
    with pytest.raises(Problem) as caught:
        phase.plan(phase.observe(host, away), away)
    assert caught.value.code == "etcd-unreachable"
    with pytest.raises(Problem) as caught:
        admission.check_vtep("203.0.113.99")
    assert caught.value.code == "vtep-not-here"
    admission.check_vtep("127.0.0.1")
    admission.check_vtep("lo")


def test_a_member_is_not_asked_again(tmp_path):
    """etcd may be away when it is provisioned."""
    host = Host(str(tmp_path))
    host.write(paths.CONFIG, CONFIG, 0o600)
    assert NetworkPhase().observe(host, context()).problem is None
    assert parse_identity(CONFIG) == ("1f", "node1", "")
    assert parse_identity("{torn") == parse_identity("[]") == ("", "", "")


def test_a_host_keeps_the_id_that_it_has_under_its_name():
    """A store that has forgotten it mints another one; a clone has another name."""
    other = dataclasses.replace(WANTED, id="2e")
    assert identified(other, "node1", CONFIG).id == "1f"
    assert identified(other, "node2", CONFIG).id == "2e"
    assert identified(other, "node1", "").id == "2e"


def test_the_order_of_the_phases():
    names = [phase.name for phase in PHASES]
    assert names.index("network") < names.index("engine-config") < names.index("engine-service")
    assert names.index("network-leave") < names.index("engine-config")
    assert names.index("engine-service") < names.index("network-gone")


def test_the_units_are_what_systemd_needs():
    service, socket = (
        UNITS[network_service.unit_file(network_service.SERVICE)],
        UNITS[network_service.unit_file(network_service.SOCKET)],
    )
    for line in ("Type=notify", "Restart=always", "WatchdogSec=90", "Requires=machinectl-network.socket"):
        assert f"\n{line}\n" in service
    for line in (
        "ListenStream=/run/docker/plugins/machinectl.sock",
        "SocketMode=0600",
        "WantedBy=sockets.target",
    ):
        assert f"\n{line}\n" in socket
    assert "\nBefore=docker.service\n" in socket
    # dockerd asks the service while it boots, and the service asks dockerd: neither may wait for the other
    assert "docker.service" not in service
    # a mount namespace of its own would hide network namespaces, which are mounts
    for word in ("ProtectSystem=", "PrivateTmp=", "ProtectHome=", "PrivateMounts=", "RestrictNamespaces="):
        assert not any(line.startswith(word) for line in service.splitlines())


# leaving


def leave_plan(seen, **more):
    wish = context(NetworkSpec("1f", absent=True, **more))
    return [one.title for one in NetworkLeavePhase().plan(seen, wish)]


def test_leaving():
    assert leave_plan(Member(joined=False)) == []
    assert leave_plan(Member(True, True)) == ["- leave the networks"]
    for seen, code in ((Member(True, True, ("web",)), "endpoints-left"), (Member(True), "network-silent")):
        with pytest.raises(Problem) as caught:
            leave_plan(seen)
        assert caught.value.code == code
        assert "--force" in caught.value.hint
    assert leave_plan(Member(True, False, ("web", "db")), force=True) == [
        "- disconnect 2 containers from the networks",
        "- leave the networks",
    ]


def test_what_is_left_goes_also_after_a_cut(tmp_path, monkeypatch):
    host, gone = Host(str(tmp_path)), NetworkGonePhase()
    monkeypatch.setattr(network_leave, "is_here", lambda _address: False)
    done = []
    monkeypatch.setattr(Host, "must", lambda _self, *words, **_: done.append(words))
    monkeypatch.setattr(Host, "run", lambda _self, *words, **_: done.append(words))
    wish = context(NetworkSpec("1f", absent=True))
    host.write(KEY, "KEY-TEXT", 0o600)
    host.write(network_service.unit_file(network_service.SOCKET), "x")
    host.write(paths.LEDGER, "{}")
    host.write(paths.CACHE, "{}")
    host.write(paths.ENDPOINTS, "{}")
    host.write("/etc/machinectl/other", "somebody else's")
    assert [step.title for step in gone.plan(gone.observe(host, wish), wish)] == [
        "- stop and disable machinectl-network.service and machinectl-network.socket",
        "- remove the units, the certificates and what the service knew",
    ]
    for step in gone.plan(gone.observe(host, wish), wish):
        step.apply(Work(host, print, print))
    assert gone.plan(gone.observe(host, wish), wish) == []
    assert ("systemctl", "disable", "machinectl-network.socket") in done
    assert not host.exists(paths.CACHE) and not host.exists(paths.ENDPOINTS)
    assert not host.exists("/etc/machinectl/etcd") and host.exists("/etc/machinectl/other")


# daemon.json


def dns_of(host, network, **engine):
    files = daemon_json.observe(host)
    wanted = daemon_json.wanted(files, EngineSpec(**engine), network)
    host.write(daemon_json.FILE, wanted.text)
    host.write(daemon_json.RECORD, wanted.record_text)
    again = daemon_json.wanted(daemon_json.observe(host), EngineSpec(**engine), network)
    assert again.text == wanted.text and again.record_text == wanted.record_text
    return wanted.document.get("dns"), daemon_json.upstreams(files, EngineSpec(**engine), network)


def resolv(tmp_path, *servers):
    (tmp_path / "etc").mkdir(exist_ok=True)
    (tmp_path / "etc/resolv.conf").write_text("".join(f"nameserver {one}\n" for one in servers))
    return Host(str(tmp_path))


OURS = paths.RESOLVER
GONE = NetworkSpec("1f", absent=True)


def test_our_server_comes_first_and_goes_again(tmp_path):
    host = resolv(tmp_path, "127.0.0.1", "192.0.2.1", "fe80::1%eth0", "::1")
    assert dns_of(host, None) == (None, ())
    assert dns_of(host, WANTED) == ([OURS, "192.0.2.1"], ())
    resolv(tmp_path, "192.0.2.2")
    assert dns_of(host, WANTED) == ([OURS, "192.0.2.2"], ())
    assert dns_of(host, GONE)[0] is None


def test_a_host_without_servers_has_ours_alone(tmp_path):
    host = resolv(tmp_path, "127.0.0.53")
    assert dns_of(host, WANTED)[0] == [OURS]


def test_systemd_resolveds_own_servers_are_found(tmp_path):
    host = resolv(tmp_path, "127.0.0.53")
    host.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.9\n")
    assert resolvers.host_servers(host) == ("192.0.2.9",)


def test_the_users_servers_stay_behind_ours_and_are_asked_by_us(tmp_path):
    host = resolv(tmp_path, "192.0.2.1")
    assert dns_of(host, WANTED, options={"dns": ["192.0.2.53"]}) == ([OURS, "192.0.2.53"], ("192.0.2.53",))
    assert dns_of(host, GONE, options={"dns": ["192.0.2.53"]})[0] == ["192.0.2.53"]


def test_the_hosts_own_daemon_json_comes_back(tmp_path):
    host = resolv(tmp_path, "192.0.2.1")
    host.write(daemon_json.FILE, '{"dns": ["192.0.2.77"]}')
    assert dns_of(host, WANTED) == ([OURS, "192.0.2.77"], ("192.0.2.77",))
    assert dns_of(host, WANTED) == ([OURS, "192.0.2.77"], ("192.0.2.77",))
    assert dns_of(host, GONE)[0] == ["192.0.2.77"]


def test_a_controller_without_the_wish_leaves_a_member_its_dns(tmp_path):
    host = resolv(tmp_path, "192.0.2.1")
    dns_of(host, WANTED)
    host.write(paths.CONFIG, CONFIG)
    assert dns_of(host, None)[0] == [OURS, "192.0.2.1"]


# the controller's side


def machine(**network):
    return Machine("node1", "10.0.0.1", SshAddress("10.0.0.1"), network=network)


def test_the_id_is_minted_once():
    first = joining(machine())
    assert len(first.network["id"]) == 16
    assert settled(first).network["state"] == "member"
    assert joining(settled(first), "eth1").network == {**first.network, "vtep": "eth1"}
    gone = settled(leaving(settled(first), force=True))
    assert gone.network == {"id": first.network["id"], "vtep": "", "state": "out"}
    assert joining(gone).network["id"] == first.network["id"]


def test_what_the_agent_is_told_follows_the_state(tmp_path):
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(tmp_path)
    assert network_spec(store, machine()) is None
    assert network_spec(store, machine(id="1f", state="out")) is None
    told = network_spec(store, leaving(machine(id="1f", state="member"), force=True))
    assert told == NetworkSpec("1f", absent=True, force=True)
    with pytest.raises(Exception, match="there is no etcd yet"):
        network_spec(store, machine(id="1f", state="member"))


def test_the_wish_travels():
    spec = context().spec
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert Spec.from_json(context(None).spec.to_json()).network is None


# the underlay


def test_an_interface_stands_for_its_address(monkeypatch):
    monkeypatch.setattr(underlay, "_ipv4_links", lambda: {"10.1.0.5": "eth1", "169.254.3.3": "eth2"})
    monkeypatch.setattr(underlay, "_ipv6_links", lambda: {"fe80::1": "eth2", "fd00::5": "eth2"})
    monkeypatch.setattr(underlay, "address_towards", lambda _endpoints: "10.9.9.9")
    assert underlay.vtep_address("eth1", ()) == "10.1.0.5"
    assert underlay.vtep_address("eth2", ()) == "fd00::5"
    assert underlay.vtep_address("eth9", ()) == "10.9.9.9"
    assert underlay.vtep_address("10.1.0.5", ()) == "10.1.0.5"
    assert underlay.vtep_address("10.1.0.6", ()) == "10.9.9.9"
    assert underlay.vtep_address("", ()) == "10.9.9.9"
