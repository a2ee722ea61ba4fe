"""`docker pull` on the machine, with progress, and with the registry or mirror named that is to blame.

dockerd tries its mirrors, then Docker Hub, and tells only the last one's error: a mirror that is down shows as
`lookup registry-1.docker.io: no such host`. So each place is asked after a failure (registry/probe.py).
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple

from machinectl_agent.host import Host
from machinectl_agent.images.engine import Engine
from machinectl_agent.images.names import familiar, full, split
from machinectl_agent.problems import Problem
from machinectl_agent.registry import sources
from machinectl_agent.registry.probe import DEADLINE, Target, opener, probe, proxies, targets

Emit = Callable[[Mapping[str, Any]], None]

HUB = "registry-1.docker.io"
HUB_NAMES = ("docker.io", "index.docker.io", HUB)
LOGINS = "/root/.docker/config.json"
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

    target: Target
    mirror: bool

    @property
    def label(self) -> str:
        return f"{'mirror' if self.mirror else 'registry'} {self.target.address}"


def pull(engine: Engine, args: Mapping[str, Any], emit: Emit) -> Dict[str, Any]:
    """names → images (name, id, changed). Raises `Problem` `pull-failed`."""
    host = Host()
    found = []
    for one in args["names"]:
        name = full(str(one))
        before = engine.inspect(name)
        _pull_one(engine, host, name, emit)
        after = engine.inspect(name)
        if after is None:
            raise Problem("pull-failed", f"{name} was pulled, and is not there")
        changed = before is None or before["Id"] != after["Id"]
        found.append({"name": name, "id": after["Id"], "changed": changed})
    return {"images": found}


def _pull_one(engine: Engine, host: Host, name: str, emit: Emit) -> None:
    sizes: Dict[str, Tuple[int, int]] = {}
    shown = time.monotonic()
    for message in engine.pulling(name, credentials(host.read(LOGINS) or "", name)):
        if message.get("error"):
            raise failure(name, str(message["error"]), examine(places(targets(host), name), host, name))
        detail = message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and detail.get("total"):
            sizes[str(message.get("id"))] = (int(detail["current"]), int(detail["total"]))
        if sizes and time.monotonic() - shown >= SHOWN:
            shown = time.monotonic()
            done, total = (sum(pair[index] for pair in sizes.values()) for index in (0, 1))
            emit({"event": "progress", "name": name, "bytes": done, "of": total})


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


def places(known: List[Target], name: str) -> List[Place]:
    """Where dockerd has looked, in its order. `known`: everything that it is told of. Pure."""
    registry = registry_of(name)
    if registry == HUB:
        mirrors = [Place(one, mirror=True) for one in known if one.setting == sources.MIRRORS]
        return [*mirrors, Place(Target("", HUB, (f"https://{HUB}",)), mirror=False)]
    own = (one for one in known if one.address == registry and one.setting != sources.MIRRORS)
    return [Place(next(own, Target("", registry, (f"https://{registry}",))), mirror=False)]


def examine(where: List[Place], host: Host, name: str) -> List[Tuple[Place, str]]:
    """What is wrong with each; empty: it has the image."""
    proxy = proxies(host)
    found = dict(probe([one.target for one in where], proxy))
    return [(one, found[one.target] or _lacks(one.target, name, proxy)) for one in where]


def failure(name: str, words: str, seen: List[Tuple[Place, str]]) -> Problem:
    """Pure. The first place that is to blame heads the error: it is the one that should have had it."""
    to_blame = next(((place, why) for place, why in seen if why), None)
    what = f"{name} can't be pulled" + (f": {to_blame[0].label}: {to_blame[1]}" if to_blame else "")
    lines = [
        f"{place.label}: {why or 'has it'}" for place, why in seen if not to_blame or place != to_blame[0]
    ]
    hint = (
        "`machinectl registry check` looks at all mirrors and registries of all machines" if to_blame else ""
    )
    return Problem("pull-failed", what, why="\n".join([*lines, f"dockerd says: {words}"]), hint=hint)


def _lacks(target: Target, name: str, proxy: Mapping[str, str]) -> str:
    """A registry that answers may not have the image; whether it would show it only to others can't be told."""
    repository, _, tag = split(name)
    if registry_of(name) == HUB:
        repository = familiar(repository)
        repository = repository if "/" in repository else f"library/{repository}"
    else:
        repository = repository.partition("/")[2]
    why = ""
    for url in target.urls:
        request = urllib.request.Request(  # noqa: S310 - the URLs are those that dockerd was told
            f"{url}/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS}, method="HEAD"
        )
        try:
            opener(url, target, proxy).open(request, timeout=DEADLINE).close()
            return ""
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                # Docker Hub asks everybody for a token first
                return "" if target.address == HUB else "it wants a login (`docker login` by root there)"
            return "it does not have it" if error.code == 404 else f"it answers with HTTP status {error.code}"
        except (OSError, ValueError) as error:
            why = f"no answer: {error}"
    return why
