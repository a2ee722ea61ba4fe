"""Messages and the wanted state survive the wire and refuse what they must."""

from __future__ import annotations

import pytest

from machinectl_agent import wire
from machinectl_agent.spec import EngineSpec, PackageFile, Spec, SpecError, TlsSpec

SPEC = Spec(
    name="node1",
    engine=EngineSpec(
        options={"mtu": 1400}, env={"HTTP_PROXY": "http://user:pw@p:1"}, packages=(PackageFile("a", "00", 1),)
    ),
    tls=TlsSpec("CA", "CERT", "KEY"),
)


def test_a_spec_survives_the_wire():
    line = wire.encode(wire.request("apply", {"spec": SPEC.to_json()}))
    assert line.count(b"\n") == 1
    assert Spec.from_json(wire.decode(line)["args"]["spec"]) == SPEC


def test_redacted_shows_no_secret():
    text = str(SPEC.redacted()) + repr(SPEC)
    assert "KEY" not in text
    assert "pw@" not in str(SPEC.redacted())


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("engine", "colour"), "red", "colour"),
        (("engine", "port"), "2376", "engine.port"),
        (("engine", "port"), True, "engine.port"),
        (("tls", "server_key"), None, "tls.server_key"),
        (("host", "os"), 12, "host.os"),
        (("surprise",), {}, "surprise"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_name_of_the_key(path, value, named):
    document = SPEC.to_json()
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(SpecError, match=named):
        Spec.from_json(document)


@pytest.mark.parametrize("line", [b"Last login: Monday\n", b"[1]\n", b"", b"{" * 40, b"[" * 100_000])
def test_what_is_no_message_is_refused_and_shown(line):
    with pytest.raises(wire.WireError, match="not a message"):
        wire.decode(line)


def test_another_wire_version_is_refused_with_both_numbers():
    with pytest.raises(wire.WireError, match="version 7, this side 1"):
        wire.check_version({"wire": 7})
