"""Docker's IPAM calls: pools and addresses, all of them in etcd.

dockerd replays pools and addresses while it boots, for what it had before. Those are answered from the ledger: a
host must get its containers' networks back also while etcd is away.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import Any, Dict, Tuple

from machinectl_agent.network.core import Core
from machinectl_agent.network.records import ID_OPTION
from machinectl_agent.network.underlay import routed_subnets
from machinectl_agent.problems import Problem

SPACE = "machinectl"
"""Name of our address space; a network whose addresses come from elsewhere has another one."""

_GATEWAY = "com.docker.network.gateway"
"""RequestAddressType of a gateway (libnetwork, ipamapi)."""


class Ipam:
    """`IpamDriver.*`. Answers are Docker's JSON."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def capabilities(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"RequiresMACAddress": False, "RequiresRequestReplay": True}

    def address_spaces(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"LocalDefaultAddressSpace": SPACE, "GlobalDefaultAddressSpace": SPACE}

    def request_pool(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """PoolID is the subnet itself: it is the same on every machine."""
        subnet, inner = str(request.get("Pool") or ""), str(request.get("SubPool") or "")
        network = str((request.get("Options") or {}).get(ID_OPTION, ""))
        if subnet and not self._core.engine_up and self._is_known(subnet):
            return {"PoolID": subnet, "Pool": subnet, "Data": {}}
        registry, v6 = self._core.registry, bool(request.get("V6"))
        pool = self._core.settling.ask(
            lambda: registry.request_pool(subnet, inner, v6=v6, network=network, avoid=routed_subnets()),
            lambda made: registry.release_pool(made.subnet),
        )
        return {"PoolID": pool.subnet, "Pool": pool.subnet, "Data": {}}

    def release_pool(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self._core.registry.release_pool(str(request["PoolID"]))
        return {}

    def request_address(self, request: Dict[str, Any]) -> Dict[str, Any]:
        subnet, address = str(request["PoolID"]), str(request.get("Address") or "")
        kind = str((request.get("Options") or {}).get("RequestAddressType", ""))
        length = ipaddress.ip_network(subnet).prefixlen
        if address and not self._core.engine_up and self._is_known(subnet):
            return {"Address": f"{address}/{length}", "Data": {}}
        registry, kind = self._core.registry, self._kind(kind, subnet, address)
        found = self._core.settling.ask(
            lambda: registry.request_address(subnet, address, kind=kind, token=secrets.token_hex(8)),
            lambda made: registry.release_address(subnet, made.partition("/")[0]),
        )
        return {"Address": found, "Data": {}}

    def release_address(self, request: Dict[str, Any]) -> Dict[str, Any]:
        subnet, address = str(request["PoolID"]), str(request["Address"])
        self._core.registry.release_address(subnet, address)
        return {}

    def _is_known(self, subnet: str) -> bool:
        return any(
            pool.subnet == subnet for one in self._core.ledger.networks().values() for pool in one.pools
        )

    def _kind(self, kind: str, subnet: str, address: str) -> str:
        """Docker says of a gateway that it is one; a fixed address before its network exists is auxiliary."""
        if kind == _GATEWAY:
            return "gateway"
        return "auxiliary" if address and not self._is_known(subnet) else "endpoint"


def check_space(pools: Tuple[Dict[str, Any], ...]) -> None:
    """Raises `Problem` `foreign-ipam` for a network whose addresses Docker would give out by itself: it would give
    the same one out on two machines."""
    foreign = [one for one in pools if one.get("AddressSpace") != SPACE]
    if foreign or not pools:
        raise Problem(
            "foreign-ipam",
            "a machinectl network needs machinectl's addresses too",
            why="Docker's own IPAM hands the same address out on two machines",
            hint="docker network create -d machinectl --ipam-driver machinectl NAME",
        )
