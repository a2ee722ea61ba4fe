"""The engine's settings on real hosts: honoured, merged, reloaded where that is enough, rolled back."""

from __future__ import annotations

import json

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

DAEMON_JSON = "/etc/docker/daemon.json"


@pytest.fixture(scope="module")
def node(make_host, controller, busybox):
    """A ready bookworm machine with a busybox image."""
    host = make_host("bookworm")
    controller.create(host)
    controller.docker("bookworm", "import", "-", "busybox:latest", stdin=busybox)
    return host


@pytest.fixture(scope="module")
def registry(make_host):
    """A host with two real registries: a private one (plain HTTP, :5000) and one to be mirrored from (:5001),
    and a pull-through mirror of the latter (:5002)."""
    host = make_host("registry")
    host.run("apt-get update -q && apt-get install -q -y docker-registry", deadline=300)
    host.run("systemctl disable --now docker-registry")
    for name, port, more in (
        ("private", 5000, ""),
        ("upstream", 5001, ""),
        ("mirror", 5002, "proxy:\n  remoteurl: http://127.0.0.1:5001\n"),
    ):
        config = (
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /var/lib/registry-" + name + "\n"
            f"http:\n  addr: 0.0.0.0:{port}\n" + more
        )
        host.run(f"cat > /etc/registry-{name}.yml", stdin=config)
        host.run(f"systemd-run --unit registry-{name} docker-registry serve /etc/registry-{name}.yml")
        host.run(f"timeout 30 sh -c 'until curl -sf http://127.0.0.1:{port}/v2/; do sleep 0.1; done'")
    return host


def pid(host):
    return host.run("pidof dockerd").stdout.strip()


def document(host):
    return json.loads(host.run(f"cat {DAEMON_JSON}").stdout)


def test_an_insecure_registry_is_honoured_without_a_restart(node, registry, controller):
    tag = f"{registry.ip}:5000/team/busybox"
    controller.docker(node.name, "tag", "busybox", tag)
    refused = controller.docker(node.name, "push", tag, check=False)
    assert "HTTP response to HTTPS client" in refused
    before = pid(node)
    said = controller.run("provision", "--engine-insecure-registry", f"{registry.ip}:5000", node.name).stderr
    assert "reload docker.service (insecure-registries)" in said
    assert pid(node) == before
    controller.docker(node.name, "push", tag)
    catalog = registry.run("curl -s http://127.0.0.1:5000/v2/_catalog").stdout
    assert json.loads(catalog) == {"repositories": ["team/busybox"]}


def test_a_mirror_is_honoured(node, registry, controller):
    address = f"{registry.ip}:5001/library/busybox"
    controller.run(
        "provision",
        "--engine-insecure-registry", f"{registry.ip}:5001",
        "--engine-registry-mirror", f"http://{registry.ip}:5002",
        node.name,
    )  # fmt: skip
    # what stands for Docker Hub gets the image, this engine forgets it, and `docker pull busybox` finds it
    controller.docker(node.name, "tag", "busybox", address)
    controller.docker(node.name, "push", address)
    names = controller.docker(node.name, "images", "-q", "--no-trunc").split()
    controller.docker(node.name, "rmi", "-f", *set(names))
    assert "Status: Downloaded newer image for busybox:latest" in controller.docker(
        node.name, "pull", "busybox"
    )
    until(
        lambda: (
            "library/busybox" in registry.run("journalctl -u registry-mirror --no-pager | tail -50").stdout
        )
    )


def test_options_reach_the_engine_and_containers_outlive_the_restart(node, controller):
    controller.docker(node.name, "run", "-d", "--name", "alive", "busybox", "sleep", "infinity")
    started = controller.docker(node.name, "inspect", "-f", "{{.State.StartedAt}}", "alive")
    before = pid(node)
    controller.run(
        "provision", "--engine-label", "rack=r1", "--engine-log-driver", "local", "--engine-log-opt", "max-size=5m",
        "--engine-env", "HTTP_PROXY=http://user:hidden-word@proxy.invalid:3128", "--engine-opt", "userland-proxy=false",
        node.name,
    )  # fmt: skip
    assert pid(node) != before
    assert controller.docker(node.name, "inspect", "-f", "{{.State.StartedAt}}", "alive") == started
    info = json.loads(controller.docker(node.name, "info", "--format", "{{json .}}"))
    assert "rack=r1" in info["Labels"]
    assert info["LoggingDriver"] == "local"
    assert "proxy.invalid:3128" in info["HttpProxy"]
    assert document(node)["userland-proxy"] is False
    controller.docker(node.name, "rm", "-f", "alive")


def test_no_secret_is_shown(node, controller):
    said = controller.run(
        "provision", "--dry-run", "--engine-env", "HTTPS_PROXY=http://u:hidden-word@p:1", node.name
    )
    assert "hidden-word" not in said.stdout + said.stderr
    assert "machinectl.env" in said.stdout
    journal = node.run("journalctl --no-pager | grep -c hidden-word", check=False).stdout.strip()
    assert journal == "0"
    assert "hidden-word" not in node.run("systemctl show docker").stdout


