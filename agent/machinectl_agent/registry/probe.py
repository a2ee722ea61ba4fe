"""Asks, from this machine, the registries that its dockerd is told of, and says what is wrong with a dead one.

dockerd goes on to the next source where a mirror fails, and its error names that one only.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple
from urllib.parse import urlsplit

from machinectl_agent.engine import unit
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Work
from machinectl_agent.registry import sources
from machinectl_agent.registry.sources import CAS, CERTS, INSECURE, MIRRORS

DEADLINE = 3.0
"""Seconds for all of them together."""
_LARGEST = 64 * 1024
_EXPIRED, _NOT_YET, _HOST_MISMATCH, _ADDRESS_MISMATCH = 10, 9, 62, 64
"""X509_V_ERR_… of OpenSSL's x509_vfy.h."""


@dataclass(frozen=True)
class Target:
    """One registry that a setting names."""

    setting: str
    address: str
    """As the setting has it."""
    urls: Tuple[str, ...]
    """Tried in this order, as dockerd does."""
    verify: bool = True
    cas: Tuple[str, ...] = ()
    """PEM texts."""


def check(work: Work, _args: Mapping[str, Any], _emit: Callable[[Mapping[str, Any]], None]) -> Dict[str, Any]:
    """→ registries: setting, address, problem (empty: it answers as a registry)."""
    found = probe(targets(work.host), proxies(work.host))
    return {
        "registries": [{"setting": one.setting, "address": one.address, "problem": why} for one, why in found]
    }


def warn_of_mirrors(host: Host, say: Callable[[str], None]) -> None:
    """A line for each mirror that does not answer as a registry."""
    mirrors = [one for one in targets(host) if one.setting == MIRRORS]
    for one, why in probe(mirrors, proxies(host)):
        if why:
            say(
                f"{one.setting} {one.address}: {why}; dockerd goes on to the next mirror or docker.io, and its own "
                "error does not name this one"
            )


def targets(host: Host) -> List[Target]:
    """Everything that this machine's dockerd is told of; networks of insecure registries can't be asked."""
    options = sources.options(host)
    insecure = [str(one) for one in options.get(INSECURE) or ()]
    found: List[Target] = []
    for mirror in options.get(MIRRORS) or ():
        url = str(mirror).rstrip("/")
        place = urlsplit(url).netloc.rpartition("@")[2]
        found.append(
            Target(MIRRORS, str(mirror), (url,), not _is_insecure(place, insecure), sources.cas(host, place))
        )
    found += [
        Target(INSECURE, one, (f"https://{one}", f"http://{one}"), verify=False)
        for one in insecure
        if "/" not in one
    ]
    known = {name: sources.cas(host, name) for name in host.names(CERTS) if name not in insecure}
    return found + [
        Target(CAS, name, (f"https://{name}",), cas=texts) for name, texts in known.items() if texts
    ]


def proxies(host: Host) -> Dict[str, str]:
    """dockerd's, by the names that urllib has for them."""
    text = host.read(unit.ENVIRONMENT) or ""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.lower() in ("http_proxy", "https_proxy", "no_proxy"):
            found[name.lower().partition("_")[0]] = value.strip().strip('"')
    return found


def probe(
    wanted: Sequence[Target], proxy: Mapping[str, str], deadline: float = DEADLINE
) -> List[Tuple[Target, str]]:
    """All at once; what is wrong with each, empty where nothing is."""
    answers: Dict[Target, str] = {}

    def ask(one: Target) -> None:
        answers[one] = _ask(one, proxy, deadline)

    threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in wanted]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {deadline:.0f} s"
    return [(one, answers.get(one, late)) for one in wanted]


def _ask(target: Target, proxy: Mapping[str, str], deadline: float) -> str:
    why = ""
    for url in target.urls:
        why = _ask_url(url, target, proxy, deadline)
        if not why:
            return ""
    return why


