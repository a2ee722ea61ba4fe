"""The agent as one archive: pure Python, the same for every Python from 3.9 on and every architecture.

Made of what is installed beside the controller, so that no network, pip or venv is needed anywhere. The hash
is over names and contents, not over the archive: another zlib must not look like another agent.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from machinectl.errors import AgentFailed

THIRD_PARTY = ("jinja2", "markupsafe", "dnslib", "pyroute2")
"""Distributions that travel along; markupsafe falls back to Python without its compiled part."""

MAIN = b"""import sys

from machinectl_agent.main import main

sys.exit(main(sys.argv[1:]))
"""
"""`python3 -I FOLDER VERB` runs this."""

_HASH_CHARACTERS = 32
_building = threading.Lock()


@dataclass(frozen=True)
class Bundle:
    """Files by their path in the bundle. Reading and hashing is cheap; the archive is made when wanted."""

    files: Mapping[str, bytes] = field(repr=False)

    @functools.cached_property
    def hash(self) -> str:
        """32 hexadecimal digits; the name of the folder on the host."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
        return digest.hexdigest()[:_HASH_CHARACTERS]

    @functools.cached_property
    def archive(self) -> bytes:
        """tar.gz, reproducible: sorted, owned by root, no times."""
        packed = io.BytesIO()
        # Level 6 costs 25 ms where 9 costs 60 for 2 % less.
        with (
            gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name, content in sorted(self.files.items()):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                member.mode = 0o644
                tar.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def build_bundle() -> Bundle:
    """The agent of this controller's own version, put together once for all machines of a run.

    Raises `AgentFailed` when a piece is not installed."""
    with _building:
        return _built()


@functools.cache
def _built() -> Bundle:
    return pack_bundle()


def pack_bundle() -> Bundle:
    """The same, from the files as they are now."""
    files = {"__main__.py": MAIN}
    files.update(_agent())
    for distribution in THIRD_PARTY:
        files.update(_installed(distribution))
    return Bundle(files)


def _agent() -> Iterator[tuple[str, bytes]]:
    """Our own package by its folder: an editable installation lists no files."""
    import machinectl_agent  # noqa: PLC0415  # only the package's place is wanted, and only here

    package = Path(next(iter(machinectl_agent.__path__))).resolve()
    for path in sorted(package.rglob("*.py")):
        yield f"machinectl_agent/{path.relative_to(package).as_posix()}", path.read_bytes()
    # Installed, the templates are inside the package; in a checkout they are the top-level folder.
    templates = next(
        (one for one in (package / "templates", package.parents[1] / "templates") if one.is_dir()), None
    )
    if templates is None:
        return
    for path in sorted(templates.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix not in {".pyc", ".py"}:
            yield f"machinectl_agent/templates/{path.relative_to(templates).as_posix()}", path.read_bytes()


def _installed(distribution: str) -> Iterator[tuple[str, bytes]]:
    """The Python files and the licence of an installed distribution, whose package has the same name.

    By the package's folder: importlib.metadata costs 40 ms."""
    package = importlib.util.find_spec(distribution)
    if package is None or not package.submodule_search_locations:
        raise AgentFailed(
            f"the agent can't be packed: {distribution} is not installed here",
            hint="reinstall machinectl with its dependencies",
            problem="bundle-incomplete",
        )
    folder = Path(next(iter(package.submodule_search_locations)))
    site = folder.parent
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(site).as_posix(), path.read_bytes()
    for path in sorted(site.glob(f"{distribution}-*.dist-info/**/*")):
        if "license" in path.name.lower() and path.is_file():
            yield path.relative_to(site).as_posix(), path.read_bytes()
