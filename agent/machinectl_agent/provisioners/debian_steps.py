"""The steps that debian.py plans. What they need to know about versions they look up when they are applied:
package lists may have been fetched in between."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence

from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import apt_parse, docker_apt, mirror
from machinectl_agent.provisioners.apt import Apt
from machinectl_agent.provisioners.engine_version import matches, newest, order_key, resolve
from machinectl_agent.provisioners.products import DOCKER, Product

KEYRINGS = "/etc/apt/keyrings"


def repair() -> Step:
    """For packages of ours that are half-installed, and for a dpkg that refuses to work."""

    def apply(work: Work) -> None:
        apt = Apt(work.host, work.log)
        apt.repair()
        apt.reinstall_torn()
        apt.install()

    return Step("packages/repair", "~ finish an interrupted package installation", apply)


def fetch_key(url: str, suite: docker_apt.Suite, *, new: bool) -> Step:
    """The mirror's signing key becomes the only one that its packages are trusted by."""
    address = f"{url}/linux/{suite.distribution}/gpg"

    def apply(work: Work) -> None:
        if address.startswith("https:") and not work.host.exists("/etc/ssl/certs/ca-certificates.crt"):
            apt = Apt(work.host, work.log)
            apt.repair()
            apt.update_if_stale()
            apt.install("ca-certificates")
        text = mirror.fetch_key(address, work.log, _apt_proxies(work.host))
        if not work.host.exists(KEYRINGS):
            work.host.make_folder(KEYRINGS, 0o755)  # apt reads keys as the user _apt
        work.host.write(docker_apt.KEY, text)

    sign = "+" if new else "~"
    return Step("packages/key", f"{sign} fetch {address} into {docker_apt.KEY}", apply)


def remove_source() -> Step:
    def apply(work: Work) -> None:
        work.host.remove(docker_apt.SOURCE)
        work.host.remove(docker_apt.KEY)

    return Step("packages/source", f"- remove {docker_apt.SOURCE}", apply)


def unpin() -> Step:
    title = f"- remove {docker_apt.PIN} (no version is wanted any more)"
    return Step("packages/unpin", title, lambda work: work.host.remove(docker_apt.PIN))


def replace(product: Product, away: Mapping[str, str], version: str) -> Step:
    """Downloads the new packages before the old ones go: a mirror that fails leaves the old engine."""

    def apply(work: Work) -> None:
        apt = Apt(work.host, work.log)
        apt.repair()
        words = _words(apt, product, version)
        # apt resolves the conflict itself; this only fetches
        apt.install(*words, options=("--download-only", "--allow-downgrades"))
        work.host.run("systemctl", "stop", "docker.service", "docker.socket", deadline=120)
        apt.remove(*away)

    listed = ", ".join(f"{name} {number}" for name, number in away.items())
    title = f"- remove {listed} ({product.engine} takes its place; /var/lib/docker stays)"
    return Step("packages/replace", title, apply)


def install(
    title: str, product: Product, version: str, *, extra: Sequence[str] = (), client_only: bool = False
) -> Step:
    """The engine with what belongs to it, in one transaction; `version` as the user asked for it."""

    def apply(work: Work) -> None:
        apt = Apt(work.host, work.log)
        apt.repair()
        words = _words(apt, product, version)
        if client_only:
            words = [word for word in words if word.partition("=")[0] == product.client]
        there = apt_parse.versions(apt.packages(*product.packages))
        # apt would upgrade what is named and there; a containerd that runs is left alone
        words = [word for word in words if word not in product.companions or word not in there]
        current = there.get(product.engine, "")
        options: List[str] = []
        pinned = words[0].partition("=")[2] if words else ""
        if current and pinned and order_key(pinned) < order_key(current):
            options.append("--allow-downgrades")
        if client_only and not words:
            words = [product.engine]  # no client of its own: it was lost from the engine's package
        if current and (words == [product.engine] or not work.host.which("dockerd")):
            options.append("--reinstall")
        apt.install(*words, *extra, options=options)

    return Step("packages/install", title, apply)


def upgrade(title: str, product: Product, version: str) -> Step:
    """The engine and its client, as far as they are there; what they need newer comes with them."""

    def apply(work: Work) -> None:
        apt = Apt(work.host, work.log)
        apt.repair()
        there = apt_parse.versions(apt.packages(product.engine, product.client))
        apt.install(*(word for word in _words(apt, product, version) if word.partition("=")[0] in there))

    return Step("packages/install", title, apply)


def pin(product: Product, *, new: bool) -> Step:
    """After an install: holds what is there now."""

    def apply(work: Work) -> None:
        held = apt_parse.versions(Apt(work.host).packages(*product.same_version))
        work.host.write(docker_apt.PIN, docker_apt.pin_text(held))

    return Step("packages/pin", f"{'+' if new else '~'} after install: write {docker_apt.PIN}", apply)


def _words(apt: Apt, product: Product, version: str) -> List[str]:
    """What to ask apt for. Raises `Problem` where no source offers the engine, or not in this version."""
    if version:
        return _pinned_words(apt, product, version)
    apt.update_if_stale()
    candidates = apt.candidates(*product.packages)
    if product.engine not in candidates:
        apt.update()
        candidates = apt.candidates(*product.packages)
    if product.engine not in candidates:
        raise _not_offered(apt, product)
    return [name for name in product.packages if name in candidates]


def _pinned_words(apt: Apt, product: Product, version: str) -> List[str]:
    apt.update_if_stale(600)
    offers: Dict[str, List[str]] = apt.offers(*product.packages)
    if not offers.get(product.engine):
        raise _not_offered(apt, product)
    exact = resolve(version, product.engine, offers[product.engine])
    words = [f"{product.engine}={exact}"]
    for name in product.packages[1:]:
        offered = offers.get(name, ())
        same = exact if exact in offered else newest([one for one in offered if matches(version, one)])
        if name in product.same_version and same:
            words.append(f"{name}={same}")
        elif offered:
            words.append(name)
    return words


def _not_offered(apt: Apt, product: Product) -> Problem:
    lists = "; ".join(apt.update_errors[:3])
    if product is DOCKER:
        return Problem(
            "mirror-wrong",
            f"the engine mirror does not offer {product.engine} for this host",
            why=lists or "its package list for this distribution and architecture does not hold it",
            hint=f"compare {docker_apt.SOURCE} on the host with what the mirror has below dists/",
        )
    return Problem(
        "packages-unavailable",
        f"no package source of this host offers {product.engine}",
        why=lists or "the package lists are complete and do not hold it",
        hint="check /etc/apt/sources.list (Ubuntu: universe), name a source with --engine-mirror URL,"
        " or upload packages with --engine-package FILE",
    )


def _apt_proxies(host: Host) -> Dict[str, str]:
    """apt's own proxies are those of the host's package downloads; scheme → URL."""
    shown = host.run("apt-config", "shell", "http", "Acquire::http::Proxy", "https", "Acquire::https::Proxy")
    found = {}
    for line in shown.stdout.splitlines():
        scheme, _, value = line.partition("=")
        value = value.strip("'\"")
        if value and value != "DIRECT":
            found[scheme] = value
    return found
