"""Phase `packages` on real hosts: real apt, dnf and dpkg, signed repositories, cut-off installations.

The phase runs inside the host without a controller (packages_driver.py); tests/lab/test_create.py has the rest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest

from machinectl.remote.bundle import build_bundle
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
OLD = "5:20.10.23-1~debian.12~bookworm"
NEW = "5:20.10.24-1~debian.12~bookworm"


class Agent:
    """The packages phase on one host."""

    def __init__(self, host):
        self.host = host
        self.bundle = build_bundle()
        self.folder = f"/opt/test-{self.bundle.hash}"
        target = host.root / self.folder.lstrip("/")
        for name, content in self.bundle.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        shutil.copy(HERE / "packages_driver.py", target)

    def run(self, *, dry_run=False, os="", **engine):
        """The driver's answer. After an apply without a problem the plan is empty: checked here for all."""
        command = f"python3 -I -B {self.folder}/packages_driver.py {self.folder}"
        asked = json.dumps({"engine": engine, "os": os, "dry_run": dry_run})
        answer = json.loads(self.host.run(command, stdin=asked, deadline=280).stdout)
        assert answer["again"] == [], answer
        return answer

    def done(self, **wishes):
        answer = self.run(**wishes)
        assert answer["problem"] == "", answer
        return answer

    def sh(self, command, **more):
        return self.host.run(command, **more).stdout


@pytest.fixture(scope="module")
def agent_on(make_host):
    """`agent_on(name, suite, …)` → the phase on that host."""
    return lambda name, suite="bookworm", **more: Agent(make_host(f"pkg-{name}", suite, **more))


@pytest.fixture(scope="module")
def mirror(make_host):
    """URL of a signed copy of download.docker.com with docker-ce in versions OLD and NEW, and of RPMs."""
    host = make_host("pkg-mirror")
    apt = (HERE / "make_apt_mirror.sh").read_text()
    rpm = (HERE / "make_rpm_mirror.sh").read_text()
    install = "apt-get install -qq -y --no-install-recommends"
    host.run("apt-get update -qq", deadline=600)
    host.run(f"{install} gnupg apt-utils rpm createrepo-c file >/dev/null 2>&1", deadline=600)
    host.run(f"bash -s /srv/docker-ce bookworm '{OLD}' '{NEW}'", stdin=apt, deadline=600)
    host.run("bash -s /srv/docker-ce 9 26.1.3 26.1.4", stdin=rpm, deadline=600)
    host.run("systemd-run -q --unit=mirror python3 -m http.server 8000 -d /srv")
    host.run("timeout 60 sh -c 'until curl -sf http://127.0.0.1:8000/ >/dev/null; do sleep 0.1; done'")
    return f"http://{host.ip}:8000/docker-ce"


@pytest.fixture(scope="module")
def bookworm(agent_on):
    """A bookworm host whose tests follow on each other, in the order of this file."""
    return agent_on("bookworm")


def installed(agent, package):
    shown = agent.sh(f"dpkg-query -W -f '${{db:Status-Abbrev}} ${{Version}}' {package} 2>/dev/null || true")
    return shown.split(" ", 1)[1].strip() if shown.startswith("ii") else ""


def is_quick(agent, **wishes):
    """Nothing to do, nothing is fetched, and the package manager, which takes a second, isn't asked."""

    def answer():
        again = agent.done(**wishes)
        assert again["plan"] == []
        return again["milliseconds"] < 400  # 60 on an idle machine

    until(answer)


