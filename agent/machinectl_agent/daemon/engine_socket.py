"""Asking dockerd whether it is well, without ever waking one that was stopped.

systemd holds /run/docker.sock (docker.socket) and starts dockerd for whoever connects. A ping of a dockerd
that an admin has stopped, or that is just stopping, would start it again. So nobody connects here before
dockerd is seen holding the listening socket itself: a readlink(2) of /proc/PID/fd/N, found once and kept.
"""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from typing import Optional, Set, Tuple

_ANSWER = 16 * 1024
"""Bytes; a ping's answer has about 300."""


@dataclass(frozen=True)
class Ping:
    """One `GET /_ping` (Docker Engine API). `trouble` is empty where dockerd answered."""

    trouble: str = ""
    seconds: float = 0.0
    version: str = ""
    """As the Server header says it: `20.10.24+dfsg1`."""


class Listener:
    """Remembers which descriptor of which process is the API's."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: Tuple[str, str] = ("", "")
        """/proc/PID/fd/N and what it links to."""

    def held_by(self, pid: int) -> bool:
        """Whether the process accepts connections on the path; False for pid 0 and one that ended."""
        link, target = self._found
        if link.startswith(f"/proc/{pid}/fd/") and _link(link) == target:
            return True
        self._found = self._find(pid)
        return bool(self._found[0])

    def _find(self, pid: int) -> Tuple[str, str]:
        folder = f"/proc/{pid}/fd"
        try:
            with open("/proc/net/unix", encoding="utf-8", errors="replace") as stream:
                wanted = {f"socket:[{inode}]" for inode in listening(stream.read(), self._path)}
            numbers = os.listdir(folder) if wanted and pid else []  # noqa: PTH208 - no pathlib here
        except OSError:
            return "", ""
        for number in numbers:
            target = _link(f"{folder}/{number}")
            if target in wanted:
                return f"{folder}/{number}", target
        return "", ""


def listening(table: str, path: str) -> Set[str]:
    """Inodes of the sockets in /proc/net/unix that listen on the path; symbolic links are followed."""
    wanted = os.path.realpath(path)
    found = set()
    for line in table.splitlines():
        fields = line.split(None, 7)
        # Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is 1 << 16 (include/linux/net.h)
        if len(fields) == 8 and fields[3] == "00010000" and os.path.realpath(fields[7]) == wanted:
            found.add(fields[6])
    return found


def ping(path: str, deadline: float) -> Ping:
    """Never raises. `deadline` is seconds for all of it."""
    began = time.monotonic()
    try:
        answer = _exchange(path, began + deadline)
    except OSError as error:
        # a timeout has no errno, in Python 3.9 (socket.timeout) and later (TimeoutError)
        late = error.errno is None
        return Ping(f"no answer to a ping within {deadline:g} s" if late else f"{path}: {error.strerror}")
    return parse_answer(answer, time.monotonic() - began)


def _exchange(path: str, end: float) -> bytes:
    """The head of the response, or as much as came until the connection was closed."""
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(max(end - time.monotonic(), 0.001))
        one.connect(path)
        one.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        while b"\r\n\r\n" not in answer and len(answer) < _ANSWER:
            one.settimeout(max(end - time.monotonic(), 0.001))
            part = one.recv(4096)
            if not part:
                break
            answer += part
    return answer


def parse_answer(answer: bytes, seconds: float) -> Ping:
    """Pure: an HTTP response's head → Ping."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    status = re.match(r"HTTP/1\.[01] (\d{3})", head)
    if not status:
        return Ping(
            "the answer to a ping is no HTTP" if answer else "the connection was closed without an answer"
        )
    if status[1] != "200":
        return Ping(f"the answer to a ping is {head.splitlines()[0][:80]!r}")
    server: Optional[re.Match[str]] = re.search(r"^Server: Docker/(\S+)", head, re.MULTILINE | re.IGNORECASE)
    return Ping("", seconds, server[1] if server else "")


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a string is wanted
    except OSError:
        return ""
