"""Fedora, RHEL and what is built on them: dnf."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Collection, Dict, List, Mapping, Sequence, Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step, Work, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import mirror, package_files, rpm
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.check import check_adoptable, check_foreign
from machinectl_agent.provisioners.dnf import Dnf, read_locks
from machinectl_agent.provisioners.engine_version import (
    matches,
    newest,
    order_key,
    resolve,
    without_epoch,
)
from machinectl_agent.provisioners.installed import find_engine
from machinectl_agent.provisioners.products import DOCKER, Product
from machinectl_agent.spec import EngineSpec
from machinectl_agent.templates import render

REPOSITORY = "/etc/yum.repos.d/machinectl-docker.repo"
OWN: Tuple[Tuple[str, Product], ...] = (
    ("fedora", Product("moby-engine", "docker-cli")),
    ("amzn", Product("docker", "docker")),
    ("openeuler", Product("docker-engine", "docker-engine")),
)
"""ID → the distribution's own engine. RHEL and its rebuilds have none: Docker's own is installed there."""
PRODUCTS = (DOCKER, *(product for _, product in OWN))
GIVE_WAY = (
    "docker",
    "docker-client",
    "docker-common",
    "docker-engine",
    "docker-cli",
    "moby-engine",
    "podman-docker",
)
"""What docker-ce conflicts with (docs.docker.com, "Uninstall old versions"), without runc: removing it would
take podman away; dnf says so where it is in the way."""
LATER = "the version is known after the repositories' metadata are fetched"


@dataclass(frozen=True)
class Seen:
    """`offers` from dnf's cache, only where something is to be installed."""

    installed: Installed
    versions: Mapping[str, str] = field(default_factory=dict)
    repository: str = ""
    locks: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    recorded: Mapping[str, package_files.Recorded] = field(default_factory=dict)


class RedHat:
    """moby-engine on Fedora, Docker's own packages elsewhere or where a mirror is asked for."""

    name = "redhat"
    ids: Tuple[str, ...] = (
        "rhel",
        "fedora",
        "centos",
        "rocky",
        "almalinux",
        "ol",
        "amzn",
        "openeuler",
        "anolis",
        "scientific",
    )

    def observe(self, host: Host, facts: Facts, engine: EngineSpec) -> Seen:
        recorded = package_files.read_record(host)
        watched = [name for one in PRODUCTS for name in (*one.packages, *one.pinned)]
        names = [*watched, *GIVE_WAY, *package_files.names(engine.packages, recorded)]
        versions = rpm.installed(host, *dict.fromkeys(names))
        installed = find_engine(host, versions, [one.engine for one in PRODUCTS])
        repository = host.read(REPOSITORY) or ""
        product = wanted_product(installed, facts, engine)
        offers: Dict[str, List[str]] = {}
        asked = engine.upgrade or _to_install(installed, product, versions, engine)
        if asked and not engine.adopt and not engine.packages:
            offers = Dnf(host).offers(*product.packages, cached=True)
        return Seen(installed, versions, repository, read_locks(host), offers, recorded)

    def plan(self, seen: Seen, facts: Facts, engine: EngineSpec) -> List[Step]:
        if engine.adopt:
            check_adoptable(seen.installed)
            return []
        if engine.packages:
            state = package_files.State(seen.installed, seen.versions, seen.recorded)
            return package_files.plan(engine.packages, ".rpm", facts.arch, state, rpm.install_uploaded)
        if seen.installed.dockerd and not seen.installed.package:
            check_foreign(seen.installed, engine)
            return []
        product = wanted_product(seen.installed, facts, engine)
        steps = _repository_steps(seen, facts, engine, product)
        changed = bool(steps)
        if seen.locks and not engine.version:
            title = f"- unlock the version of {', '.join(seen.locks)} (no version is wanted any more)"
            steps.append(Step("packages/unpin", title, lambda work: Dnf(work.host, work.log).unlock()))
        to_install = _to_install(seen.installed, product, seen.versions, engine)
        if to_install:
            steps += _install_steps(seen, engine, product, changed)
        elif engine.upgrade and (better := _better(seen, engine, product)):
            title = f"~ upgrade {product.engine} {seen.versions[product.engine]} to {better}"
            exact = without_epoch(better)
            steps.append(Step("packages/install", title, lambda work: _install(work, product, exact)))
            to_install = True
        held = {name: seen.versions[name] for name in product.same_version if name in seen.versions}
        if engine.version and (to_install or held != dict(seen.locks)):
            title = f"{'~' if seen.locks else '+'} lock the version of {product.engine} (dnf versionlock)"
            steps.append(Step("packages/pin", title, lambda work: _lock(work, product)))
        return steps

    def refresh(self, host: Host, log: Callable[[str], None]) -> None:
        Dnf(host, log).offers(*dict.fromkeys(name for one in PRODUCTS for name in one.packages))

    def install(self, host: Host, *packages: str) -> None:
        Dnf(host).install(*packages)

    def present(self, host: Host, names: Sequence[str]) -> Collection[str]:
        return rpm.installed(host, *names)

    def remove(self, host: Host, name: str) -> bool:
        return rpm.remove_single(host, name)


