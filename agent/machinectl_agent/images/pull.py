"""`docker pull` on the machine, with progress, and with the registry or mirror named that is to blame.

dockerd tries its mirrors, then Docker Hub, and tells only the last one's error: a mirror that is down shows as
`lookup registry-1.docker.io: no such host`. So each place is asked after a failure.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Tuple
from urllib.parse import urlsplit

from machinectl_agent.host import Host
from machinectl_agent.images.engine import Engine
from machinectl_agent.images.names import familiar, full, split
from machinectl_agent.problems import Problem

HUB = "registry-1.docker.io"
HUB_NAMES = ("docker.io", "index.docker.io", HUB)
LOGINS = "/root/.docker/config.json"
CERTIFICATES = "/etc/docker/certs.d"
PROBE = 5.0
"""Seconds for a registry's answer."""
SHOWN = 0.5
"""Seconds between two progress events."""

MANIFESTS = ", ".join(
    f"application/vnd.{one}+json"
    for one in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


@dataclass(frozen=True)
class Place:
    """Where dockerd looks for an image."""

    url: str
    mirror: bool
    checked: bool = True
    """Its certificate counts."""

    @property
    def label(self) -> str:
        return f"the mirror {self.url}" if self.mirror else f"the registry {urlsplit(self.url).netloc}"


def pull(engine: Engine, args: Mapping[str, Any], session: Any) -> Dict[str, Any]:
    """names → images (name, id, changed). Raises `Problem` `pull-failed`."""
    host = Host()
    found = []
    for one in args["names"]:
        name = full(str(one))
        before = engine.inspect(name)
        _pull_one(engine, host, name, session)
        after = engine.inspect(name)
        if after is None:
            raise Problem("pull-failed", f"{name} was pulled, and is not there")
        changed = before is None or before["Id"] != after["Id"]
        found.append({"name": name, "id": after["Id"], "changed": changed})
    return {"images": found}


def _pull_one(engine: Engine, host: Host, name: str, session: Any) -> None:
    sizes: Dict[str, Tuple[int, int]] = {}
    shown = time.monotonic()
    for message in engine.pulling(name, credentials(host.read(LOGINS) or "", name)):
        if message.get("error"):
            raise failure(name, str(message["error"]), examine(places(engine.info(), name), host, name))
        detail = message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and detail.get("total"):
            sizes[str(message.get("id"))] = (int(detail["current"]), int(detail["total"]))
        if sizes and time.monotonic() - shown >= SHOWN:
            shown = time.monotonic()
            done, total = (sum(pair[index] for pair in sizes.values()) for index in (0, 1))
            session.emit({"event": "progress", "name": name, "bytes": done, "of": total})


def credentials(text: str, name: str) -> str:
    """The header X-Registry-Auth for what `docker login` has left in root's config.json; empty: there is none."""
    try:
        logins = json.loads(text or "{}").get("auths") or {}
    except (ValueError, AttributeError):
        return ""
    registry = registry_of(name)
    keys = (registry, f"https://{registry}", "https://index.docker.io/v1/" if registry == HUB else registry)
    entry = next((logins[key] for key in keys if key in logins), None)
    if not isinstance(entry, dict) or not entry.get("auth"):
        return ""
    user, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    document = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def registry_of(name: str) -> str:
    """HOST[:PORT] of its registry. Pure."""
    first, slash, _ = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return HUB
    return HUB if first in HUB_NAMES else first


def places(info: Mapping[str, Any], name: str) -> List[Place]:
    """Where dockerd has looked, in its order. Pure."""
    config = info.get("RegistryConfig") or {}
    registry = registry_of(name)
    if registry != HUB:
        known = (config.get("IndexConfigs") or {}).get(registry) or {}
        return [Place(f"https://{registry}", mirror=False, checked=bool(known.get("Secure", True)))]
    mirrors = [Place(str(one).rstrip("/"), mirror=True) for one in config.get("Mirrors") or ()]
    return [*mirrors, Place(f"https://{HUB}", mirror=False)]


def examine(where: List[Place], host: Host, name: str) -> List[Tuple[Place, str, bool]]:
    """What each says now, and whether that explains the failure."""
    return [(place, *_look(place, host, name)) for place in where]


def failure(name: str, words: str, seen: List[Tuple[Place, str, bool]]) -> Problem:
    """Pure. The first place that is to blame heads the error: it is the one that should have had it."""
    to_blame = next(((place, said) for place, said, blamed in seen if blamed), None)
    what = f"{name} can't be pulled"
    if to_blame:
        what += f": {to_blame[0].label} {to_blame[1]}"
    lines = [f"{place.label} {said}" for place, said, _ in seen[1:] if to_blame and place != to_blame[0]]
    hint = "start it, or change registry-mirrors" if to_blame and to_blame[0].mirror else ""
    return Problem("pull-failed", what, why="\n".join([*lines, f"dockerd says: {words}"]), hint=hint)


def _look(place: Place, host: Host, name: str) -> Tuple[str, bool]:
    address = urlsplit(place.url)
    try:
        return _ask(place, host, name, https=address.scheme == "https")
    except ssl.SSLCertVerificationError as error:
        where = f"{CERTIFICATES}/{address.netloc}/ca.crt"
        return (
            f"has a certificate that is not trusted ({error.verify_message}); its CA belongs into {where}",
            True,
        )
    except ssl.SSLError:
        if not place.checked:
            return _look(replace(place, url=f"http://{address.netloc}{address.path}"), host, name)
        return "speaks no TLS; where that is meant, name it in insecure-registries", True
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer: {_reason(error, address.hostname)}", True


def _reason(error: Exception, name: object) -> str:
    if isinstance(error, socket.gaierror):
        return f"there is no host {name}"
    if isinstance(error, TimeoutError):
        return f"nothing came within {PROBE:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()


def _ask(place: Place, host: Host, name: str, *, https: bool) -> Tuple[str, bool]:
    address = urlsplit(place.url)
    connection = (
        http.client.HTTPSConnection(address.netloc, timeout=PROBE, context=_context(place, host))
        if https
        else http.client.HTTPConnection(address.netloc, timeout=PROBE)
    )
    repository, _, tag = split(name)
    if registry_of(name) == HUB:
        repository = familiar(repository)
        repository = repository if "/" in repository else f"library/{repository}"
    else:
        repository = repository.partition("/")[2]
    try:
        path = f"{address.path.rstrip('/')}/v2/{repository}/manifests/{tag}"
        connection.request("HEAD", path, headers={"Accept": MANIFESTS})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status == 200:
        return "has it", False
    if status == 404:
        return "does not have it", True
    if status in (401, 403):
        # Docker Hub asks everybody for a token first
        return "asks for a login", urlsplit(place.url).netloc != HUB
    return f"answers with HTTP status {status}", True


def _context(place: Place, host: Host) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not place.checked:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    folder = f"{CERTIFICATES}/{urlsplit(place.url).netloc}"
    for one in host.names(folder, ".crt"):
        context.load_verify_locations(str(host.path(f"{folder}/{one}")))
    return context
