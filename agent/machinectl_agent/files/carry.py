"""The verb `carry`: one end of a stream. The request on stdin as always, events on stderr.

    controller                                  agent
    {"wire":1,"verb":"carry","args":{…}}   →
                                           ←    hello
                                           ←    {"event":"ready","port":…,"addresses":[…]}   port 0: not listening
    {"reply":"dial","targets":[…],"within":s} →                                  any number of times
                                           ←    {"event":"dialled","ok":…,"why":…}
    {"reply":"start","way":"stdio"|"dialled"|"accepted"} →
    …the stream: out of stdout, into stdin, or by the connection between the agents…
                                           ←    {"event":"progress","bytes":…}, and the end's own events
                                           ←    done or error

A producer that is started with `"afterwards": true` is told what more to do when the consumer has all of it:

                                           ←    {"event":"carried"}
    {"reply":"afterwards","args":{…}}      →
                                           ←    done, with what that gave as `afterwards`

The controller's end of stdin ends everything: whoever kills it leaves no agent behind.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple, cast

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.conversation import Session, told
from machinectl_agent.files.framing import Sink, Source, Transport
from machinectl_agent.files.pipes import Inbox, Outbox, widen
from machinectl_agent.problems import Problem
from machinectl_agent.version import __version__

TYPE_CHECKING = False  # typing's costs nothing either, but ssl does
if TYPE_CHECKING:
    from machinectl_agent.files.direct import Credential, Listener, Wire

LISTEN = 60.0
"""Seconds for the peer to come; the controller starts both agents at the same time."""

ORDERS = 900.0
"""Seconds for the controller to say what to do: the other end's host may have to install Python first. A controller
that is gone is noticed at once."""

_PROGRESS = 0.2
"""Seconds between two events that say how far it is."""

_FAREWELL = 30.0
"""Seconds for the other end to read what is in the kernels' buffers."""


