"""etcd restore: all members begin anew with a snapshot, as a new cluster; the data of before stay on their hosts.

prepare   every host unpacks the snapshot beside its data: nothing changes if one of them can't
record    from here on only the same restore can go on
swap      every host stops its member, moves its data aside, starts with the snapshot's
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machinectl.actions.etcd.access import require_own
from machinectl.actions.etcd.announce import tell
from machinectl.actions.etcd.members import apply_member
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, save_etcd
from machinectl.store.store import Store


def restore(
    store: Store, path: Path, names: Sequence[str] = (), *, become: Become, quiet: bool = False
) -> None:
    """`names`: the members of the new cluster (default: those of now); the others are ended. A run that was
    killed is finished by the next one with the same file. Agents put back what their containers have."""
    digest = _digest(path)
    with store.lock("etcd", wait=600.0):
        present = require_own(store)
        machines = {name: store.load(name).ip for name in names}
        etcd = renewed(present, machines, digest)

        def at(stage: str, snapshot: Path | None = None) -> None:
            def one(name: str) -> dict[str, Any]:
                return apply_member(
                    store, etcd, name, become=become, quiet=quiet, stage=stage, snapshot=snapshot
                )

            raise_failures(on_each(list(etcd.members), one))

        at("prepare", path)
        save_etcd(store, etcd)
        leaving = [name for name in present.members if name not in etcd.members]
        for name in leaving:
            _end(store, present, name, become=become, quiet=quiet)
        at("swap")
        done = dataclasses.replace(etcd, state="existing", restoring="")
        # the copy knows where its members were
        tell(store, done.client_urls())
        save_etcd(store, done)


def renewed(present: Etcd, machines: dict[str, str], digest: str) -> Etcd:
    """Pure: the record of the new cluster; of the same one again where that restore was cut off. `machines`: name
    → its own address; empty: the members of now."""
    members = {name: present.members.get(name) or address for name, address in machines.items()}
    members = members or dict(present.members)
    if present.restoring == digest and members == dict(present.members):
        return present
    return dataclasses.replace(
        present,
        members=members,
        incarnations={},
        token=f"machinectl-{secrets.token_hex(8)}",
        state="new",
        joining="",
        restoring=digest,
    )


def _end(store: Store, etcd: Etcd, name: str, *, become: Become, quiet: bool) -> None:
    """A member of before that is none of the new ones: its host may be what made the restore necessary."""
    try:
        apply_member(store, etcd, name, become=become, quiet=quiet, absent=True)
    except MachinectlError as error:
        Report(name, quiet=quiet).line(
            f"its etcd could not be ended ({error.what}); should the host come back: "
            "`systemctl disable --now machinectl-etcd`"
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1024 * 1024):
                digest.update(part)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read",
            why=error.strerror or str(error),
            hint="`machinectl etcd backup FILE` makes one",
        ) from error
    return digest.hexdigest()
