"""Where etcd listens for clients."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Endpoint:
    """`host` has no brackets."""

    url: str
    tls: bool
    host: str
    port: int

    @staticmethod
    def parse(url: str, *, tls: bool) -> Endpoint:
        """`https://10.0.0.1:2379`; without a scheme `tls` decides. Raises ValueError."""
        if "//" not in url:
            url = f"{'https' if tls else 'http'}://{url}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of an etcd: https://ADDRESS:PORT is wanted")
        return Endpoint(url.rstrip("/"), parts.scheme == "https", parts.hostname, parts.port or 2379)