def serve_carry() -> int:
    """Exit status 0 after `done`, 1 after `error`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    inbox = Inbox()
    session = Session(cast(Any, inbox), sys.stderr.buffer)
    sys.stderr.buffer.write(b"\n")  # what the login has written there may lack a newline at its end
    session.emit(wire.hello(own_hash(), __version__))
    session.beat()
    return told(session, lambda: _Carry(session, inbox, session.read_request()["args"]).run())


class _Carry:
    """args: role (produce, consume), kind and args (see ends.py), user (see login.py), credential (see direct.py;
    without it the stream goes by stdin or stdout), compress, limit_rate."""

    def __init__(self, session: Session, inbox: Inbox, args: Mapping[str, Any]) -> None:
        self._session = session
        self._inbox = inbox
        self._args = args
        self._producing = args["role"] == "produce"
        self._credential: Optional[Credential] = None
        self._listener: Optional[Listener] = None
        self._dialled: Any = None
        self._wire: Optional[Wire] = None
        self._shown = time.monotonic()
        self._afterwards = False
        self._later: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """Lines that came while the stream went; empty: the controller is gone."""

    def run(self) -> Dict[str, Any]:
        from machinectl_agent.files.ends import CONSUMERS, PRODUCERS  # noqa: PLC0415 - they may import us
        from machinectl_agent.files.login import become_user  # noqa: PLC0415 - pwd is not everywhere

        ends = PRODUCERS if self._producing else CONSUMERS
        end = ends.get(str(self._args["kind"]))
        if end is None:
            raise Problem("carry-kind", f"the agent has no such stream: {self._args['kind']!r}")
        self._listen()
        become_user(str(self._args["user"]))
        transport = self._await_start()
        args = self._args["args"]
        if self._producing:
            result, size = self._produce(end, args, transport)
        else:
            source = Source(transport, progress=self._progress)
            result = end(args, cast(Any, source), self._session)
            source.drain()
            size = source.bytes
        if self._wire:
            self._wire.finish(sent=self._producing, seconds=_FAREWELL)
        if self._producing and self._afterwards:
            result = {**result, "afterwards": self._more(result)}
        return {**result, "carried": size}

    def _more(self, result: Mapping[str, Any]) -> Dict[str, Any]:
        """What the controller wants done when the other end is whole, which may take as long as its disk wants."""
        from machinectl_agent.files.ends import AFTERWARDS  # noqa: PLC0415 - see run

        work = AFTERWARDS.get(str(self._args["kind"]))
        if work is None:
            raise Problem("carry-order", "there is nothing to do after such a stream")
        self._session.emit({"event": "carried", "result": dict(result)})
        line = self._later.get()
        if not line:
            raise Problem("controller-gone", "the controller went away; nothing was done after the copy")
        order = wire.decode(line)
        if order.get("reply") != "afterwards":
            raise Problem("carry-order", f"the controller wants {order.get('reply')!r} after the copy")
        return work(order["args"], self._session)

    def _produce(self, end: Any, args: Mapping[str, Any], transport: Transport) -> Tuple[Dict[str, Any], int]:
        sink = Sink(
            transport,
            compress=bool(self._args.get("compress")),
            limit_rate=int(self._args.get("limit_rate", 0)),
        )
        try:
            result = end(args, cast(Any, sink), self._session)
            sink.finish()
        except BaseException:
            try:
                sink.abandon()
                if self._wire:
                    self._wire.finish(sent=True, seconds=_FAREWELL)
            except Problem:
                pass  # what is raised already is the reason
            raise
        return result, sink.bytes

    def _listen(self) -> None:
        """Before another user is become: memfd's path is closed to a process that was root."""
        port = 0
        addresses: List[str] = []
        document = self._args.get("credential")
        if document:
            from machinectl_agent.files.addresses import own_addresses  # noqa: PLC0415 - only here
            from machinectl_agent.files.direct import Credential, Listener  # noqa: PLC0415 - ssl costs 20 ms

            self._credential = Credential(document)
            try:
                self._listener = Listener(self._credential, LISTEN)
                port, addresses = self._listener.port, own_addresses()
            except OSError as error:
                self._session.log(f"no port to listen on: {error}")
        self._session.emit({"event": "ready", "port": port, "addresses": addresses})

    def _await_start(self) -> Transport:
        """Does what the controller says until it says `start`."""
        until = time.monotonic() + ORDERS
        try:
            while self._inbox.wait(max(until - time.monotonic(), 0.0)):
                line = self._inbox.readline()
                if not line:
                    raise Problem("controller-gone", "the controller went away")
                order = wire.decode(line)
                if order.get("reply") == "dial":
                    self._dial(order)
                elif order.get("reply") == "start":
                    self._afterwards = bool(order.get("afterwards"))
                    return self._start(str(order["way"]))
        finally:
            if self._listener:
                self._listener.close()
        raise Problem(
            "controller-gone",
            "the controller did not say what to do",
            why=f"in {ORDERS:g} s; the other end's host may not let it in",
            hint="`machinectl ssh` to both machines must work; then run the command again",
        )

    def _dial(self, order: Mapping[str, Any]) -> None:
        from machinectl_agent.files.direct import dial  # noqa: PLC0415 - see _listen

        if self._credential is None:
            raise Problem("carry-order", "the controller wants a connection but gave no credential")
        targets = [(str(host), int(port)) for host, port in order["targets"]]
        self._dialled, why = dial(self._credential, targets, float(order["within"]))
        self._session.emit({"event": "dialled", "ok": self._dialled is not None, "why": why})

    def _start(self, way: str) -> Transport:
        if way == "stdio":
            if self._producing:
                widen(1)
                self._watch()
                return Outbox()
            widen(0)
            return self._inbox
        from machinectl_agent.files.direct import HANDSHAKE, Wire  # noqa: PLC0415 - see _listen

        peer = self._dialled
        if way == "accepted":
            peer = self._listener.take(HANDSHAKE) if self._listener else None
        if peer is None:
            raise Problem("stream-broken", "the connection between the machines is not there")
        self._wire = Wire(peer)
        self._watch()
        return self._wire

    def _watch(self) -> None:
        """The end of stdin means that the controller is gone."""

        def run() -> None:
            while line := self._inbox.readline():
                self._later.put(line)
            self._session.gone = True
            self._later.put(b"")
            if self._wire:
                self._wire.abort()

        threading.Thread(target=run, name="controller", daemon=True).start()

    def _progress(self, size: int) -> None:
        now = time.monotonic()
        if now - self._shown >= _PROGRESS:
            self._shown = now
            self._session.emit({"event": "progress", "bytes": size})
