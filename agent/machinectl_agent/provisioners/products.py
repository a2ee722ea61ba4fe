"""The engines that distributions and Docker offer as packages: names, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Product:
    """One engine: the package with dockerd and those that come with it."""

    engine: str
    client: str
    """The package of the `docker` command; installed where a source offers it (else it is in `engine`)."""
    companions: Tuple[str, ...] = ()
    """Installed together with it where a source offers them."""
    pinned: Tuple[str, ...] = ()
    """More packages that have the engine's version and must keep it."""

    @property
    def packages(self) -> Tuple[str, ...]:
        return (self.engine, self.client, *self.companions)

    @property
    def same_version(self) -> Tuple[str, ...]:
        """The packages that a pin holds."""
        return (self.engine, self.client, *self.pinned)


DOCKER = Product(
    "docker-ce",
    "docker-ce-cli",
    ("containerd.io", "docker-buildx-plugin", "docker-compose-plugin"),
    ("docker-ce-rootless-extras",),
)
"""Docker's own packages, from download.docker.com and its mirrors."""
