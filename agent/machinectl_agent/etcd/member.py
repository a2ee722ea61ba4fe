"""Phase `etcd-member`: certificates, unit, data folder, and the running server.

Whether the server runs with what is wanted is read from the process itself (a hash in its environment), never
remembered: a run that was killed between a write and the restart is finished by the next one.

The file MEMBERSHIP says which membership the data on this host belong to. It is written once there are data:

    data   file      means                                          what is done
    no     -         never begun, or killed before the start        begin
    yes    -         killed between start and file                  write the file
    yes    wanted    all is well
    yes    other     removed while the host was away, added again   move the data aside, begin
    no     wanted    the data are lost                              refuse: a vote may be given twice
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Dict, List, Tuple

from machinectl_agent.etcd import programs
from machinectl_agent.etcd.aside import move_data_aside, remove_data
from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.etcd.unit import (
    FOLDER,
    FOUNDING,
    RESTARTS,
    UNIT,
    UNIT_FILE,
    USER,
    founding,
    is_bindable,
    mark_in,
    not_ready,
    render_unit,
    running,
)
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.marked import Running
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.problems import Problem

MEMBERSHIP = f"{FOLDER}/membership"
START_DEADLINE = 30.0
"""Seconds until a process that was started has made its data folder."""


@dataclass(frozen=True)
class Seen:
    texts: Dict[str, str]
    enabled: bool
    process: Running
    has_data: bool
    """A write-ahead log: this member may have given votes."""
    has_user: bool
    membership: str
    unit: str
    """The unit's text as it should be."""
    folder: bool = False
    """There is something in DATA, were it only a write-ahead log that was not finished."""


class MemberPhase:
    name = "etcd-member"

    def __init__(self, spec: EtcdSpec, facts: Facts) -> None:
        self._spec = spec

    def observe(self, host: Host, context: Context) -> Seen:
        spec = self._spec
        unit = ""
        if not spec.absent:
            folder = programs.folder(host, spec.binaries)
            version = programs.version(host, f"{folder}/etcd")
            unit = render_unit(spec, folder, version, bindable=is_bindable(spec.address))
        return Seen(
            texts={name: host.read(name) or "" for name in (*self._files(), UNIT_FILE, FOUNDING)},
            enabled=host.path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}").is_symlink(),
            process=running(host),
            has_data=host.path(f"{DATA}/member/wal").is_dir(),
            has_user=f"\n{USER}:" in "\n" + (host.read("/etc/passwd") or ""),
            membership=(host.read(MEMBERSHIP) or "").strip(),
            unit=unit,
            folder=bool(host.names(DATA)),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        if self._spec.absent:
            return self._removal(seen)
        begins = not seen.has_data
        steps = []
        if seen.has_data and seen.membership not in ("", self._spec.incarnation):
            self._check_may_begin("has data of a cluster of before")
            title = f"- move {DATA} aside (of a membership that has ended)"
            steps.append(Step(f"{self.name}/aside", title, _end_former))
            begins = True
        elif begins and seen.membership == self._spec.incarnation:
            raise self._lost(f"has lost its data: {DATA} is empty")
        elif begins:
            self._check_may_begin(f"has no data in {DATA}")
        if not seen.has_user:
            steps.append(Step(f"{self.name}/user", f"+ add the user {USER}", _add_user))
        for name, (text, mode) in self._files().items():
            steps.extend(
                Step(one.id, one.title, _Writer(name, text, mode))
                for one in write_step(self.name, name, seen.texts[name], text, mode)
            )
        if begins:
            steps.extend(write_step(self.name, FOUNDING, seen.texts[FOUNDING], founding(self._spec)))
        steps.extend(write_step(self.name, UNIT_FILE, seen.texts[UNIT_FILE], seen.unit))
        if not seen.enabled:
            steps.append(Step(f"{self.name}/enable", f"+ enable {UNIT} at boot", _enable))
        steps.extend(self._start(seen, ended=begins and seen.has_data))
        if begins or not seen.membership:
            steps.append(Step(f"{self.name}/membership", f"+ write {MEMBERSHIP}", self._note))
        return steps

    def _start(self, seen: Seen, *, ended: bool) -> List[Step]:
        process = seen.process
        if ended or process.active not in ("active", "activating"):
            return [Step(f"{self.name}/start", f"+ start {UNIT}", _restart)]
        if process.mark != mark_in(seen.unit):
            why = "its configuration changes" if process.mark else "it does not come up"
            return [Step(f"{self.name}/restart", f"! restart {UNIT} ({why})", _restart)]
        if process.stale:
            return [Step(f"{self.name}/restart", f"! restart {UNIT} (its program was replaced)", _restart)]
        return []

    def _check_may_begin(self, what: str) -> None:
        if self._spec.state != "new" and not self._spec.joining:
            raise self._lost(what)

    def _lost(self, what: str) -> Problem:
        name = self._spec.name
        return Problem(
            "etcd-data-lost",
            f"this member of the cluster {what}",
            why="a member that begins anew could take a vote that it has given before",
            hint=f"`machinectl etcd remove {name}`, then `machinectl etcd add {name}`",
        )

    def _files(self) -> Dict[str, Tuple[str, int]]:
        spec = self._spec
        return {
            f"{FOLDER}/ca.pem": (spec.ca, 0o640),
            f"{FOLDER}/server.pem": (spec.cert, 0o640),
            f"{FOLDER}/server-key.pem": (spec.key, 0o600),
        }

    def _note(self, work: Work) -> None:
        end = time.monotonic() + START_DEADLINE
        before = running(work.host).restarts
        while not work.host.path(f"{DATA}/member/wal").is_dir():
            ends = running(work.host).restarts - before >= RESTARTS
            if ends or time.monotonic() >= end:
                raise not_ready(work.host, START_DEADLINE, ends=ends)
            time.sleep(0.1)
        write_membership(work.host, self._spec)

    def _removal(self, seen: Seen) -> List[Step]:
        steps = []
        if seen.texts[UNIT_FILE] or seen.process.active in ("active", "activating"):
            steps.append(Step(f"{self.name}/stop", f"- stop and remove {UNIT}", _stop))
        if seen.folder and self._spec.delete_data:
            steps.append(Step(f"{self.name}/delete", f"- delete {DATA}", remove_data))
        elif seen.folder:
            steps.append(Step(f"{self.name}/aside", f"- move {DATA} aside", move_data_aside))
        if any(seen.texts[name] for name in (*self._files(), FOUNDING)) or seen.membership:
            steps.append(Step(f"{self.name}/files", f"- remove {FOLDER}", self._remove_files))
        return steps

    def _remove_files(self, work: Work) -> None:
        for name in (*self._files(), FOUNDING, MEMBERSHIP):
            work.host.remove(name)


