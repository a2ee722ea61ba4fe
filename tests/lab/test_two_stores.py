"""Two controllers with stores of their own on one host: both work, whoever came first and whatever they do."""

from __future__ import annotations

import json
import ssl

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAME = "duo1"


@pytest.fixture(scope="module")
def stores(new_controller):
    return new_controller(), new_controller()


@pytest.fixture(scope="module")
def host(make_host, stores, busybox, lab):
    host = make_host(NAME, engine=True)
    first, _ = stores
    first.create(host)
    first.docker(NAME, "import", "-", "busybox:latest", stdin=busybox)
    first.docker(NAME, "run", "-d", "--name", "on", "busybox", "sleep", "infinity")
    host.began = started(first)
    yield host
    lab.down([NAME])


def started(controller):
    return controller.docker(NAME, "inspect", "-f", "{{.State.StartedAt}} {{.State.Running}}", "on")


def engine(host):
    return host.run("pidof dockerd").stdout.strip()


def served(host):
    """The certificate that dockerd shows."""
    return ssl.get_server_certificate((host.ip, 2376))


def both_work(stores, host):
    for one in stores:
        assert one.docker(NAME, "info", "-f", "{{.Name}}") == NAME
        assert one.run("ls", "-f", "{{.State}}[{{.Error}}]").stdout.strip() == "Running[]"
        assert started(one) == host.began


def settled(stores, host):
    """Both provision in turn, twice: nothing changes and nothing restarts."""
    pid, files = engine(host), host.run("sha256sum /etc/docker/*").stdout
    for _ in range(2):
        for one in stores:
            assert "everything is as it should be" in one.run("provision", NAME).stderr
    assert (engine(host), host.run("sha256sum /etc/docker/*").stdout) == (pid, files)


def test_a_second_store_needs_consent(stores, host):
    _, second = stores
    refused = second.create(host, check=False)
    assert refused.returncode == 1
    assert "belongs to another store" in refused.stderr
    assert "--share" in refused.stderr
    plan = second.create(host, "--share", "--dry-run").stdout
    assert "write /etc/docker/ca.pem (2 stores are trusted)" in plan
    assert "server.pem" not in plan
    both_work(stores[:1], host)


def test_both_work_with_the_first_ones_certificate(stores, host):
    second = stores[1]
    before = served(host)
    assert "is ready at tcp://" in second.create(host, "--share").stderr
    assert served(host) == before
    both_work(stores, host)
    settled(stores, host)
    both_work(stores, host)
    # the key of the other store's certificate has not left the host
    key = host.run("cat /etc/docker/server-key.pem").stdout
    assert all(key not in one.read_text() for one in second.store.rglob("*.pem"))


def test_a_certificate_for_further_names_keeps_the_others(stores, host):
    first, second = stores
    second.run("provision", "--tls-san", "second.example.com", NAME)
    assert started(second) == host.began
    # the first one has been there since the second came: it knows who signs
    both_work(stores, host)
    settled(stores, host)
    names = host.run("openssl x509 -in /etc/docker/server.pem -noout -ext subjectAltName").stdout
    assert "DNS:second.example.com" in names
    first.run("provision", "--tls-san", "first.example.com", NAME)
    second.run("provision", NAME)
    both_work(stores, host)
    settled(stores, host)
    names = host.run("openssl x509 -in /etc/docker/server.pem -noout -ext subjectAltName").stdout
    assert "DNS:second.example.com" in names
    assert "DNS:first.example.com" in names


def test_each_ones_engine_settings_stay(stores, host):
    first, second = stores
    first.run("provision", "--engine-opt", "max-concurrent-downloads=5", "--engine-label", "rack=r1", NAME)
    second.run("provision", "--engine-label", "zone=z", "--engine-env", "NO_PROXY=registry.lan", NAME)
    settled(stores, host)
    both_work(stores, host)
    labels = json.loads(first.docker(NAME, "info", "-f", "{{json .Labels}}"))
    assert sorted(labels) == ["rack=r1", "zone=z"]
    assert "registry.lan" in host.run("cat /etc/docker/machinectl.env").stdout
    assert json.loads(host.run("cat /etc/docker/daemon.json").stdout)["max-concurrent-downloads"] == 5


def test_a_run_killed_between_key_and_certificate_is_mended(stores, host):
    first, second = stores
    key = second.store / "machines" / NAME / "server-key.pem"
    host.run("cat > /etc/docker/server-key.pem", stdin=key.read_text())
    for one in stores:
        one.run("provision", NAME)
    first.run("provision", NAME)
    both_work(stores, host)
    settled(stores, host)
    host.run("systemctl restart docker")
    both_work(stores, host)


def test_a_store_is_taken_out_again(stores, host):
    first, second = stores
    listed = json.loads(first.run("trust", "ls", "--output", "json", NAME).stdout)
    assert [one["own"] for one in listed] == [True, False]
    other = next(one for one in listed if not one["own"])
    unknown = first.run("trust", "rm", NAME, "0123456789abcdef", check=False)
    assert unknown.returncode == 1
    own = next(one for one in listed if one["own"])
    assert first.run("trust", "rm", NAME, own["id"], check=False).returncode == 1
    first.run("trust", "rm", "-y", NAME, other["id"])
    both_work(stores[:1], host)
    assert json.loads(first.docker(NAME, "info", "-f", "{{json .Labels}}")) == ["rack=r1"]
    assert second.docker(NAME, "info", check=False).count("Server Version") == 0
    assert "everything is as it should be" in first.run("provision", NAME).stderr
    refused = second.run("provision", NAME, check=False)
    assert "belongs to another store" in refused.stderr


def test_a_take_over_is_for_good(stores, host):
    first, second = stores
    second.run("provision", "--share", NAME)
    both_work([second], host)
    second.run("provision", "--take-over", NAME)
    both_work([second], host)
    assert "everything is as it should be" in second.run("provision", NAME).stderr
    assert first.run("provision", NAME, check=False).returncode == 1
    assert first.docker(NAME, "info", check=False).count("Server Version") == 0
    # its certificate is for a name more than the other's: the other one has to learn who signs now
    said = first.run("provision", "--share", NAME).stderr
    assert "other stores" in said
    assert "not signed by this store's CA" in second.run("ls", "-f", "{{.Error}}").stdout
    second.run("provision", NAME)
    both_work(stores, host)
    settled(stores, host)
