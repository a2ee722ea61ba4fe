"""The network service's parts that need neither etcd nor dockerd nor root."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.failover import Aside, Failover
from machinectl_agent.kv.interface import Change, KeyValue, KvUnavailable, Snapshot
from machinectl_agent.network import underlay
from machinectl_agent.network.cache import Cache
from machinectl_agent.network.driver import mac_of, own_options, wanted_mac
from machinectl_agent.network.engine import parse_network, render_network
from machinectl_agent.network.ipam import check_space
from machinectl_agent.network.ledger import Ledger
from machinectl_agent.network.names import parse_container
from machinectl_agent.network.plugin import Plugin, answer_call, bound_socket, passed_socket
from machinectl_agent.network.records import (
    EndpointRecord,
    EtcdRecord,
    Layout,
    MachineRecord,
    NetworkRecord,
    Pool,
    decode,
    encode,
)
from machinectl_agent.network.settings import Settings, load
from machinectl_agent.network.settling import Here, Settling
from machinectl_agent.network.view import HOLD, Known, View
from machinectl_agent.network.whereabouts import Whereabouts
from machinectl_agent.network.worker import Worker
from machinectl_agent.problems import Problem

NETWORK = NetworkRecord(
    id="n" * 64, name="demo", vni=4097, pools=(Pool("10.77.1.0/24", "10.77.1.128/25", "10.77.1.1"),),
    internal=True, labels={"a": "b"}, options={"machinectl.mtu": "1400"}, on=("node1",), creator="m1",
)  # fmt: skip
ENDPOINT = EndpointRecord("e1" * 32, NETWORK.id, "m1", "10.77.1.2", "", "02:42:0a:4d:01:02", "web", ("www",))


def test_records_survive_their_json():
    for record in (NETWORK, ENDPOINT, MachineRecord("m1", "node1", "10.0.0.1")):
        assert decode(type(record), encode(record)) == record


def test_a_record_of_a_newer_agent_is_read():
    text = json.dumps({**json.loads(encode(ENDPOINT)), "colour": "red"}).encode()
    assert decode(EndpointRecord, text) == ENDPOINT
    with pytest.raises(ValueError, match="no NetworkRecord"):
        decode(NetworkRecord, b"[]")


class TestLedger:
    def test_what_is_written_is_there_for_the_next_process(self, tmp_path):
        path = str(tmp_path / "sub/ledger.json")
        ledger = Ledger(path, clock=lambda: 5.0)
        ledger.put_network("d" * 64, NETWORK)
        ledger.put_endpoint(ENDPOINT)
        ledger.set_sandbox(ENDPOINT.id, "/var/run/docker/netns/1")
        again = Ledger(path)
        assert again.network("d" * 64) == NETWORK
        assert again.network(NETWORK.id) == NETWORK
        local = again.endpoint(ENDPOINT.id)
        assert local and (local.record, local.sandbox, local.since) == (
            ENDPOINT,
            "/var/run/docker/netns/1",
            5.0,
        )
        assert (tmp_path / "sub/ledger.json").stat().st_mode & 0o777 == 0o600

    def test_a_damaged_file_counts_as_none(self, tmp_path):
        (tmp_path / "ledger.json").write_text('{"ids": {"a"')
        assert Ledger(str(tmp_path / "ledger.json")).endpoints() == []

    def test_the_networks_of_a_container(self, tmp_path):
        ledger = Ledger(str(tmp_path / "l"))
        ledger.put_endpoint(ENDPOINT)
        ledger.put_endpoint(EndpointRecord("e2", "n2", "m1", "10.77.2.2", "", "02:42:0a:4d:02:02"))
        assert ledger.sandboxes() == {ENDPOINT.id: [NETWORK.id], "e2": ["n2"]}
        for endpoint in (ENDPOINT.id, "e2"):
            ledger.set_sandbox(endpoint, "/s")
        assert ledger.sandboxes() == {ENDPOINT.id: [NETWORK.id, "n2"], "e2": [NETWORK.id, "n2"]}
        assert [one.record.id for one in ledger.neighbours("/s")] == [ENDPOINT.id, "e2"]
        assert ledger.neighbours("") == []

    def test_a_network_is_gone_with_its_last_docker_network(self, tmp_path):
        ledger = Ledger(str(tmp_path / "l"))
        ledger.put_network("d1", NETWORK)
        ledger.put_network("d2", NETWORK)
        ledger.drop_network("d1")
        assert ledger.networks() == {NETWORK.id: NETWORK}
        ledger.drop_network("d2")
        assert ledger.networks() == {}


class TestView:
    layout = Layout("/x/")

    def snapshot(self, prefix, **records):
        items = tuple(KeyValue(prefix + name, encode(one)) for name, one in records.items())
        return Snapshot(prefix, 7, items)

    def test_snapshot_and_changes(self):
        view, prefix = View(self.layout), self.layout.endpoints(NETWORK.id)
        moved = view.apply(self.snapshot(prefix, **{ENDPOINT.id: ENDPOINT}))
        assert moved and (moved.kind, moved.network, moved.whole) == ("endpoints", NETWORK.id, True)
        gone = view.apply(Change(prefix, prefix + ENDPOINT.id, None, 8))
        assert gone and gone.before == ENDPOINT and gone.after is None
        assert view.endpoints(NETWORK.id) == []
        assert view.apply(Change(prefix, prefix + ENDPOINT.id, None, 9)) is None
        assert view.revision == 9

    def test_a_bad_record_takes_no_other_with_it(self):
        view, prefix = View(self.layout), self.layout.networks
        view.apply(
            Snapshot(
                prefix, 1, (KeyValue(prefix + "bad", b"{"), KeyValue(prefix + NETWORK.id, encode(NETWORK)))
            )
        )
        assert view.networks() == {NETWORK.id: NETWORK}

    def test_nobody_is_dead_before_both_lists_are_known(self):
        view = View(self.layout)
        view.apply(self.snapshot(self.layout.machines, m1=MachineRecord("m1", "a", "10.0.0.1")))
        assert view.dead() == set()
        view.apply(Snapshot(self.layout.alives, 1, ()))
        assert view.dead() == {"m1"}
        view.apply(Change(self.layout.alives, self.layout.alives + "m1", b"", 2))
        assert view.dead() == set()

    def restored(self, view, prefix, **records):
        items = tuple(KeyValue(prefix + name, encode(one)) for name, one in records.items())
        return view.apply(Snapshot(prefix, 3, items, cluster=2, restored=True))

    def known(self, clock=time.monotonic):
        """Two living machines, an endpoint each."""
        layout, view = self.layout, View(self.layout, clock)
        machines = {one: MachineRecord(one, one, f"10.0.0.{one[1]}") for one in ("m1", "m2")}
        other = dataclasses.replace(ENDPOINT, id="e2" * 32, machine="m2", ip="10.77.1.3")
        for prefix, records in (
            (layout.machines, machines),
            (layout.networks, {NETWORK.id: NETWORK}),
            (layout.endpoints(NETWORK.id), {ENDPOINT.id: ENDPOINT, other.id: other}),
        ):
            view.apply(dataclasses.replace(self.snapshot(prefix, **records), cluster=1))
        for one in machines:
            view.apply(Change(layout.alives, layout.alives + one, b"", 8))
            view.apply(Change(layout.settled, layout.settled + one, b"1", 9))
        return view, machines, other

    def test_after_a_restore_what_was_known_counts_until_all_have_put_back_theirs(self):
        view, machines, other = self.known()
        layout, prefix = self.layout, self.layout.endpoints(NETWORK.id)
        stale = dataclasses.replace(ENDPOINT, id="e3" * 32, ip=other.ip)
        moved = self.restored(view, layout.machines, m1=machines["m1"])
        assert moved and moved.kind == "restored"
        assert self.restored(view, prefix, **{ENDPOINT.id: ENDPOINT, stale.id: stale})
        view.apply(Snapshot(layout.settled, 3, (KeyValue(layout.settled + "m1", b"1"),), 2, restored=True))
        assert view.is_holding and view.unsettled() == ["m1", "m2"] and view.dump() is None
        assert view.endpoints(NETWORK.id) == [ENDPOINT, other]
        assert view.registered("m2") is None and view.vtep("m2") == "10.0.0.2"
        assert not view.wait_settled(2, 0.01)
        view.apply(Change(prefix, prefix + stale.id, None, 4))
        view.apply(Change(layout.settled, layout.settled + "m1", b"2", 5))
        view.apply(Change(layout.machines, layout.machines + "m2", encode(machines["m2"]), 6))
        view.apply(Change(prefix, prefix + other.id, encode(other), 7))
        assert view.unsettled() == ["m2"]
        view.apply(Change(layout.settled, layout.settled + "m2", b"2", 8))
        assert view.unsettled() == []
        assert [one.kind for one in view.release()] == ["machines", "endpoints"]
        assert not view.is_holding and view.wait_settled(2, 0.01)
        assert view.endpoints(NETWORK.id) == [ENDPOINT, other]

    def test_a_machine_that_says_nothing_is_not_waited_for_for_ever(self):
        now = [0.0]
        view, machines, _ = self.known(lambda: now[0])
        self.restored(view, self.layout.machines, **machines)
        self.restored(view, self.layout.endpoints(NETWORK.id))
        now[0] = HOLD - 1
        assert view.unsettled() == ["m1", "m2"]
        now[0] = HOLD
        assert view.unsettled() == []
        view.release()
        assert view.endpoints(NETWORK.id) == []

    def test_what_the_process_before_knew_counts_until_etcd_is_heard(self):
        view, machines, other = self.known()
        found = view.dump()
        layout, again = self.layout, View(self.layout)
        again.load(found)
        prefix = layout.endpoints(NETWORK.id)
        assert again.endpoints(NETWORK.id) == [ENDPOINT, other]
        assert again.has_peers(NETWORK.id) and not again.knows_peers(NETWORK.id)
        assert again.vtep("m2") == "10.0.0.2"
        # the same cluster: what it says replaces it
        again.apply(dataclasses.replace(self.snapshot(layout.machines, m1=machines["m1"]), cluster=1))
        assert not again.knows_peers(NETWORK.id)
        again.apply(dataclasses.replace(self.snapshot(prefix, **{other.id: other}), cluster=1))
        assert again.endpoints(NETWORK.id) == [other] and set(again.machines()) == {"m1"}
        assert again.knows_peers(NETWORK.id)
        # another one: it was restored while nobody listened
        third = View(self.layout)
        third.load(found)
        third.apply(dataclasses.replace(self.snapshot(layout.machines, m1=machines["m1"]), cluster=2))
        assert third.is_holding and set(third.machines()) == {"m1", "m2"}
        assert third.unsettled() == ["m1", "m2"], "nobody counts as dead before that list is known"
        third.apply(Snapshot(layout.settled, 3, (), 2))
        third.apply(Snapshot(layout.alives, 3, (KeyValue(layout.alives + "m2", b""),), 2))
        assert third.unsettled() == ["m2"]

    def test_waiting_for_a_snapshot(self):
        view = View(self.layout)
        assert not view.wait_for(self.layout.networks, 0.01)
        threading.Timer(0.05, view.apply, [Snapshot(self.layout.networks, 1, ())]).start()
        assert view.wait_for(self.layout.networks, 5)


class TestCache:
    layout = Layout("/x/")

    def view(self):
        layout, view = self.layout, View(self.layout)
        machine = MachineRecord("m1", "node1", "10.0.0.1")
        for prefix, records in (
            (layout.machines, [machine]),
            (layout.networks, [NETWORK]),
            (layout.endpoints(NETWORK.id), [ENDPOINT]),
        ):
            items = tuple(KeyValue(prefix + one.id, encode(one)) for one in records)
            view.apply(Snapshot(prefix, 7, items, cluster=2**63 + 1))
        return view

    def cache(self, path, view):
        return Cache(str(path), view, Journal(io.StringIO()), clock=lambda: 1e9)

    def test_the_next_process_knows_what_this_one_did(self, tmp_path):
        path, view = tmp_path / "sub/known.json", self.view()
        cache = self.cache(path, view)
        cache.save()
        assert not path.exists(), "nothing has changed"
        cache.note()
        cache.save()
        assert path.stat().st_mode & 0o777 == 0o600
        assert [one.name for one in path.parent.iterdir()] == ["known.json"]
        again = View(self.layout)
        loaded = self.cache(path, again)
        assert loaded.load() and loaded.written == 1e9
        assert again.endpoints(NETWORK.id) == [ENDPOINT]
        assert again.network(NETWORK.id) == NETWORK and again.vtep("m1") == "10.0.0.1"
        assert again.cluster == 2**63 + 1

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"cluster": 1, "machines": [{"id": 1}]}', "null"])
    def test_a_damaged_file_counts_as_none(self, tmp_path, text):
        (tmp_path / "known").write_text(text)
        view = View(self.layout)
        assert not self.cache(tmp_path / "known", view).load()
        assert view.machines() == {}
        assert not self.cache(tmp_path / "none", view).load()

    def test_what_is_not_etcds_word_is_not_written(self, tmp_path):
        view = self.view()
        cache = self.cache(tmp_path / "known", view)
        view.apply(Snapshot(self.layout.machines, 3, (), cluster=2, restored=True))
        cache.note()
        cache.save()
        assert not (tmp_path / "known").exists()
        loaded = View(self.layout)
        loaded.load(Known(1, {}, {}, {}))
        other = self.cache(tmp_path / "known", loaded)
        other.note()
        other.save()
        assert not (tmp_path / "known").exists()

    def test_a_file_has_an_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr("machinectl_agent.network.cache.MOST", 2)
        view = self.view()
        prefix = self.layout.endpoints("big")
        many = [dataclasses.replace(ENDPOINT, id=f"e{n}", network="big") for n in range(3)]
        view.apply(Snapshot(prefix, 7, tuple(KeyValue(prefix + one.id, encode(one)) for one in many)))
        cache = self.cache(tmp_path / "known", view)
        cache.note()
        cache.save()
        again = View(self.layout)
        self.cache(tmp_path / "known", again).load()
        assert again.endpoints(NETWORK.id) == [ENDPOINT] and not again.has_peers("big")

    def test_a_full_disk_ends_nothing(self, tmp_path):
        (tmp_path / "file").write_text("")
        cache = self.cache(tmp_path / "file/known", self.view())
        cache.note()
        assert cache.save_surely() == 60.0


class TestWhereabouts:
    """Where etcd is, as it changes."""

    NEW = ("https://10.0.0.2:2379",)

    def settings(self, tmp_path, endpoints=("https://10.0.0.1:2379",)):
        return Settings("m1", "node1", endpoints, learned=str(tmp_path / "sub/etcd.json"))

    def made(self, tmp_path, monkeypatch, *, answers=True, **more):
        def ask(_self, _wanted):
            if not answers:
                raise KvUnavailable("refused")

        monkeypatch.setattr(Whereabouts, "_ask", ask)
        made = Whereabouts(self.settings(tmp_path, **more), Journal(io.StringIO()))
        used: list[object] = []
        made.use, made.put = used.append, made.take
        return made, used

    def item(self, *urls):
        key = Layout().etcd_endpoints
        return Change(Layout().etcd, key, encode(EtcdRecord(urls)), 5)

    def test_new_members_are_used_and_kept_for_the_next_start(self, tmp_path, monkeypatch):
        made, used = self.made(tmp_path, monkeypatch)
        made.heard(self.item("https://10.0.0.1:2379"))
        assert used == [] and not (tmp_path / "sub").exists()
        made.heard(self.item(*self.NEW))
        assert used == [self.NEW] and made.endpoints == self.NEW
        assert (tmp_path / "sub/etcd.json").stat().st_mode & 0o777 == 0o600
        assert self.made(tmp_path, monkeypatch)[0].endpoints == self.NEW

    def test_a_configuration_that_was_written_since_counts(self, tmp_path, monkeypatch):
        made, _ = self.made(tmp_path, monkeypatch)
        made.heard(self.item(*self.NEW))
        third = ("https://10.0.0.3:2379",)
        assert self.made(tmp_path, monkeypatch, endpoints=third)[0].endpoints == third

    def test_members_that_do_not_answer_are_not_used_and_asked_again(self, tmp_path, monkeypatch):
        made, used = self.made(tmp_path, monkeypatch, answers=False)
        made.heard(self.item(*self.NEW))
        assert used == [] and made.endpoints == ("https://10.0.0.1:2379",)
        monkeypatch.setattr(Whereabouts, "_ask", lambda *_: None)
        made.again()
        assert used == [self.NEW]
        made.again()
        assert used == [self.NEW]

    @pytest.mark.parametrize(
        "item",
        [
            Snapshot("/machinectl/v1/etcd/", 1, ()),
            Change("/machinectl/v1/etcd/", "/machinectl/v1/etcd/endpoints", None, 1),
            Change("/machinectl/v1/etcd/", "/machinectl/v1/etcd/endpoints", b"{", 1),
            Change("/machinectl/v1/etcd/", "/machinectl/v1/etcd/endpoints", b'{"endpoints": [1]}', 1),
            Change("/machinectl/v1/etcd/", "/machinectl/v1/etcd/other", b'{"endpoints": ["https://x:1"]}', 1),
        ],
    )
    def test_what_is_no_list_changes_nothing(self, tmp_path, monkeypatch, item):
        made, used = self.made(tmp_path, monkeypatch)
        made.heard(item)
        assert used == []

    def test_a_snapshot_says_it_as_well(self, tmp_path, monkeypatch):
        made, used = self.made(tmp_path, monkeypatch)
        value = encode(EtcdRecord(self.NEW))
        made.heard(Snapshot(Layout().etcd, 1, (KeyValue(Layout().etcd_endpoints, value),)))
        assert used == [self.NEW]


def test_a_client_that_is_told_of_other_members_asks_them():
    failover = Failover(["http://a:1", "http://b:1"], tls=False)
    asked = []

    def ask(endpoint, _connected_by, _until):
        asked.append(endpoint.url)
        failover.use(["http://c:1", "http://b:1"])
        if endpoint.url == "http://a:1":
            raise Aside(KvUnavailable("gone"))
        return endpoint.url

    # what is under way goes on with those of before
    assert failover.run(ask, 1.0) == "http://b:1"
    assert failover.first.url == "http://b:1"
    failover.use(["http://c:1"])
    assert failover.first.url == "http://c:1"
    with pytest.raises(ValueError, match="no endpoint"):
        failover.use([])


class TestSettling:
    """Claims in a cluster that is restored at the same moment."""

    class Registry:
        def __init__(self, view):
            self.view = view
            self.cluster = 1
            self.claims = []

        def claim(self):
            self.claims.append(self.cluster)
            return f"10.77.1.{len(self.claims)}/24"

    def test_what_the_restored_cluster_gave_too_early_is_given_back(self):
        layout = Layout("/x/")
        view = View(layout)
        machine = KeyValue(layout.machine("m1"), encode(MachineRecord("m1", "a", "10.0.0.1")))
        view.apply(Snapshot(layout.machines, 9, (machine,), 1))
        view.apply(Change(layout.alives, layout.alive("m1"), b"", 9))
        registry: Any = self.Registry(view)
        undone: list[object] = []
        settling = Settling(view, registry, patience=0.2)
        assert settling.ask(registry.claim, undone.append) == "10.77.1.1/24"
        # etcd is another one already, and the watch has not seen it
        registry.cluster = 2
        with pytest.raises(Problem, match="restored from a backup"):
            settling.ask(registry.claim, undone.append)
        assert undone == ["10.77.1.2/24"]
        view.apply(Snapshot(layout.machines, 3, (machine,), 2, restored=True))
        with pytest.raises(Problem) as caught:
            settling.ask(registry.claim, undone.append)
        assert caught.value.why == "still missing: a"
        assert len(undone) == 1, "nothing is asked for while others may miss something"
        settling = Settling(view, registry, patience=10)
        threading.Timer(0.05, view.release).start()
        assert settling.ask(registry.claim, undone.append) == "10.77.1.3/24"

    def test_the_endpoints_of_the_moment(self, tmp_path):
        ledger = Ledger(str(tmp_path / "l"))
        here = Here(ledger)
        assert len(here) == 0 and ENDPOINT.id not in here
        ledger.put_endpoint(ENDPOINT)
        assert (
            list(here.values()) == [ENDPOINT]
            and here[ENDPOINT.id] == ENDPOINT
            and list(here) == [ENDPOINT.id]
        )


def test_a_replica_and_back():
    wanted = render_network(NETWORK)
    assert wanted["IPAM"]["Config"] == [
        {"Subnet": "10.77.1.0/24", "IPRange": "10.77.1.128/25", "Gateway": "10.77.1.1"}
    ]
    assert wanted["Internal"] is True
    assert wanted["Options"] == {"machinectl.mtu": "1400", "machinectl.id": NETWORK.id}
    found = parse_network({"Id": "d1", "Name": "demo", "Options": wanted["Options"]})
    assert (found.id, found.replica) == (NETWORK.id, True)
    assert parse_network({"Id": "d1", "Name": "demo", "Options": None}).id == "d1"


def test_names_of_a_container():
    inspected = {
        "Id": "0123456789abcdef", "Name": "/web",
        "NetworkSettings": {"Networks": {
            "demo": {"EndpointID": "e1", "Aliases": ["www", "0123456789ab"], "DNSNames": ["web", "www", "api"]},
            "none": {"EndpointID": ""},
        }},
    }  # fmt: skip
    assert list(parse_container(inspected)) == [("e1", "web", ("api", "www"))]


class TestDriverWords:
    def test_mac_addresses(self):
        assert mac_of("10.77.1.2", "e") == "02:42:0a:4d:01:02"
        assert mac_of("", "e").startswith("02:42:")
        assert mac_of("", "e") != mac_of("", "f")
        assert wanted_mac({"com.docker.network.endpoint.macaddress": "AkIKTQED"}) == "02:42:0a:4d:01:03"
        assert wanted_mac({}) == ""

    def test_options(self):
        assert own_options({"machinectl.mtu": "1400", "machinectl.id": "x"})["mtu"] == "1400"
        assert own_options({"com.docker.network.driver.mtu": "1300"})["mtu"] == "1300"
        with pytest.raises(Problem, match="no option 'encrypted'") as caught:
            own_options({"encrypted": "true"})
        assert "not done" in caught.value.why
        for wrong in ({"machinectl.mtu": "big"}, {"machinectl.vni": "0"}, {"machinectl.vni": str(2**24 - 1)}):
            with pytest.raises(Problem, match="a number"):
                own_options(wrong)

    def test_addresses_of_another_ipam_are_refused(self):
        check_space(({"AddressSpace": "machinectl"},))
        with pytest.raises(Problem) as caught:
            check_space(({"AddressSpace": "LocalDefault"},))
        assert "--ipam-driver machinectl" in caught.value.hint


class TestPlugin:
    def call(self, path, body, headers=""):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
            one.sendall(
                b"POST /NetworkDriver.Join HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + headers.encode()
                + b"\r\n"
                + body
            )
            answer = b""
            while part := one.recv(65536):
                answer += part
        head, _, text = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(text)

    @pytest.fixture
    def plugin(self, tmp_path):
        path = str(tmp_path / "sub/p.sock")
        made = Plugin(
            bound_socket(path),
            {"NetworkDriver.Join": lambda request: {"echo": request}},
            Journal(io.StringIO()),
        )
        made.start()
        yield path
        made.shutdown()
        made.socket.close()

    def test_a_call_with_a_length_and_one_in_chunks(self, plugin):
        body = b'{"a":1}'
        assert self.call(plugin, body, f"Content-Length: {len(body)}\r\n") == (200, {"echo": {"a": 1}})
        chunks = b"3\r\n" + body[:3] + b"\r\n4\r\n" + body[3:] + b"\r\n0\r\n\r\n"
        assert self.call(plugin, chunks, "Transfer-Encoding: chunked\r\n") == (200, {"echo": {"a": 1}})

    @pytest.mark.parametrize(
        ("raised", "said"),
        [
            (
                Problem("x", "no address left", why="all are taken", hint="remove one"),
                "no address left: all are taken; remove one",
            ),
            (
                KvUnavailable("no leader"),
                "machinectl: etcd does not answer, nothing new can be joined to a network: no leader",
            ),
            (KeyError("x"), "machinectl: a fault of the agent's own: KeyError('x')"),
        ],
    )
    def test_failures_are_said_in_both_words(self, raised, said):
        def call(_request):
            raise raised

        answer, status = answer_call({"A": call}, Journal(io.StringIO()), "A", b"{}")
        assert (answer, status) == ({"Err": said, "Error": said}, 200)

    def test_an_unknown_call(self):
        assert answer_call({}, Journal(io.StringIO()), "B", b"")[1] == 404

    def test_a_socket_is_taken_only_when_it_was_passed_to_us(self):
        assert passed_socket({}) is None
        assert passed_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None


class TestUnderlay:
    def test_loopback(self):
        assert underlay.is_here("127.0.0.1")
        assert not underlay.is_here("192.0.2.77")
        assert underlay.link_mtu("127.0.0.1") == int(Path("/sys/class/net/lo/mtu").read_text())
        assert underlay.link_mtu("192.0.2.77") == 1500

    def test_the_mtu_of_a_container(self):
        assert underlay.container_mtu(1400, "127.0.0.1") == 1400
        assert underlay.container_mtu(0, "192.0.2.77") == 1450
        assert underlay.container_mtu(0, "2001:db8::1") == 1430

    def test_an_address_that_is_here_is_kept(self):
        assert underlay.vtep_address("127.0.0.1", ["https://127.0.0.1:1"]) == "127.0.0.1"


class TestSettings:
    def test_a_file_and_its_faults(self, tmp_path):
        path = tmp_path / "network.json"
        path.write_text(
            '{"id":"m1","name":"node1","endpoints":["https://10.0.0.1:2379"],"pools":["10.88.0.0/16"]}'
        )
        settings = load(str(path))
        assert settings == Settings("m1", "node1", ("https://10.0.0.1:2379",), pools=("10.88.0.0/16",))
        path.write_text('{"id":"m1","nme":"x"}')
        with pytest.raises(Problem, match=r"network\.json can't be used"):
            load(str(path))


def test_equal_work_waits_once():
    done, gate = [], threading.Event()

    def work(item):
        gate.wait(5)
        done.append(item)

    worker = Worker("w", work, Journal(io.StringIO()))
    for item in ("a", "b", "a", "b"):
        worker.put(item)
    worker.start()
    gate.set()
    assert worker.wait_idle(5)
    assert done == ["a", "b"]


def test_a_fault_ends_no_worker():
    said = io.StringIO()

    def work(item):
        if item == "bad":
            raise RuntimeError("oh")

    worker = Worker("w", work, Journal(said))
    worker.start()
    worker.put("bad")
    worker.put("good")
    assert worker.wait_idle(5)
    assert "w: bad: RuntimeError('oh')" in said.getvalue()
