"""The plugin socket: HTTP POST with JSON both ways, from dockerd to us.

Sources: docs.docker.com/engine/extend/plugin_api, libnetwork's docs/remote.md and docs/ipam.md.

systemd owns the socket (machinectl-network.socket), so that dockerd never finds it missing: a missing one costs
it 15 s of retries for each call. What comes while we restart waits in the socket's queue.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import sys
import threading
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.interface import KvError
from machinectl_agent.problems import Problem

Calls = Mapping[str, Callable[[Dict[str, Any]], Dict[str, Any]]]
"""`NetworkDriver.Join` → its function. Raises `Problem` for what dockerd shall report."""

FIRST_PASSED = 3
"""The first descriptor that systemd passes: sd_listen_fds(3)."""

AWAY = "machinectl: etcd does not answer, nothing new can be joined to a network"
"""Begins what dockerd is told then, and keeps as the error of a container that it could not start."""

_BODY = 4 * 1024 * 1024
"""Bytes of a request; Docker's are a few hundred."""


def passed_socket(environment: Optional[Dict[str, str]] = None) -> Optional[socket.socket]:
    """The listening socket that systemd handed over, or None where we were started by hand."""
    found = os.environ if environment is None else environment
    if found.get("LISTEN_PID") != str(os.getpid()) or int(found.get("LISTEN_FDS", "0")) < 1:
        return None
    os.set_inheritable(FIRST_PASSED, False)
    return socket.socket(fileno=FIRST_PASSED)


def bound_socket(path: str) -> socket.socket:
    """For a run by hand and for tests: our own, 0600."""
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


class Plugin(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A thread for each connection of dockerd's; it keeps a few open."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        calls: Calls,
        journal: Journal,
        on_away: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_away`: is told of each call that fails for want of etcd."""
        socketserver.BaseServer.__init__(self, "", _Handler)
        self.socket = listener
        self.calls = calls
        self.journal = journal
        self.on_away = on_away

    def start(self) -> None:
        """Serves in a thread of its own, for ever."""
        threading.Thread(target=self.serve_forever, name="plugin", daemon=True).start()

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> Any:
        client, _ = self.socket.accept()
        return client, "dockerd"

    def shutdown_request(self, request: Any) -> None:
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.journal.say("note", f"plugin: a connection of dockerd's ended: {sys.exc_info()[1]!r}")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Plugin

    def do_POST(self) -> None:
        """Dispatches by the path; every failure is said in both of Docker's words."""
        name = self.path.lstrip("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if 0 < length <= _BODY else self._chunks()
        answer, status = answer_call(self.server.calls, self.server.journal, name, body, self.server.on_away)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunks(self) -> bytes:
        """The body of Go's clients where they don't know its length (RFC 9112, 7.1)."""
        found = b""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return found
        while len(found) < _BODY:
            size = int(self.rfile.readline(64).split(b";")[0] or b"0", 16)
            found += self.rfile.read(size)
            self.rfile.readline(8)
            if size == 0:
                break
        return found

    def log_message(self, format: str, *arguments: Any) -> None:
        """dockerd's log and our journal have what matters."""


def answer_call(
    calls: Calls, journal: Journal, name: str, body: bytes, on_away: Callable[[], None] = lambda: None
) -> Tuple[Dict[str, Any], int]:
    """One call → its answer and HTTP status. dockerd reads `Err` of the network driver's answers and
    `Error` of the IPAM's, both in answers with status 200."""
    call = calls.get(name)
    if call is None:
        return {"Err": f"machinectl: no call {name!r}", "Error": f"machinectl: no call {name!r}"}, 404
    try:
        return call(json.loads(body) if body.strip() else {}), 200
    except Problem as problem:
        text = problem.what
        if problem.why:
            text += f": {problem.why}"
        if problem.hint:
            text += f"; {problem.hint}"
        journal.say("warning", f"{name}: {text}")
    except KvError as error:
        text = f"{AWAY}: {error}"
        journal.say("warning", f"{name}: {text}")
        on_away()
    except Exception as error:  # a fault of ours: dockerd must get an answer all the same
        text = f"machinectl: a fault of the agent's own: {error!r}"
        journal.say("error", f"{name}: {text}")
    return {"Err": text, "Error": text}, 200
