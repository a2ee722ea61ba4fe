"""Which repositories of a registry's storage have images for several platforms.

The registry's program takes the parts of such an image for untagged manifests, and would delete them. The collector
asks before it starts, when nobody can push any more. It runs by itself then, from /opt/machinectl/registry, outside
of any agent's bundle: it imports nothing of ours.

    platforms.py STORAGE [--delete-untagged]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import List

LARGEST_MANIFEST = 4 * 1024 * 1024
"""Bytes; a registry refuses larger ones."""


def repositories(storage: Path) -> List[str]:
    base = storage / "docker/registry/v2"
    below = base / "repositories"
    return [
        str(revisions.parent.parent.relative_to(below))
        for revisions in sorted(below.rglob("_manifests/revisions"))
        if any(_is_list(base, one) for one in revisions.glob("*/*/link"))
    ]


def _is_list(base: Path, link: Path) -> bool:
    try:
        kind, _, digest = link.read_text().strip().partition(":")
        blob = base / "blobs" / kind / digest[:2] / digest / "data"
        if blob.stat().st_size > LARGEST_MANIFEST:
            return False
        return isinstance(json.loads(blob.read_bytes()).get("manifests"), list)
    except (OSError, ValueError, AttributeError):
        return False


def main(storage: str, *options: str) -> int:
    found = repositories(Path(storage)) if "--delete-untagged" in options else []
    if found:
        print(f"images for several platforms: {', '.join(found[:5])}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
