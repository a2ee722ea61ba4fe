"""Phase `sysctl`: kernel settings that the user wants, besides those that Docker needs (phase `system`).

Sources: sysctl.d(5), proc(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, List, Mapping, Optional

from machinectl_agent.host import Host
from machinectl_agent.phases import system
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.phases.record import Record, SettingEntry, change_record, read_record
from machinectl_agent.problems import Problem
from machinectl_agent.templates import render

FILE = "/etc/sysctl.d/99-machinectl-settings.conf"
NAME = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_.:@-]+)+")


@dataclass(frozen=True)
class Seen:
    """The file, the record, and what the kernel has; None: it knows no such setting."""

    text: str
    record: Record
    live: Mapping[str, Optional[str]]


class SysctlPhase:
    """Set in the kernel at once, and by systemd-sysctl at every boot."""

    name = "sysctl"

    def observe(self, host: Host, context: Context) -> Seen:
        record = read_record(host)
        names = {*context.spec.host.sysctl, *record.sysctl}
        live = {name: _live(host, name) for name in names if NAME.fullmatch(name) and ".." not in name}
        return Seen(host.read(FILE) or "", record, live)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        wanted, mine = context.spec.host.sysctl, context.spec.controller
        for name, value in wanted.items():
            _check(name, value, seen)
        others = {name: one for name, one in seen.record.sysctl.items() if one.controller != mine}
        kept = {name: seen.live.get(name) or "" for name in others if name not in wanted}
        lines = sorted({**kept, **{name: _plain(value) for name, value in wanted.items()}}.items())
        text = render("sysctl.conf", settings=lines) if lines else ""
        steps = []
        for name, value in wanted.items():
            now = seen.live[name]
            if now != _plain(value):
                title = f"~ set {name} = {_plain(value)} (now {now})"
                steps.append(Step(f"{self.name}/set {name}", title, _setter(name, value, mine)))
        for name, entry in seen.record.sysctl.items():
            if name not in wanted and name not in others:
                title = f"- set {name} back to {entry.before}"
                steps.append(Step(f"{self.name}/back {name}", title, _back(name, entry.before)))
        if text:
            steps.extend(write_step(self.name, FILE, seen.text, text))
        elif seen.text:
            title = f"- remove {FILE}"
            steps.append(Step(f"{self.name}/remove", title, lambda work: work.host.remove(FILE)))
        return steps


def _check(name: str, value: str, seen: Seen) -> None:
    if not NAME.fullmatch(name) or ".." in name:
        raise Problem(
            "sysctl-unknown", f"{name!r} is no kernel setting", hint="write it as net.core.somaxconn"
        )
    if "\n" in value or not value.strip():
        raise Problem("sysctl-refused", f"{name}: a value on one line is wanted")
    needed = dict(system.SETTINGS).get(name)
    if needed is not None and _plain(value) != needed:
        raise Problem(
            "sysctl-refused",
            f"{name} can't be {_plain(value)}",
            why=f"Docker's networks need it to be {needed}",
            hint=f"take {name} out of the machine's sysctl settings",
        )
    if seen.live[name] is None:
        raise Problem(
            "sysctl-unknown",
            f"this host's kernel has no setting {name}",
            why=f"there is no {_path(name)}",
            hint="is it written correctly? some come with a module that must be loaded, or not into containers",
        )


def _path(name: str) -> str:
    """sysctl(8): dots part the words unless the name is written with slashes (interfaces may have dots)."""
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def _live(host: Host, name: str) -> Optional[str]:
    path = host.path(_path(name))
    if not path.is_file():
        return None
    try:
        return _plain(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""  # some can only be written


def _plain(value: str) -> str:
    """The kernel separates several numbers by tabs, people by spaces."""
    return " ".join(value.split())


def _set(host: Host, name: str, value: str) -> None:
    try:
        host.path(_path(name)).write_text(value + "\n", encoding="utf-8")
    except OSError as error:
        raise Problem(
            "sysctl-refused",
            f"the kernel refuses {name} = {value}",
            why=str(error.strerror or error),
            hint="is the value allowed? in a container many settings belong to the outer host",
        ) from error


def _setter(name: str, value: str, controller: str) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        known = read_record(work.host).sysctl
        before = known[name].before if name in known else _live(work.host, name) or ""
        change_record(work.host, "sysctl", name, SettingEntry(controller, before))
        _set(work.host, name, _plain(value))

    return apply


def _back(name: str, before: str) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        if before and work.host.path(_path(name)).is_file():
            _set(work.host, name, before)
        change_record(work.host, "sysctl", name, None)

    return apply
