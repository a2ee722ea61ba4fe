"""A volume's contents as an image: `docker import` of its tree, with VOLUME and labels. Its containers are made with
`docker create` and used with `--volumes-from`."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional

from machinectl_agent.engine.api import SOCKET, refusal
from machinectl_agent.engine.unix_http import UnixConnection
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.holding import LIVE, PAUSE, STALL, Hold
from machinectl_agent.volumes.place import need_place, reachable
from machinectl_agent.volumes.shared import warn_of_shares
from machinectl_agent.volumes.tree import check_tar, write_tree

if TYPE_CHECKING:
    from machinectl_agent.session import Session

DEADLINE = 1800.0
"""Seconds for dockerd to unpack what it was sent."""

_AHEAD = 4
"""Pieces of the stream that wait for dockerd."""


def pack(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: name, repository, tag, path, labels, action, stall, machine → id."""
    check_tar(Host())
    place = need_place(str(args["name"]))
    folder = reachable(place)
    warn_of_shares(place, session.log)
    path = str(args["path"])
    labels = {
        "machinectl.volume": place.name,
        "machinectl.machine": str(args.get("machine", "")),
        "machinectl.time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **dict(args.get("labels") or {}),
    }
    action = str(args.get("action", PAUSE))
    with Hold(place, action, session, stall=float(args.get("stall") or STALL)) as hold:
        upload = _Upload(str(args["repository"]), str(args["tag"]), render_changes(path, labels))
        try:
            write_tree(
                folder,
                upload.write,
                live=action == LIVE,
                beat=hold.beat,
                log=session.log,
                under=path.strip("/"),
            )
            hold.end()
        except BaseException:
            upload.abandon()
            raise
        identity = upload.finish()
    return {"id": identity}


def render_changes(path: str, labels: Mapping[str, str]) -> List[str]:
    """Pure: Dockerfile's lines. `docker create` wants a command, although it is never run."""
    return [
        f"VOLUME {json.dumps([path])}",
        f"CMD {json.dumps([path])}",
        *(f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in labels.items()),
    ]


class _Upload:
    """`POST /images/create` in a thread; dockerd reads as we write. One that is broken off makes no image."""

    def __init__(self, repository: str, tag: str, changes: List[str]) -> None:
        query = [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", one) for one in changes)]
        self._path = "/images/create?" + urllib.parse.urlencode(query)
        self._parts: queue.Queue[Optional[bytes]] = queue.Queue(_AHEAD)
        self._connection = UnixConnection(SOCKET, DEADLINE)
        self._error: Optional[Exception] = None
        self._abandoned = False
        self._identity = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def write(self, part: memoryview) -> None:
        content = bytes(part)
        while not self._ended.is_set():
            try:
                self._parts.put(content, timeout=1.0)
                return
            except queue.Full:
                continue
        self._raise()

    def finish(self) -> str:
        """The image's id. Raises `Problem`."""
        while not self._ended.is_set():
            try:
                self._parts.put(None, timeout=1.0)
                break
            except queue.Full:
                continue
        self._thread.join()
        self._raise()
        return self._identity

    def abandon(self) -> None:
        self._abandoned = True
        while self._thread.is_alive():
            try:
                self._parts.put(None, timeout=0.1)
            except queue.Full:
                continue
            self._thread.join(0.1)

    def _raise(self) -> None:
        if isinstance(self._error, Problem):
            raise self._error
        if self._error is not None:
            raise Problem("pack-failed", "the image could not be made", why=str(self._error)) from self._error

    def _run(self) -> None:
        try:
            self._connection.request(
                "POST", self._path, body=self._body(), headers={"Transfer-Encoding": "chunked"},
                encode_chunked=True,
            )  # fmt: skip
            answer = self._connection.getresponse()
            self._identity = read_identity(answer.status, answer.read())
        except Exception as error:
            self._error = error
        finally:
            self._connection.close()
            self._ended.set()

    def _body(self) -> Iterator[bytes]:
        while True:
            part = self._parts.get()
            if part is None:
                if self._abandoned:
                    # no last chunk: dockerd sees that it is not whole
                    raise http.client.IncompleteRead(b"")
                return
            yield part


def read_identity(status: int, content: bytes) -> str:
    """Pure: from dockerd's stream of JSON objects. Raises `Problem` or `ApiError` with its own words."""
    if status >= 300:
        raise refusal("POST /images/create", status, content)
    identity = ""
    for line in content.splitlines():
        if not line.strip():
            continue
        found = json.loads(line)
        if "error" in found:
            raise Problem("pack-failed", "the image could not be made", why=str(found["error"]))
        identity = str(found.get("status") or identity)
    return identity