def wanted_product(installed: Installed, facts: Facts, engine: EngineSpec) -> Product:
    """Docker's with a mirror; else what is there; else the distribution's; else Docker's."""
    if engine.mirror:
        return DOCKER
    own = next((product for name, product in OWN if name == facts.os_id.lower()), DOCKER)
    return next((one for one in PRODUCTS if one.engine == installed.package), own)


def _to_install(
    installed: Installed, product: Product, versions: Mapping[str, str], engine: EngineSpec
) -> bool:
    if not installed.dockerd:
        return True
    if not installed.package:
        return False
    if installed.package != product.engine or not installed.client:
        return True
    return bool(engine.version) and not matches(engine.version, versions.get(product.engine, ""))


def _better(seen: Seen, engine: EngineSpec, product: Product) -> str:
    """The newest version that is offered and fits the pin; empty where that is no newer one."""
    offered = seen.offers.get(product.engine, ())
    best = newest([one for one in offered if not engine.version or matches(engine.version, one)]) or ""
    return best if best and order_key(best) > order_key(seen.versions.get(product.engine, "")) else ""


def repository_url(url: str, facts: Facts) -> str:
    """Docker keeps `fedora` and `rhel`; all rebuilds of RHEL use `centos`."""
    return f"{url}/linux/{facts.os_id if facts.os_id in ('fedora', 'rhel') else 'centos'}"


def _repository_steps(seen: Seen, facts: Facts, engine: EngineSpec, product: Product) -> List[Step]:
    own_choice = product is DOCKER and not seen.installed.dockerd and not engine.mirror
    if own_choice and not seen.repository:
        note = "this distribution has no Docker Engine of its own"
        url = mirror.DOCKER
    elif engine.mirror:
        note, url = "", mirror.base_url(engine.mirror)
    else:
        return []
    text = render("docker.repo", uri=repository_url(url, facts))
    return list(write_step("packages", REPOSITORY, seen.repository, text, note=note))


def _install_steps(seen: Seen, engine: EngineSpec, product: Product, changed: bool) -> List[Step]:
    offered = seen.offers.get(product.engine, ()) if not changed else ()
    # an unknown version is an error only once the metadata is fresh: when the step is applied
    fitting = [one for one in offered if matches(engine.version, one)] if engine.version else offered
    version = newest(list(fitting)) or f"{engine.version} ({LATER})".strip()
    steps = []
    away = {name: seen.versions[name] for name in GIVE_WAY if name in seen.versions}
    if product is DOCKER and seen.installed.package != DOCKER.engine and away:
        listed = ", ".join(f"{name} {number}" for name, number in away.items())
        title = f"- remove {listed} ({product.engine} takes its place; /var/lib/docker stays)"
        steps.append(
            Step("packages/replace", title, lambda work: _replace(work, product, engine.version, list(away)))
        )
    current = seen.versions.get(product.engine, "")
    title = f"+ install {product.engine} {version}"
    if current and seen.installed.dockerd:
        title = f"~ change {product.engine} {current} to {version}"
        if not engine.version or matches(engine.version, current):
            title = f"+ install {product.client}"
    steps.append(Step("packages/install", title, lambda work: _install(work, product, engine.version)))
    return steps


def _words(dnf: Dnf, product: Product, version: str) -> List[str]:
    offers = dnf.offers(*product.packages)
    if not offers.get(product.engine):
        raise Problem(
            "mirror-wrong" if product is DOCKER else "packages-unavailable",
            f"no repository of this host offers {product.engine}",
            why="; ".join(dnf.query_errors[-3:])
            or "the metadata for this release and architecture do not hold it",
            hint=f"check the host's network, proxy and {REPOSITORY}, or give another --engine-mirror",
        )
    words = []
    for name in dict.fromkeys(product.packages):
        offered = offers.get(name, [])
        if version and name in product.same_version and offered:
            words.append(f"{name}-{resolve(version, name, offered)}")
        elif offered:
            words.append(name)
    return words


def _replace(work: Work, product: Product, version: str, away: Sequence[str]) -> None:
    """Downloads the new packages before the old ones go: a mirror that fails leaves the old engine."""
    dnf = Dnf(work.host, work.log)
    dnf.install(*_words(dnf, product, version), options=("--downloadonly", "--allowerasing"))
    work.host.run("systemctl", "stop", "docker.service", "docker.socket", deadline=120)
    dnf.remove(*away)


def _install(work: Work, product: Product, version: str) -> None:
    dnf = Dnf(work.host, work.log)
    words = _words(dnf, product, version)
    dnf.unlock()
    current = rpm.installed(work.host, product.engine).get(product.engine, "")
    if current and not version:
        # the engine stays as it is, only what it lacks is installed
        words = [word for word in words if word == product.client]
        if not words:
            dnf.reinstall(product.engine)  # no client of its own: it was lost from the engine's package
            return
    wanted = words[0][len(product.engine) + 1 :] if words else ""
    down = current and version and order_key(wanted) < order_key(current)
    if down:
        work.log(f"going back from {product.engine} {current} to {wanted}")
    dnf.install(*words)


def _lock(work: Work, product: Product) -> None:
    Dnf(work.host, work.log).lock(rpm.installed(work.host, *dict.fromkeys(product.same_version)))