def _ask_url(url: str, target: Target, proxy: Mapping[str, str], deadline: float) -> str:
    try:
        way = opener(url, target, proxy)
    except (ssl.SSLError, ValueError):
        return f"a file in {CERTS} for it holds no certificate"
    try:
        with way.open(f"{url}/v2/", timeout=deadline) as response:
            return judge(
                response.status, dict(response.headers), response.read(_LARGEST), target.setting == MIRRORS
            )
    except urllib.error.HTTPError as error:
        try:
            content = error.read(_LARGEST)
        except OSError:
            content = b""
        return judge(error.code, dict(error.headers), content, target.setting == MIRRORS)
    except urllib.error.URLError as error:
        return explain(error.reason, url)
    except Exception as error:
        return explain(error, url)


def opener(url: str, target: Target, proxy: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """As dockerd would ask. Raises `ssl.SSLError` or `ValueError` for a CA that is none."""
    return urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=_context(target)),
        urllib.request.ProxyHandler(_for_url(url, proxy)),
    )


def login_problem(target: Target, user: str, password: str, deadline: float = 10.0) -> str:
    """Whether a registry takes this password itself; one that hands out tokens for it is asked by its own clients."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(f"{target.urls[0]}/v2/", headers={"Authorization": f"Basic {token}"})  # noqa: S310 - http(s), checked by the controller
    try:
        with opener(target.urls[0], target, {}).open(request, timeout=deadline):
            return ""
    except urllib.error.HTTPError as error:
        asked = error.headers.get("www-authenticate", "")
        return (
            "it takes another user or password" if error.code == 401 and asked[:5].lower() == "basic" else ""
        )
    except OSError as error:
        return explain(getattr(error, "reason", error), target.urls[0])


def judge(status: int, headers: Mapping[str, str], content: bytes, mirror: bool) -> str:
    """Pure: what an answer to /v2/ says against its being a registry that dockerd can use."""
    names = {name.lower(): value for name, value in headers.items()}
    if status == 400 and b"HTTP request to an HTTPS server" in content:
        return "it speaks https: write https:// instead of http://"
    if status >= 500:
        return f"it answers with HTTP status {status}"
    if status == 401 and ("www-authenticate" in names or "docker-distribution-api-version" in names):
        kind = names.get("www-authenticate", "")
        # a token is given to everybody, a password is not
        return (
            "it wants a login, and dockerd has none for a mirror"
            if mirror and kind[:5].lower() == "basic"
            else ""
        )
    if status == 200 and (
        "docker-distribution-api-version" in names or content.strip() in (b"", b"{}", b"true")
    ):
        return ""
    return f"it is no registry (HTTP status {status} for /v2/)"


def explain(error: Any, url: str) -> str:  # noqa: PLR0911 - one for each reason
    """What a failed connection means."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_EXPIRED, _NOT_YET):
            return "its certificate has expired or is not valid yet"
        if error.verify_code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
            return "its certificate is for another name or address"
        return "its certificate is of a CA that this machine does not know (`registry-cas` makes it known)"
    if isinstance(error, ssl.SSLError):
        if re.search(
            r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNKNOWN_PROTOCOL", text, re.IGNORECASE
        ):
            return "it speaks plain http: write http:// instead of https://"
        return f"TLS fails: {error.reason or text}"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"no answer within {DEADLINE:.0f} s"
    if isinstance(error, socket.gaierror):
        return f"the name {urlsplit(url).hostname} is not known on this machine"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return f"it is no registry ({type(error).__name__})"


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not target.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Go takes certificates without key identifiers, which Python 3.13 would not
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    for one in target.cas:
        context.load_verify_locations(cadata=one)
    return context


def _for_url(url: str, proxy: Mapping[str, str]) -> Dict[str, str]:
    """Go's rule for NO_PROXY, as far as names, suffixes, addresses and networks go."""
    host = urlsplit(url).hostname or ""
    for one in re.split(r"[,\s]+", proxy.get("no", "")):
        if one and (one == "*" or host == one.lstrip(".") or host.endswith("." + one.lstrip("."))):
            return {}
        if "/" in one and _is_within(host, one):
            return {}
    if host == "localhost" or _is_within(host, "127.0.0.0/8"):
        return {}
    return {kind: one for kind, one in proxy.items() if kind in ("http", "https") and one}


def _is_insecure(place: str, insecure: Sequence[str]) -> bool:
    host = urlsplit(f"//{place}").hostname or ""
    return any(
        one in (place, host) or ("/" in one and _is_within(host, one)) for one in insecure
    ) or _is_within(host, "127.0.0.0/8")


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
