"""Registries on real hosts: each of two Debian releases is the other one's registry."""

from __future__ import annotations

import json

import pytest

from machinectl.remote import registry_client
from machinectl.remote.registry_client import RegistryClient
from tests.lab.registry_shop import both_ways, clear, opened_shop, push

NAMES = ("shelf1", "shelf2")

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

CALM = "everything is as it should be"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def shop(lab, make_host, new_controller, busybox):
    with opened_shop(lab, make_host, new_controller, busybox, NAMES) as shop:
        yield shop


@pytest.fixture(params=both_ways(NAMES), ids=["bookworm", "trixie"])
def pair(request, shop):
    yield request.param
    clear(shop)


def test_plain_push_from_another_machine_and_pull_after_a_redeploy(shop, pair, monkeypatch):
    server, client = pair
    host = shop.hosts[server]
    deploy = ("registry", "deploy", "--plain", "--via", "package", server)
    plan = shop.run(*deploy, "--dry-run").stdout
    assert "write /etc/machinectl-registry/5000/config.yml" in plan
    assert not host.run("ls /etc/machinectl-registry/5000", check=False).stdout
    place = f"{host.ip}:5000"
    first = shop.run(*deploy, "--use-on", client)
    assert first.stdout == f"http://{place}\n"
    before = host.run("systemctl show -p MainPID --value machinectl-registry-5000").stdout
    assert CALM in shop.run(*deploy).stderr
    assert host.run("systemctl show -p MainPID --value machinectl-registry-5000").stdout == before
    # the package's own service would have the same port at the next boot
    assert host.run("systemctl is-enabled docker-registry", check=False).stdout.strip() == "masked"
    push(shop, client, f"{place}/app/box:1")
    push(shop, client, f"{place}/other:1")
    assert shop.run("registry", "tags", server).stdout.split() == [
        "REPOSITORY", "TAG", "app/box", "1", "other", "1",
    ]  # fmt: skip
    closed = f"INPUT -p tcp --dport 5000 -s {shop.gateway} -j DROP"
    host.run(f"iptables -I {closed}")
    try:
        # by SSH
        assert "app/box" in shop.run("registry", "tags", server).stdout
        assert "Timeout" in shop.run("registry", "ls", check=False).stdout
    finally:
        host.run(f"iptables -D {closed}")
    monkeypatch.setattr(registry_client, "PAGE", 1)
    assert RegistryClient(f"http://{place}").repositories() == ["app/box", "other"]
    shop.run("registry", "deploy", "--tls", server)
    shop.run(*deploy)
    assert shop.docker(client, "run", "--rm", f"{place}/app/box:1", "echo", "hello") == "hello"
    shop.run("registry", "undeploy", server)
    assert host.run("ls /etc/systemd/system | grep machinectl-registry", check=False).stdout == ""
    assert host.run("systemctl is-enabled docker-registry", check=False).stdout.strip() == "disabled"
    assert shop.run("registry", "ls").stdout.splitlines()[1:] == []
    shop.run(*deploy)
    assert "app/box" in shop.run("registry", "tags", server).stdout
    shop.run("registry", "remove", "--purge-storage", server)
    assert host.run("ls -d /var/lib/machinectl-registry/5000", check=False).returncode != 0


def test_tls_and_a_password(shop, pair):
    server, client = pair
    host = shop.hosts[server]
    place = f"{host.ip}:5443"
    deploy = ("registry", "deploy", "--port", "5443", "--user", "ops", server)
    refused = shop.run(*deploy, check=False, start_new_session=True)
    assert refused.returncode == 2 and "--password-stdin" in refused.stderr
    environment = {"MACHINECTL_REGISTRY_PASSWORD": PASSWORD}
    said = shop.run(*deploy, **environment)
    assert said.stdout == f"https://{place}\n"
    assert CALM in shop.run(*deploy, **environment).stderr
    # it is remembered
    assert CALM in shop.run(*deploy).stderr
    everything = host.run(f"grep -rl '{PASSWORD}' /etc /var/lib/machinectl* /var/log; :").stdout
    assert (everything, PASSWORD in said.stderr) == ("", False)
    unknown = push(shop, client, f"{place}/box:1", check=False)
    assert "certificate signed by unknown authority" in unknown or "failed to verify certificate" in unknown
    shop.run("registry", "deploy", "--port", "5443", server, "--use-on", client)
    assert "no basic auth credentials" in push(shop, client, f"{place}/box:1", check=False)
    shop.docker(client, "login", "-u", "ops", "--password-stdin", place, stdin=PASSWORD.encode())
    try:
        push(shop, client, f"{place}/box:1")
        assert shop.docker(client, "run", "--rm", f"{place}/box:1", "echo", "in") == "in"
    finally:
        shop.docker(client, "logout", place)
    assert "no basic auth credentials" in shop.docker(client, "pull", f"{place}/box:1", check=False)
    assert shop.run("registry", "tags", server, "box").stdout.split()[2:] == ["box", "1"]
    row = json.loads(shop.run("registry", "ls", "--output", "json").stdout)[0]
    assert (row["state"], row["user"], row["url"]) == ("Running", "ops", f"https://{place}")
    assert "password" not in row
    # another password: the same images
    shop.run(*deploy, MACHINECTL_REGISTRY_PASSWORD="another one")
    assert shop.run("registry", "tags", server, "box").stdout.split()[2:] == ["box", "1"]
    shop.run("provision", client, "--registry-ca", f"{place}=")
    assert shop.hosts[client].run(f"ls /etc/docker/certs.d/{place}", check=False).stdout == ""
