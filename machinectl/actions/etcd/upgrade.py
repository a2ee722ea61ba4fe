"""etcd upgrade: newer programs, one member after the other; each has to be well again before the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from machinectl.actions.etcd.access import require_own
from machinectl.actions.etcd.members import apply_member, is_well, put_programs, wait_healthy
from machinectl.actions.etcd.upkeep import in_turn
from machinectl.errors import MachinectlError
from machinectl.remote.become import Become
from machinectl.store.etcd import save_etcd
from machinectl.store.store import Store


def upgrade(
    store: Store, *, wishes: Mapping[str, Any], become: Become, quiet: bool = False
) -> list[tuple[str, str, bool]]:
    """(member, version, whether anything changed). A member that an earlier, killed run has left down comes
    first. Raises where the others are no majority without the one that is stopped next."""
    found = []
    with store.lock("etcd", wait=600.0):
        etcd = dataclasses.replace(require_own(store), **wishes)
        down = [name for name in etcd.members if not is_well(store, etcd, name)]
        if len(down) > 1 or (down and len(etcd.members) - 1 <= len(etcd.members) // 2):
            raise MachinectlError(
                f"{', '.join(down)} can't be reached or take part in no majority",
                why="a member is stopped while it is upgraded, and the others have to go on",
                hint="`machinectl etcd status`; `machinectl etcd deploy` with all members repairs them",
            )
        if wishes:
            put_programs(store, etcd, become=become, quiet=quiet)
        save_etcd(store, etcd)
        for name in in_turn(store, etcd):
            result = apply_member(store, etcd, name, become=become, quiet=quiet, upgrade=True)
            wait_healthy(store, etcd, [name])
            found.append((name, str(result["version"]), bool(result["changed"])))
    return found
