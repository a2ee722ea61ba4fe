"""What real engines have said to the plugin (libnetwork/ENGINE.jsonl, recorded by tests/lab/test_network_protocol.py),
said again to it through a unix socket, with an etcd in memory and no kernel: it answers the same."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network.driver import Driver, calls
from machinectl_agent.network.ipam import Ipam
from machinectl_agent.network.ledger import Ledger
from machinectl_agent.network.plugin import Plugin, bound_socket
from machinectl_agent.network.records import Layout
from machinectl_agent.network.registry.registry import Registry
from machinectl_agent.network.settling import Settling
from machinectl_agent.network.view import View
from tests.libnetwork_protocol import CALLS, is_error, violations
from tests.unit.kv_memory import KvMemory, Space

RECORDED = sorted((Path(__file__).parent / "libnetwork").glob("*.jsonl"))


class Fabric:
    """The kernel's part, as far as answers need it."""

    def __init__(self):
        self.done = []

    def attach(self, _record, endpoint):
        return f"mc{endpoint.id[:12]}"

    def wait_programmed(self, _network, _deadline):
        return True

    def __getattr__(self, name):
        return lambda *words, **_more: self.done.append((name, *words))


class Service:
    """Driver, IPAM and socket; what is behind them is told by `kv`, `fabric` and `ledger`."""

    def __init__(self, folder, space):
        self.path = str(folder / "plugin.sock")
        self.kv = KvMemory(space)
        self.fabric = Fabric()
        self.detached: list[tuple[str, str]] = []
        self.said = io.StringIO()
        layout = Layout()
        journal = Journal(self.said)
        view = View(layout)
        registry = Registry(self.kv, layout, "m1", patience=0.2)
        ledger = Ledger(str(folder / "ledger.json"))
        self.core: Any = SimpleNamespace(
            settings=SimpleNamespace(id="m1", name="node1"),
            journal=journal,
            layout=layout,
            registry=registry,
            settling=Settling(view, registry, patience=0.2),
            ledger=ledger,
            view=view,
            fabric=self.fabric,
            engine_up=True,
            docker_asked=True,
            removing=set(),
            wake=lambda _network: None,
            learn=lambda _network, _endpoint: None,
            detach=lambda network, endpoint: self.detached.append((network, endpoint)),
            record=ledger.network,
        )
        self.plugin = Plugin(
            bound_socket(self.path),
            calls(Driver(cast("Any", self.core)), Ipam(cast("Any", self.core))),
            journal,
        )
        # as Plugin.start, and quick to end
        threading.Thread(target=self.plugin.serve_forever, args=(0.005,), daemon=True).start()

    def ask(self, call, request):
        connection = http.client.HTTPConnection("plugin")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        connection.request("POST", f"/{call}", b"" if request is None else json.dumps(request).encode())
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        assert answer.status == (200 if call in CALLS else 404)
        return content

    def stop(self):
        self.plugin.shutdown()
        self.plugin.socket.close()


@pytest.fixture
def space():
    return Space()


@pytest.fixture
def service(tmp_path, space):
    made = Service(tmp_path, space)
    yield made
    made.stop()