@pytest.fixture(scope="module")
def engine_files(agent_on):
    """docker.io with all that a bare bookworm host needs for it, as files: (path, what EngineSpec says)."""
    agent = agent_on("bookworm")
    agent.sh("apt-get update -qq && apt-get install -qq -y --no-install-recommends --download-only docker.io")
    folder = agent.host.root / "var/cache/apt/archives"
    return [
        (path, {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": 1})
        for path in sorted(folder.glob("*.deb"))
    ]


def test_offline_host_installs_uploaded_files_once(agent_on, engine_files):
    agent = agent_on("offline", isolated=True)
    files = [one for _, one in engine_files]
    uploads = agent.host.root / "srv/uploads"
    uploads.mkdir(parents=True)
    for path, one in engine_files:
        shutil.copy(path, uploads / one["name"])
    lacking = agent.run(packages=[one for one in files if not one["name"].startswith("containerd")])
    assert lacking["problem"] == "packages-unmet"
    assert "containerd" in lacking["why"]
    damaged = [{**files[0], "sha256": "0" * 64}]
    assert agent.run(packages=damaged)["problem"] == "package-corrupt"
    first = agent.done(packages=files)
    assert "docker.io_20.10" in first["plan"][0]
    shutil.rmtree(uploads)
    again = agent.done(packages=files)
    assert (again["plan"], again["need"]) == ([], [])
    assert agent.sh("docker version -f '{{.Server.Version}}'").startswith("20.10")
    assert not (agent.host.root / "var/lib/machinectl/packages").exists()


def test_a_file_without_a_telling_name_is_remembered(agent_on, engine_files):
    agent = agent_on("offline", isolated=True)
    uploads = agent.host.root / "srv/uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    path, one = next(pair for pair in engine_files if pair[0].name.startswith("docker.io"))
    renamed = {**one, "name": "engine.deb"}
    shutil.copy(path, uploads / "engine.deb")
    # its sha256 is on record from the test before
    assert agent.done(packages=[renamed])["plan"] == []
    (agent.host.root / "var/lib/machinectl/packages.json").unlink()
    assert agent.done(packages=[renamed])["need"] == ["engine.deb"]
    assert agent.done(packages=[renamed])["need"] == []


def test_default_is_the_distributions_package(bookworm):
    planned = bookworm.run(dry_run=True)["plan"]
    assert len(planned) == 1
    assert planned[0].startswith("+ install docker.io ")
    bookworm.done()
    assert installed(bookworm, "docker.io").startswith("20.10.")
    is_quick(bookworm)
    # a lost client comes back where it is a part of the engine's package
    bookworm.sh("rm /usr/bin/docker")
    assert bookworm.done()["plan"][0].startswith("~ reinstall docker.io")
    bookworm.sh("docker version")


def test_pin_of_what_is_there_and_of_what_is_nowhere(bookworm):
    unknown = bookworm.run(version="20.10.99")
    assert unknown["problem"] == "engine-version-unknown"
    assert "20.10.24" in unknown["why"]
    assert bookworm.done(version="20.10")["plan"] == ["+ write /etc/apt/preferences.d/machinectl-docker"]
    assert "1001" in bookworm.sh("apt-cache policy docker.io")
    assert bookworm.done(version="20.10")["plan"] == []
    assert bookworm.done()["plan"][0].startswith("- remove /etc/apt/preferences.d/machinectl-docker")


def test_mirror_replaces_the_distributions_engine_and_pins(bookworm, mirror):
    bookworm.sh("mkdir -p /var/lib/docker && touch /var/lib/docker/kept")
    planned = bookworm.done(mirror=mirror, version="20.10.23")["plan"]
    assert any(title.startswith("- remove docker.io ") for title in planned)
    assert any(title.startswith("+ install docker-ce ") for title in planned)
    assert installed(bookworm, "docker-ce") == OLD
    assert installed(bookworm, "docker.io") == ""
    assert bookworm.sh("ls /var/lib/docker/kept; systemctl is-active docker").split()[-1] == "active"
    # apt's own upgrade keeps the pin
    assert "docker-ce" not in bookworm.sh("apt-get -s upgrade | grep ^Inst || true")
    is_quick(bookworm, mirror=mirror, version="20.10.23")


def test_pin_goes_up_and_down_and_away(bookworm, mirror):
    bookworm.done(mirror=mirror, version="20.10.23")
    up = bookworm.done(mirror=mirror, version="20.10.24")["plan"]
    assert up[0] == f"~ change docker-ce {OLD} to {NEW}"
    assert installed(bookworm, "docker-ce-cli") == NEW
    down = bookworm.done(mirror=mirror, version=OLD)["plan"]
    assert down[0] == f"~ downgrade docker-ce {NEW} to {OLD}"
    unknown = bookworm.run(mirror=mirror, version="19")
    assert unknown["problem"] == "engine-version-unknown"
    assert OLD in unknown["why"]
    assert NEW in unknown["why"]
    bookworm.done(mirror=mirror)
    # without a version an engine that is there is never upgraded
    assert installed(bookworm, "docker-ce") == OLD
    assert bookworm.done(mirror=mirror)["plan"] == []


def test_another_mirror_rewrites_the_source(bookworm, mirror):
    bookworm.sh("ls /etc/apt/sources.list.d/machinectl-docker.sources")
    other = mirror.replace("/docker-ce", "/./docker-ce")
    planned = bookworm.done(mirror=other)["plan"]
    assert "~ write /etc/apt/sources.list.d/machinectl-docker.sources" in planned
    assert bookworm.done(mirror=other)["plan"] == []


def test_mirror_that_is_none(agent_on, mirror):
    agent = agent_on("trixie", "trixie")
    for url, problem in (
        (mirror + "/nowhere", "mirror-wrong"),
        (mirror.replace(":8000", ":1"), "mirror-unreachable"),
        ("ftp://mirror.example.org", "mirror-wrong"),
        # the key is there, and no suite trixie
        (mirror, "mirror-wrong"),
    ):
        began = time.monotonic()
        assert agent.run(mirror=url)["problem"] == problem
        assert time.monotonic() - began < 90
    assert agent.sh("which dockerd || true") == ""


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_client_is_a_package_of_its_own(agent_on, suite):
    agent = agent_on(suite, suite)
    # somebody else's source that does not answer must not matter
    agent.sh("echo 'deb http://127.0.0.1:9/ nowhere main' >/etc/apt/sources.list.d/broken.list")
    agent.done()
    assert installed(agent, "docker.io")
    assert installed(agent, "docker-cli")
    agent.sh("dpkg -r docker-cli")
    assert agent.done()["plan"][0].startswith("+ install docker-cli ")
    assert agent.done()["plan"] == []


def test_adopt_takes_what_is_there_and_installs_nothing(agent_on, bookworm):
    assert agent_on("cut").run(adopt=True)["problem"] == "engine-missing"
    assert bookworm.done(adopt=True)["plan"] == []


def test_static_engine_is_adopted(agent_on):
    agent = agent_on("cut")
    script = "#!/bin/sh\necho Docker version 27.3.1, build ce12230\n"
    agent.sh("cat >/usr/local/bin/dockerd && chmod 755 /usr/local/bin/dockerd", stdin=script)
    try:
        assert agent.done()["plan"] == []
        assert agent.done(version="27.3")["plan"] == []
        assert agent.run(version="26")["problem"] == "engine-foreign"
    finally:
        agent.sh("rm /usr/local/bin/dockerd")


def test_locked_package_database_is_waited_for(agent_on):
    agent = agent_on("cut")
    holder = "import fcntl,time; f=open('/var/lib/apt/lists/lock','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(45)"
    agent.sh(f'systemd-run -q --unit=holder python3 -c "{holder}"')
    agent.sh("until lslocks -n | grep -q lists/lock; do sleep 0.05; done", deadline=10)
    (agent.host.root / "var/lib/machinectl").mkdir(exist_ok=True)
    answer = agent.done(packages=[]) if installed(agent, "docker.io") else agent.done()
    assert any("waiting for python3" in line for line in answer["logs"])


# what is on the disk when the power goes: programs half unpacked; unpacked and not configured
@pytest.mark.parametrize("sign", ["usr/sbin/dockerd.dpkg-new", "usr/sbin/dockerd"])
def test_power_cut_in_mid_install(lab, agent_on, sign):
    agent = agent_on("cut")
    agent.sh("apt-get remove -qq -y docker.io containerd runc tini >/dev/null; apt-get clean")
    driver = f"python3 -I -B {agent.folder}/packages_driver.py {agent.folder}"
    agent.sh(f"echo '{{}}' >/run/asked; systemd-run -q --unit=driver sh -c '{driver} </run/asked'")
    end = time.monotonic() + 600
    while not (agent.host.root / sign).exists():
        assert time.monotonic() < end, "the installation did not get that far"
        time.sleep(0.002)
    lab.power_cut(agent.host.name)
    agent.host = lab.start(agent.host.name)
    assert agent.sh("dpkg --audit; ls /var/lib/dpkg/updates").strip()
    agent.done()
    assert agent.sh("dpkg --audit") == ""
    assert agent.sh("docker version -f '{{.Server.Version}}'").startswith("20.10")


def test_killed_agent_is_followed_by_another(agent_on):
    """The first one's apt may still be at work: it is waited for, or its half-done work is finished."""
    agent = agent_on("cut")
    agent.sh("apt-get remove -qq -y docker.io containerd runc tini >/dev/null; apt-get clean")
    driver = f"python3 -I -B {agent.folder}/packages_driver.py {agent.folder}"
    agent.sh(
        f"echo '{{}}' >/run/asked; setsid sh -c 'echo $$ >/run/pid; exec {driver} </run/asked' >/dev/null 2>&1 &"
    )
    end = time.monotonic() + 600
    while not list((agent.host.root / "var/cache/apt/archives").glob("docker.io*.deb")):
        assert time.monotonic() < end, "the installation did not get that far"
        time.sleep(0.002)
    agent.sh("kill -9 $(cat /run/pid)")
    agent.done()
    assert agent.sh("dpkg --audit") == ""
    assert agent.sh("docker version -f '{{.Server.Version}}'").startswith("20.10")


def test_oldest_python(agent_on):
    agent = agent_on("bullseye", "bullseye")
    agent.done()
    assert installed(agent, "docker.io").startswith("20.10.5")
    assert agent.done(version="20.10.5")["plan"] == ["+ write /etc/apt/preferences.d/machinectl-docker"]


def test_full_disk(agent_on):
    agent = agent_on("cut")
    agent.sh("apt-get remove -qq -y docker.io containerd runc tini >/dev/null; apt-get clean")
    agent.sh("mount -t tmpfs -o size=1m tmpfs /var/cache/apt/archives")
    try:
        answer = agent.run()
        assert answer["problem"] == "disk-full"
        assert "/var/cache/apt/archives" in answer["why"]
    finally:
        agent.sh("umount /var/cache/apt/archives")
    agent.done()


def test_redhat_family_with_real_dnf(agent_on, mirror):
    """Debian's dnf and rpm stand in for a host of the family; the packages are tiny, everything else is real."""
    agent = agent_on("dnf")
    agent.sh("apt-get update -qq", deadline=600)
    agent.sh("apt-get install -qq -y --no-install-recommends dnf rpm dnf-plugins-core >/dev/null 2>&1")
    # Debian's plugin `local` wants a repository of its own
    agent.sh("sed -i 's/enabled *=.*/enabled = false/' /etc/dnf/plugins/local.conf")
    agent.sh("mkdir -p /etc/dnf/vars && echo 9 >/etc/dnf/vars/releasever")
    planned = agent.run(os="redhat", dry_run=True)["plan"]
    assert planned[0].endswith("(this distribution has no Docker Engine of its own)")
    wrong = agent.run(os="redhat", mirror=mirror + "/nowhere")
    assert wrong["problem"] == "mirror-wrong"
    assert "404" in wrong["why"]

    wishes = {"os": "redhat", "mirror": mirror}
    agent.done(**wishes, version="26.1.3")
    assert agent.sh("rpm -q docker-ce docker-ce-cli").split() == [
        "docker-ce-26.1.3-1.el9.x86_64",
        "docker-ce-cli-26.1.3-1.el9.x86_64",
    ]
    assert "docker-ce-3:26.1.3-1.el9" in agent.sh("dnf -q versionlock list")
    agent.sh("dnf -q -y upgrade")
    is_quick(agent, **wishes, version="26.1.3")

    unknown = agent.run(**wishes, version="26.1.9")
    assert unknown["problem"] == "engine-version-unknown"
    assert "3:26.1.4-1.el9, 3:26.1.3-1.el9" in unknown["why"]
    assert "to 3:26.1.4-1.el9" in agent.done(**wishes, version="26.1.4")["plan"][0]
    assert "to 3:26.1.3-1.el9" in agent.done(**wishes, version="26.1.3")["plan"][0]
    assert agent.done(**wishes)["plan"][0].startswith("- unlock")
    assert agent.sh("dnf -q versionlock list") == ""
    assert "26.1.3" in agent.sh("dockerd --version")


def test_redhat_family_offline(agent_on, make_host, mirror):
    agent = agent_on("dnf")
    source = make_host("pkg-mirror").root / "srv/docker-ce/linux/centos/9/x86_64/stable"
    uploads = agent.host.root / "srv/uploads"
    uploads.mkdir(parents=True)
    files = []
    for path in sorted([*source.glob("*26.1.4*.rpm"), *source.glob("containerd.io-*.rpm")]):
        shutil.copy(path, uploads)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append({"name": path.name, "sha256": digest, "size": path.stat().st_size})
    assert len(files) == 3
    assert agent.done(os="redhat", packages=files)["need"] == [one["name"] for one in files]
    assert "26.1.4" in agent.sh("dockerd --version")
    again = agent.done(os="redhat", packages=files)
    assert (again["plan"], again["need"]) == ([], [])
