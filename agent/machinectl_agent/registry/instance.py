"""Phase `registry`: configuration, certificates, storage, unit, and the process of one port.

Whether the process runs with what is wanted is read from itself (a hash in its environment), never remembered: a run
that was killed between a write and the restart is finished by the next one.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Tuple

from machinectl_agent.host import Host
from machinectl_agent.marked import Running
from machinectl_agent.phases.base import Context, Step, Work, text_diff
from machinectl_agent.problems import Problem
from machinectl_agent.registry import places, platforms, serve, storage
from machinectl_agent.registry.install import MASKED, PACKAGE_UNIT, account, unmask, way
from machinectl_agent.registry.listeners import Listener, listener
from machinectl_agent.registry.ready import wait_ready
from machinectl_agent.registry.spec import CONTAINER, RegistrySpec
from machinectl_agent.registry.unit import Way, mark_in, render_units, running, via_in

PUBLISHERS = ("docker-proxy", "dockerd")
"""They have the port for a container."""


@dataclass(frozen=True)
class Seen:
    texts: Mapping[str, str]
    """Of our files that are there."""
    units: Mapping[str, str]
    """The texts that their files should have; the registry's own is the first."""
    enabled: bool
    process: Running
    listener: Optional[Listener]
    storage: storage.Folder
    engine_roots: Tuple[str, ...]
    config: Mapping[str, Any]
    """As it is on the disk."""
    others: Mapping[int, str]
    """Storage of the registries on other ports."""
    way: Way
    masked: bool


