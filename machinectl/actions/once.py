"""What one run alone is to do on a machine: asked for by its command, and never remembered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Once:
    """Nothing of it is part of what a machine should be."""

    upgrade: bool = False
    """The newest engine that its source offers and the pin allows."""
