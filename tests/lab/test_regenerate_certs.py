"""Certificates: what `ls` says of their end, and new ones without losing containers."""

from __future__ import annotations

import datetime
import ssl

import pytest

from machinectl.pki import certificates
from machinectl.pki.certificates import SERVER

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAMES = ("reg1", "reg2")


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(make_host, controller, busybox, lab):
    made = [
        make_host(name, suite, engine=True) for name, suite in zip(NAMES, ("bookworm", "trixie"), strict=True)
    ]
    for host in made:
        controller.create(host)
        controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
        controller.docker(host.name, "run", "-d", "--name", "on", "busybox", "sleep", "infinity")
        host.began = started(controller, host)
    yield made
    lab.down(list(NAMES))


def started(controller, host):
    return controller.docker(host.name, "inspect", "-f", "{{.State.StartedAt}} {{.State.Running}}", "on")


def served(host, port=2376):
    return ssl.get_server_certificate((host.ip, port))


def all_well(controller, hosts):
    for host in hosts:
        assert started(controller, host) == host.began
    assert "Running[]" in controller.run("ls", "-f", "{{.State}}[{{.Error}}]").stdout
    for host in hosts:
        assert "everything is as it should be" in controller.run("provision", host.name).stderr


def test_new_server_certificates_and_the_same_client(hosts, controller):
    before = [served(host) for host in hosts]
    client = (controller.store / "certs/cert.pem").read_bytes()
    hosts[0].run("apt-get -qq update")
    controller.run("registry", "deploy", hosts[0].name)
    registry = served(hosts[0], 5000)
    asked = controller.run("regenerate-certs", *NAMES)  # nobody answers: nothing is done
    assert asked.stdout.startswith("Regenerate TLS machine certs?  Warning: this is irreversible. (y/n): ")
    assert [served(host) for host in hosts] == before
    assert served(hosts[0], 5000) == registry
    said = controller.run("regenerate-certs", "-f", *NAMES)
    assert [line.partition(":")[0] for line in said.stdout.splitlines()] == list(NAMES)
    assert "due" not in said.stdout
    assert all(served(host) != one for host, one in zip(hosts, before, strict=True))
    assert served(hosts[0], 5000) != registry
    assert "Running" in controller.run("registry", "ls").stdout
    controller.run("registry", "undeploy", hosts[0].name)
    assert not (controller.store / "machines" / hosts[0].name / "registry.pem").exists()
    assert (controller.store / "certs/cert.pem").read_bytes() == client
    all_well(controller, hosts)


def test_the_clients_certificate_too(hosts, controller):
    client = (controller.store / "certs/cert.pem").read_bytes()
    authority = (controller.store / "certs/ca.pem").read_bytes()
    controller.run("regenerate-certs", "--force", "--client-certs", NAMES[0])
    assert (controller.store / "certs/cert.pem").read_bytes() != client
    assert (controller.store / "certs/ca.pem").read_bytes() == authority
    copies = {(controller.store / "machines" / name / "cert.pem").read_bytes() for name in NAMES}
    assert copies == {(controller.store / "certs/cert.pem").read_bytes()}
    all_well(controller, hosts)


def test_ls_warns_and_one_command_renews_what_is_due(hosts, controller):
    host = hosts[1]
    folder = controller.store / "machines" / host.name
    certs = controller.store / "certs"
    key = (folder / "server-key.pem").read_bytes()
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=805)
    old = certificates.make_leaf(
        (certs / "ca.pem").read_bytes(),
        (certs / "ca-key.pem").read_bytes(),
        key,
        common_name=host.name,
        usage=SERVER,
        names=(host.ip, host.name, "localhost", "127.0.0.1"),
        now=then,
    )
    (folder / "server.pem").write_bytes(old)
    host.run("cat > /etc/docker/server.pem && systemctl restart docker", stdin=old.decode())
    listed = controller.run(
        "ls", "-f", "{{.Name}} {{.State}} {{.CertExpires}} {{.Error}}"
    ).stdout.splitlines()
    ends = (then + datetime.timedelta(days=825)).strftime("%Y-%m-%d")
    row = next(line for line in listed if line.startswith(host.name))
    assert row.startswith(f"{host.name} Running {ends}T")
    assert f"certificate expires on {ends}, in 19 days" in row
    assert all("expires" not in line for line in listed if not line.startswith(host.name))
    said = controller.run("regenerate-certs", "-f", "--due")
    assert said.stdout.startswith(f"{host.name}: new certificates, good until ")
    assert said.stdout.strip().endswith(f"they were due: {ends}")
    assert len(said.stdout.splitlines()) == 1
    assert "are due" in controller.run("regenerate-certs", "-f", "--due").stderr
    everyone = controller.run("regenerate-certs", "-f", "--all").stdout
    assert len(everyone.splitlines()) == 2
    all_well(controller, hosts)


def test_a_certificate_that_has_ended_is_renewed(hosts, controller):
    """TLS is no way in any more; SSH is."""
    host = hosts[0]
    folder, certs = controller.store / "machines" / host.name, controller.store / "certs"
    old = certificates.make_leaf(
        (certs / "ca.pem").read_bytes(),
        (certs / "ca-key.pem").read_bytes(),
        (folder / "server-key.pem").read_bytes(),
        common_name=host.name,
        usage=SERVER,
        names=(host.ip, host.name, "localhost", "127.0.0.1"),
        now=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=900),
    )
    (folder / "server.pem").write_bytes(old)
    host.run("cat > /etc/docker/server.pem && systemctl restart docker", stdin=old.decode())
    assert "has expired" in controller.run("ls", "-f", "{{.Error}}").stdout
    assert "they were due" in controller.run("regenerate-certs", "-f", "--due").stdout
    all_well(controller, hosts)
