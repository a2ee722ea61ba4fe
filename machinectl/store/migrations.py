"""config.json from one version to the next: an explicit chain, walked when a record is read.

The file itself changes only with the next save, which keeps a copy of what it replaced (store.py).
Version 0 is docker-machine's own record (its ConfigVersion is 1 to 3): a store of its generic driver can be
used as it is.
Light on purpose, like records.py: the fast path may come through here.
"""

from __future__ import annotations

from machinectl.errors import StoreError
from machinectl.store.records import CURRENT

TYPE_CHECKING = False  # see records.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _from_docker_machine(old: dict[str, Any]) -> dict[str, Any]:
    """docker-machine's record (libmachine/host.Host) of a machine of its generic driver."""
    from machinectl.store.docker_machine import from_docker_machine  # noqa: PLC0415 - rarely needed

    return from_docker_machine(old)[0]


MIGRATIONS: tuple[tuple[int, int, Callable[[dict[str, Any]], dict[str, Any]]], ...] = (
    (0, 1, _from_docker_machine),
)
"""(from, to, function), in order, the last one to `CURRENT`. A function turns one record into
the next version's and touches nothing else."""


def version_of(document: dict[str, Any]) -> int | None:
    """0 for docker-machine's records, None for what is neither ours nor its."""
    version = document.get("config_version")
    if isinstance(version, int) and not isinstance(version, bool):
        return version
    return 0 if version is None and "ConfigVersion" in document and "Driver" in document else None


def migrate(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The record in version `CURRENT`. `path` is for messages only.

    Raises StoreError for a version that this machinectl does not know, with what to do about it.
    """
    version = version_of(document)
    if version is None:
        raise StoreError(
            f"{path} is no machine's record",
            why="it has no config_version",
            hint="put the file back from a backup, or drop the record with `machinectl rm -f`",
        )
    if version > CURRENT:
        raise StoreError(
            f"{path} was written by a newer machinectl",
            why=f"its config_version is {version}, this one knows {CURRENT}",
            hint="upgrade machinectl, or name another store with -s",
        )
    if version == 0 and document.get("DriverName") != "generic":
        raise StoreError(
            f"{path} is a machine of docker-machine's driver {document.get('DriverName')!r}",
            why="machinectl manages hosts by SSH; it makes no virtual machines",
            hint="`machinectl create --ip ADDRESS NAME` takes the host over, if it can be reached by SSH",
        )
    for source, target, change in MIGRATIONS:
        if version == source:
            try:
                document = change(document)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise StoreError(
                    f"{path} can't be brought from version {source} to {target}",
                    why=f"{type(error).__name__}: {error}",
                    hint="create the machine again with `machinectl create`",
                ) from error
            version = target
    return document
