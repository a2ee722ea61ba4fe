"""Containers that come, and may be gone again before anybody looks: by dockerd's events.

dockerd keeps the last 256 events only, so a copy listens all the time. Of a container that is gone nothing is left
but the events of its named volumes: what it did to a folder of the host can't be told.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.parse
from typing import Any, Collection, Dict, Iterable, List, Mapping, Optional, Tuple

from machinectl_agent.engine.api import SOCKET
from machinectl_agent.engine.unix_http import HTTPException, UnixConnection
from machinectl_agent.problems import Problem
from machinectl_agent.volumes import docker
from machinectl_agent.volumes.place import Place
from machinectl_agent.volumes.users import find_users

KEPT = 256
"""Events that dockerd has in memory (moby, daemon/events)."""

FILTERS = {"type": ["container", "volume"], "event": ["start", "unpause", "mount"]}

DEADLINE = 60.0

Event = Mapping[str, Any]


class Watch:
    """From now on, until `close`. Raises `Problem` where dockerd does not answer."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._began = time.time()
        self._events: List[Event] = []
        self._ended = False
        self._connection = UnixConnection(SOCKET, DEADLINE)
        try:
            try:
                self._connection.connect()
            except OSError as error:
                raise _silent(error) from error
            self._socket: socket.socket = self._connection.sock
            self._answer = _ask(self._connection, since=self._began, filters=FILTERS)
            self._socket.settimeout(None)
        except BaseException:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._listen, name="dockerd's events", daemon=True)
        self._thread.start()

    def trouble(self, held: Collection[str], held_since: float) -> str:
        """Who came and may have written, if anybody. `held`: ids of containers that stand still since then, so that
        what they did before does not count."""
        if self._ended:
            return "dockerd was restarted while the copy was made"
        # what has just happened may not have come yet: dockerd still has it
        latest = recent(self._began, FILTERS)
        events = [
            one
            for one in [*self._events, *latest]
            if not (_container(one) in held and float(one.get("timeNano", 0)) / 1e9 < held_since)
        ]
        name = who_came(self._place, events)
        return f"container {name} was started while the copy was made" if name else ""

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # dockerd has closed it
        self._thread.join()
        self._answer.close()
        self._connection.close()

    def _listen(self) -> None:
        try:
            for line in iter(self._answer.readline, b""):
                if line.strip():
                    self._events.append(json.loads(line))
        except (OSError, ValueError, HTTPException):
            pass  # it has ended, in whatever way
        self._ended = True


def recent(since: float, filters: Optional[Mapping[str, List[str]]] = None) -> List[Event]:
    """What dockerd still knows of the time from `since` on. Raises `Problem`."""
    connection = UnixConnection(SOCKET, DEADLINE)
    try:
        content = _ask(connection, since=since, until=time.time(), filters=filters or {}).read()
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except (OSError, ValueError, HTTPException) as error:
        raise _silent(error) from error
    finally:
        connection.close()


def came_since(place: Place, since: float) -> Tuple[str, bool]:
    """The name of a container that has come and may have written, or nothing; and whether dockerd knows that for
    sure: not where more has happened than it keeps, nor of a folder."""
    events = recent(since)
    return who_came(place, events), place.volume is not None and len(events) < KEPT


def who_came(place: Place, events: Iterable[Event]) -> str:
    """The first of the containers that started or went on, by name. Those that are gone: by their volumes' events."""
    wanted = [one for one in events if one.get("Action") in FILTERS["event"]]
    if not wanted:
        return ""
    listed = {str(one["Id"]): one for one in docker.containers()}
    names = {
        _container(one): _attributes(one).get("name") for one in wanted if one.get("Type") == "container"
    }
    documents = []
    for one in wanted:
        identity = _container(one)
        if one.get("Type") == "container":
            documents += [listed[identity]] if identity in listed else []
            continue
        mount = {
            "Type": "volume",
            "Name": one["Actor"]["ID"],
            "RW": _attributes(one).get("read/write") != "false",
        }
        name = names.get(identity)
        documents.append(
            {"Names": [name] if name else [], **listed.get(identity, {}), "Id": identity, "Mounts": [mount]}
        )
    users = [one for one in find_users(place, documents, docker.volumes()) if one.writes]
    return users[0].name if users else ""


def _container(event: Event) -> str:
    if event.get("Type") == "volume":
        return str(_attributes(event).get("container", ""))
    return str((event.get("Actor") or {}).get("ID", ""))


def _attributes(event: Event) -> Dict[str, str]:
    return (event.get("Actor") or {}).get("Attributes") or {}


def _ask(
    connection: UnixConnection, *, since: float, until: float = 0.0, filters: Mapping[str, List[str]]
) -> Any:
    query = {"since": f"{since:.9f}", "filters": json.dumps(dict(filters))}
    if until:
        query["until"] = f"{until:.9f}"
    try:
        connection.request("GET", "/events?" + urllib.parse.urlencode(query))
        answer = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise _silent(error) from error
    if answer.status != 200:
        raise _silent(answer.read(500).decode(errors="replace"))
    return answer


def _silent(error: object) -> Problem:
    return Problem(
        "engine-unreachable",
        "dockerd does not tell which containers come",
        why=str(error),
        hint="`machinectl status NAME`",
    )
