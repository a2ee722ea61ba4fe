"""What a provisioner is: everything about packages that differs between families of distributions.

Each family is one file; `FAMILIES` in `provisioners/choose.py` names them in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Collection, List, Protocol, Sequence, Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step
from machinectl_agent.spec import EngineSpec


@dataclass(frozen=True)
class Installed:
    """The engine that is on the host, however it came there."""

    dockerd: str
    """Full path of dockerd; empty: no engine."""
    version: str
    """As `dockerd --version` says it, `20.10.24+dfsg1`; empty: no engine, or one that does not run."""
    package: str
    """The package that owns dockerd; empty: none does (static binaries)."""
    client: bool
    """The `docker` command is there."""


class Provisioner(Protocol):
    """One family of distributions."""

    name: str
    """What `--os` takes: `debian`, `redhat`, `suse`, `arch`."""
    ids: Tuple[str, ...]
    """ID and ID_LIKE words of os-release(5) that belong to the family."""

    def observe(self, host: Host, facts: Facts, engine: EngineSpec) -> Any:
        """Reads package state, sources, pins. No network, nothing changed."""

    def plan(self, seen: Any, facts: Facts, engine: EngineSpec) -> List[Step]:
        """Steps that bring sources, pin, engine and client to what is wanted; empty when they are."""

    def refresh(self, host: Host, log: Callable[[str], None]) -> None:
        """Fetches what the sources offer now, before an upgrade is planned. Raises `Problem`."""

    def install(self, host: Host, *packages: str) -> None:
        """Installs distribution packages that another phase needs (a time service). Raises `Problem`."""

    def present(self, host: Host, names: Sequence[str]) -> Collection[str]:
        """Those of these packages that are installed."""

    def remove(self, host: Host, name: str) -> bool:
        """Removes one package and nothing else; False where another one needs it, and it stays."""
