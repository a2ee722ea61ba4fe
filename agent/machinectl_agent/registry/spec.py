"""The wanted registry on one port of this machine, as the controller sends it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

from machinectl_agent.spec import SpecError

PACKAGE, CONTAINER, AUTO = "package", "container", "auto"


@dataclass(frozen=True)
class RegistrySpec:
    """`key`, `htpasswd` and `upstream_password` are secrets."""

    port: int
    storage: str = ""
    """Folder of the images; empty: one of the port's own below /var/lib."""
    via: str = AUTO
    image: str = "registry:2"
    """What a container is made of; never pulled."""
    cert: str = ""
    key: str = field(default="", repr=False)
    """With `cert`: TLS; without: plain HTTP."""
    ca: str = ""
    """The controller's own: whom the registry trusts as its upstream, besides those that the host knows."""
    htpasswd: str = field(default="", repr=False)
    """Lines of NAME:BCRYPT; empty: no login is asked for."""
    upstream: str = ""
    """URL of the registry that this one is a mirror of; empty: people push to this one."""
    upstream_user: str = ""
    upstream_password: str = field(default="", repr=False)
    controller: str = ""
    """Who asks; a registry is one controller's."""
    take_over: bool = False
    """It may be another one's until now."""
    absent: bool = False
    purge: bool = False
    """With `absent`: its images go, too."""

    @property
    def place(self) -> str:
        """Where its images are."""
        return self.storage or f"/var/lib/machinectl-registry/{self.port}"

    def to_json(self) -> Dict[str, Any]:
        """The whole document, the secrets included: for the wire, never for a log."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RegistrySpec:
        """The reverse of `to_json`. Raises `SpecError`."""
        unknown = sorted(set(document) - {one.name for one in dataclasses.fields(cls)})
        if unknown:
            raise SpecError(f"registry: unknown key {unknown[0]!r}; is the agent older than the controller?")
        try:
            spec = cls(**document)
        except TypeError as error:
            raise SpecError(f"registry: {error}") from error
        if spec.via not in (AUTO, PACKAGE, CONTAINER) or not 0 < spec.port < 65536:
            raise SpecError(f"registry: no such port or way: {spec.port}, {spec.via}")
        return spec
