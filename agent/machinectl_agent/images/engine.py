"""dockerd's API as far as it is about images, on the machine itself."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Optional, Set, Tuple
from urllib.parse import quote, urlencode

from machinectl_agent.engine.api import SOCKET
from machinectl_agent.engine.unix_http import UnixConnection
from machinectl_agent.images.chains import chain_ids
from machinectl_agent.images.names import split
from machinectl_agent.problems import Problem

ANSWER = 60.0
"""Seconds for a question; dockerd may be at work on other images."""
QUIET = 900.0
"""Seconds without a byte of a save or a load: dockerd writes all layers to its disk before it says anything."""
BLOCK = 1024 * 1024


class Engine:
    """Every call is a connection of its own. Raises `Problem`: `engine-away`, or what the call is about."""

    def __init__(self, unix_socket: str = SOCKET) -> None:
        self._socket = unix_socket

    def call(self, method: str, path: str, *, deadline: float = ANSWER) -> Tuple[int, Any]:
        """Status, and the JSON that came (None: there was none)."""
        with self._open(method, path, deadline=deadline) as answer:
            content = answer.read()
        try:
            return answer.status, json.loads(content)
        except ValueError:
            return answer.status, None

    def inspect(self, name: str) -> Optional[Dict[str, Any]]:
        """What dockerd knows of an image, by its name or id; None: it has none."""
        status, document = self.call("GET", f"/images/{quote(name, safe='/:@')}/json")
        if status == 404:
            return None
        if status != 200 or not isinstance(document, dict):
            raise refused(f"dockerd can't say what {name} is", document)
        return document

    def listed(self) -> List[Dict[str, Any]]:
        """Those that `docker images` shows."""
        status, document = self.call("GET", "/images/json")
        if status != 200:
            raise refused("dockerd does not list its images", document)
        return list(document or ())

    def info(self) -> Dict[str, Any]:
        status, document = self.call("GET", "/info")
        if status != 200 or not isinstance(document, dict):
            raise refused("dockerd does not say how it is set up", document)
        return document

    def chains(self) -> Set[str]:
        """Chain ids of all layers that belong to an image."""
        status, document = self.call("GET", "/images/json?all=1")
        if status != 200:
            raise refused("dockerd does not list its images", document)
        found: Set[str] = set()
        for one in document or ():
            image = self.inspect(str(one["Id"]))
            found.update(chain_ids(layers(image)) if image else ())
        return found

    @contextlib.contextmanager
    def saving(self, names: Iterable[str]) -> Iterator[http.client.HTTPResponse]:
        """`docker save`: the archive to be read. An image that is not there: `image-unknown`."""
        path = "/images/get?" + urlencode([("names", one) for one in names])
        with self._open("GET", path, deadline=QUIET) as answer:
            if answer.status != 200:
                raise refused("dockerd does not save the images", _document(answer.read()))
            yield answer

    def load(self, source: BinaryIO) -> List[str]:
        """`docker load`: what dockerd says, line by line. Raises what `source.read` raises, after which dockerd has
        loaded nothing: an archive without its end is none to it."""
        body = iter(lambda: source.read(BLOCK), b"")
        with self._open("POST", "/images/load?quiet=1", deadline=QUIET, body=body) as answer:
            content = answer.read()
        if answer.status != 200:
            raise refused("dockerd does not load the images", _document(content))
        said = []
        for line in content.splitlines():
            message = _document(line) or {}
            if message.get("error"):
                raise refused("dockerd does not load the images", {"message": message["error"]})
            said.append(str(message.get("stream", "")).strip())
        return [one for one in said if one]

    def tag(self, image: str, name: str) -> None:
        repository, _, tag = split(name)
        query = urlencode({"repo": repository, "tag": tag})
        status, document = self.call("POST", f"/images/{quote(image, safe=':')}/tag?{query}")
        if status != 201:
            raise refused(f"dockerd does not name an image {name}", document)

    def remove(self, name: str, *, force: bool) -> List[Dict[str, str]]:
        """`Untagged` and `Deleted`, as dockerd tells them."""
        query = "?force=1" if force else ""
        status, document = self.call("DELETE", f"/images/{quote(name, safe='/:@')}{query}", deadline=QUIET)
        if status == 404:
            raise unknown(name)
        if status == 409:
            raise refused(f"{name} is in use", document, hint="remove its containers, or --force")
        if status != 200:
            raise refused(f"dockerd does not remove {name}", document)
        return list(document or ())

    def pulling(self, name: str, credentials: str) -> Iterator[Dict[str, Any]]:
        """`docker pull`: dockerd's messages as they come; the last may hold an `error`."""
        repository, sign, tag = split(name)
        wanted = (
            {"fromImage": f"{repository}@{tag}"} if sign == "@" else {"fromImage": repository, "tag": tag}
        )
        headers = {"X-Registry-Auth": credentials} if credentials else {}
        with self._open(
            "POST", "/images/create?" + urlencode(wanted), deadline=QUIET, headers=headers
        ) as answer:
            if answer.status != 200:
                yield {"error": _message(_document(answer.read()))}
                return
            while line := answer.readline():
                yield _document(line) or {}

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        body: Optional[Iterator[bytes]] = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = UnixConnection(self._socket, deadline)
        chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/x-tar"} if body else {}
        try:
            # an error that dockerd tells before it has read everything closes our way to it, not the one back
            with (
                contextlib.suppress(BrokenPipeError, ConnectionResetError)
                if body
                else contextlib.nullcontext()
            ):
                connection.request(
                    method, path, body, {**chunked, **(headers or {})}, encode_chunked=body is not None
                )
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Problem(
                "engine-away",
                "dockerd does not answer",
                why=f"{self._socket}: {error}",
                hint="`machinectl status` and `machinectl logs` say more",
            ) from error
        finally:
            connection.close()


def layers(image: Dict[str, Any]) -> List[str]:
    """Diff ids of an inspected image, the lowest first."""
    return list((image.get("RootFS") or {}).get("Layers") or ())


def is_containerd(info: Dict[str, Any]) -> bool:
    """Images are in containerd's store, not in a graph driver's."""
    return any("containerd" in str(one) for pair in info.get("DriverStatus") or () for one in pair)


def unknown(name: str) -> Problem:
    return Problem(
        "image-unknown", f"there is no image {name}", hint="`machinectl image ls` lists what is where"
    )


def refused(what: str, document: Any, hint: str = "") -> Problem:
    """With dockerd's own words."""
    words = _message(document)
    if "no space left" in words:
        return Problem("disk-full", what, why=words, hint="make room on the host: `df -h` there says where")
    return Problem("engine-refused", what, why=words, hint=hint)


def _message(document: Any) -> str:
    return str(document.get("message", document)) if isinstance(document, dict) else str(document or "")


def _document(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return {"message": line[:300].decode(errors="replace").strip()} if line.strip() else None
