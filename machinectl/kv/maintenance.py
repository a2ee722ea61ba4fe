"""What is asked of a cluster beside its keys: members, status, backup, upkeep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinectl.kv import requests
from machinectl.kv.channels import Channels
from machinectl.kv.package import rpc
from machinectl.kv.snapshot import Saved, save_snapshot
from machinectl_agent.kv.interface import DEADLINE, KvRefused
from machinectl_agent.kv.members import MemberStatus

_CHANGE = 10.0
"""Seconds for a change of the members: it is written to the log of all of them."""
_LONG = 60.0
"""Seconds for what reads or writes a member's whole store (at most 8 GB)."""
_LEARNER = b"\x10\x01"  # MemberAddRequest's field 2, isLearner (etcd 3.4), that etcd3's messages don't have


@dataclass(frozen=True)
class Member:
    """`name` is empty, and so are the client URLs, until it has started for the first time."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


@dataclass(frozen=True)
class Alarm:
    """`kind`: `NOSPACE` (no more writes until the store is smaller and the alarm is off) or `CORRUPT`."""

    member: int
    kind: str


class Maintenance:
    """`endpoint` is a member's client URL. All raise KvError; nothing that changes is done twice."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def members(self, *, deadline: float = DEADLINE) -> list[Member]:
        """As the answering member knows them (linearizable since etcd 3.5)."""
        found = self._channels.call("clusterstub", "MemberList", rpc().MemberListRequest(), deadline)
        return [_member(one) for one in found.members]

    def add_member(
        self, peer_urls: Sequence[str], *, learner: bool = False, deadline: float = _CHANGE
    ) -> Member:
        """It counts for the majority at once, unless it is a learner (etcd 3.4 and later). Raises KvRefused
        where the present members are not well, or a learner is wanted of an older etcd."""
        if learner and self._version() < (3, 4):
            raise KvRefused("etcd has learners since 3.4: this cluster is older")
        request = rpc().MemberAddRequest(peerURLs=list(peer_urls))
        if learner:
            request.MergeFromString(_LEARNER)
        return _member(self._channels.call("clusterstub", "MemberAdd", request, deadline, once=True).member)

    def promote_member(self, member: int, *, deadline: float = _CHANGE) -> None:
        """A learner that has caught up becomes a voting member. Raises KvRefused while it has not."""
        messages = rpc()

        def send(client: Any, seconds: float) -> None:
            # etcd3 has no such call; request and answer have the shape of a removal's
            promote = client.channel.unary_unary(
                "/etcdserverpb.Cluster/MemberPromote",
                request_serializer=messages.MemberRemoveRequest.SerializeToString,
                response_deserializer=messages.MemberRemoveResponse.FromString,
            )
            promote(messages.MemberRemoveRequest(ID=member), timeout=seconds)

        self._channels.run(send, deadline, once=True)

    def remove_member(self, member: int, *, deadline: float = _CHANGE) -> None:
        self._channels.call(
            "clusterstub", "MemberRemove", rpc().MemberRemoveRequest(ID=member), deadline, once=True
        )

    def update_member(self, member: int, peer_urls: Sequence[str], *, deadline: float = _CHANGE) -> None:
        request = rpc().MemberUpdateRequest(ID=member, peerURLs=list(peer_urls))
        self._channels.call("clusterstub", "MemberUpdate", request, deadline, once=True)

    def status(self, endpoint: str = "", *, deadline: float = DEADLINE) -> MemberStatus:
        """Of the member at `endpoint`, else of the first that answers."""
        found = self._channels.call("maintenancestub", "Status", rpc().StatusRequest(), deadline, at=endpoint)
        return requests.status(found)

    def health(self, endpoint: str = "", *, deadline: float = DEADLINE) -> None:
        """Raises KvError if the member can't read with the agreement of a majority."""
        request = rpc().RangeRequest(key=b"health", count_only=True)
        self._channels.call("kvstub", "Range", request, deadline, at=endpoint)

    def snapshot(self, path: Path, endpoint: str = "", *, deadline: float = _LONG) -> Saved:
        """The store of one member as a file that `etcdctl snapshot restore` takes. Raises also StoreError."""
        return save_snapshot(self._channels, path, endpoint, deadline)

    def defragment(self, endpoint: str, *, deadline: float = _LONG) -> None:
        """Gives free space back to the file system. The member answers nobody meanwhile: one after the other."""
        request = rpc().DefragmentRequest()
        self._channels.call("maintenancestub", "Defragment", request, deadline, once=True, at=endpoint)

    def alarms(self, *, deadline: float = DEADLINE) -> list[Alarm]:
        messages = rpc()
        request = messages.AlarmRequest(action=messages.AlarmRequest.GET)
        found = self._channels.call("maintenancestub", "Alarm", request, deadline)
        names = messages.AlarmType
        return [
            Alarm(one.memberID, names.Name(one.alarm) if one.alarm in names.values() else str(one.alarm))
            for one in found.alarms
        ]

    def disarm(self, alarm: Alarm, *, deadline: float = DEADLINE) -> None:
        """No error where it is off already."""
        messages = rpc()
        request = messages.AlarmRequest(
            action=messages.AlarmRequest.DEACTIVATE,
            memberID=alarm.member,
            alarm=messages.AlarmType.Value(alarm.kind),
        )
        self._channels.call("maintenancestub", "Alarm", request, deadline)

    def hash(self, endpoint: str, *, revision: int = 0, deadline: float = _LONG) -> int:
        """Of all keys up to a revision (0: the newest): members that are well have the same."""
        request = rpc().HashKVRequest(revision=revision)
        return int(self._channels.call("maintenancestub", "HashKV", request, deadline, at=endpoint).hash)

    def _version(self) -> tuple[int, ...]:
        return tuple(int(one) for one in re.findall(r"\d+", self.status().version)[:2])


def _member(one: Any) -> Member:
    return Member(
        id=one.ID,
        name=one.name,
        peer_urls=tuple(one.peerURLs),
        client_urls=tuple(one.clientURLs),
        is_learner=bool(requests.later_field(one, 5)),
    )
