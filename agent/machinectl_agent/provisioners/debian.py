"""Debian, Ubuntu and what is built on them: apt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Collection, Dict, List, Mapping, Sequence, Tuple

from machinectl_agent.facts import Facts, parse_os_release
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import apt_parse, debian_steps, docker_apt, package_files
from machinectl_agent.provisioners.apt import Apt
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.check import check_adoptable, check_foreign
from machinectl_agent.provisioners.engine_version import matches, newest, order_key, resolve
from machinectl_agent.provisioners.installed import find_engine
from machinectl_agent.provisioners.mirror import base_url
from machinectl_agent.provisioners.products import DOCKER, Product
from machinectl_agent.spec import EngineSpec

DISTRIBUTION = Product("docker.io", "docker-cli", ("ca-certificates",))
"""docker-cli is a package of its own from trixie on; registries need ca-certificates."""
PRODUCTS = (
    DOCKER,
    DISTRIBUTION,
    Product("moby-engine", "moby-cli"),
    Product("docker-engine", "docker-engine"),
)
"""Everything that contains a dockerd; the last two are Microsoft's and Docker's of before 2017."""
GIVE_WAY = ("docker.io", "docker-cli", "moby-engine", "moby-cli", "docker-engine", "containerd", "runc")
"""What Docker's packages conflict with (docs.docker.com, "Uninstall old versions")."""
WATCHED = tuple(
    dict.fromkeys(
        [*(name for one in PRODUCTS for name in (*one.packages, *one.pinned)), *GIVE_WAY, "iptables"]
    )
)
PIN_FRESH = 600.0
"""Seconds: a pin may name a version that came out today, so it is looked up in younger lists."""
LATER = "the version is known after the package lists are fetched"
LATER_UNPINNED = "the newest that its source offers"


@dataclass(frozen=True)
class Seen:
    """Packages, sources and pin; `candidates` and `offers` only where something is to be installed."""

    installed: Installed
    packages: Mapping[str, apt_parse.Package] = field(default_factory=dict)
    interrupted: bool = False
    source: str = ""
    key: bool = False
    pin: str = ""
    suite: docker_apt.Suite = field(default_factory=docker_apt.Suite)
    fresh: bool = True
    candidates: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    apparmor: bool = False
    """The kernel enforces AppArmor and the host lacks its parser: dockerd could not start a container."""
    recorded: Mapping[str, package_files.Recorded] = field(default_factory=dict)

    @property
    def versions(self) -> Dict[str, str]:
        return apt_parse.versions(self.packages)


