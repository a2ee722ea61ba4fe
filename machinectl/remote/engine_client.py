"""One question to dockerd over mutual TLS. Standard library only.

Paths carry no API version: dockerd then answers in its own, so that any engine can be asked.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from machinectl.errors import EngineRefused, EngineUnreachable

Answer = TypeVar("Answer")

_MOST = 16 << 20  # bytes; /version has about 900, a container's inspect 6,000

_EXPIRED, _NOT_YET, _HOST_MISMATCH, _ADDRESS_MISMATCH = 10, 9, 62, 64
"""X509_V_ERR_… of OpenSSL's x509_vfy.h."""


def engine_version(ip: str, port: int, folder: Path, deadline: float) -> dict[str, Any]:
    """dockerd's own answer (`Version`, `ApiVersion`, `Os`, …), within `deadline` seconds in all.

    `folder` is the machine's in the store: ca.pem, cert.pem and key.pem are taken from it.
    Raises EngineUnreachable; `problem` says which way: engine-refused (the host answers, nothing listens),
    engine-timeout, engine-unreachable, certificate-expired, certificate-mismatch (another address),
    certificate-foreign (not signed by our CA), client-refused (dockerd does not take our certificate),
    engine-protocol (something else listens there), certificate-missing.
    """
    return _ask(ip, port, folder, deadline, render_request(ip, port, "GET", "/version"), _version)


def engine_call(
    ip: str,
    port: int,
    folder: Path,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    deadline: float,
) -> Any:
    """Docker's API: the JSON answer; None for an empty one, and where a GET finds nothing (404). Raises
    EngineUnreachable as above, and EngineRefused with dockerd's own words where it says no (`problem` is
    engine-not-found for 404)."""
    request = render_request(ip, port, method, path, body)
    status, content = _ask(ip, port, folder, deadline, request, _response)
    if status == 404 and method == "GET":
        return None
    if status >= 300:
        raise EngineRefused(
            f"dockerd refuses {method} {path.partition('?')[0]}",
            why=_message(content),
            problem="engine-not-found" if status == 404 else "",
        )
    return json.loads(content) if content.strip() else None


