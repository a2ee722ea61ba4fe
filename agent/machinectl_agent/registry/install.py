"""Phase `registry-install`: the program, and never the package's own service beside ours.

Debian's package starts a registry on port 5000 as soon as it is installed: its unit is masked before, and given back
with the last registry of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.choose import choose
from machinectl_agent.registry import places
from machinectl_agent.registry.spec import AUTO, CONTAINER, PACKAGE, RegistrySpec
from machinectl_agent.registry.unit import Way, via_in

PROGRAMS = ("/usr/bin/docker-registry", "/usr/bin/registry")
PACKAGES = {"debian": "docker-registry", "redhat": "docker-distribution", "suse": "distribution-registry"}
"""By the provisioner's name."""
PACKAGE_UNIT = "docker-registry.service"
MASKED = f"{places.FOLDER}/package-unit-masked"
"""The mask is ours to take back."""


def way(host: Host, spec: RegistrySpec) -> Way:
    """What runs now stays; else a container where its image is here, else the package."""
    via = spec.via
    docker = host.which("docker")
    if via == AUTO:
        present = via_in(host.read(places.unit_file(places.unit(spec.port))) or "")
        via = present or (CONTAINER if docker and _has_image(host, spec.image) else PACKAGE)
    program = next((one for one in PROGRAMS if host.exists(one)), "")
    return Way(via, program or PROGRAMS[0], docker, spec.image, account(host))


def account(host: Host) -> str:
    for line in (host.read("/etc/passwd") or "").splitlines():
        words = line.split(":")
        if words[0] == places.USER and len(words) > 3:
            return f"{words[2]}:{words[3]}"
    return ""


def _has_image(host: Host, image: str) -> bool:
    return host.run("docker", "image", "inspect", "-f", "{{.Id}}", image, deadline=30).ok


@dataclass(frozen=True)
class Seen:
    way: Way
    installed: bool
    masked: bool
    image: bool


class InstallPhase:
    name = "registry-install"

    def __init__(self, spec: RegistrySpec, facts: Facts) -> None:
        self._spec = spec
        self._facts = facts

    def observe(self, host: Host, context: Context) -> Seen:
        if self._spec.absent:
            return Seen(Way(PACKAGE), installed=True, masked=True, image=True)
        found = way(host, self._spec)
        return Seen(
            found,
            installed=any(host.exists(one) for one in PROGRAMS),
            masked=host.path(places.unit_file(PACKAGE_UNIT)).is_symlink(),
            image=found.container and bool(found.docker) and _has_image(host, self._spec.image),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        steps: List[Step] = []
        if self._spec.absent:
            return steps
        if seen.way.container and not seen.image:
            raise Problem(
                "registry-image",
                f"the image {self._spec.image} is not on this machine",
                why="a container is made of what is there; nothing is pulled for it",
                hint="`docker load` it there, or take the distribution's program: --via package",
            )
        if not seen.way.container and not seen.installed:
            if not seen.masked:
                steps.append(Step(f"{self.name}/mask", f"+ mask the package's own {PACKAGE_UNIT}", _mask))
            steps.append(Step(f"{self.name}/install", "+ install docker-registry", self._install))
        if not seen.way.account:
            steps.append(Step(f"{self.name}/user", f"+ add the user {places.USER}", _add_user))
        return steps

    def _install(self, work: Work) -> None:
        family = choose(self._facts, "")
        package = PACKAGES.get(family.name, "")
        if not package:
            raise Problem(
                "registry-package",
                "this distribution has no package of a registry that is known to machinectl",
                hint="`docker load` an image registry:2 on the machine, then --via container",
            )
        family.install(work.host, package)


def _mask(work: Work) -> None:
    work.host.make_folder(places.FOLDER, 0o755)
    work.host.write(MASKED, f"{PACKAGE_UNIT}\n")
    work.host.must("systemctl", "mask", PACKAGE_UNIT, deadline=60)


def unmask(work: Work) -> None:
    """The package stays, and is not started by itself."""
    work.host.must("systemctl", "unmask", PACKAGE_UNIT, deadline=60)
    work.host.run("systemctl", "disable", PACKAGE_UNIT, deadline=60)
    work.host.remove(MASKED)


def _add_user(work: Work) -> None:
    work.host.must(
        "useradd", "--system", "--user-group", "--home-dir", "/nonexistent", "--no-create-home",
        "--shell", "/usr/sbin/nologin", places.USER, deadline=60,
    )  # fmt: skip
