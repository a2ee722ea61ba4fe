"""What people already have works with a machine: docker's contexts, Compose, the Python SDK."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def machine(make_host, controller, busybox, lab):
    host = make_host("eco1", "trixie", engine=True)
    host.created = controller.create(host, "--context")
    controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
    yield host
    lab.down([host.name])


def docker(controller, *words, check=True):
    """The docker client with the controller's home and nothing else."""
    done = subprocess.run(
        ["docker", *words], env=controller.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).strip()


def test_create_makes_a_context(machine, controller):
    assert "docker --context eco1 info" in machine.created.stderr
    assert docker(controller, "--context", "eco1", "info", "--format", "{{.Name}}") == "eco1"
    docker(controller, "context", "use", "eco1")
    assert docker(controller, "images", "--format", "{{.Repository}}") == "busybox"
    docker(controller, "context", "use", "default")


def test_a_context_gets_new_certificates(machine, controller):
    """Here with a CA of its own: the old certificates would be refused."""
    for name in ("ca.pem", "ca-key.pem", "cert.pem", "key.pem"):
        (controller.store / "certs" / name).unlink()
    controller.run("provision", "--take-over", machine.name)
    assert docker(controller, "--context", "eco1", "version", "--format", "{{.Server.Os}}") == "linux"


def test_a_context_of_the_users_own_is_kept(machine, controller):
    docker(controller, "context", "create", "mine", "--docker", "host=tcp://192.0.2.1:2375")
    said = controller.run("provision", "--context-name", "mine", machine.name, check=False)
    assert said.returncode == 1
    assert 'there is a docker context "mine" that is not machinectl\'s' in said.stderr
    assert "connecting" not in said.stderr, "it is an error before anything begins"
    controller.run("provision", "--context-name", "second", machine.name)
    assert docker(controller, "context", "ls", "-q").split() == ["default", "eco1", "mine", "second"]


COMPOSE = """
services:
  page:
    image: busybox
    command: httpd -f -p 8080 -h /www
    ports: ["18080:8080"]
    volumes: ["pages:/www"]
  writer:
    image: busybox
    command: sh -c "echo from $$HOSTNAME > /www/index.html"
    hostname: compose
    volumes: ["pages:/www"]
volumes:
  pages:
"""


@pytest.fixture(scope="module")
def compose(machine, controller, tmp_path_factory):
    """Compose as Debian has it, as a plugin of the docker client here: `compose(words)` gives stdout."""
    machine.run(
        "apt-get update -q && apt-get install -q -y --no-install-recommends docker-compose >/dev/null",
        deadline=300,
    )
    plugins = controller.home / ".docker/cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy(machine.root / "usr/libexec/docker/cli-plugins/docker-compose", plugins)
    project = tmp_path_factory.mktemp("project")
    (project / "compose.yaml").write_text(COMPOSE)

    def run(words, point='eval "$(machinectl env --shell bash eco1)"'):
        done = subprocess.run(
            ["bash", "-c", f"set -e; {point}; docker compose {words}"],
            env=controller.env,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_compose_by_env(machine, compose):
    compose("up -d --quiet-pull")
    assert (
        machine.run("curl -sf --retry 20 --retry-all-errors --retry-delay 1 http://127.0.0.1:18080/").stdout
        == "from compose\n"
    )
    until(lambda: compose("ps --services").split() == ["page"])  # the other one has done its work
    assert compose("exec -T page cat /www/index.html") == "from compose\n"


def test_compose_by_context(compose):
    assert compose("ps --services", point="docker context use eco1 >/dev/null").split() == ["page"]
    assert compose("logs --no-log-prefix writer") == ""
    compose("down -v -t 1")
    assert compose("ps -q") == ""


def test_the_python_sdk_by_env(machine, controller):
    program = """
        import docker
        client = docker.from_env(timeout=20)
        print(client.info()["Name"])
        print(client.containers.run("busybox", "echo from the SDK", remove=True).decode().strip())
        running = client.containers.run("busybox", "cat", detach=True, stdin_open=True, name="sdk")
        print(running.exec_run("uname -s").output.decode().strip())
        for line in client.api.stats("sdk", stream=True):
            break
        running.remove(force=True)
        print(client.containers.list(all=True, filters={"name": "sdk"}))
    """
    done = subprocess.run(
        ["bash", "-c", f'eval "$(machinectl env --shell bash eco1)"; exec {sys.executable} -'],
        input=textwrap.dedent(program),
        env=controller.env,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.splitlines() == ["eco1", "from the SDK", "Linux", "[]"], done.stderr


def test_an_inventory_keeps_a_context(machine, controller, tmp_path):
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        textwrap.dedent(f"""
            all:
              hosts:
                eco1:
                  ansible_host: {machine.ip}
                  ansible_ssh_private_key_file: {machine.key}
                  machinectl: {{context: true}}
        """)
    )
    assert controller.run("context", "rm", "eco1").stdout.split() == ["eco1", "second"]
    planned = controller.run("plan", "-i", hosts, "--exit-code", check=False)
    assert planned.returncode == 2
    assert "+ docker context eco1" in planned.stdout
    controller.run("apply", "--yes", "-i", hosts)
    assert docker(controller, "--context", "eco1", "info", "--format", "{{.Name}}") == "eco1"
    assert controller.run("plan", "-i", hosts, "--exit-code").returncode == 0
    controller.run("context", "rm", "eco1")
    docker(controller, "context", "create", "eco1", "--docker", "host=tcp://192.0.2.1:2375")
    refused = controller.run("apply", "--yes", "-i", hosts, check=False)
    assert refused.returncode == 1
    assert "not machinectl's" in refused.stderr
    docker(controller, "context", "rm", "eco1")
    controller.run("apply", "--yes", "-i", hosts)


def test_remove_takes_the_contexts_along(machine, controller, new_controller):
    other = new_controller()
    other.create(machine, "--take-over", "--context-name", "brief")
    docker(other, "context", "use", "brief")
    said = other.run("rm", "-y", machine.name)
    assert "was in use" in said.stderr
    assert docker(other, "context", "ls", "-q").split() == ["default"]
    controller.run("provision", "--take-over", machine.name)
    assert docker(controller, "--context", "eco1", "info", "--format", "{{.Name}}") == "eco1"
