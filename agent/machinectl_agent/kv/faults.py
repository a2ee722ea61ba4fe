"""What etcd and the network say when something is wrong, as our own exceptions. No I/O here.

Codes are gRPC's (https://grpc.io/docs/guides/status-codes/); the texts are etcd's, api/v3rpc/rpctypes/error.go.
"""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any, Dict, Sequence, Type

from machinectl_agent.kv.interface import KvCompacted, KvError, KvRefused, KvUnavailable, LeaseGone

CANCELLED, UNKNOWN, INVALID, DEADLINE_EXCEEDED, NOT_FOUND, EXHAUSTED = 1, 2, 3, 4, 5, 8
OUT_OF_RANGE, INTERNAL, UNAVAILABLE = 11, 13, 14

_PASSING = (CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE)


def from_code(code: int, text: str, endpoint: str) -> KvError:
    """The exception for etcd's answer."""
    kind: Type[KvError] = KvRefused
    if code in _PASSING or "too many requests" in text:
        kind = KvUnavailable
    elif code == NOT_FOUND and "lease" in text:
        kind = LeaseGone
    elif code == OUT_OF_RANGE and "compacted" in text:
        kind = KvCompacted
    return kind(f"{endpoint}: {text}")


def from_body(status: int, body: bytes, endpoint: str) -> KvError:
    """The exception for an HTTP answer that is none of success: `{"error": …, "message": …, "code": …}`."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = body[:100].decode("utf-8", "replace").strip()
        return KvRefused(f"{endpoint}: no answer of etcd's v3 gateway: HTTP status {status}, {text!r}")
    return from_message(found, endpoint)


def from_message(found: Dict[str, Any], endpoint: str) -> KvError:
    """The same of a decoded body, or of the object behind `error` inside a stream."""
    inner = found.get("error")
    if isinstance(inner, dict):
        found = inner
    text = str(found.get("message") or found.get("error") or "an error without words")
    code = found.get("code", found.get("grpc_code", UNKNOWN))
    return from_code(code if isinstance(code, int) else UNKNOWN, text, endpoint)


def from_exception(error: Exception, endpoint: str) -> KvError:
    """The exception for what the socket or the TLS library raised."""
    if isinstance(error, KvError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return KvRefused(f"{endpoint}: its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return KvRefused(f"{endpoint}: TLS: {(error.reason or str(error)).lower().replace('_', ' ')}")
    if isinstance(error, (socket.timeout, TimeoutError)):
        return KvUnavailable(f"{endpoint}: no answer in time")
    words = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return KvUnavailable(f"{endpoint}: {words or type(error).__name__}")


def together(faults: Sequence[KvError]) -> KvError:
    """One exception for what all endpoints said: refused only if every one of them refuses."""
    text = "; ".join(dict.fromkeys(str(one) for one in faults))
    refused = bool(faults) and all(isinstance(one, KvRefused) for one in faults)
    return (KvRefused if refused else KvUnavailable)(f"etcd can't be reached: {text or 'the time is over'}")
