"""Docker's API over its unix socket, from the machine itself, with the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any, Callable, Optional

SOCKET = "/run/docker.sock"


class ApiError(Exception):
    """dockerd did not answer, or with an error; the text says which."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; `deadline` (seconds) is for each wait, None waits for ever."""

    def __init__(self, path: str, deadline: Optional[float]) -> None:
        super().__init__("docker", timeout=deadline)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(path: str, *, deadline: float = 5.0, unix_socket: str = SOCKET) -> Any:
    """`GET path`: the JSON that came back, or the text where it is none (`/_ping`). Raises `ApiError`.

    No version in the path: the engine then uses its own newest (Docker Engine API, "Versioned API").
    """
    connection = UnixConnection(unix_socket, deadline)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(f"no answer on {unix_socket}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ApiError(f"GET {path}: {answer.status} {body[:200].decode(errors='replace')}")
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def wait_until(condition: Callable[[], bool], deadline: float, pause: float = 0.1) -> bool:
    """Polls a condition (ApiError counts as not yet) until it holds; False after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        try:
            if condition():
                return True
        except ApiError:
            pass
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
