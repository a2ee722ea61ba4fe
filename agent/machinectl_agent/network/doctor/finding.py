"""What a check says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict


@dataclass(frozen=True)
class Finding:
    """`subject` is what it is about: `network demo`, `machine node2`, `etcd`, `dockerd`, `firewall`, `dns`."""

    subject: str
    what: str
    why: str = ""
    hint: str = ""
    fixed: bool = False
    check: str = ""
    """Name of the check."""

    def to_json(self) -> Dict[str, Any]:
        return dataclasses.asdict(self)
