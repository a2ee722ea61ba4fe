"""upgrade on Debian's docker.io and on Docker's packages: pins, holds, containers, one machine after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAMES = ("upg1", "upg2", "upgm")
OLD = "5:20.10.23-1~debian.12~bookworm"
NEW = "5:20.10.24-1~debian.12~bookworm"
PIN = "/etc/apt/preferences.d/machinectl-docker"

OLDER = """set -e; cd /var/tmp; rm -rf older; mkdir older; cd older
apt-get download -qq docker.io 2>/dev/null; dpkg-deb -R docker.io_*.deb tree
sed -i 's/^Version: .*/Version: 20.10.24+dfsg1-0/' tree/DEBIAN/control; rm -f tree/DEBIAN/md5sums
dpkg-deb --root-owner-group -Znone -b tree older.deb >/dev/null
dpkg -i older.deb >/dev/null 2>&1; rm -rf /var/tmp/older"""
"""The distribution's own package under a lower version, as a security fix finds it."""


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def mirror(make_host):
    """URL of a signed copy of Docker's repository with docker-ce in versions OLD and NEW."""
    host = make_host("upgm")
    host.run(
        "apt-get update -qq && apt-get install -qq -y --no-install-recommends gnupg apt-utils >/dev/null 2>&1"
    )
    script = (Path(__file__).parent / "make_apt_mirror.sh").read_text()
    host.run(f"bash -s /srv/docker-ce bookworm '{OLD}' '{NEW}'", stdin=script, deadline=600)
    host.run("systemd-run -q --unit=mirror python3 -m http.server 8000 -d /srv")
    host.run("timeout 60 sh -c 'until curl -sf http://127.0.0.1:8000/ >/dev/null; do sleep 0.1; done'")
    return f"http://{host.ip}:8000/docker-ce"


@pytest.fixture(scope="module")
def debian(make_host, controller, busybox, lab):
    """docker.io with a container."""
    host = make_host("upg1")
    controller.create(host)
    begin(controller, host, busybox)
    yield host
    lab.down(list(NAMES))


@pytest.fixture(scope="module")
def docker(make_host, controller, busybox, mirror):
    """docker-ce, pinned to the older version, with a container."""
    host = make_host("upg2")
    controller.create(host, "--engine-mirror", mirror, "--engine-version", "20.10.23")
    begin(controller, host, busybox)
    return host


def begin(controller, host, busybox):
    controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
    controller.docker(host.name, "run", "-d", "--name", "on", "busybox", "sleep", "infinity")
    host.began = started(controller, host)


def started(controller, host):
    return controller.docker(host.name, "inspect", "-f", "{{.State.StartedAt}} {{.State.Running}}", "on")


def package(host, name):
    return host.run(f"dpkg-query -W -f '${{Version}}' {name}").stdout


def test_the_distributions_package_is_upgraded_and_containers_go_on(debian, controller):
    newest = package(debian, "docker.io")
    debian.run(OLDER, deadline=600)
    assert package(debian, "docker.io") == "20.10.24+dfsg1-0"
    before = debian.run("pidof dockerd").stdout
    debian.run("apt-mark hold docker.io")
    held = controller.run("upgrade", debian.name, check=False)
    assert held.returncode == 1
    assert "docker.io is on hold on this host" in held.stderr
    debian.run("apt-mark unhold docker.io")
    said = controller.run("upgrade", debian.name)
    assert f"upgrade docker.io 20.10.24+dfsg1-0 to {newest}" in said.stdout
    assert package(debian, "docker.io") == newest
    assert debian.run("pidof dockerd").stdout != before
    assert started(controller, debian) == debian.began
    again = controller.run("upgrade", debian.name)
    assert "is the newest that its source offers" in again.stdout
    assert "everything is as it should be" in again.stderr
    assert started(controller, debian) == debian.began


def test_a_pin_is_kept_changed_and_taken_away(docker, controller):
    kept = controller.run("upgrade", docker.name)
    assert "stays: it is pinned to 20.10.23" in kept.stdout
    assert package(docker, "docker-ce") == OLD
    wider = controller.run("upgrade", "--engine-version", "20.10", docker.name)
    assert f"to {NEW}" in wider.stdout
    assert package(docker, "docker-ce") == package(docker, "docker-ce-cli") == NEW
    assert NEW in docker.run(f"cat {PIN}").stdout
    assert "everything is as it should be" in controller.run("provision", docker.name).stderr
    controller.run("upgrade", "--engine-version", "20.10.23", docker.name)
    assert package(docker, "docker-ce") == OLD
    controller.run("upgrade", "--unpin", docker.name)
    assert package(docker, "docker-ce") == NEW
    assert docker.run(f"test -e {PIN}", check=False).returncode == 1
    assert "everything is as it should be" in controller.run("provision", docker.name).stderr
    assert started(controller, docker) == docker.began


def test_machines_behind_one_that_failed_are_left_alone(debian, docker, controller):
    controller.run("stop", debian.name)
    done = controller.run("upgrade", debian.name, docker.name, check=False)
    assert done.returncode == 3
    assert "its engine does not answer" in done.stderr
    assert f"{docker.name}: left as it is" in done.stderr
    going = controller.run("upgrade", "--keep-going", debian.name, docker.name, check=False)
    assert going.returncode == 3
    assert f"{docker.name}: " in going.stdout
    controller.run("start", debian.name)


def test_a_version_that_nobody_offers_changes_nothing(docker, controller):
    done = controller.run("upgrade", "--engine-version", "19.03", docker.name, check=False)
    assert done.returncode == 1
    assert "offered: " in done.stderr
    assert package(docker, "docker-ce") == NEW
    assert "version" not in controller.inspect(docker.name)["Machinectl"]["engine"]


def test_an_adopted_engine_is_not_upgraded(make_host, debian, new_controller):
    other = new_controller()
    other.create(debian, "--adopt", "--take-over")
    done = other.run("upgrade", debian.name, check=False)
    assert done.returncode == 1
    assert "was adopted" in done.stderr
