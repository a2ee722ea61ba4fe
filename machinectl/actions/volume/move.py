"""volume migrate and clone: contents from one machine to another, directly where they reach each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from machinectl.actions.carry import Afterwards, Carried, MachineEnd, carry
from machinectl.actions.report import Report
from machinectl.actions.volume.ask import READING, ask_volumes
from machinectl.actions.volume.backup import KIND, Consistency
from machinectl.actions.volume.names import VolumeName
from machinectl.errors import AgentFailed, MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.store import Store
from machinectl_agent.volumes.where import overlap

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Moved:
    """A copy that was compared with its source."""

    way: str
    """`direct`, `relay`, `within` (one machine), or `there already` (an earlier run had copied it)."""
    sha256: str
    """Of the tree, on both sides."""
    entries: int
    bytes: int
    seconds: float


def clone(
    store: Store,
    source: VolumeName,
    target: VolumeName,
    *,
    consistency: Consistency,
    options: Mapping[str, Any],
    direct: bool = True,
    become: Become,
    report: Report,
    progress: Progress | None = None,
) -> Moved:
    """`options`: replace, stop, plain, with_options, verify, as the agent's end has them."""
    _check(source, target)
    done = _copy(
        store, source, target, {**consistency.to_args()}, options,
        direct=direct, become=become, report=report, progress=progress,
    )  # fmt: skip
    return _moved(done)


def migrate(
    store: Store,
    source: VolumeName,
    target: VolumeName,
    *,
    consistency: Consistency,
    options: Mapping[str, Any],
    direct: bool = True,
    become: Become,
    report: Report,
    progress: Progress | None = None,
) -> Moved:
    """As `clone`; then the source is removed. Refused before anything is copied where a container has it, even a
    stopped one: Docker removes no such volume. A run that was cut off after the copy is finished by the next one."""
    _check(source, target)

    def removal(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        return _removal(source.name, float(theirs["since"]), ours)

    force = False
    try:
        done = _copy(
            store, source, target, {**consistency.to_args(), "unused": True}, {**options, "strict": True},
            direct=direct, become=become, report=report, progress=progress, afterwards=removal,
        )  # fmt: skip
        moved = _moved(done)
        if done.afterwards is not None:
            return moved
        args = removal(done.source, done.destination)
        force = done.way == "direct"  # it may be gone already, and the answer was lost
    except AgentFailed as error:
        if error.problem != "volume-not-empty":
            raise
        moved, since = _there_already(store, source, target, error, become=become)
        report.line(f"{target} has the same contents already: an earlier run was cut off before the end")
        args = _removal(source.name, since, asdict(moved))
    question = {**args, "op": "rm", "force": force}
    ask_volumes(store, source.machine, question, become=become, report=report, deadline=READING)
    return moved


def _removal(name: str, since: float, digest: Mapping[str, Any]) -> dict[str, Any]:
    """What the agent's `rm` takes: the volume goes if it still is what was copied."""
    return {"name": name, "copied": {"since": since, "digest": _digest(digest)}}


def _digest(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"sha256": str(said["sha256"]), "entries": int(said["entries"]), "bytes": int(said["bytes"])}


def _there_already(
    store: Store, source: VolumeName, target: VolumeName, error: MachinectlError, *, become: Become
) -> tuple[Moved, float]:
    """Raises `error` where the two trees differ; and where they are one, which the removal would take away."""
    found = [
        ask_volumes(store, one.machine, {"op": "digest", "name": one.name}, become=become, deadline=READING)
        for one in (source, target)
    ]
    if not all(found):
        raise error
    how = overlap(found[0]["where"], found[1]["where"])
    if how:
        raise MachinectlError(
            f"{source} and {target} {how}",
            why="both names lead to one folder; nothing was changed",
            hint="name another destination",
        )
    digest = found[0]["digest"]
    if digest != found[1]["digest"]:
        raise error
    moved = Moved("there already", str(digest["sha256"]), int(digest["entries"]), int(digest["bytes"]), 0.0)
    return moved, float(found[0]["since"])


def _copy(
    store: Store,
    source: VolumeName,
    target: VolumeName,
    sending: Mapping[str, Any],
    receiving: Mapping[str, Any],
    *,
    direct: bool,
    become: Become,
    report: Report,
    progress: Progress | None,
    afterwards: Afterwards | None = None,
) -> Carried:
    first = MachineEnd(
        source.machine,
        KIND,
        {"name": source.name, "machine": source.machine, "compress": "none", "apart": True, **sending},
    )
    second = MachineEnd(target.machine, KIND, {"name": target.name, "apart": True, **receiving})
    return carry(
        store,
        first,
        second,
        become=become,
        report=report,
        progress=progress,
        direct=direct,
        afterwards=afterwards,
    )


def _moved(done: Carried) -> Moved:
    return Moved(way=done.way, seconds=done.seconds, **_digest(done.destination))


def _check(source: VolumeName, target: VolumeName) -> None:
    if source == target:
        raise UsageError(f"{source} is both source and destination")
    if source.machine == target.machine and source.is_path and target.is_path:
        for one, other in ((source, target), (target, source)):
            if other.name.startswith(one.name + "/"):
                raise UsageError(f"{other.name} is in {one.name}")