class Debian:
    """docker.io by default, Docker's own packages where a mirror is asked for."""

    name = "debian"
    ids: Tuple[str, ...] = ("debian", "ubuntu", "raspbian", "linuxmint", "pop", "kali", "deepin", "uos")

    def observe(self, host: Host, facts: Facts, engine: EngineSpec) -> Seen:
        apt = Apt(host)
        recorded = package_files.read_record(host)
        packages = apt.packages(*WATCHED, *package_files.names(engine.packages, recorded))
        versions = apt_parse.versions(packages)
        installed = find_engine(host, packages, [one.engine for one in PRODUCTS])
        release = parse_os_release(host.read("/etc/os-release") or host.read("/usr/lib/os-release") or "")
        product = wanted_product(installed, engine)
        candidates: Dict[str, str] = {}
        offers: Dict[str, List[str]] = {}
        fresh = True
        if engine.upgrade:
            offers, candidates = apt.offers(*product.packages), apt.candidates(*product.packages)
        elif not engine.adopt and not engine.packages and _to_install(installed, versions, engine):
            fresh = apt.fresh(PIN_FRESH) if engine.version else apt.fresh()
            if fresh and engine.version:
                offers = apt.offers(*product.packages)
            elif fresh:
                candidates = apt.candidates(*product.packages)
        return Seen(
            installed=installed,
            packages=packages,
            interrupted=apt.interrupted(),
            source=host.read(docker_apt.SOURCE) or "",
            key=host.exists(docker_apt.KEY),
            pin=host.read(docker_apt.PIN) or "",
            suite=docker_apt.find_suite(release, host.read("/etc/debian_version") or ""),
            fresh=fresh,
            candidates=candidates,
            offers=offers,
            apparmor=_lacks_apparmor(host),
            recorded=recorded,
        )

    def plan(self, seen: Seen, facts: Facts, engine: EngineSpec) -> List[Step]:
        if engine.adopt:
            check_adoptable(seen.installed)
            return []
        steps: List[Step] = []
        if seen.interrupted or any(one.broken for one in seen.packages.values()):
            steps.append(debian_steps.repair())
        if engine.packages:
            arch = docker_apt.ARCHITECTURES.get(facts.arch, "")
            sound = apt_parse.versions(seen.packages, sound=True)
            state = package_files.State(seen.installed, sound, seen.recorded)
            files = package_files.plan(engine.packages, ".deb", arch, state, _install_files)
            return files or steps  # the files' step repairs by itself, without a network
        if seen.installed.dockerd and not seen.installed.package:
            check_foreign(seen.installed, engine)
            return steps
        product = wanted_product(seen.installed, engine)
        source = self._source_steps(seen, facts, engine)
        steps += source
        if seen.pin and not engine.version:
            steps.append(debian_steps.unpin())
        steps += self._install_steps(seen, engine, product, bool(source))
        if engine.version:
            changes = any(one.id == "packages/install" for one in steps)
            steps += _pin_steps(seen, product, changes=changes)
        return steps

    def refresh(self, host: Host, log: Callable[[str], None]) -> None:
        apt = Apt(host, log)
        apt.repair()
        apt.update()

    def install(self, host: Host, *packages: str) -> None:
        apt = Apt(host)
        apt.repair()
        apt.update_if_stale()
        apt.reinstall_torn()
        apt.install(*packages)

    def present(self, host: Host, names: Sequence[str]) -> Collection[str]:
        return apt_parse.versions(Apt(host).packages(*names), sound=True)

    def remove(self, host: Host, name: str) -> bool:
        return Apt(host).remove_single(name)

    def _source_steps(self, seen: Seen, facts: Facts, engine: EngineSpec) -> List[Step]:
        if not engine.mirror:
            # the source of an installed docker-ce stays: it is where its security updates come from
            unused = seen.source and seen.installed.package != DOCKER.engine
            return [debian_steps.remove_source()] if unused else []
        url = base_url(engine.mirror)
        text = docker_apt.source_text(url, seen.suite, facts.arch)
        steps: List[Step] = []
        if not seen.key or seen.source != text:
            steps.append(debian_steps.fetch_key(url, seen.suite, new=not seen.key))
        steps += write_step("packages", docker_apt.SOURCE, seen.source, text)
        return steps

    def _install_steps(
        self, seen: Seen, engine: EngineSpec, product: Product, source_changes: bool
    ) -> List[Step]:
        if not _to_install(seen.installed, seen.versions, engine):
            return _upgrade_steps(seen, engine, product) if engine.upgrade else []
        known = seen.fresh and not source_changes
        version = ""
        if engine.version and known:
            version = resolve(engine.version, product.engine, seen.offers.get(product.engine, ()))
        elif known:
            version = seen.candidates.get(product.engine, "")
        shown = version or f"{engine.version} ({LATER})".lstrip()
        current = seen.versions.get(product.engine, "")
        steps = []
        away = _give_way(seen, product)
        if away:
            steps.append(debian_steps.replace(product, away, engine.version))
        engine_there = bool(current and seen.installed.dockerd)
        if engine_there and (not engine.version or matches(engine.version, current)):
            # only the client is missing
            offered = newest(list(seen.offers.get(product.client, ())))
            client = seen.candidates.get(product.client) or offered
            title = f"+ install {product.client} {client or f'({LATER})'}"
            if known and not client:
                title = f"~ reinstall {product.engine} (its docker command is missing)"
            return [*steps, debian_steps.install(title, product, engine.version, client_only=True)]
        title = f"+ install {product.engine} {shown}"
        if engine_there:
            down = version and order_key(version) < order_key(current)
            word = "downgrade" if down else "change"
            title = f"~ {word} {product.engine} {current} to {shown}"
        more = [name for name in product.packages[1:] if name in seen.candidates or name in seen.offers]
        lacking = [name for name in more if name not in seen.versions]
        if seen.apparmor:
            lacking.append("apparmor")
        title += f", with {', '.join(lacking)}" if lacking else ""
        extra = ("apparmor",) if seen.apparmor else ()
        return [*steps, debian_steps.install(title, product, engine.version, extra=extra)]


