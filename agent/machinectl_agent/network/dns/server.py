"""The DNS server: a UDP and a TCP socket in the namespace of each local network, one thread for all of them.

Sockets stay in the namespace that they were made in, whichever thread uses them; an answer leaves through the socket
that was asked, so its source is the address that the client knows. Upstreams are asked from the host's namespace.
"""

from __future__ import annotations

import functools
import os
import selectors
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

from dnslib import RCODE

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network.dns import forward
from machinectl_agent.network.dns.answers import fitted, render, render_early, render_status
from machinectl_agent.network.dns.conversation import Conversations
from machinectl_agent.network.dns.limits import Places, Rate
from machinectl_agent.network.dns.query import Malformed, Query, parse_query
from machinectl_agent.network.dns.relay import Relay
from machinectl_agent.network.dns.standing import Standing
from machinectl_agent.network.dns.upstreams import address_of
from machinectl_agent.network.dns.verdict import Answer, Verdict
from machinectl_agent.network.dns.zone import Zone

RATE = 5000
"""Questions of one client in a second, about a third of what the thread can answer; the rest is dropped unread."""
WAITING, WAITING_EACH = 256, 64
"""Questions at upstreams, of all clients and of one: each has a socket, and a service has 1,024 files."""
BATCH = 32
"""Packets of one socket before the next one has its turn: a flood in one network delays the others little."""
QUEUE = 1 << 20
"""Bytes that a UDP socket keeps for us, some 1,300 questions: many containers start, and ask, at the same moment."""
BEAT = 5.0
"""Seconds between two signs of life at most."""
_REMOVAL = 5.0
_SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it

Result = TypeVar("Result")
Socket = socket.socket
Client = Tuple[Optional[str], str]
"""Network and source address."""


