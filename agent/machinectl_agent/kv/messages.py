"""Between our interface and the JSON of etcd's gateway. No I/O here.

protobuf's JSON: bytes are base64, 64-bit numbers are strings, fields that are zero, false or empty are left out.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Dict, List, Tuple, Union

from machinectl_agent.kv.interface import Compare, Delete, KeyValue, Operation, Put, TxnResult
from machinectl_agent.kv.members import MemberStatus

Message = Dict[str, Any]

_RESULTS = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
_TARGETS = {"create": "create_revision", "mod": "mod_revision", "version": "version", "value": "value"}


def encode(value: Union[str, bytes]) -> str:
    return b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def end_of_prefix(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`; a zero byte: there is none."""
    for position in range(len(prefix) - 1, -1, -1):
        if prefix[position] < 0xFF:
            return prefix[:position] + bytes([prefix[position] + 1])
    return b"\0"


def span(key: str, *, is_prefix: bool) -> Message:
    """The fields `key` and `range_end`."""
    raw = key.encode()
    if not is_prefix:
        return {"key": encode(raw)}
    return {"key": encode(raw or b"\0"), "range_end": encode(end_of_prefix(raw))}


def compare(one: Compare) -> Message:
    wanted = encode(one.wanted) if isinstance(one.wanted, bytes) else str(one.wanted)
    return {
        **span(one.key, is_prefix=one.is_prefix),
        "result": _RESULTS[one.operator],
        "target": one.target.upper(),
        _TARGETS[one.target]: wanted,
    }


def put(key: str, value: bytes, lease: int) -> Message:
    return {"key": encode(key), "value": encode(value), "lease": str(lease)}


def operation(one: Operation) -> Message:
    if isinstance(one, Put):
        return {"request_put": put(one.key, one.value, one.lease)}
    name = "request_delete_range" if isinstance(one, Delete) else "request_range"
    return {name: span(one.key, is_prefix=one.is_prefix)}


def key_value(found: Message) -> KeyValue:
    return KeyValue(
        key=b64decode(found["key"]).decode("utf-8", "surrogateescape"),
        value=b64decode(found.get("value", "")),
        create_revision=int(found.get("create_revision", 0)),
        mod_revision=int(found.get("mod_revision", 0)),
        version=int(found.get("version", 0)),
        lease=int(found.get("lease", 0)),
    )


def key_values(found: Message) -> Tuple[KeyValue, ...]:
    """Of a range response."""
    return tuple(key_value(one) for one in found.get("kvs", ()))


def txn_result(found: Message) -> TxnResult:
    answers: List[Tuple[KeyValue, ...]] = [
        key_values(one.get("response_range") or {}) for one in found.get("responses", ())
    ]
    cluster = int(found.get("header", {}).get("cluster_id", 0))
    return TxnResult(bool(found.get("succeeded")), revision(found), tuple(answers), cluster)


def status(found: Message) -> MemberStatus:
    """Of the maintenance call of that name."""
    return MemberStatus(
        id=int(found.get("header", {}).get("member_id", 0)),
        version=str(found.get("version", "")),
        size=int(found.get("dbSize", 0)),
        leader=int(found.get("leader", 0)),
        revision=revision(found),
        term=int(found.get("raftTerm", 0)),
        is_learner=bool(found.get("isLearner")),
    )


def revision(found: Message) -> int:
    """The store's, from the header."""
    return int(found.get("header", {}).get("revision", 0))
