"""What one run alone is to do on a machine: asked for by its command, and never remembered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Once:
    """Nothing of it is part of what a machine should be."""

    share: bool = False
    """This store may be added to those that the host's engine trusts."""
    removed: tuple[str, ...] = ()
    """PEM of CAs that the host shall trust no longer."""
    own_certificate: bool = False
    """The host gets this store's server certificate, also where another store's would do."""
    upgrade: bool = False
    """The newest engine that its source offers and the pin allows."""
