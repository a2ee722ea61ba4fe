"""A host that docker-machine has set up: its store is taken over, the engine answers before and after a provision."""

from __future__ import annotations

import json

import pytest

from tests.docker_machine_store import Certificates, add_machine, make_store

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

DROP_IN = "/etc/systemd/system/docker.service.d/10-machine.conf"
FLAGS = (
    "-H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock --storage-driver {driver} --tlsverify --tlscacert"
    " /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem"
    " --label zone=a --label provider=generic --mtu=1400 "
)
"""libmachine/provision/systemd.go."""


@pytest.fixture(scope="module")
def old(make_host, new_controller, tmp_path_factory):
    """docker-machine's store, and the host as it was left by it; the store has been moved since."""
    host = make_host("dmold", "bookworm")
    certificates = Certificates()
    store = make_store(tmp_path_factory.mktemp("old") / "machine", certificates)
    engine = {"Labels": ["zone=a"], "ArbitraryFlags": ["mtu=1400"]}
    folder = add_machine(store, certificates, host.name, host.ip, key=host.key.read_bytes(), engine=engine)
    add_machine(store, certificates, "lost", "198.18.255.254")
    host.run("apt-get update -q && apt-get install -q -y --no-install-recommends docker.io", deadline=300)
    for name in ("ca.pem", "server.pem", "server-key.pem"):
        host.run(f"mkdir -p /etc/docker && cat > /etc/docker/{name}", stdin=(folder / name).read_text())
    driver = host.run("docker info -f '{{.Driver}}'").stdout.strip()
    start = (
        f"[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd {FLAGS.format(driver=driver)}\nEnvironment=\n"
    )
    host.run(f"mkdir -p {DROP_IN.rpartition('/')[0]} && cat > {DROP_IN}", stdin=start)
    host.run("systemctl daemon-reload && systemctl restart docker")
    controller = new_controller()
    controller.host, controller.old = host, store
    return controller


def test_the_engine_answers_and_nothing_has_changed_on_the_host(old):
    host = old.host
    look = f"pidof dockerd; stat -c '%n %Y' /etc/docker/* {DROP_IN}; ls /opt"
    before = host.run(look).stdout
    done = old.run("import", "--docker-machine", old.old)
    assert done.stdout == f"{host.name}\nlost\n"
    assert f"{host.name}: its CA, with the key, is this store's now" in done.stderr
    labels = json.loads(old.docker(host.name, "info", "-f", "{{json .Labels}}"))
    assert sorted(labels) == ["provider=generic", "zone=a"]
    assert "Running" in old.run("ls", "--filter", f"name={host.name}").stdout
    assert old.run("exec", host.name, "--", "hostname").stdout == f"{host.name} | {host.name}\n"
    assert host.run(look).stdout == before
    again = old.run("import", "--docker-machine", old.old, host.name, check=False)
    assert (again.returncode, "already exists" in again.stderr) == (1, True)


def test_a_provision_goes_on_with_the_same_ca(old):
    host = old.host
    ca = host.run("cat /etc/docker/ca.pem").stdout
    client = (old.old / "machines" / host.name / "cert.pem").read_text()
    assert "is ready at tcp://" in old.run("provision", host.name).stderr
    assert host.run("cat /etc/docker/ca.pem").stdout == ca
    assert (old.store / "machines" / host.name / "cert.pem").read_text() == client
    assert "zone=a" in old.docker(host.name, "info", "-f", "{{.Labels}}")
    assert "1400" in host.run("cat /etc/docker/daemon.json").stdout