class InstancePhase:
    name = "registry"

    def __init__(self, spec: RegistrySpec) -> None:
        self._spec = spec
        self._unit = places.unit(spec.port)
        self._files = {} if spec.absent else places.files(spec)
        if not spec.absent:
            name, program = (places.RUNNER, serve) if spec.upstream else (places.CHECKER, platforms)
            self._files[name] = Path(str(program.__file__)).read_text(encoding="utf-8")

    def observe(self, host: Host, context: Context) -> Seen:
        spec = self._spec
        found = way(host, spec)
        here = places.folder(spec.port)
        names = [*self._files, *self._unit_files()]
        names += [f"{here}/{one}" for one in host.names(here) if host.path(f"{here}/{one}").is_file()]
        return Seen(
            texts={name: text for name in names if (text := host.read(name)) is not None},
            units={} if spec.absent else render_units(spec, found, self._files),
            enabled=host.path(f"/etc/systemd/system/multi-user.target.wants/{self._unit}").is_symlink(),
            process=running(host, spec.port),
            listener=None if spec.absent else listener(host, spec.port),
            storage=storage.look(host, spec.place, account(host)),
            engine_roots=() if spec.absent else storage.engine_roots(host),
            config=places.read_config(host, spec.port),
            others={
                port: places.storage_of(places.read_config(host, port))
                for port in places.ports(host)
                if port != spec.port
            },
            way=found,
            masked=host.exists(MASKED),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        self._check_owner(seen)
        if self._spec.absent:
            return self._removal(seen)
        self._check(seen)
        spec = self._spec
        steps: List[Step] = []
        here = places.folder(spec.port)
        for name, text in self._files.items():
            secret = not name.endswith((".py", "ca.pem", "server.pem", "/controller"))
            steps += _write(
                self.name, name, seen.texts.get(name), text, self._writer(name, text), secret=secret
            )
        for name in seen.texts:
            if name.startswith(f"{here}/") and name not in self._files:
                steps.append(Step(f"{self.name}/remove {name}", f"- remove {name}", _remover(name)))
        if not seen.storage.owned:
            title = f"+ make {spec.place}, of the user {places.USER}"
            steps.append(Step(f"{self.name}/storage", title, self._make_storage))
        for name, text in seen.units.items():
            steps += _write(
                self.name, name, seen.texts.get(name), text, _unit_writer(name, text), secret=False
            )
        if not seen.enabled:
            steps.append(Step(f"{self.name}/enable", f"+ enable {self._unit} at boot", self._enable))
        return steps + self._start(seen)

    def _start(self, seen: Seen) -> List[Step]:
        process = seen.process
        if process.active not in ("active", "activating", "reloading"):
            return [Step(f"{self.name}/start", f"+ start {self._unit}", self._restart)]
        if process.mark != mark_in(next(iter(seen.units.values()))):
            why = "its configuration changes" if process.mark else "it does not come up"
            return [Step(f"{self.name}/restart", f"! restart {self._unit} ({why})", self._restart)]
        if process.stale:
            title = f"! restart {self._unit} (its program was replaced)"
            return [Step(f"{self.name}/restart", title, self._restart)]
        return []

    def _check_owner(self, seen: Seen) -> None:
        owner = seen.texts.get(places.owner_file(self._spec.port), "").strip()
        if owner and owner != self._spec.controller and not self._spec.take_over:
            raise Problem(
                "registry-owned",
                f"the registry on port {self._spec.port} was deployed from another store",
                why="its certificate and its password are that store's",
                hint="ask its owner, choose another --port, or --take-over",
            )

    def _check(self, seen: Seen) -> None:
        """Raises `Problem` before anything changes."""
        spec = self._spec
        place = spec.place
        storage.check(place, seen.storage, seen.engine_roots)
        for port, other in seen.others.items():
            if other and storage.overlaps(place, other):
                raise Problem(
                    "registry-storage",
                    f"{place} is the storage of the registry on port {port}",
                    why="two registries would delete each other's layers",
                    hint="give this one a folder of its own with --storage DIR",
                )
        mirrored = str(seen.config.get("proxy", {}).get("remoteurl", ""))
        if seen.config and bool(mirrored) != bool(spec.upstream):
            raise Problem(
                "registry-kind",
                f"the registry on port {spec.port} is {'a mirror' if mirrored else 'no mirror'}",
                why="what is pushed and what is cached do not mix in one storage",
                hint="take another --port and --storage, or `machinectl registry undeploy` it first",
            )
        taken = seen.listener
        if taken is not None and not self._is_ours(seen, taken):
            raise Problem(
                "port-taken",
                f"port {spec.port} is taken by {taken}",
                why="a registry can't listen there too",
                hint="end it, or choose another port with --port",
            )

    def _is_ours(self, seen: Seen, found: Listener) -> bool:
        if self._unit in found.group:
            return True
        return bool(seen.process.mark) and found.name in PUBLISHERS

    def _unit_files(self) -> Tuple[str, str]:
        return places.unit_file(self._unit), places.unit_file(places.collector(self._spec.port))

    def _writer(self, name: str, text: str) -> Callable[[Work], None]:
        def apply(work: Work) -> None:
            group = int(account(work.host).partition(":")[2])
            ours = name in places.PROGRAMS
            if not ours:
                work.host.make_folder(places.FOLDER, 0o755)
                for folder in sorted({places.folder(self._spec.port), posixpath.dirname(name)}):
                    work.host.make_folder(folder, 0o750)
                    os.chown(work.host.path(folder), 0, group)
            work.host.place(name, text.encode(), 0o644 if ours else 0o640, (0, group))

        return apply

    def _make_storage(self, work: Work) -> None:
        storage.make(work.host, self._spec.place, account(work.host))

    def _enable(self, work: Work) -> None:
        # what starts it reloads systemd, which costs the host 100 ms each time
        work.host.must("systemctl", "enable", "--no-reload", self._unit, deadline=60)

    def _restart(self, work: Work) -> None:
        host = work.host
        host.must("systemctl", "daemon-reload", deadline=60)
        host.run("systemctl", "reset-failed", self._unit, deadline=20)
        host.must("systemctl", "restart", self._unit, deadline=120)
        # a process that has only just been made has the mark of nothing yet
        wait_ready(host, self._spec.port, tls=bool(self._spec.cert))

    def _removal(self, seen: Seen) -> List[Step]:
        spec, steps = self._spec, []
        ours = [name for name in seen.texts if name not in places.PROGRAMS]
        if ours or seen.process.active in ("active", "activating"):
            steps.append(Step(f"{self.name}/stop", f"- stop and remove {self._unit}", self._stop))
        if spec.purge and seen.storage.has_images:
            steps.append(Step(f"{self.name}/purge", f"- delete the images in {spec.place}", self._purge))
        if seen.masked and not seen.others:
            steps.append(Step(f"{self.name}/unmask", f"~ unmask the package's own {PACKAGE_UNIT}", unmask))
        return steps

    def _stop(self, work: Work) -> None:
        host = work.host
        host.run("systemctl", "stop", places.collector(self._spec.port), deadline=120)
        host.run("systemctl", "disable", "--now", self._unit, deadline=120)
        # one that ends stands by to start the registry again
        host.run("systemctl", "stop", self._unit, deadline=120)
        name = self._unit.partition(".")[0]
        docker = host.which("docker")
        if docker and via_in(host.read(places.unit_file(self._unit)) or "") == CONTAINER:
            # containers whose docker client was killed go on by themselves
            host.run(docker, "rm", "-f", name, f"{name}-gc", deadline=120)
        for name in self._unit_files():
            host.remove(name)
        host.must("systemctl", "daemon-reload", deadline=60)
        host.run("systemctl", "reset-failed", self._unit, deadline=20)
        host.must("rm", "-rf", str(host.path(places.folder(self._spec.port))), deadline=60)

    def _purge(self, work: Work) -> None:
        storage.purge(work.host, self._spec.place)


def _write(
    phase: str, name: str, before: Optional[str], text: str, apply: Callable[[Work], None], *, secret: bool
) -> List[Step]:
    if before == text:
        return []
    diff = "(secret)" if secret else text_diff(name, before or "", text)
    sign = "+" if before is None else "~"
    return [Step(f"{phase}/write {name}", f"{sign} write {name}", apply, diff)]


def _unit_writer(name: str, text: str) -> Callable[[Work], None]:
    return lambda work: work.host.write(name, text)


def _remover(name: str) -> Callable[[Work], None]:
    return lambda work: work.host.remove(name)