def test_a_dry_run_changes_nothing(node, controller):
    before, running = node.run(f"sha256sum {DAEMON_JSON}").stdout, pid(node)
    said = controller.run("provision", "--dry-run", "--engine-mtu", "1300", node.name).stdout
    assert '+    "mtu": 1300' in said
    assert "! restart docker.service (no reload for mtu)" in said
    assert node.run(f"sha256sum {DAEMON_JSON}").stdout == before
    assert pid(node) == running


def test_a_daemon_that_does_not_come_up_gets_its_old_configuration_back(node, controller):
    before, kept = document(node), controller.inspect(node.name)
    failed = controller.run("provision", "--engine-opt", "data-root=/proc/nowhere", node.name, check=False)
    assert failed.returncode == 1
    assert "dockerd does not start with the new configuration; the old one is back" in failed.stderr
    assert "why:" in failed.stderr
    assert "/proc/nowhere" in failed.stderr  # dockerd's own words
    assert document(node) == before
    assert controller.docker(node.name, "info", "-f", "{{.ServerVersion}}")
    assert controller.inspect(node.name) == kept  # the failed wish is not remembered
    assert "everything is as it should be" in controller.run("provision", node.name).stderr


def test_a_wish_that_a_reload_refuses_is_taken_back(node, controller):
    running = pid(node)
    failed = controller.run("provision", "--engine-label", "no-value", node.name, check=False)
    assert failed.returncode == 1
    assert "no-value" in failed.stderr
    assert pid(node) == running
    assert "everything is as it should be" in controller.run("provision", node.name).stderr


def test_what_the_hosts_owner_wrote_stays(node, controller):
    own = document(node)
    own["max-concurrent-uploads"] = 2
    own["labels"].append("owner=me")
    node.run(f"cat > {DAEMON_JSON}", stdin=json.dumps(own))
    controller.run("provision", "--engine-label", "rack=r2", node.name)
    assert document(node)["max-concurrent-uploads"] == 2
    assert set(document(node)["labels"]) == {"owner=me", "rack=r2"}


def test_a_broken_daemon_json_is_named_before_anything_changes(node, controller):
    good = node.run(f"cat {DAEMON_JSON}").stdout
    running = pid(node)
    node.run(f"cat > {DAEMON_JSON}", stdin='{"debug": true,}')
    failed = controller.run("provision", node.name, check=False)
    assert failed.returncode == 1
    assert f"{DAEMON_JSON} is no valid JSON" in failed.stderr
    assert "try:" in failed.stderr
    assert node.run(f"cat {DAEMON_JSON}").stdout == '{"debug": true,}'
    assert pid(node) == running
    node.run(f"cat > {DAEMON_JSON}", stdin=good)
    assert "everything is as it should be" in controller.run("provision", node.name).stderr


def test_another_store_does_not_lock_this_one_out_by_accident(node, controller, new_controller):
    other = new_controller()
    refused = other.create(node, check=False)
    assert refused.returncode == 1
    assert "belongs to another store" in refused.stderr
    assert "--take-over" in refused.stderr
    assert controller.docker(node.name, "info", "-f", "{{.Name}}") == node.name
    assert "is ready at tcp://" in other.create(node, "--take-over").stderr
    locked_out = controller.run("ls", "--format", "{{.Name}} {{.State}} {{.Error}}").stdout
    assert f"{node.name} Error" in locked_out
    assert "is ready at tcp://" in controller.run("provision", "--take-over", node.name).stderr
    assert controller.docker(node.name, "info", "-f", "{{.Name}}") == node.name


def test_a_dry_run_shows_a_new_certificate(node, controller):
    said = controller.run("provision", "--dry-run", "--tls-san", "docker.example.com", node.name).stdout
    assert "~ write /etc/docker/server.pem" in said
    assert "! restart docker.service" in said
    before = pid(node)
    controller.run("provision", "--tls-san", "docker.example.com", node.name)
    assert pid(node) != before
    assert (
        "docker.example.com"
        in node.run("openssl x509 -in /etc/docker/server.pem -noout -ext subjectAltName").stdout
    )


def test_a_hand_made_unit_without_a_socket_is_adopted(make_host, new_controller, lab):
    """As people install Docker's static binaries: an own unit, nothing of systemd's sockets."""
    controller = new_controller()
    host = make_host("static")
    host.run("apt-get update -q && apt-get install -q -y docker.io", deadline=300)
    host.run("systemctl disable --now docker.socket docker.service containerd; rm -f /run/docker.sock")
    host.run("cd /lib/systemd/system && rm docker.service docker.socket && systemctl daemon-reload")
    unit = "[Service]\nType=notify\nExecStart=/usr/sbin/dockerd --log-opt max-size=10m\n[Install]\nWantedBy=multi-user.target\n"
    host.run("cat > /etc/systemd/system/docker.service && systemctl daemon-reload", stdin=unit)
    host.run("systemctl enable --now docker.service")
    said = controller.create(host, "--adopt", "--engine-log-opt", "max-file=3").stderr
    assert "is ready at tcp://" in said
    assert document(host)["log-opts"] == {"max-size": "10m", "max-file": "3"}
    assert host.run("docker info -f '{{.Name}}'").stdout.strip() == "static"
    assert "everything is as it should be" in controller.create(host).stderr
    lab.down([host.name])
