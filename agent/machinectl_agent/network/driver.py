"""Docker's network driver calls: a container's interface from etcd into the kernel and back.

    docker run  RequestAddress → CreateEndpoint (etcd: endpoint and address bound in one transaction; the network's
                namespace) → Join (veth pair; the peers are in the kernel; dockerd moves the interface)
    docker rm   Leave → DeleteEndpoint (etcd: endpoint and address gone; veth gone) → ReleaseAddress

Never told here: names of networks, names and aliases of containers. They come with Docker's events (names.py).
Join gives no gateway: Docker then adds docker_gwbridge, by which `-p` and the way out work as with its own overlay.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

from machinectl_agent.kv.interface import KvError
from machinectl_agent.network.core import Core
from machinectl_agent.network.ipam import check_space
from machinectl_agent.network.paths import RESOLVER
from machinectl_agent.network.records import ID_OPTION, EndpointRecord, NetworkRecord, Pool
from machinectl_agent.network.registry.errors import NetworkInUse
from machinectl_agent.problems import Problem

_GENERIC = "com.docker.network.generic"
_CONNECTED = 1
"""RouteType of a route without a next hop (libnetwork, types.CONNECTED)."""

_LIMITS = {"mtu": (68, 65535), "vni": (1, 2**24 - 2)}
"""Least and most: IPv4's smallest MTU (RFC 791), 24 bits without the number that the doctor's probes use."""

PEERS_DEADLINE = 2.0
"""Seconds that Join waits for the peers; they follow later where etcd is slow."""

LOST_DEADLINE = 10.0
"""Seconds that a call waits for a ledger that was lost to be read from Docker anew."""

OPTIONS = ("mtu", "on", "vni")
"""Driver options of ours: `-o machinectl.mtu=1400`; Docker's own name of the first is honoured too."""