def recorded(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_recordings_have_the_whole_protocol():
    found = {one["call"] for path in RECORDED for one in recorded(path)}
    assert len(RECORDED) == 3
    never = {"NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete"}  # Swarm's and cluster-store's
    once = {
        "Plugin.Activate",
        "NetworkDriver.GetCapabilities",
        "IpamDriver.GetCapabilities",
    }  # at dockerd's start
    assert CALLS - found - never - once <= {
        "NetworkDriver.ProgramExternalConnectivity",
        "NetworkDriver.RevokeExternalConnectivity",
    }


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_an_engine_said_is_answered_as_it_was(service, path):
    for one in recorded(path):
        call, request = one["call"], one["request"]
        answer = service.ask(call, request)
        assert list(violations(call, request, one["answer"])) == [], "as recorded"
        assert list(violations(call, request, answer)) == []
        assert answer == one["answer"], (call, request)
    assert service.core.ledger.endpoints() == []
    assert len(service.detached) == len(
        [one for one in recorded(path) if one["call"].endswith(".DeleteEndpoint")]
    )


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_call_may_come_twice(service, path):
    """dockerd asks again where it has not heard the answer."""
    twice = (
        "DeleteEndpoint",
        "Leave",
        "ReleaseAddress",
        "ReleasePool",
        "DeleteNetwork",
        "CreateEndpoint",
        "Join",
    )
    for one in recorded(path):
        answers = [service.ask(one["call"], one["request"])]
        if one["call"].partition(".")[2] in twice:
            answers.append(service.ask(one["call"], one["request"]))
        assert not any(is_error(answer) for answer in answers), one
        if one["call"].endswith(".CreateEndpoint"):
            assert answers[0] == answers[1]
    assert service.core.ledger.endpoints() == []


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_service_that_starts_anew_before_every_call_goes_on(tmp_path, space, path):
    """What it needs is in etcd and in its ledger."""
    for one in recorded(path):
        service = Service(tmp_path, space)
        try:
            answer = service.ask(one["call"], one["request"])
            assert list(violations(one["call"], one["request"], answer)) == []
            if not one["call"].endswith("RequestAddress"):
                assert answer == one["answer"], one
            assert is_error(answer) == is_error(one["answer"])
        finally:
            service.stop()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_without_etcd_dockerd_can_always_let_go(service, path):
    """What it gives up is answered well, what is new is refused in words; nothing waits for ever."""
    lines = recorded(path)
    begin = next(number for number, one in enumerate(lines) if one["call"].endswith(".Join"))
    for one in lines[: begin + 1]:
        service.ask(one["call"], one["request"])
    service.kv.is_away = True
    assert service.core.ledger.endpoints()
    seen = set()
    for one in lines[begin + 1 :]:
        call = one["call"]
        if call in seen:
            continue
        seen.add(call)
        answer = service.ask(call, one["request"])
        assert list(violations(call, one["request"], answer)) == []
        name = call.partition(".")[2]
        if name in ("Leave", "DeleteEndpoint", "EndpointOperInfo", "DeleteNetwork"):
            assert not is_error(answer), (call, answer)
        elif name in ("RequestAddress", "RequestPool"):
            assert "etcd does not answer" in is_error(answer)
    assert service.core.ledger.endpoints() == []
    assert service.detached


def test_the_kernel_is_told_last_and_also_without_etcd(service):
    """An endpoint is out of the ledger and etcd before its link goes: the next one of its address may come."""
    lines = recorded(RECORDED[-1])
    order = []
    service.core.detach = lambda _network, endpoint: order.append(
        (service.core.ledger.endpoint(endpoint), [key for key in service.kv.space.keys if endpoint in key])
    )
    for one in lines:
        service.ask(one["call"], one["request"])
    assert order and all(one == (None, []) for one in order)


UNKNOWN = "f" * 64


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("NetworkDriver.Join", {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN, "SandboxKey": "/x"}),
        ("NetworkDriver.CreateEndpoint", {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN, "Interface": {}}),
        ("IpamDriver.RequestAddress", {"PoolID": "10.250.0.0/24", "Address": ""}),
        ("IpamDriver.RequestPool", {"AddressSpace": "machinectl", "Pool": "no subnet", "SubPool": ""}),
        ("IpamDriver.RequestPool", {"AddressSpace": "machinectl", "Pool": "", "SubPool": "10.0.0.0/30"}),
        (
            "NetworkDriver.CreateNetwork",
            {"NetworkID": UNKNOWN, "Options": {}, "IPv4Data": [], "IPv6Data": []},
        ),
    ],
)
def test_what_can_not_be_done_is_an_error_in_words(service, call, request_):
    answer = service.ask(call, request_)
    assert is_error(answer)
    assert list(violations(call, request_, answer)) == []
    assert "fault of the agent" not in is_error(answer)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
@pytest.mark.parametrize("call", sorted(CALLS))
def test_no_body_ends_the_plugin(service, call, body):
    connection = http.client.HTTPConnection("plugin")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(service.path)
    connection.request("POST", f"/{call}", body)
    answer = connection.getresponse()
    assert answer.status == 200
    assert isinstance(json.loads(answer.read()), dict)
    connection.close()


def test_a_call_of_a_newer_engine_is_not_found(service):
    """404 is what libnetwork takes for "not implemented" (plugins.IsNotFound)."""
    assert "no call" in is_error(service.ask("NetworkDriver.AllocateNetwork", {}))
