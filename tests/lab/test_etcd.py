"""etcd on lab hosts: founded, asked, broken, changed, restored; mutual TLS only."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl

import pytest

from machinectl.actions.etcd.access import admin
from machinectl.store.store import Store
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(make_host, controller):
    """Four machines: three members of two versions of etcd, and a spare one."""
    suites = {"e0": "bookworm", "e1": "trixie", "e2": "bookworm", "e3": "bookworm"}
    found = {name: make_host(name, suite) for name, suite in suites.items()}
    creates = [
        controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in found.values()
    ]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    return found


@pytest.fixture(scope="module")
def members(hosts, controller):
    """The controller is killed in the middle of the first deploy; the second finishes the job."""
    first = controller.start("etcd", "deploy", "e0", "e1", "e2", start_new_session=True)
    for line in first.stderr:
        if "+ write" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    controller.run("etcd", "deploy", "e0", "e1", "e2")
    return ["e0", "e1", "e2"]


def rows(controller):
    done = controller.run("etcd", "status", "--output", "json", check=False)
    return {one["member"]: one for one in json.loads(done.stdout)}, done.returncode


def all_well(controller, count=3):
    found, status = rows(controller)
    return status == 0 and len(found) == count


def led(controller):
    """The members, when all are well and agree who leads."""
    found, status = rows(controller)
    return status == 0 and sum(one["leader"] for one in found.values()) == 1 and found


def test_every_member_is_well_and_a_second_deploy_changes_nothing(controller, members):
    found = until(lambda: led(controller))
    assert [found[name]["health"] for name in members] == ["ok"] * 3
    again = controller.run("etcd", "deploy", *members)
    assert again.stderr.count("everything is as it should be") == 3


def test_nobody_gets_in_without_a_certificate(hosts, members):
    for port in (2379, 2380):
        plain = http.client.HTTPConnection(hosts["e0"].ip, port, timeout=5)
        plain.request("GET", "/health")
        try:
            assert plain.getresponse().status == 400  # Go's own answer to plain text on a TLS port
        except (ConnectionError, http.client.HTTPException):
            pass
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        bare = http.client.HTTPSConnection(hosts["e0"].ip, port, context=context, timeout=5)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            bare.request("GET", "/health")
            bare.getresponse()


def test_the_packages_own_server_does_not_run(hosts, members):
    for name in members:
        host = hosts[name]
        assert host.run("systemctl is-enabled etcd.service", check=False).stdout.strip() == "masked"
        assert host.run("pgrep -xc etcd").stdout.strip() == "1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host.ip, 4001), timeout=2)
        assert host.run(
            "stat -c %a /etc/machinectl-etcd/server-key.pem /var/lib/machinectl-etcd"
        ).stdout.split() == [
            "600",
            "700",
        ]


def test_only_the_ports_that_are_told_listen(hosts, members):
    """To others: sshd, dockerd, etcd for clients and for members, and that on no more addresses than needed."""
    for name in members:
        listening = hosts[name].run("ss -ltnH").stdout.splitlines()
        found = {address.rpartition(":")[::2] for address in (line.split()[3] for line in listening)}
        # containerd has a port of its own on loopback
        outside = {int(port) for address, port in found if address not in ("127.0.0.1", "[::1]")}
        assert outside == {22, 2376, 2379, 2380}, (name, found)
        assert {address for address, port in found if port == "2380"} == {hosts[name].ip}
        assert {address for address, port in found if port == "2379"} == {hosts[name].ip, "127.0.0.1"}


def test_a_member_that_is_down_is_shown_and_one_that_is_killed_comes_back(controller, hosts, members):
    hosts["e1"].run("systemctl stop machinectl-etcd")

    def seen():
        found, status = rows(controller)
        return status, [found[name]["health"] for name in members]

    until(lambda: seen() == (3, ["ok", "down", "ok"]))
    hosts["e1"].run("systemctl start machinectl-etcd")
    hosts["e2"].run("kill -9 $(systemctl show -p MainPID --value machinectl-etcd)")
    until(lambda: all_well(controller), 120)


def test_other_machines_than_its_members_are_refused(controller, new_controller, hosts):
    other = new_controller()
    done = other.run("etcd", "deploy", "nobody", check=False)
    assert done.returncode == 1
    assert "nobody" in done.stderr
    done = controller.run("etcd", "deploy", "e0", "e3", check=False)
    assert done.returncode == 2
    assert "etcd add" in done.stderr


def test_a_backup_and_the_way_back(controller, members, tmp_path):
    client = admin(Store(controller.store))
    try:
        client.put("kept", b"1")
        saved = controller.run("etcd", "backup", tmp_path / "etcd.db")
        assert (tmp_path / "etcd.db").stat().st_mode & 0o777 == 0o600
        assert len(saved.stdout.split()[0]) == 64
        client.put("lost", b"1")
        refused = controller.run("etcd", "restore", tmp_path / "etcd.db", check=False)
        assert refused.returncode == 2
        controller.run("etcd", "restore", "--yes", tmp_path / "etcd.db")
        kept = client.get("kept")
        assert kept
        assert kept.value == b"1"
        assert client.get("lost") is None
    finally:
        client.close()
    until(lambda: all_well(controller))


def test_a_member_more_and_one_less(controller, hosts, members):
    controller.run("etcd", "add", "e3")
    until(lambda: all_well(controller, 4))
    controller.run("etcd", "remove", "e3")
    until(lambda: all_well(controller))
    assert hosts["e3"].run("ls -d /var/lib/machinectl-etcd.*").stdout
    assert hosts["e3"].run("systemctl is-active machinectl-etcd", check=False).stdout.strip() != "active"


def test_a_member_that_lost_its_data_does_not_begin_anew(controller, hosts, members):
    """It could take back a vote that it has given: it is removed and added instead."""
    hosts["e0"].run("systemctl stop machinectl-etcd; rm -rf /var/lib/machinectl-etcd/member")
    done = controller.run("etcd", "deploy", *members, check=False)
    assert done.returncode == 1
    assert "could take a vote" in done.stderr
    controller.run("etcd", "remove", "e0")
    controller.run("etcd", "add", "e0")
    until(lambda: all_well(controller), 120)


def test_space_is_given_back_and_nothing_is_there_to_upgrade(controller, members):
    assert controller.run("etcd", "defrag").stdout.count("→") == 3
    assert controller.run("etcd", "upgrade").stdout.count("etcd 3.") == 3