class Server:
    """`add`, `remove` and `close` may be called by any thread, also before `start`. It starts once."""

    def __init__(
        self,
        zone: Zone,
        upstreams: Callable[[], Sequence[str]],
        *,
        rate: int = RATE,
        journal: Optional[Journal] = None,
    ) -> None:
        self._zone = zone
        self._upstreams = upstreams
        self._journal = journal
        self._lock = threading.Lock()
        self._running = False
        self._ending = False
        self._changes: List[Callable[[], None]] = []
        self._sockets: Dict[Optional[str], Tuple[Socket, Socket]] = {}
        self._own_addresses: Dict[Optional[str], Tuple[str, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._change)
        self._rate = Rate(rate)
        self._waiting = Places(WAITING, WAITING_EACH)
        self._standing = Standing()
        self._relay = Relay(self._selector, self._standing)
        self._conversations = Conversations()
        self._beat = time.monotonic()
        self._told = -60.0

    def start(self) -> None:
        """`run` in a thread of its own."""
        threading.Thread(target=self.run, name="dns", daemon=True).start()

    def add(self, network: Optional[str], udp: Socket, tcp: Socket) -> None:
        """Serves these sockets from now on, and owns them; None: the host's own namespace. Replaces older ones."""
        for one in (udp, tcp):
            one.setblocking(False)
        _widen(udp)

        def register() -> None:
            self._unregister(network)
            if self._ending:
                udp.close()
                tcp.close()
                return
            self._own_addresses[network] = udp.getsockname()[:2]
            self._sockets[network] = (udp, tcp)
            receive = functools.partial(self._receive, network, udp)
            self._selector.register(udp, selectors.EVENT_READ, receive)
            self._selector.register(tcp, selectors.EVENT_READ, functools.partial(self._accept, network, tcp))

        self._do(register)

    def remove(self, network: Optional[str]) -> None:
        """Closes them before it returns: an open socket would keep the namespace alive. No error without any."""
        self._do(lambda: self._unregister(network))

    def close(self) -> None:
        """Ends `run`, and closes all sockets."""

        def end() -> None:
            if self._ending:
                return
            self._ending = True
            for network in list(self._sockets):
                self._unregister(network)
            self._conversations.end_all()
            self._relay.close()
            if not self._running:
                self._release()

        self._do(end)

    def is_well(self) -> bool:
        """Whether the thread is answering."""
        return self._running and time.monotonic() - self._beat < 4 * BEAT

    def run(self) -> None:
        """Until `close`."""
        with self._lock:
            self._running = not self._ending
            if not self._running:
                return
        while not self._ending:
            for key, _ in self._selector.select(self._relay.timeout(BEAT)):
                self._guarded(key.data)
            self._guarded(self._relay.expire)
            self._beat = time.monotonic()
        with self._lock:
            self._running = False
            changes, self._changes = self._changes, []
            self._release()
        for change in changes:
            change()

    def _release(self) -> None:
        self._selector.close()
        os.close(self._wake)
        os.close(self._waker)

    def _guarded(self, work: Callable[[], Result]) -> Optional[Result]:
        """One packet must not end the names of the whole machine. Told once a minute: it may be a flood."""
        try:
            return work()
        except Exception as error:
            if self._journal and time.monotonic() - self._told > 60:
                self._told = time.monotonic()
                self._journal.say("error", f"dns: {error!r}")
        return None

    def _do(self, change: Callable[[], None]) -> None:
        """In the thread that owns the selector: a descriptor that is closed under its hands may be another's."""
        done = threading.Event()

        def work() -> None:
            try:
                change()
            finally:
                done.set()

        with self._lock:
            if not self._running:
                work()
                return
            self._changes.append(work)
            try:
                os.write(self._waker, b"x")
            except BlockingIOError:
                pass  # 64 KB of calls wait there already
        done.wait(_REMOVAL)

    def _change(self) -> None:
        try:
            os.read(self._wake, 65536)
        except BlockingIOError:
            pass
        with self._lock:
            changes, self._changes = self._changes, []
        for change in changes:
            self._guarded(change)

    def _unregister(self, network: Optional[str]) -> None:
        self._own_addresses.pop(network, None)
        for one in self._sockets.pop(network, ()):
            self._selector.unregister(one)
            one.close()
        self._conversations.end(network)

    def _receive(self, network: Optional[str], udp: Socket) -> None:
        for _ in range(BATCH):
            try:
                packet, source = udp.recvfrom(65535)
            except OSError:  # no more, or closed in this round
                return
            client = (network, source[0])
            if not self._rate.allows(client):
                continue
            self._guarded(functools.partial(self._answer, client, udp, source, packet))

    def _answer(self, client: Client, udp: Socket, source: Any, packet: bytes) -> None:
        try:
            query = parse_query(packet)
        except Malformed as malformed:
            if malformed.reply:
                _send(udp, malformed.reply, source)
            return
        content = self._own(client, query, tcp=False)
        if content is not None:
            _send(udp, content, source)
            return
        servers = self._servers()
        if not servers or not self._waiting.take(client):
            _send(udp, self._unanswered(query, servers), source)
            return

        def done(reply: Optional[bytes]) -> None:
            self._waiting.give(client)
            _send(udp, fitted(query, reply) if reply else self._unanswered(query, servers), source)

        self._relay.start(query, servers, done)

    def _accept(self, network: Optional[str], tcp: Socket) -> None:
        try:
            one, source = tcp.accept()
        except OSError:
            return
        client = (network, source[0])
        self._conversations.start(
            one, network, client, lambda packet: self._guarded(functools.partial(self._reply, client, packet))
        )

    def _reply(self, client: Client, packet: bytes) -> Optional[bytes]:
        try:
            query = parse_query(packet)
        except Malformed as malformed:
            return malformed.reply or None
        content = self._own(client, query, tcp=True)
        if content is not None:
            return content
        servers = self._servers()
        return forward.ask(query, servers, self._standing) or self._unanswered(query, servers)

    def _own(self, client: Client, query: Query, *, tcp: bool) -> Optional[bytes]:
        """Our own answer; None: it has to be forwarded."""
        early = render_early(query)
        if early is not None:
            return early
        answer: Answer = self._zone.answer(*client, query.name, query.kind)
        return None if answer.verdict is Verdict.FORWARD else render(query, answer, tcp=tcp)

    def _servers(self) -> List[str]:
        """Never ourselves, whatever the upstreams' list says: a question would go round until the limits stop it."""
        own = set(self._own_addresses.copy().values())
        return [one for one in self._upstreams() if address_of(one) not in own]

    def _unanswered(self, query: Query, servers: Sequence[str]) -> bytes:
        """SERVFAIL where upstreams are silent: Docker's resolver then asks the other ones it knows. Without any there
        is nothing but our names, and this is none."""
        if servers:
            return render_status(query, RCODE.SERVFAIL)
        return render(query, Answer(Verdict.NO_NAME), tcp=False)


def _send(udp: Socket, content: bytes, source: Any) -> None:
    try:
        udp.sendto(content, source)
    except OSError:
        pass  # the client has gone, or its network; else it asks again


def _widen(udp: Socket) -> None:
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, QUEUE)
    except OSError:  # not root: as far as net.core.rmem_max lets us
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
