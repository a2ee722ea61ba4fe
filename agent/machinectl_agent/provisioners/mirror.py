"""A copy of download.docker.com: its URL and its signing key.

The layout is Docker's: `URL/linux/DISTRIBUTION/gpg` is the key, `…/dists/CODENAME` the apt repository,
`…/$releasever/$basearch/stable` the rpm one (docs.docker.com/engine/install).
"""

from __future__ import annotations

import time
import urllib.parse
from typing import Callable, Mapping

from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.reach import PORTS, SILENCE, knock, reasons

DOCKER = "https://download.docker.com"
DEADLINE = 14.0
"""Seconds for the key, a file of 4 kB."""
MAX_KEY = 256 * 1024
"""Bytes; a longer answer is no key."""
_ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def base_url(mirror: str) -> str:
    """The URL without a slash at its end. Raises `Problem` `mirror-wrong` for what is no http(s) URL."""
    parts = urllib.parse.urlsplit(mirror)
    bad = any(ord(one) <= 32 or one in "\"'#?" for one in mirror)
    if "@" in parts.netloc:
        raise Problem(
            "mirror-wrong",
            "the engine mirror's URL holds a user or a password",
            why="it would end up in world-readable files of the host",
            hint="leave them out and let the mirror in by address",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or bad:
        raise Problem(
            "mirror-wrong",
            f"the engine mirror {mirror!r} is no URL of a package repository",
            why="an http or https URL without spaces, quotes, ? and # is wanted",
            hint=f"give the URL above `linux/`, e.g. --engine-mirror {DOCKER}",
        )
    return mirror.rstrip("/")


def fetch_key(url: str, log: Callable[[str], None], proxies: Mapping[str, str]) -> str:
    """The ASCII-armored key. `proxies`: scheme → URL beside those of the environment.

    Raises `Problem` `mirror-unreachable`, or `mirror-wrong` where the answer is no key.
    """
    import urllib.error  # noqa: PLC0415 - seldom, and 12 ms with http.client
    import urllib.request  # noqa: PLC0415

    if url.startswith("http:"):
        log(f"the signing key of {url} comes over plain http: it is as good as the network")
    known = {**urllib.request.getproxies(), **proxies}
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in known:
        # urllib waits for a silent name server as long as the resolver does, whatever its timeout
        trouble = knock({(parts.hostname or "", parts.port or PORTS[parts.scheme])})
        if trouble:
            raise _unreachable(url, reasons(trouble))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(known))
    end = time.monotonic() + DEADLINE
    received = b""
    try:
        with opener.open(url, timeout=SILENCE) as answer:
            while len(received) <= MAX_KEY:
                part = answer.read(16384)
                if not part:
                    break
                received += part
                if time.monotonic() > end:
                    raise TimeoutError(f"the key did not arrive within {DEADLINE:.0f} s")
    except urllib.error.HTTPError as error:
        raise Problem(
            "mirror-wrong",
            f"the engine mirror has no signing key at {url}",
            why=f"HTTP status {error.code} {error.reason}",
            hint="give the URL above `linux/`; the mirror must have Docker's own layout",
        ) from error
    except (OSError, ValueError) as error:
        raise _unreachable(url, str(getattr(error, "reason", error))) from error
    text = received.decode("ascii", errors="replace")
    if len(received) > MAX_KEY or _ARMOR not in text:
        raise Problem(
            "mirror-wrong",
            f"what the engine mirror sends as its signing key is none: {url}",
            why=f"it begins with {text[:60]!r}",
            hint="give the URL above `linux/`; a login page or an error page may be in between",
        )
    return text


def _unreachable(url: str, why: str) -> Problem:
    return Problem(
        "mirror-unreachable",
        f"the engine mirror does not answer: {url}",
        why=why,
        hint="check the URL, the host's network and its proxy; try another --engine-mirror",
    )
