"""Diff ids → chain ids, as the OCI image specification has them ("Layer ChainID")."""

from __future__ import annotations

import hashlib
from typing import AbstractSet, Iterable, List, Sequence, Set, Tuple


def chain_ids(diff_ids: Sequence[str]) -> List[str]:
    """One for each layer, the lowest first. Pure."""
    found: List[str] = []
    for one in diff_ids:
        if not found:
            found.append(one)
        else:
            found.append("sha256:" + hashlib.sha256(f"{found[-1]} {one}".encode()).hexdigest())
    return found


def stacked(diff_ids: Sequence[str]) -> List[Tuple[str, str]]:
    """Every layer's diff id and chain id. Pure."""
    return [(diff_ids[index], chain) for index, chain in enumerate(chain_ids(diff_ids))]


def spared(images: Iterable[Sequence[str]], there: AbstractSet[str]) -> Set[str]:
    """Diff ids that need not travel: every layer that has one is `there` (chain ids). Pure.

    The same content may lie on different layers; it is needed as soon as one of them is missing."""
    known: Set[str] = set()
    needed: Set[str] = set()
    for diff_ids in images:
        for diff_id, chain_id in stacked(diff_ids):
            (known if chain_id in there else needed).add(diff_id)
    return known - needed
