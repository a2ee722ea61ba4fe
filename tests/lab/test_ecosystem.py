"""What people already have works with a machine: docker's contexts, Compose, the Python SDK."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def machine(make_host, controller, busybox, lab):
    host = make_host("eco1", "trixie")
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


def test_remove_takes_the_contexts_along(machine, controller, new_controller):
    other = new_controller()
    other.create(machine, "--take-over", "--context-name", "brief")
    docker(other, "context", "use", "brief")
    said = other.run("rm", "-y", machine.name)
    assert "was in use" in said.stderr
    assert docker(other, "context", "ls", "-q").split() == ["default"]
    controller.run("provision", "--take-over", machine.name)
    assert docker(controller, "--context", "eco1", "info", "--format", "{{.Name}}") == "eco1"
