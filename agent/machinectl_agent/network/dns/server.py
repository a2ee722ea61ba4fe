"""The DNS server: a UDP and a TCP socket in the namespace of each local network, one thread for all of them.

Names of ours are answered in that thread. What has to be forwarded, and every TCP connection, goes to a few workers.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from dnslib import EDNS0, OPCODE, QTYPE, RCODE, DNSError, DNSRecord

from machinectl_agent.network.dns.answers import answer, refusal
from machinectl_agent.network.dns.forward import forward, read_message
from machinectl_agent.network.dns.zone import Zone

WORKERS = 8
WAITING = 256
"""Questions that wait for upstreams or a slow client at most; the next one is dropped, and its client asks again."""
PLAIN = 512
"""Bytes of a UDP answer without EDNS (RFC 1035, 4.2.1)."""
PAYLOAD = 1232
"""Bytes with EDNS that we send at most: no fragments on any path (dnsflagday.net/2020)."""
PATIENCE = 5.0
"""Seconds that a TCP client may be silent."""


class Server:
    """`add` and `remove` may be called by any thread."""

    def __init__(self, zone: Zone, upstreams: Callable[[], Sequence[str]]) -> None:
        self._zone = zone
        self._upstreams = upstreams
        self._lock = threading.Lock()
        self._sockets: Dict[Optional[str], Tuple[socket.socket, socket.socket]] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending: List[Callable[[], None]] = []
        self._places = threading.BoundedSemaphore(WAITING)
        self._workers: Optional[ThreadPoolExecutor] = None
        self._ended = False
        self._selector.register(self._wake, selectors.EVENT_READ, None)

    def start(self) -> None:
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="dns")
        threading.Thread(target=self.run, name="dns", daemon=True).start()

    def add(self, network: Optional[str], udp: socket.socket, tcp: socket.socket) -> None:
        """Serves these sockets from now on; None: the host's own namespace."""
        for one in (udp, tcp):
            one.setblocking(False)

        def register() -> None:
            self._sockets[network] = (udp, tcp)
            self._selector.register(udp, selectors.EVENT_READ, (network, False))
            self._selector.register(tcp, selectors.EVENT_READ, (network, True))

        self._later(register)

    def remove(self, network: Optional[str]) -> None:
        """Closes them; no error where there are none."""

        def unregister() -> None:
            for one in self._sockets.pop(network, ()):
                self._selector.unregister(one)
                one.close()

        self._later(unregister)

    def close(self) -> None:
        self._ended = True
        self._later(lambda: None)

    def run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._change()
                elif key.data[1]:
                    self._accept(key.fileobj, key.data[0])  # type: ignore[arg-type]
                else:
                    self._receive(key.fileobj, key.data[0])  # type: ignore[arg-type]

    def _later(self, change: Callable[[], None]) -> None:
        """The selector belongs to its thread."""
        with self._lock:
            self._pending.append(change)
        os.write(self._waker, b"x")

    def _change(self) -> None:
        os.read(self._wake, 4096)
        with self._lock:
            changes, self._pending = self._pending, []
        for change in changes:
            change()

    def _receive(self, udp: socket.socket, network: Optional[str]) -> None:
        try:
            text, source = udp.recvfrom(65535)
        except OSError:
            return
        query = parse(text)
        if query is None:
            return
        reply = self._own(query, network, source[0])
        if reply is not None:
            _send(udp, fit(reply, query), source)
        else:
            self._work(lambda: _send(udp, self._ask(text, query, tcp=False), source))

    def _accept(self, tcp: socket.socket, network: Optional[str]) -> None:
        try:
            client, source = tcp.accept()
        except OSError:
            return
        if not self._work(lambda: self._converse(client, network, source[0])):
            client.close()

    def _converse(self, client: socket.socket, network: Optional[str], source: str) -> None:
        with client:
            client.settimeout(PATIENCE)
            try:
                while True:
                    text = read_message(client)
                    query = parse(text)
                    if query is None:
                        return
                    reply = self._own(query, network, source)
                    content = reply.pack() if reply is not None else self._ask(text, query, tcp=True)
                    client.sendall(struct.pack("!H", len(content)) + content)
            except OSError:
                return

    def _own(self, query: DNSRecord, network: Optional[str], source: str) -> Optional[DNSRecord]:
        """Our own answer; None: it has to be forwarded."""
        if query.header.opcode != OPCODE.QUERY:
            return refusal(query, RCODE.NOTIMP)
        if len(query.questions) != 1:
            return refusal(query, RCODE.FORMERR)
        reply = answer(self._zone, self._zone.client(network, source), query)
        if reply is not None and _edns(query) is not None:
            reply.add_ar(EDNS0(udp_len=PAYLOAD))
        return reply

    def _ask(self, text: bytes, query: DNSRecord, *, tcp: bool) -> bytes:
        found = forward(text, self._upstreams(), tcp=tcp)
        if found:
            return found
        code = RCODE.SERVFAIL if self._upstreams() else RCODE.NXDOMAIN
        content: bytes = refusal(query, code).pack()
        return content

    def _work(self, work: Callable[[], None]) -> bool:
        if self._workers is None or not self._places.acquire(blocking=False):
            return False

        def run() -> None:
            try:
                work()
            finally:
                self._places.release()

        self._workers.submit(run)
        return True


def parse(text: bytes) -> Optional[DNSRecord]:
    """None for what is no question: an answer to it could start a loop."""
    try:
        query = DNSRecord.parse(text)
    except (DNSError, ValueError, IndexError, struct.error, UnicodeError):
        return None
    return None if query.header.qr else query


def fit(reply: DNSRecord, query: DNSRecord) -> bytes:
    """As much as the client takes in one datagram; else TC, and it asks by TCP."""
    size = _edns(query)
    content: bytes = reply.pack()
    if len(content) <= (PLAIN if size is None else max(PLAIN, min(size, PAYLOAD))):
        return content
    short: bytes = reply.truncate().pack()
    return short


def _edns(query: DNSRecord) -> Optional[int]:
    """Bytes that the client takes, None without EDNS (RFC 6891)."""
    for one in query.ar:
        if one.rtype == QTYPE.OPT:
            return int(one.rclass)
    return None


def _send(udp: socket.socket, content: bytes, source: Tuple[str, int]) -> None:
    try:
        udp.sendto(content, source)
    except OSError:
        return
