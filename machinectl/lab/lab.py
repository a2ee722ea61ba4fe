"""The lab's verbs: up, reboot, power cut, down. Each can be repeated after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from machinectl.errors import LabError
from machinectl.lab import network, prepare
from machinectl.lab.engines import ensure_engine
from machinectl.lab.host import Host, remove_cgroups
from machinectl.lab.images import ensure_image
from machinectl.lab.inventory import write_inventory
from machinectl.lab.settings import FIRST_HOST, Settings
from machinectl.lab.state import HostRecord, State, lab_lock, load_state, save_state
from machinectl.lab.tools import call, check_ready

FILES = ("lab.json", "lab.json.tmp", "key", "key.pub", "known_hosts", "inventory.yml", ".inventory.yml.tmp")
"""What lies in the state folder beside hosts/."""


@dataclass(frozen=True)
class HostWish:
    """A host that `up` is to make where it is missing."""

    name: str
    suite: str = "bookworm"
    python: bool = True
    isolated: bool = False
    cgroup: str = "v2"
    engine: bool = False

    def __post_init__(self) -> None:
        # the name becomes a host name, a folder and a cgroup
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", self.name):
            raise LabError(
                f"{self.name!r} is no name for a host",
                why="allowed are a-z, 0-9 and - inside, at most 32 of them",
            )


class Lab:
    """One lab on this machine."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self.say = say

    def hosts(self) -> list[Host]:
        """Every host of the lab, running or not, in the order of their addresses."""
        records = self._state().hosts.values()
        ordered = sorted(records, key=lambda one: ipaddress.IPv4Address(one.ip))
        return [Host(self.settings, one) for one in ordered]

    def host(self, name: str) -> Host:
        """Raises `LabError` for a name that the lab does not have."""
        found = {host.name: host for host in self.hosts()}
        if name not in found:
            known = ", ".join(found) or "none"
            raise LabError(
                f"the lab has no host {name!r}", why=f"its hosts: {known}", hint="machinectl lab up"
            )
        return found[name]

    def up(self, wishes: Sequence[HostWish]) -> list[Host]:
        """Makes and boots what is missing, also what a crash took down; what runs is left alone."""
        check_ready()
        with lab_lock(self.settings):
            network.check_free(self.settings)
            state = self._recorded(wishes)
            images = {
                kind: self._image(*kind) for kind in {(one.suite, one.engine) for one in state.hosts.values()}
            }
            state = self._networked(state)
            hosts = self.hosts()
            with ThreadPoolExecutor(8) as pool:
                list(
                    pool.map(
                        lambda host: self._ensure_running(host, images[host.suite, host.record.engine]), hosts
                    )
                )
            write_inventory(self.settings.state / "inventory.yml", hosts)
            names = {wish.name for wish in wishes}
            wished = [host for host in hosts if host.name in names]
            for host in wished:
                host.wait_for_ssh()  # an `up` that was killed may have left it in the middle of its boot
        return wished

    def start(self, name: str) -> Host:
        """Boots a host that was powered off; nothing where it runs."""
        check_ready()
        host = self.host(name)
        self._ensure_running(host, self._image(host.suite, host.record.engine))
        return host

    def reboot(self, name: str) -> None:
        """A true reboot: every process ends, files stay. Returns when sshd answers again."""
        check_ready()
        host = self.host(name)
        before = host.leader
        if not before:
            self.start(name)
            return
        host.run("systemctl reboot", check=False)
        host.wait_for_reboot(before)

    def power_cut(self, name: str) -> None:
        """SIGKILL to everything of the host; `start` boots it again."""
        check_ready()
        self.host(name).power_cut()

    def down(self, names: Sequence[str] | None = None) -> list[str]:
        """Removes hosts, all of them without names; with the last one goes everything else but the images.
        Returns the names that were removed."""
        check_ready()
        with lab_lock(self.settings):
            state = self._state()
            chosen = [self.host(name) for name in names] if names else [*self.hosts(), *self._orphans()]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda host: host.delete(), chosen))
            gone = {host.name for host in chosen}
            left = {name: one for name, one in state.hosts.items() if name not in gone}
            save_state(self.settings, dataclasses.replace(state, hosts=left))
            if left:
                network.set_rules(self.settings, [one.ip for one in left.values() if one.isolated])
                write_inventory(self.settings.state / "inventory.yml", self.hosts())
            else:
                network.remove_network(self.settings, state.forwarding_before)
                remove_cgroups(self.settings)
                self._remove_files()
        return sorted(gone)

    def _state(self) -> State:
        """What lab.json says. Raises `LabError` where the lab was made with another bridge or subnet: its rules
        and hosts would be looked for in the wrong place."""
        state = load_state(self.settings)
        made = (state.bridge, state.subnet)
        if state.bridge and made != (self.settings.bridge, self.settings.subnet):
            raise LabError(
                f"the lab in {self.settings.state} has the bridge {state.bridge} and the subnet {state.subnet}",
                why=f"this command names {self.settings.bridge} and {self.settings.subnet}",
                hint="leave --bridge and --subnet out, or set MACHINECTL_LAB_DIR for another lab",
            )
        return state

    def _remove_files(self) -> None:
        """Only what a lab has made: MACHINECTL_LAB_DIR may name a folder that holds other things as well."""
        for name in FILES:
            (self.settings.state / name).unlink(missing_ok=True)
        for folder in (self.settings.state / "hosts", self.settings.state):
            # not there, or not empty: then it is not only ours
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _orphans(self) -> list[Host]:
        """Hosts that have a folder and no record, as lab.json was lost; `down` must not delete below mounts."""
        known = set(self._state().hosts)
        folder = self.settings.state / "hosts"
        # keeper.pid or prepared: a folder that no lab has made is not ours to delete
        found = [*folder.glob("*/keeper.pid"), *folder.glob("*/prepared"), *folder.glob("*/upper")]
        names = sorted({path.parent.name for path in found})
        return [Host(self.settings, HostRecord(name, "?", "")) for name in names if name not in known]

    def _recorded(self, wishes: Sequence[HostWish]) -> State:
        """The state with the wishes in it, saved before anything is made: a crash leaves nothing unknown."""
        state = self._state()
        hosts = dict(state.hosts)
        for wish in wishes:
            present = hosts.get(wish.name)
            if present is None:
                hosts[wish.name] = HostRecord(
                    **dataclasses.asdict(wish), ip=self._free_address(wish.name, hosts)
                )
            elif present.suite != wish.suite:
                raise LabError(
                    f"{wish.name} runs {present.suite}, not {wish.suite}",
                    hint=f"machinectl lab down {wish.name}",
                )
        state = dataclasses.replace(
            state, bridge=self.settings.bridge, subnet=self.settings.subnet, hosts=hosts
        )
        save_state(self.settings, state)
        return state

    def _free_address(self, name: str, hosts: dict[str, HostRecord]) -> str:
        """node1 gets .11, node2 .12, as far as these are free; any other name the first free one."""
        taken = {one.ip for one in hosts.values()}
        digits = name[len(name.rstrip("0123456789")) :]
        preferred = FIRST_HOST - 1 + int(digits) if digits else FIRST_HOST
        last = self.settings.network.num_addresses - 1
        for number in [*range(preferred, last), *range(FIRST_HOST, last)]:
            if 0 < number < last and str(self.settings.network[number]) not in taken:
                return str(self.settings.network[number])
        raise LabError(f"no address is left in {self.settings.subnet}", hint="--subnet with more room")

    def _networked(self, state: State) -> State:
        before = network.ensure_network(self.settings)
        network.set_rules(self.settings, [one.ip for one in state.hosts.values() if one.isolated])
        if not state.forwarding_before:
            state = dataclasses.replace(state, forwarding_before=before)
            save_state(self.settings, state)
        if not self.settings.key.exists():
            call(
                [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    "machinectl-lab",
                    "-f",
                    str(self.settings.key),
                ]
            )
        return state

    def _image(self, suite: str, engine: bool) -> tuple[Path, ...]:
        if engine:
            return ensure_engine(self.settings.cache, suite, self.say)
        return (ensure_image(self.settings.cache, suite, self.say),)

    def _ensure_running(self, host: Host, image: Sequence[Path]) -> None:
        if host.running:
            return
        ready = host.folder / "prepared"
        if not ready.exists():
            prepare.prepare(host)
            host.mount(image)
            prepare.let_in(host)
            if not host.record.python:
                prepare.drop_python(host)
            ready.touch()
        self.say(f"{host.name}: booting {host.suite} at {host.ip}")
        host.boot(image)
