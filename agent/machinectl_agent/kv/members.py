"""What a member says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemberStatus:
    """`leader` 0: it knows of none just now. Sizes in bytes."""

    id: int
    version: str
    size: int
    leader: int
    revision: int
    term: int
    is_learner: bool = False
    index: int = 0
    """Of raft: how far its log goes."""
