"""Forwarding by UDP inside of the server's own thread: a dead upstream keeps questions waiting, never a thread."""

from __future__ import annotations

import functools
import selectors
import socket
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from machinectl_agent.network.dns.forward import (
    LARGEST,
    PATIENCE,
    connected,
    is_answer,
    is_last_word,
    renumbered,
)
from machinectl_agent.network.dns.query import Query
from machinectl_agent.network.dns.standing import Standing

Done = Callable[[Optional[bytes]], None]
"""Gets the reply with the client's own id; None where no server answers."""


@dataclass
class Errand:
    """One question under way."""

    query: Query
    servers: List[str]
    """Those not asked yet."""
    done: Done
    last: Optional[bytes] = None
    server: str = ""
    asked: bytes = b""
    until: float = 0.0


class Relay:
    """For the thread of its selector. How many questions are under way is the caller's to limit."""

    def __init__(self, selector: selectors.BaseSelector, standing: Standing) -> None:
        self._selector = selector
        self._standing = standing
        self._errands: Dict[socket.socket, Errand] = {}
        """In the order of their deadlines: all have the same patience."""

    def start(self, query: Query, servers: List[str], done: Done) -> None:
        self._next(Errand(query, self._standing.order(servers), done))

    def timeout(self, most: float) -> float:
        """Seconds until `expire` has something to do."""
        for errand in self._errands.values():
            return min(most, max(0.0, errand.until - time.monotonic()))
        return most

    def expire(self) -> None:
        """Gives up on servers that are silent."""
        now = time.monotonic()
        while self._errands:
            one, errand = next(iter(self._errands.items()))
            if errand.until > now:
                return
            self._leave(one)
            self._standing.failed(errand.server)
            self._next(errand)

    def close(self) -> None:
        for one in list(self._errands):
            self._leave(one)

    def _next(self, errand: Errand) -> None:
        while errand.servers:
            errand.server = errand.servers.pop(0)
            errand.asked = renumbered(errand.query)
            try:
                one = connected(errand.server)
            except (OSError, ValueError):
                self._standing.failed(errand.server)
                continue
            try:
                one.send(errand.asked)
            except OSError:
                one.close()
                self._standing.failed(errand.server)
                continue
            errand.until = time.monotonic() + PATIENCE
            self._errands[one] = errand
            self._selector.register(one, selectors.EVENT_READ, functools.partial(self._receive, one))
            return
        errand.done(errand.last)

    def _receive(self, one: socket.socket) -> None:
        errand = self._errands.get(one)
        if errand is None:
            return
        try:
            reply = one.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._leave(one)
            self._standing.failed(errand.server)
            self._next(errand)
            return
        if not is_answer(reply, errand.asked, errand.query):
            return
        self._leave(one)
        self._standing.answered(errand.server)
        errand.last = errand.query.packet[:2] + reply[2:]
        if is_last_word(reply):
            errand.servers.clear()
        self._next(errand)

    def _leave(self, one: socket.socket) -> None:
        del self._errands[one]
        self._selector.unregister(one)
        one.close()
