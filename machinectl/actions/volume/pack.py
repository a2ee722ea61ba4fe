"""volume pack: an image on the machine that brings a volume's contents along."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from machinectl.actions.report import Report
from machinectl.actions.volume.ask import ask_volumes
from machinectl.actions.volume.backup import Consistency
from machinectl.actions.volume.names import VolumeName
from machinectl.errors import UsageError
from machinectl.remote.become import Become
from machinectl.store.store import Store

_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def pack(
    store: Store,
    volume: VolumeName,
    image: str,
    *,
    path: str,
    labels: Mapping[str, str],
    consistency: Consistency,
    become: Become,
    report: Report,
) -> str:
    """The image's id. `path`: where containers see the contents."""
    repository, tag = split_image(image)
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or "," in path:
        raise UsageError(f"--path {path!r}: an absolute path is wanted, without a comma", hint="--path /data")
    args = {
        "op": "pack", "name": volume.name, "machine": volume.machine, "repository": repository, "tag": tag,
        "path": path, "labels": dict(labels), **consistency.to_args(),
    }  # fmt: skip
    return str(ask_volumes(store, volume.machine, args, become=become, report=report)["id"])


def split_image(image: str) -> tuple[str, str]:
    """Repository and tag (`latest`). Raises `UsageError`."""
    head, sign, tag = image.rpartition(":")
    if not sign or "/" in tag:
        head, tag = image, "latest"
    if not (_REPOSITORY.fullmatch(head) and _TAG.fullmatch(tag)):
        raise UsageError(f"{image!r} is no name of an image", hint="write it as site-data:1.0")
    return head, tag