def wanted_product(installed: Installed, engine: EngineSpec) -> Product:
    """Docker's with a mirror; else what is there; else the distribution's."""
    if engine.mirror:
        return DOCKER
    return next((one for one in PRODUCTS if one.engine == installed.package), DISTRIBUTION)


def _to_install(installed: Installed, versions: Mapping[str, str], engine: EngineSpec) -> bool:
    product = wanted_product(installed, engine)
    if not installed.dockerd:
        return True
    if not installed.package:
        return False
    if installed.package != product.engine or not installed.client:
        return True
    return bool(engine.version) and not matches(engine.version, versions.get(product.engine, ""))


def _give_way(seen: Seen, product: Product) -> Dict[str, str]:
    """Package → version of those that must go before Docker's own can come."""
    if product is not DOCKER or seen.installed.package == DOCKER.engine:
        return {}
    return {name: seen.versions[name] for name in GIVE_WAY if name in seen.versions}


def _upgrade_steps(seen: Seen, engine: EngineSpec, product: Product) -> List[Step]:
    current = seen.versions.get(product.engine, "")
    if engine.version:
        offered = [one for one in seen.offers.get(product.engine, ()) if matches(engine.version, one)]
        better = newest(offered) or ""
    else:
        better = seen.candidates.get(product.engine, "")
    if seen.pin and not engine.version:
        better = LATER_UNPINNED  # until our pin is gone apt's answer is what it holds
    elif not better or order_key(better) <= order_key(current):
        return []
    if seen.packages[product.engine].held:
        raise Problem(
            "engine-held",
            f"{product.engine} is on hold on this host: it stays at {current}, {better} is offered",
            why="somebody has held it with apt-mark",
            hint=f"`apt-mark unhold {product.engine}` on the host, if that is not meant any more",
        )
    title = f"~ upgrade {product.engine} {current} to {better}"
    return [debian_steps.upgrade(title, product, engine.version)]


def _pin_steps(seen: Seen, product: Product, *, changes: bool) -> List[Step]:
    """The pin holds the versions that are installed once they are the wanted ones."""
    if changes or seen.installed.package != product.engine:
        return [debian_steps.pin(product, new=not seen.pin)]
    held = {name: seen.versions[name] for name in product.same_version if name in seen.versions}
    return list(write_step("packages", docker_apt.PIN, seen.pin, docker_apt.pin_text(held)))


def _lacks_apparmor(host: Host) -> bool:
    """The same signs by which runc decides (libcontainer/apparmor)."""
    enabled = (host.read("/sys/module/apparmor/parameters/enabled") or "").startswith("Y")
    return enabled and host.exists("/sys/kernel/security/apparmor") and not host.which("apparmor_parser")


def _install_files(host: Host, log: package_files.Log, files: Sequence[str]) -> Dict[str, Tuple[str, str]]:
    """Installs .deb files; path → (package, version) as the files themselves say."""
    apt = Apt(host, log)
    apt.repair()
    identity = {}
    for path in files:
        shown = host.must("dpkg-deb", "-f", path, "Package", "Version", deadline=60)
        fields = dict(line.partition(": ")[::2] for line in shown.splitlines())
        identity[path] = (fields.get("Package", ""), fields.get("Version", ""))
    apt.install_files(files)
    return identity
