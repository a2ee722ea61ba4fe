"""plan() of every family: a state of the host and a wish → titles of steps, or a problem."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from machinectl_agent.facts import Facts
from machinectl_agent.host import Completed, Host
from machinectl_agent.phases.base import Context
from machinectl_agent.phases.packages import PackagesPhase
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import arch, debian, docker_apt, redhat, suse
from machinectl_agent.provisioners.apt_parse import Package
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.package_files import Recorded
from machinectl_agent.spec import EngineSpec, HostSpec, PackageFile, Spec, TlsSpec

MIRROR = "https://mirror.example.org/docker-ce"
CE = "5:26.1.4-1~debian.12~bookworm"
NONE = Installed("", "", "", False)
FACTS = Facts("debian", (), "Debian", "12", "bookworm", "x86_64", "6.1", "3.11.2", True, "")
FEDORA = dataclasses.replace(FACTS, os_id="fedora")
ALMA = dataclasses.replace(FACTS, os_id="almalinux", os_like=("rhel", "centos", "fedora"))


def plan(family, seen, facts=FACTS, **wishes):
    return [step.title for step in family.plan(seen, facts, EngineSpec(**wishes))]


def problem(family, seen, facts=FACTS, **wishes):
    with pytest.raises(Problem) as raised:
        family.plan(seen, facts, EngineSpec(**wishes))
    return raised.value


def there(package, version="26.1.4", *, client=True):
    return Installed("/usr/sbin/dockerd" if package else "/usr/local/bin/dockerd", version, package, client)


def apt_host(package="", version="", *, client=True, **more):
    """A Debian host with that engine; without one, with fresh lists that offer docker.io."""
    if not package:
        more.setdefault("candidates", {"docker.io": "20.10.24+dfsg1-1", "ca-certificates": "2023"})
        return debian.Seen(NONE, **more)
    packages = {package: Package(version, "ii"), **more.pop("packages", {})}
    if package == "docker-ce":
        packages["docker-ce-cli"] = Package(version, "ii")
    return debian.Seen(there(package, client=client), packages=packages, **more)


class TestDebian:
    family = debian.Debian()

    def test_default(self):
        assert plan(self.family, apt_host(packages={"ca-certificates": Package("2023", "ii")})) == [
            "+ install docker.io 20.10.24+dfsg1-1"
        ]

    def test_client_of_its_own(self):
        offered = {"docker.io": "26.1.5", "docker-cli": "26.1.5"}
        assert plan(self.family, apt_host(candidates=offered)) == [
            "+ install docker.io 26.1.5, with docker-cli"
        ]
        lacking = apt_host("docker.io", "26.1.5", client=False, candidates=offered)
        assert plan(self.family, lacking) == ["+ install docker-cli 26.1.5"]

    def test_stale_lists(self):
        assert plan(self.family, apt_host(fresh=False, candidates={})) == [
            "+ install docker.io (the version is known after the package lists are fetched)"
        ]

    def test_apparmor_where_the_kernel_wants_it(self):
        assert plan(self.family, apt_host(apparmor=True))[0].endswith(", apparmor")

    @pytest.mark.parametrize("package", ["docker.io", "docker-ce", "moby-engine"])
    def test_an_engine_that_is_there_is_adopted(self, package):
        assert plan(self.family, apt_host(package, CE)) == []
        assert plan(self.family, apt_host(package, CE), adopt=True) == []

    def test_static_engine(self):
        static = debian.Seen(there("", "27.3.1"))
        assert plan(self.family, static) == []
        assert plan(self.family, static, mirror=MIRROR) == []
        assert plan(self.family, static, version="27.3") == []
        assert problem(self.family, static, version="26").code == "engine-foreign"

    def test_adopt_without_an_engine(self):
        assert problem(self.family, apt_host(), adopt=True).code == "engine-missing"

    def test_mirror_on_a_bare_host(self):
        titles = plan(self.family, apt_host(), mirror=MIRROR + "/", version="26.1")
        assert titles == [
            f"+ fetch {MIRROR}/linux/debian/gpg into {docker_apt.KEY}",
            f"+ write {docker_apt.SOURCE}",
            "+ install docker-ce 26.1 (the version is known after the package lists are fetched)",
            f"+ after install: write {docker_apt.PIN}",
        ]

    def test_mirror_replaces_the_distributions_engine(self):
        packages = {"containerd": Package("1.6", "ii"), "runc": Package("1.1", "ii")}
        titles = plan(self.family, apt_host("docker.io", "20.10.24", packages=packages), mirror=MIRROR)
        assert titles[2] == (
            "- remove docker.io 20.10.24, containerd 1.6, runc 1.1"
            " (docker-ce takes its place; /var/lib/docker stays)"
        )
        assert titles[3].startswith("+ install docker-ce ")

    def test_mirror_that_is_set_up_changes_nothing(self):
        source = docker_apt.source_text(MIRROR, docker_apt.Suite(), "x86_64")
        ready = apt_host("docker-ce", CE, source=source, key=True)
        assert plan(self.family, ready, mirror=MIRROR) == []
        # without a mirror the source of what is installed stays
        assert plan(self.family, ready) == []
        other = plan(self.family, ready, mirror="https://other.example.org")
        assert [title[0] for title in other] == ["~", "~"]
        unused = apt_host("docker.io", "20.10.24", source=source, key=True)
        assert plan(self.family, unused) == [f"- remove {docker_apt.SOURCE}"]

    @pytest.mark.parametrize(
        "url", ["mirror.example.org", "ftp://m.example.org", "https://u:p@m.example.org", "http://a b"]
    )
    def test_mirror_that_is_no_url(self, url):
        raised = problem(self.family, apt_host(), mirror=url)
        assert raised.code == "mirror-wrong"
        assert "u:p" not in raised.what + raised.why

    def test_pin(self):
        offers = {name: [CE, "5:26.1.3-1~debian.12~bookworm"] for name in ("docker-ce", "docker-ce-cli")}
        here = apt_host("docker-ce", CE, offers=offers)
        assert plan(self.family, here, version="26.1") == [f"+ write {docker_apt.PIN}"]
        held = docker_apt.pin_text({"docker-ce": CE, "docker-ce-cli": CE})
        pinned = dataclasses.replace(here, pin=held)
        assert plan(self.family, pinned, version="26.1") == []
        assert plan(self.family, pinned) == [f"- remove {docker_apt.PIN} (no version is wanted any more)"]
        assert plan(self.family, pinned, version="26.1.3") == [
            f"~ downgrade docker-ce {CE} to 5:26.1.3-1~debian.12~bookworm",
            f"~ after install: write {docker_apt.PIN}",
        ]
        unknown = problem(self.family, pinned, version="25")
        assert unknown.code == "engine-version-unknown"
        assert CE in unknown.why

    def test_pin_of_the_distributions_engine_keeps_the_product(self):
        here = apt_host("docker.io", "20.10.24", offers={"docker.io": ["20.10.24"]})
        assert "docker.io" in problem(self.family, here, version="26").what

    def test_interrupted_dpkg(self):
        assert plan(self.family, apt_host("docker.io", "20.10.24", interrupted=True)) == [
            "~ finish an interrupted package installation"
        ]
        half = apt_host(packages={"containerd": Package("1.6", "iU")})
        assert plan(self.family, half)[0] == "~ finish an interrupted package installation"

    def test_files(self):
        file = PackageFile("docker.io_20.10.24-1_amd64.deb", "ab" * 32, 36_000_000)
        assert plan(self.family, apt_host(), packages=(file,)) == [
            "+ install docker.io_20.10.24-1_amd64.deb (36.0 MB)"
        ]
        assert plan(self.family, apt_host("docker.io", "20.10.24-1"), packages=(file,)) == []
        # a pinned engine's file is the version that is wanted, also where that is an older one
        assert plan(self.family, apt_host("docker.io", "26.1.5-1"), packages=(file,)) != []
        torn = apt_host("docker.io", "20.10.24-1", packages={"docker.io": Package("20.10.24-1", "iHR")})
        assert len(plan(self.family, torn, packages=(file,))) == 1

    def test_files_of_libraries_may_be_older(self):
        files = (
            PackageFile("docker-ce_26.1.4-1~debian.12~bookworm_amd64.deb", "ab" * 32, 1),
            PackageFile("iptables_1.8.9-2_amd64.deb", "cd" * 32, 1),
        )
        here = apt_host("docker-ce", CE, packages={"iptables": Package("1.8.9-2+deb12u1", "ii")})
        assert plan(self.family, here, packages=files) == []

    def test_files_that_were_recorded(self):
        file = PackageFile("engine.deb", "ab" * 32, 1)
        here = apt_host("docker-ce", CE, recorded={"ab" * 32: Recorded("docker-ce", CE)})
        assert plan(self.family, here, packages=(file,)) == []
        assert plan(self.family, apt_host("docker-ce", CE), packages=(file,)) != []

    @pytest.mark.parametrize("name", ["docker-ce-26.1.4-1.el9.x86_64.rpm", "docker.io_20.10.24-1_arm64.deb"])
    def test_files_for_another_host(self, name):
        file = PackageFile(name, "ab" * 32, 1)
        assert problem(self.family, apt_host(), packages=(file,)).code == "package-wrong"


class TestRedHat:
    family = redhat.RedHat()

    def test_fedora_has_its_own(self):
        seen = redhat.Seen(NONE, offers={"moby-engine": ["28.3.3-1.fc42"], "docker-cli": ["28.3.3-1.fc42"]})
        assert plan(self.family, seen, FEDORA) == ["+ install moby-engine 28.3.3-1.fc42"]

    def test_rebuilds_of_rhel_have_none(self):
        titles = plan(self.family, redhat.Seen(NONE), ALMA)
        assert titles[0] == f"+ write {redhat.REPOSITORY} (this distribution has no Docker Engine of its own)"
        assert titles[1].startswith("+ install docker-ce (the version is known")
        (step, *_) = self.family.plan(redhat.Seen(NONE), ALMA, EngineSpec())
        assert "https://download.docker.com/linux/centos/$releasever/$basearch/stable" in step.diff

    def test_repository_of_each(self):
        rhel = dataclasses.replace(ALMA, os_id="rhel")
        assert [redhat.repository_url("U", one) for one in (FEDORA, rhel, ALMA)] == [
            "U/linux/fedora",
            "U/linux/rhel",
            "U/linux/centos",
        ]

    def test_mirror_replaces(self):
        versions = {"moby-engine": "24.0.5-1.fc40", "podman-docker": "5.0-1"}
        titles = plan(self.family, redhat.Seen(there("moby-engine"), versions), FEDORA, mirror=MIRROR)
        assert titles[1].startswith("- remove moby-engine 24.0.5-1.fc40, podman-docker 5.0-1 (docker-ce")
        assert titles[2].startswith("+ install docker-ce ")

    def test_pin(self):
        versions = {"docker-ce": "3:26.1.4-1.el9", "docker-ce-cli": "1:26.1.4-1.el9"}
        seen = redhat.Seen(there("docker-ce"), versions)
        assert plan(self.family, seen, ALMA) == []
        assert plan(self.family, seen, ALMA, version="26.1") == [
            "+ lock the version of docker-ce (dnf versionlock)"
        ]
        locked = dataclasses.replace(seen, locks=versions)
        assert plan(self.family, locked, ALMA, version="26.1") == []
        assert plan(self.family, locked, ALMA)[0].startswith("- unlock the version of docker-ce")
        changing = dataclasses.replace(locked, offers={"docker-ce": ["3:26.1.3-1.el9"]})
        assert plan(self.family, changing, ALMA, version="26.1.3") == [
            "~ change docker-ce 3:26.1.4-1.el9 to 3:26.1.3-1.el9",
            "~ lock the version of docker-ce (dnf versionlock)",
        ]

    def test_files(self):
        file = PackageFile("docker-ce-26.1.4-1.el9.x86_64.rpm", "ab" * 32, 1)
        assert len(plan(self.family, redhat.Seen(NONE), ALMA, packages=(file,))) == 1
        seen = redhat.Seen(there("docker-ce"), {"docker-ce": "3:26.1.4-1.el9"})
        assert plan(self.family, seen, ALMA, packages=(file,)) == []


class TestSuseAndArch:
    def test_default(self):
        assert plan(suse.Suse(), suse.Seen(NONE))[0].startswith("+ install docker ")
        assert plan(arch.Arch(), arch.Seen(NONE, offered="1:28.5.2-1")) == ["+ install docker 1:28.5.2-1"]

    def test_adopted(self):
        assert plan(suse.Suse(), suse.Seen(there("docker"), {"docker": "28.5.1_ce-1.1"})) == []
        assert plan(arch.Arch(), arch.Seen(there("docker"), {"docker": "1:28.5.2-1"})) == []

    def test_suse_locks_a_version(self):
        seen = suse.Seen(there("docker"), {"docker": "28.5.1_ce-1.1"})
        assert plan(suse.Suse(), seen, version="28.5") == ["+ lock docker in its version"]
        locked = dataclasses.replace(seen, locked=True)
        assert plan(suse.Suse(), locked, version="28.5") == []
        assert plan(suse.Suse(), locked) == ["- unlock docker"]

    def test_arch_has_one_version(self):
        seen = arch.Seen(NONE, offered="1:28.5.2-1")
        assert problem(arch.Arch(), seen, version="27").code == "engine-version-unknown"
        assert problem(arch.Arch(), seen, packages=(PackageFile("a", "b", 1),)).code == "packages-unsupported"

    @pytest.mark.parametrize("family", [suse.Suse(), arch.Arch()])
    def test_no_mirror(self, family):
        seen = suse.Seen(NONE) if family.name == "suse" else arch.Seen(NONE)
        assert problem(family, seen, mirror=MIRROR).code == "mirror-unsupported"


class FakeHost(Host):
    """A host of an unknown distribution, with or without a dockerd; any other look at it is an error."""

    def __init__(self, dockerd):
        super().__init__()
        self.dockerd = dockerd

    def which(self, program):
        return self.dockerd and f"{self.dockerd}/{program}"

    def path(self, name):
        return Path(name)

    def run(self, *argv, **more):
        return Completed(0, "Docker version 27.3.1, build ce12230\n", "")


def unknown_os(dockerd, **wishes):
    facts = dataclasses.replace(FACTS, os_id="alpine", os_name="Alpine")
    spec = Spec("node", EngineSpec(**wishes), TlsSpec("", "", ""), HostSpec())
    phase = PackagesPhase()
    context = Context(spec, facts)
    return phase.plan(phase.observe(FakeHost(dockerd), context), context)


def test_unknown_distribution_with_an_engine_is_adopted(tmp_path):
    (tmp_path / "dockerd").touch()
    assert unknown_os(str(tmp_path)) == []
    assert unknown_os(str(tmp_path), version="27.3") == []


@pytest.mark.parametrize("wishes", [{"version": "26"}, {"packages": (PackageFile("a.apk", "b", 1),)}])
def test_unknown_distribution_with_an_engine_that_is_to_change(tmp_path, wishes):
    (tmp_path / "dockerd").touch()
    with pytest.raises(Problem) as raised:
        unknown_os(str(tmp_path), **wishes)
    assert raised.value.code == "unknown-os"


def test_unknown_distribution_without_an_engine():
    with pytest.raises(Problem) as raised:
        unknown_os("")
    assert raised.value.code == "unknown-os"
