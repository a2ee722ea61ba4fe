"""The main job on every suite: a bare host becomes a TLS Docker host, stays one over a reboot, and is left
alone by a second create."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import urllib.request

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

SUITES = ("bookworm", "trixie", "sid", "bullseye")
ENGINES = {"bullseye": "20.10.", "bookworm": "20.10.", "trixie": "26.", "sid": "28."}


@pytest.fixture(scope="module", params=SUITES)
def machine(request, make_host, controller):
    """A lab host of the suite that `create` has just made a machine; with what create said."""
    host = make_host(request.param, request.param)
    host.created = controller.create(host)
    return host


@pytest.fixture(scope="module")
def image(machine, controller, busybox):
    controller.docker(machine.name, "import", "-", "busybox:latest", stdin=busybox)
    return "busybox"


def engine_pid(host):
    return host.run("pidof dockerd").stdout.strip()


def test_the_engine_answers_over_tls(machine, controller):
    assert "is ready at tcp://" in machine.created.stderr
    info = json.loads(controller.docker(machine.name, "info", "--format", "{{json .}}"))
    assert info["Name"] == machine.name
    assert info["LiveRestoreEnabled"] is True
    assert info["ServerVersion"].startswith(ENGINES[machine.suite])
    config = controller.inspect(machine.name)
    assert config["Driver"]["IPAddress"] == machine.ip


def test_ls_shows_the_machine(machine, controller):
    form = "{{.Name}} {{.State}} {{.URL}} {{.DockerVersion}} [{{.Error}}]"
    lines = controller.run("ls", "--format", form).stdout.splitlines()
    line = next(one for one in lines if one.startswith(machine.name + " "))
    assert line.startswith(f"{machine.name} Running tcp://{machine.ip}:2376 v{ENGINES[machine.suite]}")
    assert line.endswith("[]")


def test_a_published_port_is_reachable(machine, controller, image):
    serve = "mkdir /www && echo hello-from-$HOSTNAME > /www/index.html && exec httpd -f -p 80 -h /www"
    controller.docker(machine.name, "run", "-d", "--name", "web", "-p", "8080:80", image, "sh", "-c", serve)

    def fetched():
        try:
            with urllib.request.urlopen(f"http://{machine.ip}:8080/", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    assert until(fetched).startswith("hello-from-")
    controller.docker(machine.name, "rm", "-f", "web")


def test_a_second_create_changes_and_restarts_nothing(machine, controller):
    pid = engine_pid(machine)
    stamps = "stat -c '%n %Y' /etc/docker/* /etc/systemd/system/docker.service.d/* /etc/sysctl.d/*machinectl*"
    before = machine.run(stamps).stdout
    again = controller.create(machine)
    assert "everything is as it should be" in again.stderr
    assert engine_pid(machine) == pid
    assert machine.run(stamps).stdout == before
    plan = controller.create(machine, "--dry-run").stdout
    assert plan.strip() == f"{machine.name}: everything is as it should be"


def test_a_client_without_a_certificate_is_refused(machine):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(machine.ip, 2376, context=context, timeout=10)
    # TLS 1.3 reports the missing certificate with the first read
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/version")
        connection.getresponse()


def test_nothing_listens_without_tls(machine):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((machine.ip, 2375), timeout=5)
    listening = machine.run("ss -Hltn | awk '{print $4}'").stdout.split()
    # containerd's stream server and the like listen on loopback
    ports = {one.rpartition(":")[2] for one in listening if not one.startswith(("127.", "[::1]"))}
    assert ports == {"22", "2376"}


def test_keys_on_the_host_and_in_the_store_are_private(machine, controller):
    assert machine.run("stat -c %a /etc/docker/server-key.pem").stdout.strip() == "600"
    for path in controller.store.rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode & 0o077 == 0, path
        if path.name.endswith("key.pem") or path.name == "config.json":
            assert path.stat().st_mode & 0o777 == 0o600, path


def test_a_reboot_brings_everything_back(machine, controller, image, lab):
    controller.docker(
        machine.name, "run", "-d", "--name", "keep", "--restart", "always", image, "sleep", "infinity"
    )
    boot = machine.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22").stdout
    lab.reboot(machine.name)
    assert (
        machine.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22").stdout != boot
    )

    def kept():
        text = controller.docker(machine.name, "ps", "--format", "{{.Names}} {{.Status}}", check=False)
        return "keep Up" in text

    until(kept)
    states = ("systemctl", "is-active", "docker.service", "machinectl-agent.service")
    until(lambda: machine.run(" ".join(states), check=False).stdout.split() == ["active", "active"])
    assert "everything is as it should be" in controller.create(machine).stderr
    controller.docker(machine.name, "rm", "-f", "keep")


def test_the_engine_answers_through_ssh(machine, controller, tmp_path):
    """`env --ssh`: no TLS port is needed. docker runs the ssh of PATH, here with the lab's key."""
    wrapper = tmp_path / "ssh"
    options = f"-i {machine.key} -o UserKnownHostsFile={controller.store}/known_hosts -o BatchMode=yes"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    wrapper.chmod(0o755)
    script = f'eval "$(machinectl env --ssh {machine.name})" && exec docker info --format "{{{{.Name}}}}"'
    done = subprocess.run(
        ["bash", "-c", script],
        env={**controller.env, "PATH": f"{tmp_path}:{controller.env['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == machine.name, done.stderr


def test_our_program_is_not_put_on_the_host(machine):
    """systemd has a program of the same name there."""
    found = machine.run("command -v machinectl mctl", check=False).stdout.split()
    assert found in ([], ["/usr/bin/machinectl"])
    if found:
        assert "systemd" in machine.run("machinectl --version").stdout
