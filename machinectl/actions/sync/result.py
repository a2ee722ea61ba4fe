"""What a sync has done, or would do, on one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from machinectl.remote.rsync_output import Change
from machinectl.sizes import human


@dataclass(frozen=True)
class Synced:
    """The same by both ways."""

    way: str
    """`rsync` or `agent`."""
    files: int
    """Looked at."""
    sent: int
    """Whose contents travelled, in whole or in part."""
    bytes: int
    """That travelled."""
    deleted: int
    seconds: float
    changes: tuple[Change, ...] = ()
    """Of a dry run only."""
    warning: str = ""

    def document(self) -> dict[str, Any]:
        """For --output json."""
        return {
            "way": self.way,
            "files": self.files,
            "sent": self.sent,
            "bytes": self.bytes,
            "deleted": self.deleted,
            "seconds": round(self.seconds, 3),
            "changes": [{"verb": one.verb, "path": one.path} for one in self.changes],
        }


def summary(done: Synced, *, dry_run: bool = False) -> str:
    """`3 of 120 files sent (12.3 kB), 2 deleted, by rsync in 0.8 s`."""
    head = "would be sent" if dry_run else f"sent ({human(done.bytes)})"
    words = f"{done.sent} of {done.files} files {head}, {done.deleted} deleted"
    return words if dry_run else f"{words}, by {done.way} in {done.seconds:.1f} s"
