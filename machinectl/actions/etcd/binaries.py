"""etcd's programs as a person gave them: a folder, or the tar file that etcd's project publishes."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from machinectl.errors import MachinectlError, UsageError

NEEDED, USEFUL = ("etcd", "etcdctl"), ("etcdutl",)
_ELF = b"\x7fELF"
_CHUNK = 1024 * 1024


def digests(path: Path) -> dict[str, str]:
    """Program → sha256. Raises `UsageError` where one is missing or is no program for Linux."""
    found = {}
    try:
        with _programs(path) as programs:
            for name, stream in programs:
                digest, head = hashlib.sha256(), stream.read(len(_ELF))
                if head != _ELF:
                    raise UsageError(f"{name} in {path} is no program for Linux")
                digest.update(head)
                while part := stream.read(_CHUNK):
                    digest.update(part)
                found[name] = digest.hexdigest()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UsageError(
            f"{path} can't be read", why=str(error).split(":\n", maxsplit=1)[0], hint=_HINT
        ) from error
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise UsageError(f"there is no {' and no '.join(missing)} in {path}", hint=_HINT)
    return found


@contextlib.contextmanager
def program(path: Path, sha256: str) -> Iterator[Path]:
    """The file with this content, unpacked for the block where it comes from a tar file. Raises
    `MachinectlError` where it is gone or has changed."""
    with contextlib.ExitStack() as held:
        try:
            programs = held.enter_context(_programs(path))
            for _, stream in programs:
                copy = held.enter_context(tempfile.NamedTemporaryFile())
                shutil.copyfileobj(stream, copy)
                copy.flush()
                if hashlib.sha256(Path(copy.name).read_bytes()).hexdigest() == sha256:
                    yield Path(copy.name)
                    return
        except (OSError, tarfile.TarError, EOFError) as error:
            raise _gone(path, str(error)) from error
        raise _gone(path, "none of its programs has the sha256 that is wanted")


@contextlib.contextmanager
def _programs(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    with contextlib.ExitStack() as held:

        def of_folder() -> Iterator[tuple[str, IO[bytes]]]:
            # the tar file unpacks into a folder of its own: both are taken
            for name in (*NEEDED, *USEFUL):
                found = next((one for one in (path / name, *path.glob(f"*/{name}")) if one.is_file()), None)
                if found:
                    yield name, held.enter_context(found.open("rb"))

        def of_tar() -> Iterator[tuple[str, IO[bytes]]]:
            archive = held.enter_context(tarfile.open(path))
            for member in archive:
                name = Path(member.name).name
                stream = archive.extractfile(member) if member.isfile() else None
                if stream and name in (*NEEDED, *USEFUL):
                    yield name, stream

        yield of_folder() if path.is_dir() else of_tar()


def _gone(path: Path, why: str) -> MachinectlError:
    return MachinectlError(
        f"etcd's programs can't be taken from {path}",
        why=why,
        hint="`machinectl etcd deploy --binaries DIR MACHINE…` names another place",
    )


_HINT = "give a folder or tar file with etcd and etcdctl, as etcd's project publishes them"