def _ask(
    ip: str,
    port: int,
    folder: Path,
    deadline: float,
    request: bytes,
    read: Callable[[bytes], Answer],
) -> Answer:
    until = time.monotonic() + deadline
    where = f"{ip} port {port}"
    context = _context(folder)
    try:
        with (
            socket.create_connection((ip, port), timeout=_left(until)) as plain,
            context.wrap_socket(plain, server_hostname=ip, do_handshake_on_connect=False) as wrapped,
        ):
            wrapped.settimeout(_left(until))
            wrapped.do_handshake()
            wrapped.settimeout(_left(until))
            wrapped.sendall(request)
            return read(_everything(wrapped, until))
    except TimeoutError:
        raise EngineUnreachable(
            f"the engine at {where} did not answer",
            why=f"nothing came within {deadline:g} s",
            hint="check that the host is up and that no firewall is in between",
            problem="engine-timeout",
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(where, error) from error
    except ssl.SSLError as error:
        swallowed = _alert_of(ip, port, context, until) if isinstance(error, ssl.SSLEOFError) else None
        raise _refused_by_tls(where, swallowed or error) from error
    except ConnectionRefusedError as error:
        raise EngineUnreachable(
            f"the engine at {where} is not running",
            why="connection refused",
            hint="look at it with `machinectl ssh NAME -- systemctl status docker`",
            problem="engine-refused",
        ) from error
    except (ConnectionError, http.client.HTTPException, ValueError) as error:
        silent = isinstance(error, (ConnectionError, http.client.BadStatusLine))
        if silent and (alert := _alert_of(ip, port, context, until)):
            raise _refused_by_tls(where, alert) from error
        raise EngineUnreachable(
            f"what answers at {where} is no Docker engine",
            why=str(error) or type(error).__name__,
            problem="engine-protocol",
        ) from error
    except OSError as error:  # no route, unknown name, network down
        raise EngineUnreachable(
            f"{where} can't be reached", why=error.strerror or str(error), problem="engine-unreachable"
        ) from error


def _alert_of(ip: str, port: int, context: ssl.SSLContext, until: float) -> ssl.SSLError | None:
    """The alert that a reset connection has swallowed, if there was one.

    In TLS 1.3 a refused certificate shows after the handshake. A server that closes with our request unread
    resets the connection, and the reset can overtake its alert: without a request there is none.
    """
    try:
        with (
            socket.create_connection((ip, port), timeout=_left(until)) as plain,
            context.wrap_socket(plain, server_hostname=ip) as wrapped,
        ):
            wrapped.settimeout(min(2.0, _left(until)))
            wrapped.recv(1)
    except ssl.SSLError as error:
        return error
    except OSError:
        pass  # no alert to be had: the first error stands
    return None


def _context(folder: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        # docker-machine's certificates lack the key identifiers that Python 3.13 wants by default; Go never did
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    except OSError as error:  # ssl.SSLError is one, too
        raise EngineUnreachable(
            f"the certificates in {folder} can't be used",
            why=error.strerror or str(error),
            hint="make them again with `machinectl provision NAME`",
            problem="certificate-missing",
        ) from error
    return context


def render_request(
    ip: str, port: int, method: str, path: str, body: Mapping[str, Any] | None = None
) -> bytes:
    """Pure: the bytes of one HTTP/1.1 request (RFC 9112)."""
    host = f"[{ip}]" if ":" in ip else ip
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    elif method == "POST":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


def _left(until: float) -> float:
    """Seconds; a socket's own timeout is per call, a peer that drips bytes would never run into it."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _everything(wrapped: ssl.SSLSocket, until: float) -> bytes:
    content = bytearray()
    while len(content) < _MOST:
        wrapped.settimeout(_left(until))
        try:
            chunk = wrapped.recv(65536)
        except ssl.SSLEOFError:  # closed without close_notify; the length is checked by http.client
            break
        if not chunk:
            break
        content += chunk
    return bytes(content)


class _Received:
    """The bytes that came, in the shape that http.client reads from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._content)


def _response(content: bytes) -> tuple[int, bytes]:
    """Status and body. Raises http.client.HTTPException for what is no whole answer."""
    response = http.client.HTTPResponse(_Received(content))  # type: ignore[arg-type] # it only calls makefile
    response.begin()
    return response.status, response.read()


def _version(content: bytes) -> dict[str, Any]:
    status, body = _response(content)
    if status != 200:
        raise http.client.HTTPException(f"HTTP status {status}: {body[:200].decode(errors='replace')}")
    document = json.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("Version"), str):
        raise http.client.HTTPException("its answer has no Version")
    return document


def _message(content: bytes) -> str:
    """dockerd's error answers are `{"message": …}`."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:300].decode(errors="replace").strip()


def _untrusted(where: str, error: ssl.SSLCertVerificationError) -> EngineUnreachable:
    if error.verify_code in (_EXPIRED, _NOT_YET):
        what, problem = "has expired or is not valid yet", "certificate-expired"
    elif error.verify_code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        what, problem = "is for another address", "certificate-mismatch"
    else:
        what, problem = "is not signed by this store's CA", "certificate-foreign"
    return EngineUnreachable(
        f"the certificate of {where} {what}",
        why=error.verify_message,
        hint="issue it again with `machinectl provision NAME`",
        problem=problem,
    )


def _refused_by_tls(where: str, error: ssl.SSLError) -> EngineUnreachable:
    if "ALERT" in (error.reason or "") or "alert" in str(error):
        return EngineUnreachable(
            f"{where} does not accept our client certificate",
            why=(error.reason or str(error)).lower().replace("_", " "),
            hint="hand out this store's CA again with `machinectl provision NAME`",
            problem="client-refused",
        )
    return EngineUnreachable(
        f"what answers at {where} does not speak TLS",
        why=(error.reason or str(error)).lower().replace("_", " "),
        hint="see what listens there: `machinectl ssh NAME -- ss -ltnp`",
        problem="engine-protocol",
    )
