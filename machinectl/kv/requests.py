"""Between our interface and etcd's protobuf messages. No I/O here."""

from __future__ import annotations

from typing import Any

from machinectl.kv.package import rpc
from machinectl_agent.kv.interface import Compare, Delete, KeyValue, Operation, Put, TxnResult
from machinectl_agent.kv.members import MemberStatus
from machinectl_agent.kv.messages import end_of_prefix

_RESULTS = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
_TARGETS = {"create": "create_revision", "mod": "mod_revision", "version": "version", "value": "value"}


def span(key: str, *, is_prefix: bool) -> dict[str, bytes]:
    """The fields `key` and `range_end`."""
    raw = key.encode()
    return {"key": raw or b"\0", "range_end": end_of_prefix(raw)} if is_prefix else {"key": raw}


def compare(one: Compare) -> Any:
    kind = rpc().Compare
    return kind(
        **span(one.key, is_prefix=one.is_prefix),
        result=kind.CompareResult.Value(_RESULTS[one.operator]),
        target=kind.CompareTarget.Value(one.target.upper()),
        **{_TARGETS[one.target]: one.wanted},
    )


def put(key: str, value: bytes, lease: int) -> Any:
    return rpc().PutRequest(key=key.encode(), value=value, lease=lease)


def operation(one: Operation) -> Any:
    messages = rpc()
    if isinstance(one, Put):
        return messages.RequestOp(request_put=put(one.key, one.value, one.lease))
    where = span(one.key, is_prefix=one.is_prefix)
    if isinstance(one, Delete):
        return messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(**where))
    return messages.RequestOp(request_range=messages.RangeRequest(**where))


def key_value(found: Any) -> KeyValue:
    return KeyValue(
        key=found.key.decode("utf-8", "surrogateescape"),
        value=found.value,
        create_revision=found.create_revision,
        mod_revision=found.mod_revision,
        version=found.version,
        lease=found.lease,
    )


def txn_result(found: Any) -> TxnResult:
    answers = tuple(tuple(key_value(kv) for kv in one.response_range.kvs) for one in found.responses)
    return TxnResult(found.succeeded, found.header.revision, answers, found.header.cluster_id)


def status(found: Any) -> MemberStatus:
    return MemberStatus(
        id=found.header.member_id,
        version=found.version,
        size=found.dbSize,
        leader=found.leader,
        revision=found.header.revision,
        term=found.raftTerm,
        is_learner=bool(later_field(found, 10)),
        index=found.raftIndex,
    )


def later_field(message: Any, number: int) -> Any:
    """A field that etcd's messages got after etcd3's were generated (3.3); None: it is not there."""
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415 - with etcd3, as late

    return next((one.data for one in UnknownFieldSet(message) if one.field_number == number), None)
