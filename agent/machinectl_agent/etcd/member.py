"""Phase `etcd-member`: certificates, unit, data folder, and the running server.

Whether the server runs with what is wanted is read from the process itself (a hash in its environment), never
remembered: a run that was killed between a write and the restart is finished by the next one.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Dict, List, Tuple

from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.templates import render

UNIT = "machinectl-etcd.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FOLDER = "/etc/machinectl-etcd"
FOUNDING = f"{FOLDER}/founding.env"
"""How a member without data begins; of no meaning for one that has data."""
MARK = "MACHINECTL_CONFIGURATION"
USER = "machinectl-etcd"


@dataclass(frozen=True)
class Seen:
    texts: Dict[str, str]
    enabled: bool
    active: bool
    running: str
    """Hash of the configuration that the process was started with; empty: it does not run."""
    has_data: bool
    has_user: bool


class MemberPhase:
    name = "etcd-member"

    def __init__(self, spec: EtcdSpec, facts: Facts) -> None:
        self._spec = spec

    def observe(self, host: Host, context: Context) -> Seen:
        files = {**self._files(), UNIT_FILE: "", FOUNDING: ""}
        shown = host.run("systemctl", "show", UNIT, "-p", "ActiveState,MainPID", deadline=20).stdout
        values = dict(line.partition("=")[::2] for line in shown.splitlines())
        return Seen(
            texts={name: host.read(name) or "" for name in files},
            enabled=host.path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}").is_symlink(),
            active=values.get("ActiveState") in ("active", "activating"),
            running=_mark_of(host, values.get("MainPID", "0")),
            has_data=host.path(f"{DATA}/member/wal").is_dir(),
            has_user=f"\n{USER}:" in "\n" + (host.read("/etc/passwd") or ""),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        if self._spec.absent:
            return self._removal(seen)
        if not seen.has_data and self._spec.state != "new" and not self._spec.joining:
            raise Problem(
                "etcd-data-lost",
                f"this member of the cluster has no data in {DATA}",
                why="a member that begins anew could take a vote that it has given before",
                hint=f"`machinectl etcd remove {self._spec.name}`, then `machinectl etcd add {self._spec.name}`",
            )
        steps = []
        if not seen.has_user:
            steps.append(Step(f"{self.name}/user", f"+ add the user {USER}", _add_user))
        for name, (text, mode) in self._files().items():
            steps.extend(
                Step(one.id, one.title, _Writer(name, text, mode))
                for one in write_step(self.name, name, seen.texts[name], text, mode)
            )
        if not seen.has_data:
            steps.extend(write_step(self.name, FOUNDING, seen.texts[FOUNDING], self._founding()))
        steps.extend(write_step(self.name, UNIT_FILE, seen.texts[UNIT_FILE], self._unit()))
        if not seen.enabled:
            steps.append(Step(f"{self.name}/enable", f"+ enable {UNIT} at boot", _enable))
        if not seen.active:
            steps.append(Step(f"{self.name}/start", f"+ start {UNIT}", self._restart))
        elif seen.running != self._hash():
            steps.append(
                Step(f"{self.name}/restart", f"! restart {UNIT} (its configuration changes)", self._restart)
            )
        return steps

    def _files(self) -> Dict[str, Tuple[str, int]]:
        spec = self._spec
        return {
            f"{FOLDER}/ca.pem": (spec.ca, 0o640),
            f"{FOLDER}/server.pem": (spec.cert, 0o640),
            f"{FOLDER}/server-key.pem": (spec.key, 0o600),
        }

    def _hash(self) -> str:
        text = "\0".join((self._unit(mark="-"), self._spec.ca, self._spec.cert))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _unit(self, mark: str = "") -> str:
        spec, folder = self._spec, FOLDER
        host = f"[{spec.address}]" if ":" in spec.address else spec.address
        options = {
            "name": spec.name,
            "data-dir": DATA,
            "listen-client-urls": f"https://{host}:{spec.client_port},https://127.0.0.1:{spec.client_port}",
            "advertise-client-urls": f"https://{host}:{spec.client_port}",
            "listen-peer-urls": f"https://{host}:{spec.peer_port}",
            "initial-advertise-peer-urls": f"https://{host}:{spec.peer_port}",
            "client-cert-auth": "true",
            "trusted-ca-file": f"{folder}/ca.pem",
            "cert-file": f"{folder}/server.pem",
            "key-file": f"{folder}/server-key.pem",
            "peer-client-cert-auth": "true",
            "peer-trusted-ca-file": f"{folder}/ca.pem",
            "peer-cert-file": f"{folder}/server.pem",
            "peer-key-file": f"{folder}/server-key.pem",
            "quota-backend-bytes": str(spec.quota),
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": spec.retention,
            "enable-v2": "true" if spec.v2 else "false",
        }
        return render(
            UNIT,
            options=options,
            founding=FOUNDING,
            data=DATA,
            user=USER,
            mark=f"{MARK}={mark or self._hash()}",
        )

    def _founding(self) -> str:
        spec = self._spec
        cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.cluster.items()))
        state = "existing" if spec.joining else spec.state
        return (
            f"ETCD_INITIAL_CLUSTER={cluster}\nETCD_INITIAL_CLUSTER_TOKEN={spec.token}\n"
            f"ETCD_INITIAL_CLUSTER_STATE={state}\n"
        )

    def _restart(self, work: Work) -> None:
        """Does not wait for the cluster: the others may come up at this moment too. The controller waits."""
        host = work.host
        host.make_folder(DATA, 0o700)
        host.must("chown", "-R", f"{USER}:{USER}", str(host.path(DATA)), str(host.path(FOLDER)), deadline=60)
        host.must("systemctl", "daemon-reload", deadline=60)
        host.run("systemctl", "reset-failed", UNIT, deadline=20)
        host.must("systemctl", "restart", "--no-block", UNIT, deadline=60)
        _wait_for_process(host, self._hash())

    def _removal(self, seen: Seen) -> List[Step]:
        steps = []
        if seen.texts[UNIT_FILE]:
            steps.append(Step(f"{self.name}/stop", f"- stop and remove {UNIT}", _stop))
        if seen.has_data:
            steps.append(Step(f"{self.name}/aside", f"- move {DATA} aside", move_data_aside))
        return steps


class _Writer:
    """Writes one file that only etcd's user reads."""

    def __init__(self, name: str, text: str, mode: int) -> None:
        self._name, self._text, self._mode = name, text, mode

    def __call__(self, work: Work) -> None:
        work.host.make_folder(FOLDER, 0o750)
        work.host.write(self._name, self._text, self._mode)
        work.host.must("chown", "-R", f"{USER}:{USER}", str(work.host.path(FOLDER)), deadline=20)


