"""Phase `system`: what Docker needs of the host itself: kernel modules, sysctl, the right time, a name.

Sources: Docker's "Packet filtering and firewalls" (bridge-nf-call-*), the kernel's ip-sysctl documentation,
modules-load.d(5), sysctl.d(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Optional, Tuple

from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.choose import choose
from machinectl_agent.templates import render

MODULES_FILE = "/etc/modules-load.d/machinectl.conf"
SYSCTL_FILE = "/etc/sysctl.d/99-machinectl.conf"

MODULES: Tuple[Tuple[str, str], ...] = (
    ("overlay", "/sys/module/overlay"),
    ("br_netfilter", "/proc/sys/net/bridge/bridge-nf-call-iptables"),
)
"""Module, and the path whose existence says that it is there (built in or loaded)."""

SETTINGS: Tuple[Tuple[str, str], ...] = (
    ("net.ipv4.ip_forward", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
)

TIME_SERVICES = ("systemd-timesyncd", "chrony", "chronyd", "ntpsec", "ntp", "ntpd", "openntpd")


@dataclass(frozen=True)
class Seen:
    """Files, live values, modules that are missing, and who keeps the clock."""

    modules_text: str
    sysctl_text: str
    live: Mapping[str, Optional[str]]
    missing: Tuple[str, ...]
    """Modules that are neither loaded nor built in."""
    loadable: Tuple[str, ...]
    """Those of them that modprobe finds."""
    time_service: str
    """The unit that keeps the clock right; empty: none."""
    hostname: str


class SystemPhase:
    """Before anything is installed: most of it is needed by dockerd's first start."""

    name = "system"

    def observe(self, host: Host, context: Context) -> Seen:
        missing = tuple(name for name, sign in MODULES if not _there(host, name, sign))
        return Seen(
            modules_text=host.read(MODULES_FILE) or "",
            sysctl_text=host.read(SYSCTL_FILE) or "",
            live={name: _live(host, name) for name, _ in SETTINGS},
            missing=missing,
            loadable=tuple(name for name in missing if _loadable(host, name)),
            time_service="(the container host's)" if context.facts.container else _time_service(host),
            hostname=(host.read("/etc/hostname") or "").strip(),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        modules = render("modules-load.conf", modules=[name for name, _ in MODULES])
        sysctl = render("sysctl.conf", settings=SETTINGS)
        steps = list(write_step(self.name, MODULES_FILE, seen.modules_text, modules))
        steps.extend(
            Step(f"system/load {name}", f"+ load the kernel module {name}", _Loader(name))
            for name in seen.loadable
        )
        steps.extend(write_step(self.name, SYSCTL_FILE, seen.sysctl_text, sysctl))
        for name, value in SETTINGS:
            known_later = seen.live[name] is None and "br_netfilter" in seen.loadable
            if known_later or (seen.live[name] is not None and seen.live[name] != value):
                title = f"~ set {name} = {value} (now {seen.live[name] or 'unknown'})"
                steps.append(Step(f"system/set {name}", title, _Setter(name, value)))
        if not seen.time_service:
            title = "+ install and start a time service (clocks must agree for TLS)"
            steps.append(Step("system/time", title, lambda work: _keep_time(work, context)))
        wanted = context.spec.host.hostname
        if wanted and seen.hostname != wanted:
            title = f"~ set the host name {wanted} (now {seen.hostname})"
            steps.append(Step("system/hostname", title, lambda work: _set_hostname(work, wanted)))
        return steps


def _there(host: Host, module: str, sign: str) -> bool:
    if host.exists(sign):
        return True
    # overlay may be built in without parameters and then has no /sys/module folder (proc(5), filesystems)
    return any(line.split()[-1:] == [module] for line in (host.read("/proc/filesystems") or "").splitlines())


def _loadable(host: Host, module: str) -> bool:
    return bool(host.which("modprobe")) and host.run("modprobe", "-n", "-q", module, deadline=20).ok


@dataclass(frozen=True)
class _Loader:
    module: str

    def __call__(self, work: Work) -> None:
        work.host.must("modprobe", self.module, deadline=30)


def _live(host: Host, name: str) -> Optional[str]:
    text = host.read("/proc/sys/" + name.replace(".", "/"))
    return None if text is None else text.strip()


@dataclass(frozen=True)
class _Setter:
    name: str
    value: str

    def __call__(self, work: Work) -> None:
        path = work.host.path("/proc/sys/" + self.name.replace(".", "/"))
        try:
            path.write_text(self.value + "\n")
        except OSError as error:
            raise Problem(
                "sysctl-refused",
                f"the kernel refuses {self.name} = {self.value}",
                why=str(error),
                hint="in a container this belongs to the outer host: set it there",
            ) from error


def _time_service(host: Host) -> str:
    """One systemctl call for all names that distributions use; exit status 3 means none is active."""
    units = [f"{name}.service" for name in TIME_SERVICES]
    states = host.run("systemctl", "is-active", *units, deadline=20).stdout.split()
    running = [state in ("active", "activating") for state in states]
    return units[running.index(True)] if True in running else ""


def _keep_time(work: Work, context: Context) -> None:
    host = work.host
    choices = (("systemd-timesyncd", "systemd-timesyncd"), ("chrony", "chronyd"), ("chrony", "chrony"))
    for _, service in choices:
        if host.run("systemctl", "cat", f"{service}.service", deadline=20).ok:
            break
    else:
        family = choose(context.facts, context.spec.host.os)
        package, service = choices[0] if family.name == "debian" else choices[1]
        family.install(host, package)
    host.must("systemctl", "enable", "--now", f"{service}.service", deadline=60)


def _set_hostname(work: Work, wanted: str) -> None:
    before = (work.host.read("/etc/hostname") or "").strip()
    work.host.must("hostnamectl", "set-hostname", wanted, deadline=30)
    hosts = work.host.read("/etc/hosts") or ""
    if wanted not in hosts.split():
        # sudo and others look the own name up; 127.0.1.1 is Debian's convention for it
        lines = [line for line in hosts.splitlines() if line.split()[:2] != ["127.0.1.1", before]]
        work.host.write("/etc/hosts", "\n".join([*lines, f"127.0.1.1\t{wanted}"]) + "\n")
