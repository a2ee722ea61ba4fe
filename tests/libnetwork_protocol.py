"""What libnetwork wants of a remote driver's and a remote IPAM's answers, as its own code decodes them.

Sources: moby's libnetwork/drivers/remote/{api,driver}.go, libnetwork/ipams/remote/{api,remote}.go, docs/remote.md and
docs/ipam.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

SILENT = {
    f"NetworkDriver.{name}"
    for name in (
        "CreateNetwork",
        "DeleteNetwork",
        "DeleteEndpoint",
        "Leave",
        "DiscoverNew",
        "DiscoverDelete",
        "ProgramExternalConnectivity",
        "RevokeExternalConnectivity",
    )
} | {"IpamDriver.ReleasePool", "IpamDriver.ReleaseAddress"}
"""Calls whose answer has nothing but an error."""

MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def violations(call: str, request: Any, answer: Any) -> Iterator[str]:
    """In words; nothing: dockerd can work with it. An error answer has its text under dockerd's own key."""
    key = "Error" if call.startswith("IpamDriver.") else "Err"
    if not isinstance(answer, dict):
        yield f"{call}: no object"
    elif "Err" in answer or "Error" in answer:
        if not answer.get(key):
            yield f"{call}: an error, and nothing under {key}"
    elif call in SILENT:
        if answer:
            yield f"{call}: {answer}"
    else:
        check = _CHECKS.get(call)
        yield from check(request, answer) if check else [f"{call}: not known"]


def is_error(answer: dict[str, Any]) -> str:
    """Its text."""
    return str(answer.get("Err") or answer.get("Error") or "")


def _activate(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    if answer != {"Implements": ["NetworkDriver", "IpamDriver"]}:
        yield f"activate: {answer}"


def _capabilities(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    for name, value in answer.items():
        if name not in ("Scope", "ConnectivityScope") or value not in ("local", "global"):
            yield f"capabilities: {name}={value}"


def _create_endpoint(request: Any, answer: dict[str, Any]) -> Iterator[str]:
    """What came filled must come back empty: "driver is attempting to overwrite"."""
    given, made = request.get("Interface") or {}, answer.get("Interface")
    if not isinstance(made, dict):
        yield f"CreateEndpoint: {answer}"
        return
    for name, value in made.items():
        if name not in ("Address", "AddressIPv6", "MacAddress"):
            yield f"CreateEndpoint: {name}"
        if value and given.get(name):
            yield f"CreateEndpoint: {name} is overwritten"
    if not given.get("MacAddress") and not MAC.fullmatch(made.get("MacAddress", "")):
        yield "CreateEndpoint: no MAC"


def _information(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    if not isinstance(answer.get("Value"), dict):
        yield f"EndpointOperInfo: {answer}"


def _join(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    names = answer.get("InterfaceName") or {}
    if not 0 < len(names.get("SrcName", "")) < 16 or not names.get("DstPrefix"):
        yield f"Join: {names}"
    if set(answer) - {
        "InterfaceName",
        "Gateway",
        "GatewayIPv6",
        "StaticRoutes",
        "DisableGatewayService",
    }:
        yield f"Join: {sorted(answer)}"
    for route in answer.get("StaticRoutes", ()):
        ipaddress.ip_network(route["Destination"])
        if route["RouteType"] not in (0, 1):
            yield f"Join: {route}"
        if (route["RouteType"] == 0) != bool(route.get("NextHop")):
            yield f"Join: a next hop is for type 0: {route}"


def _ipam_capabilities(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    if {name: type(value) for name, value in answer.items()} != {
        "RequiresMACAddress": bool,
        "RequiresRequestReplay": bool,
    }:
        yield f"ipam capabilities: {answer}"


def _spaces(_request: Any, answer: dict[str, Any]) -> Iterator[str]:
    if not answer.get("LocalDefaultAddressSpace") or not answer.get("GlobalDefaultAddressSpace"):
        yield f"address spaces: {answer}"


def _pool(request: Any, answer: dict[str, Any]) -> Iterator[str]:
    net = ipaddress.ip_network(answer["Pool"])
    if not answer.get("PoolID") or not isinstance(answer.get("Data"), dict):
        yield f"RequestPool: {answer}"
    if request.get("Pool") and net != ipaddress.ip_network(request["Pool"]):
        yield f"RequestPool: another one than was asked for: {answer}"
    if (net.version == 6) != bool(request.get("V6")):
        yield f"RequestPool: the other family: {answer}"


def _address(request: Any, answer: dict[str, Any]) -> Iterator[str]:
    found = ipaddress.ip_interface(answer["Address"])
    if not isinstance(answer.get("Data"), dict):
        yield f"RequestAddress: {answer}"
    if found.network != ipaddress.ip_network(request["PoolID"]):
        yield f"RequestAddress: not of that pool: {answer}"
    if request.get("Address") and found.ip != ipaddress.ip_address(request["Address"]):
        yield f"RequestAddress: another one than was asked for: {answer}"


_CHECKS = {
    "Plugin.Activate": _activate,
    "NetworkDriver.GetCapabilities": _capabilities,
    "NetworkDriver.CreateEndpoint": _create_endpoint,
    "NetworkDriver.EndpointOperInfo": _information,
    "NetworkDriver.Join": _join,
    "IpamDriver.GetCapabilities": _ipam_capabilities,
    "IpamDriver.GetDefaultAddressSpaces": _spaces,
    "IpamDriver.RequestPool": _pool,
    "IpamDriver.RequestAddress": _address,
}

CALLS = SILENT | set(_CHECKS)
"""All that dockerd may make."""
