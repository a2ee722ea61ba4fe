"""What a machine knows of a share that it exports: share.json in the share's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.naming import HOME, home


@dataclass(frozen=True)
class Client:
    """A machine that has the share: the address that it comes from, and its public key (sshfs)."""

    address: str
    key: str = ""


@dataclass(frozen=True)
class Record:
    """An export. `via`: nfs or sshfs."""

    name: str
    via: str
    place: str
    """The volume's name, or the path, as the user said it."""
    folder: str
    port: int = 0
    clients: Mapping[str, Client] = field(default_factory=dict)
    """By the machines' names."""

    def to_json(self) -> Dict[str, Any]:
        clients = {name: {"address": one.address, "key": one.key} for name, one in self.clients.items()}
        return {**vars(self), "clients": clients}


def read_record(host: Host, name: str) -> Optional[Record]:
    """None where this machine exports no such share. Raises `Problem` for a file that can't be understood."""
    text = host.read(_path(name))
    if text is None:
        return None
    try:
        document = json.loads(text)
        document["clients"] = {one: Client(**what) for one, what in document["clients"].items()}
        return Record(**document)
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(
            "share-record",
            f"{_path(name)} can't be understood",
            why=str(error),
            hint="remove it, and share again",
        ) from error


def read_records(host: Host) -> List[Record]:
    """All that this machine exports. Raises `Problem`."""
    found = [read_record(host, name) for name in host.names(HOME)]
    return [one for one in found if one]


def write_record(host: Host, record: Record) -> None:
    host.make_folder(home(record.name), 0o700)
    host.write(_path(record.name), json.dumps(record.to_json(), indent=4) + "\n", 0o600)


def _path(name: str) -> str:
    return f"{home(name)}/share.json"