def move_data_aside(work: Work) -> None:
    """Never deleted: the data may be all that is left of a cluster."""
    source = work.host.path(DATA)
    if source.exists():
        source.rename(source.with_name(f"{source.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"))


def _mark_of(host: Host, pid: str) -> str:
    """The hash in a process's environment (proc(5), environ)."""
    text = host.read(f"/proc/{pid}/environ") if pid.isdigit() and pid != "0" else None
    for entry in (text or "").split("\0"):
        if entry.startswith(f"{MARK}="):
            return entry[len(MARK) + 1 :]
    return ""


def _wait_for_process(host: Host, wanted: str, deadline: float = 30.0) -> None:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        shown = host.run("systemctl", "show", UNIT, "-p", "MainPID", "--value", deadline=20).stdout.strip()
        if _mark_of(host, shown) == wanted:
            return
        time.sleep(0.1)
    written = host.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager", "-n", "12", deadline=20)
    raise Problem(
        "etcd-start-failed",
        f"{UNIT} does not start",
        why=written.stdout.strip(),
        hint=f"look at `journalctl -u {UNIT}` on the host",
    )


def _add_user(work: Work) -> None:
    work.host.must(
        "useradd", "--system", "--user-group", "--home-dir", DATA, "--no-create-home", "--shell", "/usr/sbin/nologin",
        USER, deadline=60,
    )  # fmt: skip


def _enable(work: Work) -> None:
    work.host.must("systemctl", "daemon-reload", deadline=60)
    work.host.must("systemctl", "enable", UNIT, deadline=60)


def _stop(work: Work) -> None:
    work.host.run("systemctl", "disable", "--now", UNIT, deadline=120)
    work.host.remove(UNIT_FILE)
    work.host.must("systemctl", "daemon-reload", deadline=60)
