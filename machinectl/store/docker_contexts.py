"""The docker client's own store of contexts, as far as machines are in it.

    CONFIG/contexts/meta/SHA256-OF-NAME/meta.json          name, endpoint, description
    CONFIG/contexts/tls/SHA256-OF-NAME/docker/{ca,cert,key}.pem
    CONFIG/config.json                                     "currentContext"

CONFIG is $DOCKER_CONFIG or ~/.docker; the format is that of docker/cli's cli/context/store. We write it ourselves
(docker need not be there, and takes 14 ms for it): only so can a context say whose it is. The mark is a field of ours
in its Metadata, which `docker context update` and `export` keep. What has no mark is the user's own and is never
touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinectl.errors import MachinectlError, StoreError
from machinectl.store.files import sweep, write_atomic

MARK = "machinectl"

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
"""docker's rule (cli/context/store, restrictedNamePattern), to be matched in full: two characters at least."""

RESERVED = "default"
"""docker's word for $DOCKER_HOST or the local engine."""


@dataclass(frozen=True)
class Context:
    """A context that is marked as ours."""

    name: str
    store: str
    """Absolute path of the store that its machine is in."""
    machine: str
    host: str
    """As DOCKER_HOST: `tcp://198.18.0.11:2376`."""
    tls: tuple[bytes, bytes, bytes] = (b"", b"", b"")
    """ca.pem, cert.pem and key.pem."""


def docker_folder() -> Path:
    """The docker client's folder of settings. Raises MachinectlError where there is no home."""
    chosen = os.environ.get("DOCKER_CONFIG")
    try:
        return Path(chosen).absolute() if chosen else Path.home() / ".docker"
    except RuntimeError as error:
        raise MachinectlError(
            "the docker client's settings are nowhere to be found", why=str(error), hint="set DOCKER_CONFIG"
        ) from error


def check_name(name: str) -> None:
    """Raises MachinectlError for a name that docker does not take."""
    if name == RESERVED or not NAME.fullmatch(name):
        rule = "two or more letters, digits, _ . + and -, the first one a letter or digit"
        why = "docker keeps that name for itself" if name == RESERVED else f"docker wants {rule}"
        raise MachinectlError(
            f"no docker context can be called {name!r}", why=why, hint="give it another name: --context-name"
        )


def read_context(folder: Path, name: str) -> Context | None:
    """The context of that name; None where there is none. Raises StoreError where it is not one of ours: it is the
    user's own, or can't be read."""
    path = _meta(folder, name)
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} can't be read", why=str(error)) from error
    found = _parse(folder, document)
    if not found or found.name != name:
        raise StoreError(
            f'there is a docker context "{name}" that is not machinectl\'s',
            why="what you made yourself is never overwritten",
            hint=f"give the machine's another name (--context-name), or remove yours: docker context rm {name}",
        )
    return found


def our_contexts(folder: Path) -> list[Context]:
    """All that are marked, by name. What can't be read is somebody else's."""
    found = []
    for path in (folder / "contexts/meta").glob("*/meta.json"):
        try:
            context = _parse(folder, json.loads(path.read_bytes()))
        except (OSError, ValueError):
            continue
        if context and path == _meta(folder, context.name):
            found.append(context)
    return sorted(found, key=lambda one: one.name)


def write_context(folder: Path, context: Context) -> None:
    """Made or replaced; the description stays what the user made it. The callers hold a lock.

    The certificates come first: a context is there once its meta.json is. Raises StoreError.
    """
    path, keys = _meta(folder, context.name), _tls(folder, context.name)
    metadata: dict[str, Any] = {"Description": f"{context.machine}, by machinectl"}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        metadata.update(json.loads(path.read_bytes()).get("Metadata") or {})
    metadata[MARK] = {"store": context.store, "machine": context.machine}
    document = {
        "Name": context.name,
        "Metadata": metadata,
        "Endpoints": {"docker": {"Host": context.host, "SkipTLSVerify": False}},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Path.mkdir gives its mode to the last one only
        for one in (keys.parents[1], keys.parent, keys):
            one.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{error.filename} can't be made", why=error.strerror or str(error)) from error
    sweep(keys)
    sweep(path.parent)
    for file, content in zip(("ca.pem", "cert.pem", "key.pem"), context.tls, strict=True):
        write_atomic(keys / file, content)
    write_atomic(path, json.dumps(document, ensure_ascii=False).encode(), 0o644)


def remove_context(folder: Path, name: str) -> bool:
    """Removes meta.json first: without it the context is gone. Says whether it was the one in use, which no other
    takes the place of: docker falls back to its default, as after `docker context rm -f`. Raises StoreError."""
    path, keys = _meta(folder, name), _tls(folder, name)
    try:
        path.unlink(missing_ok=True)
        for file in (*keys.glob("*"), *path.parent.glob(".tmp-*")):
            file.unlink(missing_ok=True)
        for empty in (keys, keys.parent, path.parent):
            with contextlib.suppress(FileNotFoundError):
                empty.rmdir()
    except OSError as error:
        raise StoreError(f'the docker context "{name}" can\'t be removed', why=str(error)) from error
    return _use_default_after(folder, name)


def current_context(folder: Path) -> str:
    """What $DOCKER_CONTEXT or `docker context use` chose; empty: docker's default."""
    return os.environ.get("DOCKER_CONTEXT") or str(_settings(folder).get("currentContext") or "")


def _use_default_after(folder: Path, name: str) -> bool:
    settings = _settings(folder)
    if settings.get("currentContext") != name:
        return False
    del settings["currentContext"]
    path = (folder / "config.json").resolve()  # people keep it in a repository, behind a link
    mode = path.stat().st_mode & 0o777
    write_atomic(path, json.dumps(settings, indent="\t", ensure_ascii=False).encode(), mode)
    return True


def _settings(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _parse(folder: Path, document: Any) -> Context | None:
    match document:
        case {
            "Name": str(name),
            "Metadata": {"machinectl": {"store": str(store), "machine": str(machine)}},
            "Endpoints": {"docker": {"Host": str(host)}},
        }:
            return Context(name, store, machine, host, _certificates(_tls(folder, name)))
    return None


def _certificates(keys: Path) -> tuple[bytes, bytes, bytes]:
    def content(file: str) -> bytes:
        try:
            return (keys / file).read_bytes()
        except OSError:
            return b""

    return content("ca.pem"), content("cert.pem"), content("key.pem")


def _meta(folder: Path, name: str) -> Path:
    return folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"


def _tls(folder: Path, name: str) -> Path:
    return folder / "contexts/tls" / hashlib.sha256(name.encode()).hexdigest() / "docker"