class _Writer:
    """Writes one file that only etcd's user reads."""

    def __init__(self, name: str, text: str, mode: int) -> None:
        self._name, self._text, self._mode = name, text, mode

    def __call__(self, work: Work) -> None:
        work.host.make_folder(FOLDER, 0o750)
        work.host.write(self._name, self._text, self._mode)
        work.host.must("chown", "-R", f"{USER}:{USER}", str(work.host.path(FOLDER)), deadline=20)


def write_membership(host: Host, spec: EtcdSpec) -> None:
    host.write(MEMBERSHIP, f"{spec.incarnation}\n", 0o640)


def _restart(work: Work) -> None:
    """Does not wait for the cluster: the others may come up at this moment too (see `wait_ready`)."""
    host = work.host
    host.make_folder(DATA, 0o700)
    host.must("chown", "-R", f"{USER}:{USER}", str(host.path(DATA)), str(host.path(FOLDER)), deadline=60)
    host.must("systemctl", "daemon-reload", deadline=60)
    host.run("systemctl", "reset-failed", UNIT, deadline=20)
    host.must("systemctl", "restart", "--no-block", UNIT, deadline=60)
    wait_for_process(host)


def wait_for_process(host: Host) -> None:
    """Until the unit's process is the new one: `restart --no-block` returns before the old one has ended."""
    wanted = mark_in(host.read(UNIT_FILE) or "")
    end = time.monotonic() + START_DEADLINE
    while time.monotonic() < end:
        now = running(host)
        if now.mark == wanted and not now.stale:
            return
        time.sleep(0.05)


def _end_former(work: Work) -> None:
    work.host.run("systemctl", "stop", UNIT, deadline=120)
    move_data_aside(work)


def _add_user(work: Work) -> None:
    work.host.must(
        "useradd", "--system", "--user-group", "--home-dir", DATA, "--no-create-home", "--shell", "/usr/sbin/nologin",
        USER, deadline=60,
    )  # fmt: skip


def _enable(work: Work) -> None:
    # what starts it reloads systemd, which costs the host 100 ms each time
    work.host.must("systemctl", "enable", "--no-reload", UNIT, deadline=60)


def _stop(work: Work) -> None:
    work.host.run("systemctl", "disable", "--now", UNIT, deadline=120)
    work.host.remove(UNIT_FILE)
    work.host.must("systemctl", "daemon-reload", deadline=60)