class Driver:
    """`NetworkDriver.*`. Answers are Docker's JSON; raises `Problem` and KvError."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def capabilities(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"Scope": "local", "ConnectivityScope": "global"}

    def create_network(self, request: Dict[str, Any]) -> Dict[str, Any]:
        core, docker_id = self._core, str(request["NetworkID"])
        options = dict(request.get("Options") or {})
        generic = {str(name): str(value) for name, value in (options.get(_GENERIC) or {}).items()}
        pools = tuple(request.get("IPv4Data") or ()) + tuple(request.get("IPv6Data") or ())
        check_space(pools)
        network = generic.get(ID_OPTION, "")
        known = core.record(docker_id)
        if known is None and network:
            known = core.view.network(network) or core.registry.network(network)
            if known is None:
                raise Problem("no-such-network", f"etcd has no network {network[:12]}", hint="it was removed")
        if known is None:
            known = self._register(
                docker_id, pools, generic, internal=bool(options.get("com.docker.network.internal"))
            )
        core.ledger.put_network(docker_id, known)
        return {}

    def delete_network(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Can't be refused: where other machines have containers in it, it is made here again."""
        core, docker_id = self._core, str(request["NetworkID"])
        record = core.record(docker_id)
        if record is None:
            return {}
        core.ledger.drop_network(docker_id)
        core.fabric.remove(record.id)
        if docker_id in core.removing:
            return {}
        try:
            core.registry.delete_network(record.id)
        except NetworkInUse as problem:
            core.journal.say("warning", f"network {record.name} comes back: {problem.what}: {problem.why}")
        except KvError as error:
            core.journal.say("warning", f"network {record.name} comes back, etcd could not be told: {error}")
        core.wake(record.id)
        return {}

    def create_endpoint(self, request: Dict[str, Any]) -> Dict[str, Any]:
        core = self._core
        record = self._network(request)
        interface = request.get("Interface") or {}
        ip, ip6 = (str(interface.get(name) or "").partition("/")[0] for name in ("Address", "AddressIPv6"))
        endpoint = str(request["EndpointID"])
        given = str(interface.get("MacAddress") or "")
        endpoint_record = EndpointRecord(
            id=endpoint,
            network=record.id,
            machine=core.settings.id,
            ip=ip,
            ip6=ip6,
            mac=given or wanted_mac(request.get("Options") or {}) or mac_of(ip, endpoint),
        )
        # first the ledger: the reconcile leaves alone what is in it
        core.ledger.put_endpoint(endpoint_record)
        try:
            core.fabric.ensure(record)
            core.registry.put_endpoint(endpoint_record)
        except Exception:
            self._withdraw(endpoint_record)
            raise
        return {"Interface": {} if given else {"MacAddress": endpoint_record.mac}}

    def join(self, request: Dict[str, Any]) -> Dict[str, Any]:
        core = self._core
        record, sandbox = self._network(request), str(request["SandboxKey"])
        local = core.ledger.endpoint(str(request["EndpointID"]))
        if local is None:
            raise Problem("no-such-endpoint", f"endpoint {request['EndpointID'][:12]} was never created here")
        core.fabric.ensure(record)
        name = core.fabric.attach(record, local.record)
        if not core.fabric.wait_programmed(record.id, PEERS_DEADLINE):
            core.journal.say("warning", f"network {record.name}: peers are not known yet; a container starts")
        has_route = bool(core.ledger.neighbours(sandbox))
        core.ledger.set_sandbox(local.record.id, sandbox)
        core.fabric.set_sandboxes(core.ledger.sandboxes())
        core.learn(str(request["NetworkID"]), local.record.id)
        answer: Dict[str, Any] = {"InterfaceName": {"SrcName": name, "DstPrefix": "eth"}}
        if not has_route:
            # a second one would fail with "file exists"
            answer["StaticRoutes"] = [{"Destination": f"{RESOLVER}/32", "RouteType": _CONNECTED}]
        if record.internal:
            answer["DisableGatewayService"] = True
        return answer

    def leave(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """The interface is still in the container: Docker moves it out after this."""
        core, endpoint = self._core, str(request["EndpointID"])
        local = core.ledger.endpoint(endpoint)
        if local:
            core.ledger.set_sandbox(endpoint, "")
            core.fabric.set_sandboxes(core.ledger.sandboxes())
            rest = core.ledger.neighbours(local.sandbox)
            if rest:
                core.fabric.move_resolver(local.sandbox, local.record, rest[0].record)
        return {}

    def delete_endpoint(self, request: Dict[str, Any]) -> Dict[str, Any]:
        local = self._core.ledger.endpoint(str(request["EndpointID"]))
        if local:
            self._withdraw(local.record)
        return {}

    def endpoint_info(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"Value": {}}

    def nothing(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Calls that concern others: discovery, and port mapping, which docker_gwbridge does."""
        return {}

    def _withdraw(self, record: EndpointRecord) -> None:
        """Out of etcd, kernel and ledger. What etcd can't be told now the reconcile tells it.

        The kernel comes last, and dockerd does not wait for it: a link goes only after a grace period of RCU (25 ms).
        Its address may be given out again meanwhile: `attach` takes the MAC away from the old interface. After a
        kill in between the reconcile removes it, as it is no longer in the ledger."""
        core = self._core
        core.ledger.drop_endpoint(record.id)
        try:
            core.registry.delete_endpoint(record.network, record.id)
        except (KvError, Problem) as error:
            core.journal.say(
                "warning", f"endpoint {record.id[:12]} stays in etcd until the reconcile: {error}"
            )
        finally:
            core.detach(record.network, record.id)

    def _network(self, request: Dict[str, Any]) -> NetworkRecord:
        docker_id = str(request["NetworkID"])
        record = self._core.record(docker_id) or self._find(docker_id)
        if record is None:
            raise Problem(
                "no-such-network",
                f"network {docker_id[:12]} is not known to the agent",
                hint="`systemctl restart machinectl-network` on this host reads it from Docker anew",
            )
        return record

    def _find(self, docker_id: str) -> Optional[NetworkRecord]:
        """One that the ledger lacks: it was lost. That of a network that was made here is known to etcd by this id;
        of a replica Docker tells what it is, soon after our start."""
        core, end = self._core, time.monotonic() + LOST_DEADLINE
        found = core.registry.network(docker_id)
        if found:
            core.ledger.put_network(docker_id, found)
        while found is None and not core.docker_asked and time.monotonic() < end:
            time.sleep(0.05)
            found = core.record(docker_id)
        return found

    def _register(
        self, docker_id: str, pools: Tuple[Dict[str, Any], ...], generic: Mapping[str, str], *, internal: bool
    ) -> NetworkRecord:
        """A network that somebody makes with Docker's own command on this machine."""
        wanted = own_options(generic)
        return self._core.registry.create_network(
            network=docker_id,
            name="",
            pools=tuple(_pool(one) for one in pools),
            mtu=int(wanted["mtu"] or 0),
            internal=internal,
            options=dict(generic),
            on=tuple(name for name in wanted["on"].split(",") if name),
            vni=int(wanted["vni"] or 0),
        )


def own_options(generic: Mapping[str, str]) -> Dict[str, str]:
    """Pure: mtu, on and vni of `-o` options; empty where not given. Raises `Problem` for any other option."""
    found = {name: generic.get(f"machinectl.{name}", "") for name in OPTIONS}
    found["mtu"] = found["mtu"] or generic.get("com.docker.network.driver.mtu", "")
    known = {f"machinectl.{name}" for name in OPTIONS} | {"com.docker.network.driver.mtu", ID_OPTION}
    unknown = sorted(set(generic) - known)
    if unknown:
        raise Problem(
            "unknown-option",
            f"a machinectl network has no option {unknown[0]!r}",
            why="encryption is not done by this driver" if unknown[0] == "encrypted" else "",
            hint=f"it has {', '.join(sorted(known - {ID_OPTION}))}",
        )
    for name, (least, most) in _LIMITS.items():
        if found[name] and not (found[name].isdigit() and least <= int(found[name]) <= most):
            raise Problem(
                "bad-option",
                f"machinectl.{name}: a number from {least} to {most} is wanted, not {found[name]!r}",
            )
    return found


def mac_of(ip: str, endpoint: str) -> str:
    """02:42 (locally administered, as Docker's) and the IPv4 address; without one, the endpoint's hash."""
    tail = ipaddress.IPv4Address(ip).packed if ip else hashlib.sha256(endpoint.encode()).digest()[:4]
    return "02:42:" + ":".join(f"{byte:02x}" for byte in tail)


def wanted_mac(options: Mapping[str, Any]) -> str:
    """`--mac-address` as Docker passes it in CreateEndpoint's options: base64 of six bytes; empty: none."""
    text = options.get("com.docker.network.endpoint.macaddress")
    return (
        ":".join(f"{byte:02x}" for byte in base64.b64decode(text)) if isinstance(text, str) and text else ""
    )


def _pool(one: Mapping[str, Any]) -> Pool:
    return Pool(subnet=str(one["Pool"]), gateway=str(one.get("Gateway") or "").partition("/")[0])


def calls(driver: Driver, ipam: Any) -> Dict[str, Any]:
    """Docker's name of a call → the function."""
    names: List[str] = [
        "DiscoverNew",
        "DiscoverDelete",
        "ProgramExternalConnectivity",
        "RevokeExternalConnectivity",
    ]
    return {
        "Plugin.Activate": lambda _request: {"Implements": ["NetworkDriver", "IpamDriver"]},
        "NetworkDriver.GetCapabilities": driver.capabilities,
        "NetworkDriver.CreateNetwork": driver.create_network,
        "NetworkDriver.DeleteNetwork": driver.delete_network,
        "NetworkDriver.CreateEndpoint": driver.create_endpoint,
        "NetworkDriver.DeleteEndpoint": driver.delete_endpoint,
        "NetworkDriver.EndpointOperInfo": driver.endpoint_info,
        "NetworkDriver.Join": driver.join,
        "NetworkDriver.Leave": driver.leave,
        "IpamDriver.GetCapabilities": ipam.capabilities,
        "IpamDriver.GetDefaultAddressSpaces": ipam.address_spaces,
        "IpamDriver.RequestPool": ipam.request_pool,
        "IpamDriver.ReleasePool": ipam.release_pool,
        "IpamDriver.RequestAddress": ipam.request_address,
        "IpamDriver.ReleaseAddress": ipam.release_address,
        **{f"NetworkDriver.{name}": driver.nothing for name in names},
    }
