"""Names of images, as people write them. Pure."""

from __future__ import annotations

import re
from typing import Tuple

NAME = re.compile(r"(?!sha256:)[A-Za-z0-9][A-Za-z0-9._:/@-]*")
"""Near enough: dockerd is the one who knows. No option and nothing with a space or comma passes."""


def split(name: str) -> Tuple[str, str, str]:
    """`app` → app, `:`, latest; `host:5000/app@sha256:…` → host:5000/app, `@`, sha256:…."""
    repository, sign, digest = name.partition("@")
    if sign:
        return repository, "@", digest
    path, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return path + slash + base, ":", tag or "latest"


def full(name: str) -> str:
    """With its tag; without it `docker save` takes all of a repository. An image's id stays as it is."""
    if is_id(name):
        return name
    return "".join(split(familiar(name)))


def is_id(name: str) -> bool:
    """An image's own id, or one of a registry: neither is a name that it could be given elsewhere."""
    return name.startswith("sha256:") or "@" in name


def familiar(name: str) -> str:
    """As dockerd shows it: Docker Hub's own images without their registry."""
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name
