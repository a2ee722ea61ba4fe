"""volume share: one machine exports a volume, others have it as theirs.

check all ─► choose NFS or sshfs ─► keys of the others (sshfs) ─► export, to their addresses ─► mount on each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.fleet import Outcome, on_each, raise_failures
from machinectl.actions.shares.ask import Asker
from machinectl.errors import MachinectlError, UsageError
from machinectl.store.store import Store

WAYS = ("auto", "nfs", "sshfs")


@dataclass(frozen=True)
class Shared:
    """What one of the other machines has got."""

    via: str
    server: str
    created: bool
    """False: it had it already."""


def share(
    store: Store,
    ask: Asker,
    place: str,
    source: str,
    targets: Sequence[str],
    *,
    via: str = "auto",
    address: str = "",
) -> list[Outcome[Shared]]:
    """`place`: a volume of `source`'s, made where it is missing, or a path. `address`: of `source`, as the others
    reach it. Raises `MachinectlError` before anything changes where one machine can't."""
    names = [name for name in targets if name != source]
    if not names:
        raise UsageError("there is no other machine to share with", hint="--to PATTERN names them")
    server = address or store.load(source).ip
    exporting = ask(source, "check-server", place=place)
    seen = _all(on_each(names, lambda name: ask(name, "check-client", server=server, server_name=source)))
    chosen = _choose(ask, source, exporting, seen, via)
    clients = {name: {"address": seen[name]["address"]} for name in names}
    if chosen == "sshfs":
        for name, found in _all(on_each(names, lambda name: ask(name, "key"))).items():
            clients[name]["key"] = found["key"]
    export = ask(source, "serve", via=chosen, place=place, clients=clients)

    def attach(name: str) -> Shared:
        found = ask(name, "attach", via=chosen, server=server, server_name=source, **export)
        return Shared(chosen, source, bool(found["created"]))

    return on_each(names, attach)


def _choose(
    ask: Asker, source: str, exporting: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], via: str
) -> str:
    """As `decide` says. Raises what the machine itself says that can't do what was asked for."""
    reasons = {source: exporting["nfs"], **{name: found["nfs"] for name, found in seen.items()}}
    lacking = {name: str(reason) for name, reason in reasons.items() if reason}
    via, about, said = decide(via, str(exporting["via"]), source, lacking, beside=bool(exporting["beside"]))
    if said:
        ask.say(about, said)
    refused = lacking if via == "nfs" else [name for name, found in seen.items() if found["sshfs"]]
    raise_failures(
        on_each(
            list(refused),
            lambda name: ask(name, "check-way", via=via, role="server" if name == source else "client"),
        )
    )
    return via


def decide(
    wish: str, present: str, source: str, lacking: Mapping[str, str], *, beside: bool
) -> tuple[str, str, str]:
    """Pure: nfs or sshfs, and a machine with what is to be said of it (may be empty). `present`: of the share that is
    there already. `lacking`: machine → why it has no NFS. `beside`: the share is a part of a file system, and NFS
    would let root on the others reach the rest of it."""
    via = present if wish == "auto" and present else wish
    if via == "auto":
        if lacking:
            name = next(iter(lacking))
            return "sshfs", name, f"{lacking[name]}: sshfs instead of NFS"
        if beside:
            why = "it is no file system of its own, and NFS would open all of that it is on"
            return "sshfs", source, f"{why}: sshfs instead; --via nfs takes NFS all the same"
        return "nfs", "", ""
    if via == "nfs" and beside and not lacking:
        return via, source, "by NFS root on the other machines can reach the whole file system that it is on"
    return via, "", ""


def _all(outcomes: Sequence[Outcome[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    raise_failures(outcomes)
    return {one.name: one.result for one in outcomes if one.result is not None}


def unshare(
    ask: Asker, source: str, targets: Sequence[str], *, force: bool = False
) -> tuple[list[Outcome[bool]], list[str]]:
    """Takes the volume from `targets`, from all that have it where none is named; the last one ends the export. The
    volume on `source` stays. Also returned: who still has it. `force`: the export ends also for those that can't be
    reached or do not let go."""
    record = ask(source, "show")["share"]
    if record is None and targets:
        # one that was away when the export ended with --force
        return on_each(targets, lambda name: bool(ask(name, "detach", server_name=source)["detached"])), []
    if record is None:
        raise MachinectlError(
            "this machine exports no such share", machine=source, hint=f"`machinectl volume ls {source}`"
        )
    having = list(record["clients"])
    names = [name for name in having if name in targets] if targets else having
    if not names:
        raise UsageError("none of these machines has the share", hint=f"they do: {', '.join(having)}")
    outcomes = on_each(names, lambda name: bool(ask(name, "detach", server_name=source)["detached"]))
    gone = [one.name for one in outcomes if force or one.error is None]
    left = ask(source, "unserve", clients=gone)["left"] if gone else having
    return outcomes, list(left)
