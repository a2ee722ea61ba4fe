"""The wanted etcd member of one machine, as the controller sends it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

from machinectl_agent.spec import SpecError

DATA = "/var/lib/machinectl-etcd"
"""Beside /var/lib/machinectl, which only root may enter."""
CLIENT_PORT, PEER_PORT = 2379, 2380


@dataclass(frozen=True)
class EtcdSpec:
    """`key` is a secret."""

    name: str
    """Of the member: the machine's."""
    address: str
    """That clients and other members reach it by: an address, or a host name."""
    cluster: Mapping[str, str] = field(default_factory=dict)
    """Member name → peer URL, for a member that has no data yet; a member with data knows better itself."""
    token: str = ""
    """Of the cluster: members of two clusters never mix."""
    incarnation: str = ""
    """Of this membership: another one each time that the machine becomes a member, or its data are restored."""
    state: str = "existing"
    """`new`: the cluster is being founded; `existing`: a member without data must not found another one."""
    joining: bool = False
    """This member has just been added: it has no data and gets it from the others."""
    ca: str = ""
    cert: str = ""
    key: str = field(default="", repr=False)
    client_port: int = CLIENT_PORT
    peer_port: int = PEER_PORT
    quota: int = 2 * 1024**3
    """Bytes; etcd's own default."""
    retention: str = "1h"
    """How long old revisions are kept (--auto-compaction-retention, periodic)."""
    v2: bool = False
    """The v2 API too: Docker's own overlay (classic mode) needs it."""
    insecure_loopback: bool = False
    """Plain HTTP without a certificate on 127.0.0.1: for everybody who is on the host."""
    binaries: Mapping[str, str] = field(default_factory=dict)
    """Program (`etcd`, `etcdctl`, `etcdutl`) → sha256 of those that were given; empty: the distribution's package."""
    upgrade: bool = False
    """To the newest version that the package sources offer."""
    absent: bool = False
    """Stop it and take the unit away; the data are moved aside."""
    delete_data: bool = False
    """With `absent`: delete the data instead."""

    def to_json(self) -> Dict[str, Any]:
        """The whole document, the key included: for the wire, never for a log."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EtcdSpec:
        """The reverse of `to_json`. Raises `SpecError`."""
        known = {one.name for one in dataclasses.fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise SpecError(f"etcd: unknown key {unknown[0]!r}; is the agent older than the controller?")
        try:
            return cls(**document)
        except TypeError as error:
            raise SpecError(f"etcd: {error}") from error
