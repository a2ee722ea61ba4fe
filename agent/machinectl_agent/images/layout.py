"""An OCI image layout without Docker's manifest.json (buildx, skopeo, podman write such): what that would say.

`docker load` of the classic stores reads only manifest.json. Its layers may be compressed there.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Mapping

from machinectl_agent.images.names import familiar
from machinectl_agent.images.tarfiles import BrokenArchive

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
Read = Callable[[str], bytes]


def blob(digest: Any) -> str:
    """Where a layout keeps it. Raises `BrokenArchive` for what is no digest."""
    algorithm, _, text = str(digest).partition(":")
    if algorithm != "sha256" or len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise BrokenArchive(f"{str(digest)[:80]!r} is no SHA-256 digest")
    return f"blobs/sha256/{text}"


def docker_manifest(read: Read) -> List[Dict[str, Any]]:
    """manifest.json's content. `read`: a file of the layout, by its name. Raises `BrokenArchive`."""
    rows = []
    for one in _described(_document(read, "index.json")):
        manifest = _document(read, blob(one.get("digest")))
        if one.get("mediaType") in INDEX_TYPES or "manifests" in manifest:
            inner = _described(manifest)
            if len(inner) != 1:
                raise BrokenArchive(
                    f"it holds images for {len(inner)} platforms under one name: save one with --platform"
                )
            manifest = _document(read, blob(inner[0].get("digest")))
        rows.append(
            {
                "Config": blob(manifest["config"]["digest"]),
                "RepoTags": _tags(one.get("annotations") or {}),
                "Layers": [blob(layer["digest"]) for layer in manifest["layers"]],
            }
        )
    return rows


def _described(index: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    """Without buildx's attestations, which are no images."""
    return [
        one for one in index["manifests"] if "vnd.docker.reference.type" not in (one.get("annotations") or {})
    ]


def _document(read: Read, name: str) -> Dict[str, Any]:
    document = json.loads(read(name))
    if not isinstance(document, dict):
        raise BrokenArchive(f"{name} is no JSON object")
    return document


def _tags(annotations: Mapping[str, str]) -> List[str]:
    name = annotations.get("io.containerd.image.name") or annotations.get(
        "org.opencontainers.image.ref.name", ""
    )
    name = familiar(name)
    # a bare tag (`latest`) says nothing about what it is a tag of
    return [name] if ":" in name or "/" in name else []
