"""Network namespaces by name, as `ip netns` has them: a bind mount of /proc/self/task/TID/ns/net in a folder.

A thread that has entered a namespace ends there: nobody else can ever be left in the wrong one (setns(2) is per thread).
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Callable, List, Set, TypeVar

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 1 << 20
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def inside(path: str, work: Callable[[], Result]) -> Result:
    """`work()` in the namespace at `path`, in a thread of its own; its result or exception."""

    def enter() -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(descriptor, CLONE_NEWNET), f"setns {path}")
        finally:
            os.close(descriptor)

    return _apart(enter, work)


def create(folder: str, name: str) -> None:
    """A new namespace. A file that is no namespace (a creation that was killed) is replaced. Raises OSError EEXIST where
    it is one."""
    path = f"{folder}/{name}"
    if is_namespace(path):
        raise FileExistsError(17, "a namespace", path)
    _share(folder)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))

    def unshare() -> None:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")

    def bind() -> None:
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(own.encode(), path.encode(), b"none", _MS_BIND, None), f"mount {path}")

    _apart(unshare, bind)


def remove(folder: str, name: str) -> None:
    """No error where it is gone. Its devices go when the last process and socket in it have gone."""
    path = f"{folder}/{name}"
    while is_namespace(path):
        _check(_libc.umount2(path.encode(), _MNT_DETACH), f"umount {path}")
    try:
        os.unlink(path)  # noqa: PTH108 - no pathlib in the agent's service
    except FileNotFoundError:
        pass


def is_namespace(path: str) -> bool:
    """Whether a namespace is bound there: nsfs has its own device."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev  # noqa: PTH116
    except OSError:
        return False


def names(folder: str, prefix: str) -> Set[str]:
    try:
        found: List[str] = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return set()
    return {one for one in found if one.startswith(prefix)}


def _share(folder: str) -> None:
    """The folder as a shared mount of its own, so that a namespace is seen, and ends, in all mount namespaces."""
    os.makedirs(folder, mode=0o755, exist_ok=True)  # noqa: PTH103
    path = folder.encode()
    if _libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(path, path, b"none", _MS_BIND | _MS_REC, None), f"mount {folder}")
    _check(_libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None), f"mount {folder} shared")


def _apart(first: Callable[[], None], work: Callable[[], Result]) -> Result:
    results: List[Result] = []
    errors: List[BaseException] = []

    def run() -> None:
        try:
            first()
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
