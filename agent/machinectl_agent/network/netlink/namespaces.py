"""Network namespaces by name, as `ip netns` keeps them: each a bind mount in a folder.

A thread that enters a namespace is made for that and ends there (setns(2) and unshare(2) are per thread): nobody can
be left in the wrong one, whatever fails in between.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Set, Tuple, TypeVar

from machinectl_agent.network.netlink.sockets import Netlink
from machinectl_agent.problems import Problem

Result = TypeVar("Result")

PATIENCE = 30.0
"""Seconds for another one's work on the same folder or network."""

_NEWNET = 0x40000000
_BIND, _RECURSIVE, _SHARED = 0x1000, 0x4000, 1 << 20
_DETACH = 2
_PAUSE = 0.005

_libc = ctypes.CDLL(None, use_errno=True)


def inside(path: str, work: Callable[[], Result]) -> Result:
    """`work()` in the namespace at `path`: its result or exception. OSError where it is none."""

    def run() -> Result:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(descriptor, _NEWNET), f"enter {path}")
        finally:
            os.close(descriptor)
        return work()

    return _in_a_thread(run)


def open_netlink(path: str) -> Netlink:
    """A socket in that namespace, for whichever thread."""
    return inside(path, Netlink)


def ensure(folder: str, name: str, lost: Optional[Netlink] = None) -> bool:
    """Whether it had to be made. A file that is no namespace yet (a creation that was killed) becomes one.

    `lost`: a socket that was opened in it. Where somebody has taken the mount away, the namespace that the
    socket still holds is bound again, with all that is in it.
    """
    path = f"{folder}/{name}"
    if is_namespace(path):
        return False
    _share(folder)
    with _held(folder):  # `ip netns add` takes this lock too
        if is_namespace(path):
            return False
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
        if lost is not None:
            descriptor = lost.namespace()
            try:
                _mount(f"/proc/self/fd/{descriptor}", path)
            finally:
                os.close(descriptor)
        else:
            _in_a_thread(lambda: _bind_new(path))
    return True


def remove(folder: str, name: str) -> None:
    """No error where it is gone. What a socket or a process still holds of it lives on without a name."""
    path = f"{folder}/{name}"
    with contextlib.suppress(FileNotFoundError), _held(folder):
        while _libc.umount2(path.encode(), _DETACH) == 0:
            pass  # one on the other, from two that raced
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()


def identity(path: str) -> Optional[Tuple[int, int]]:
    """Of the namespace itself, whichever path leads to it; None where there is none."""
    try:
        here = Path(path).stat()
        own = Path("/proc/self/ns/net").stat()
    except OSError:
        return None
    # all namespaces are on one file system of the kernel's own, nsfs
    return (here.st_dev, here.st_ino) if here.st_dev == own.st_dev else None


def is_namespace(path: str) -> bool:
    return identity(path) is not None


def names(folder: str, prefix: str) -> Set[str]:
    try:
        return {one.name for one in Path(folder).iterdir() if one.name.startswith(prefix)}
    except FileNotFoundError:
        return set()


class Gone(FileNotFoundError):
    """The namespace is not there, or was removed or made anew while we waited for it."""


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """One at a time, over all processes. Raises `Gone`."""
    if not is_namespace(path):
        raise Gone(errno.ENOENT, "no namespace", path)
    try:
        with _held(path) as descriptor:
            opened = os.fstat(descriptor)
            if identity(path) != (opened.st_dev, opened.st_ino):
                raise Gone(errno.ENOENT, "the namespace went while we waited for it", path)
            yield
    except FileNotFoundError as error:
        if is_namespace(path):
            raise
        raise Gone(errno.ENOENT, "the namespace went", path) from error


@contextlib.contextmanager
def _held(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    end = time.monotonic() + PATIENCE
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Problem(
                        "namespace-locked",
                        f"{path} is in use by another program",
                        why=f"its lock has been held for more than {PATIENCE:.0f} s",
                        hint=f"`fuser -v {path}` shows who holds it",
                    ) from None
            time.sleep(_PAUSE)  # flock(2) has no timeout of its own
        yield descriptor
    finally:
        os.close(descriptor)


def _share(folder: str) -> None:
    """The folder as a shared mount of its own, so that a namespace is seen, and ends, in all mount namespaces."""
    Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
    with _held(folder):
        if _libc.mount(b"", folder.encode(), b"none", _SHARED | _RECURSIVE, None) == 0:
            return
        _mount(folder, folder)
        _check(_libc.mount(b"", folder.encode(), b"none", _SHARED | _RECURSIVE, None), f"share {folder}")


def _bind_new(path: str) -> None:
    _check(_libc.unshare(_NEWNET), "make a network namespace")
    # /proc/self would be the whole process, and with that another namespace
    _mount("/proc/thread-self/ns/net", path)


def _mount(source: str, target: str) -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), b"none", _BIND | _RECURSIVE, None), f"mount {target}"
    )


def _check(status: int, what: str) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"can't {what}: {os.strerror(code)}")


def _in_a_thread(work: Callable[[], Result]) -> Result:
    results: List[Result] = []
    errors: List[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
