"""Where a lab lives: folders, bridge, addresses. Two labs on one machine need two of each."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from machinectl.errors import LabError

FIRST_HOST = 11
"""node1's last number: 198.18.0.11; below it is room for the bridge and for what people add by hand."""

SUITES = ("bookworm", "trixie", "sid", "bullseye")
MIXED = ("bookworm", "trixie", "sid")


@dataclass(frozen=True)
class Settings:
    """One lab. The default addresses are from 198.18.0.0/15, set aside for tests of networks (RFC 2544)."""

    state: Path = Path("/var/lib/machinectl-lab")
    cache: Path = Path("/var/cache/machinectl-lab")
    bridge: str = "mclab0"
    subnet: str = "198.18.0.0/24"

    def __post_init__(self) -> None:
        try:
            network = ipaddress.IPv4Network(self.subnet)
        except ValueError as error:
            raise LabError(
                f"the lab's subnet {self.subnet!r} can't be", why=str(error), hint="--subnet 198.18.7.0/24"
            ) from error
        if network.num_addresses < 32:
            raise LabError(f"the lab's subnet {self.subnet} is too small", hint="take a /24")
        # IFNAMSIZ is 16 with the closing zero; the bridge's name is part of the veths' names as well
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,14}", self.bridge):
            raise LabError(f"{self.bridge!r} is no name for a bridge", hint="--bridge mclab1")

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.network[1])

    @property
    def key(self) -> Path:
        """The private key that every host lets in."""
        return self.state / "key"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    @property
    def table(self) -> str:
        """The nftables table that is all ours."""
        return "machinectl_lab_" + re.sub(r"\W", "_", self.bridge)


def settings_from_environment(bridge: str = "", subnet: str = "") -> Settings:
    """The flags, else MACHINECTL_LAB_DIR, _CACHE, _BRIDGE, _SUBNET, else what the lab that is there was made with,
    else the defaults."""
    default = Settings()
    state = Path(os.environ.get("MACHINECTL_LAB_DIR") or default.state).absolute()
    made = _made_with(state)
    return Settings(
        state,
        Path(os.environ.get("MACHINECTL_LAB_CACHE") or default.cache).absolute(),
        bridge or os.environ.get("MACHINECTL_LAB_BRIDGE") or made.get("bridge") or default.bridge,
        subnet or os.environ.get("MACHINECTL_LAB_SUBNET") or made.get("subnet") or default.subnet,
    )


def _made_with(state: Path) -> dict[str, str]:
    """Bridge and subnet of lab.json; a damaged one is reported where it is needed (state.py)."""
    try:
        document = json.loads((state / "lab.json").read_text())
        return {name: str(document[name]) for name in ("bridge", "subnet")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
