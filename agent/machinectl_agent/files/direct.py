"""A connection from one agent to the other, for one carry: TLS 1.3 with a certificate for each end.

The controller makes both certificates for this one carry and gives each agent its own key and both certificates,
over SSH. Each end takes exactly the other's certificate, one peer, within a deadline, on a port that the kernel
chose; then the listener is gone. Nothing of it is ever on a disk.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tls import TlsPeer

HANDSHAKE = 5.0
"""Seconds for a peer to show its certificate; a port scanner shows none."""

_STRANGERS = 16
"""Connections at once that have not shown theirs."""

_WELCOME = b"\x06"
"""From listener to dialler: in TLS 1.3 a client is done before the server has seen its certificate."""

_KEEPALIVE = (("TCP_KEEPIDLE", 6), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3))


class Credential:
    """One end's side of the pair: its certificate and key, and the certificate that the peer must show."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._peer = ssl.PEM_cert_to_DER_cert(str(document["peer"]))
        self.listening = self._context(ssl.PROTOCOL_TLS_SERVER, document)
        self.listening.num_tickets = 0  # an unread ticket would make the dialler's close a reset
        self.dialling = self._context(ssl.PROTOCOL_TLS_CLIENT, document)

    def check(self, peer: TlsPeer) -> None:
        """Trusted is only a certificate that equals the one that was named."""
        if peer.certificate() != self._peer:
            raise ssl.SSLError("another certificate than the one of this carry")

    @staticmethod
    def _context(protocol: int, document: Mapping[str, Any]) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=str(document["peer"]))
        # ssl reads keys only from files; this one is memory that nobody else can open
        descriptor = os.memfd_create("carry", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, f"{document['key']}\n{document['certificate']}".encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context


class Listener:
    """Waits in threads of its own; `accepted` is the one peer, if it has come. `seconds`: until it gives up."""

    def __init__(self, credential: Credential, seconds: float) -> None:
        self._credential = credential
        self._until = time.monotonic() + seconds
        self._guard = threading.Lock()
        self._came = threading.Event()
        self._strangers = threading.Semaphore(_STRANGERS)
        self.accepted: Optional[TlsPeer] = None
        if socket.has_dualstack_ipv6():
            self._socket = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self._socket = socket.create_server(("", 0))
        self.port: int = self._socket.getsockname()[1]
        self._socket.settimeout(seconds)
        threading.Thread(target=self._serve, name="listen", daemon=True).start()

    def take(self, seconds: float) -> Optional[TlsPeer]:
        """The peer; None where it did not come."""
        self._came.wait(seconds)
        return self.accepted

    def close(self) -> None:
        # close alone does not wake a thread that is in accept
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed, or the time is over
            while time.monotonic() < self._until:
                self._strangers.acquire()
                raw, _ = self._socket.accept()
                threading.Thread(target=self._greet, args=(raw,), daemon=True).start()
        self._socket.close()

    def _greet(self, raw: socket.socket) -> None:
        try:
            peer = TlsPeer(raw, self._credential.listening, server_side=True, seconds=HANDSHAKE)
            self._credential.check(peer)
            with self._guard:
                if self.accepted is not None:
                    peer.close()
                    return
                self.accepted = peer
            self.close()
            peer.send(memoryview(_WELCOME))
            self._came.set()
        except (OSError, ValueError):
            raw.close()
        finally:
            self._strangers.release()


def dial(
    credential: Credential, targets: Sequence[Tuple[str, int]], seconds: float
) -> Tuple[Optional[TlsPeer], str]:
    """The first of the targets that is our peer, all tried at once; else None and why."""
    found: List[TlsPeer] = []
    reasons: List[str] = []
    guard = threading.Lock()
    settled = threading.Event()
    left = len(targets)

    def attempt(host: str, port: int) -> None:
        nonlocal left
        reason = ""
        try:
            peer = _dial_one(credential, host, port, seconds)
            with guard:
                if settled.is_set():
                    peer.close()
                else:
                    found.append(peer)
                    settled.set()
        except (OSError, ValueError) as error:
            reason = f"{host}: {getattr(error, 'strerror', None) or error}"
        with guard:
            left -= 1
            if reason:
                reasons.append(reason)
            if not left:
                settled.set()

    for host, port in targets:
        threading.Thread(target=attempt, args=(host, port), daemon=True).start()
    settled.wait(seconds if targets else 0)
    with guard:
        settled.set()
        if found:
            return found[0], ""
        return None, "; ".join(reasons) or f"no answer in {seconds:g} s"


def _dial_one(credential: Credential, host: str, port: int, seconds: float) -> TlsPeer:
    raw = socket.create_connection((host, port), timeout=seconds)
    try:
        peer = TlsPeer(raw, credential.dialling, server_side=False, seconds=seconds)
        credential.check(peer)
        welcome = bytearray(1)
        peer.receive_into(memoryview(welcome))
    except BaseException:
        raw.close()
        raise
    if welcome != _WELCOME:
        peer.close()
        raise OSError("it took another peer")
    return peer


class Wire:
    """The connection as a carry's transport."""

    def __init__(self, peer: TlsPeer) -> None:
        self._peer = peer
        raw = peer.endless()
        # No TCP_USER_TIMEOUT: it ends a connection whose reader is busy elsewhere for that long (tcp(7)). What
        # keepalives can't see, the controller does: an agent that is silent.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def receive_into(self, view: memoryview) -> int:
        try:
            return self._peer.receive_into(view)
        except (OSError, ValueError) as error:
            raise broken(getattr(error, "strerror", None) or str(error)) from error

    def send(self, view: memoryview) -> None:
        try:
            self._peer.send(view)
        except (OSError, ValueError) as error:
            raise broken(getattr(error, "strerror", None) or str(error)) from error

    def abort(self) -> None:
        """From another thread: whoever is waiting in `receive_into` or `send` gets an error."""
        with contextlib.suppress(OSError):
            self._peer.shut(socket.SHUT_RDWR)

    def finish(self, *, sent: bool, seconds: float) -> None:
        """`sent`: ours was the writing end; the other one reads to the end before the connection goes."""
        with contextlib.suppress(OSError, ValueError):
            if sent:
                self._peer.shut(socket.SHUT_WR)
                self._peer.wait_for_end(seconds)
        self._peer.close()
