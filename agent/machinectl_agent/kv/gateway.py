"""The client on the machines: pure Python, over etcd's v3 JSON gateway.

https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/; with RBAC the client certificate must carry no
common name, as the gateway does not pass it on.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from machinectl_agent.kv import messages
from machinectl_agent.kv.follow import Follower
from machinectl_agent.kv.gateway_watch import GatewaySource
from machinectl_agent.kv.interface import (
    DEADLINE,
    Compare,
    KeyValue,
    LeaseGone,
    Operation,
    Page,
    TxnResult,
    Watch,
)
from machinectl_agent.kv.members import MemberStatus
from machinectl_agent.kv.ranges import read_range
from machinectl_agent.kv.tls import Tls
from machinectl_agent.kv.transport import Transport


class Gateway:
    """Kv, see there."""

    def __init__(self, endpoints: Sequence[str], *, tls: Optional[Tls] = None) -> None:
        """`endpoints`: `https://10.0.0.1:2379`; asked in this order. Connects to nothing yet. Raises ValueError."""
        self._endpoints = tuple(endpoints)
        self._tls = tls
        self._transport = Transport(endpoints, tls)
        self._watching: List[Transport] = []

    @property
    def endpoints(self) -> Tuple[str, ...]:
        """URLs, as they were given last."""
        return self._endpoints

    def use(self, endpoints: Sequence[str]) -> None:
        """Other members are asked from now on, also by the watches. Raises ValueError."""
        for one in (self._transport, *self._watching):
            one.use(endpoints)
        self._endpoints = tuple(endpoints)

    def get(self, key: str, *, deadline: float = DEADLINE) -> Optional[KeyValue]:
        found = self._transport.call("/kv/range", messages.span(key, is_prefix=False), deadline)
        return next(iter(messages.key_values(found)), None)

    def range(self, prefix: str, *, keys_only: bool = False, deadline: float = DEADLINE) -> Page:
        return read_range(self._transport, prefix, keys_only=keys_only, deadline=deadline)

    def put(self, key: str, value: bytes, *, lease: int = 0, deadline: float = DEADLINE) -> int:
        answer = self._transport.call("/kv/put", messages.put(key, value, lease), deadline, once=True)
        return messages.revision(answer)

    def delete(self, key: str, *, is_prefix: bool = False, deadline: float = DEADLINE) -> int:
        body = messages.span(key, is_prefix=is_prefix)
        return int(self._transport.call("/kv/deleterange", body, deadline, once=True).get("deleted", 0))

    def txn(
        self,
        compares: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
        *,
        deadline: float = DEADLINE,
    ) -> TxnResult:
        body = {
            "compare": [messages.compare(one) for one in compares],
            "success": [messages.operation(one) for one in then],
            "failure": [messages.operation(one) for one in otherwise],
        }
        return messages.txn_result(self._transport.call("/kv/txn", body, deadline, once=True))

    def grant(self, ttl: int, *, deadline: float = DEADLINE) -> int:
        # one lease too many, when an answer was lost, ends by itself
        return int(self._transport.call("/lease/grant", {"TTL": str(ttl)}, deadline)["ID"])

    def keep_alive(self, lease: int, *, deadline: float = DEADLINE) -> int:
        answer = self._transport.call("/lease/keepalive", {"ID": str(lease)}, deadline)
        left = int((answer.get("result") or {}).get("TTL", 0))
        if left <= 0:
            raise LeaseGone(f"the lease {lease:x} has ended")
        return left

    def revoke(self, lease: int, *, deadline: float = DEADLINE) -> None:
        try:
            # the path that etcd 3.3 has and its successors keep
            self._transport.call("/kv/lease/revoke", {"ID": str(lease)}, deadline)
        except LeaseGone:
            pass

    def watch(self, prefixes: Sequence[str] = ()) -> Watch:
        # its own connections: `close` of a watch must wake nobody but its reader
        transport = Transport(self._endpoints, self._tls)
        self._watching.append(transport)
        return Follower(GatewaySource(transport), prefixes)

    def close(self) -> None:
        self._transport.close()

    def status(self, endpoint: str = "", *, deadline: float = DEADLINE) -> MemberStatus:
        """Of the member at `endpoint`, else of the first that answers."""
        return messages.status(self._transport.call("/maintenance/status", {}, deadline, at=endpoint))

    def health(self, endpoint: str = "", *, deadline: float = DEADLINE) -> None:
        """Raises KvError if the member can't read with the agreement of a majority."""
        body = {**messages.span("health", is_prefix=False), "count_only": True}
        self._transport.call("/kv/range", body, deadline, at=endpoint)
