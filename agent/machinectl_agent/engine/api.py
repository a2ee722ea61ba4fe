"""Docker's API over its unix socket, from the machine itself, with the standard library."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Mapping, Optional, Tuple

SOCKET = "/run/docker.sock"

DEADLINE = 10.0


class ApiError(Exception):
    """dockerd did not answer, or with an error; the text says which."""

    def __init__(self, text: str, *, status: int = 0, said: str = "") -> None:
        super().__init__(text)
        self.status = status
        """HTTP's; 0 where there was no answer."""
        self.said = said
        """dockerd's own words."""


class Conflict(ApiError):
    """403 or 409: it is in use, or the name is taken."""


def get(path: str, *, deadline: float = 5.0, unix_socket: str = SOCKET) -> Any:
    """`GET path`: the JSON that came back, or the text where it is none (`/_ping`). Raises `ApiError`.

    No version in the path: the engine then uses its own newest (Docker Engine API, "Versioned API").
    """
    status, body = _exchange("GET", path, None, deadline, unix_socket)
    if status != 200:
        raise ApiError(f"GET {path}: {status} {body[:200].decode(errors='replace')}")
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def call(
    method: str,
    path: str,
    body: Optional[Mapping[str, Any]] = None,
    *,
    deadline: float = DEADLINE,
    unix_socket: str = SOCKET,
) -> Any:
    """The JSON answer; None for 404 and for answers without a body. Raises `ApiError`."""
    status, content = _exchange(method, path, body, deadline, unix_socket)
    if status == 404:
        return None
    if status >= 300:
        raise refusal(f"{method} {path}", status, content)
    return json.loads(content) if content.strip() else None


def _exchange(
    method: str, path: str, body: Optional[Mapping[str, Any]], deadline: float, unix_socket: str
) -> Tuple[int, bytes]:
    from machinectl_agent.engine.unix_http import HTTPException, UnixConnection  # noqa: PLC0415 - 10 ms

    connection = UnixConnection(unix_socket, deadline)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise ApiError(f"no answer on {unix_socket} to {method} {path}: {error!r}") from error
    finally:
        connection.close()


def refusal(what: str, status: int, content: bytes) -> ApiError:
    """Pure: the error for an answer; dockerd's are `{"message": …}`."""
    said = content[:1000].decode(errors="replace").strip()
    try:
        said = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        pass  # a proxy's or an older engine's plain text
    kind = Conflict if status in (403, 409) else ApiError
    return kind(f"{what}: {status} {said[:300]}", status=status, said=said)


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
