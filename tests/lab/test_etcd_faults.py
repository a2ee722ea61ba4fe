"""etcd when things go wrong: power cuts, kills, dead hosts, mixed versions, another's etcd. Hosts without Docker: etcd
needs none, so the machines are put into the store as a create would have left them."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time

import pytest

from machinectl.actions.etcd.access import admin
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

UNIT = "machinectl-etcd"


@pytest.fixture(scope="module")
def members(make_host):
    """Three machines of one suite, and a spare one."""
    return [make_host(f"et{number}", "bookworm") for number in range(4)]


@pytest.fixture(scope="module")
def controller(new_controller, members):
    """Knows them, and has founded an etcd on the first three: killed while it did, and with the plug pulled on one."""
    return known(new_controller(), members)


def known(controller, hosts):
    store = Store(controller.store)
    for host in hosts:
        address = SshAddress(host.ip, user="root", key=str(host.key))
        store.save(Machine(host.name, host.ip, address, state="ready"))
    return controller


def names(hosts):
    return [host.name for host in hosts]


def health(controller):
    done = controller.run("etcd", "status", "--output", "json", check=False)
    return {one["member"]: one["health"] for one in json.loads(done.stdout)}


def all_well(controller, hosts):
    return health(controller) == dict.fromkeys(names(hosts), "ok")


def cluster_id(host):
    """As the member itself says it."""
    tls = "--cacert /etc/machinectl-etcd/ca.pem --cert /etc/machinectl-etcd/server.pem --key /etc/machinectl-etcd/server-key.pem"
    done = host.run(f"ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 {tls} endpoint status -w json")
    return json.loads(done.stdout)[0]["Status"]["header"]["cluster_id"]


def interrupt(run, word, how):
    """Does something to a command that has just said `word`."""
    said = []
    for line in run.stderr:
        said.append(line)
        if word in line:
            break
    how()
    _, rest = run.communicate(timeout=400)
    return "".join(said) + rest


def start(controller, *words):
    return controller.start("etcd", *words, stdin=subprocess.DEVNULL)


def test_a_deploy_that_is_cut_off_again_and_again_is_finished(controller, members, lab):
    """The plug is pulled on a host while packages are installed; the controller is killed while members start."""
    three = members[:3]
    run = start(controller, "deploy", *names(three))
    until(lambda: three[0].run("pidof dpkg apt-get", check=False).returncode == 0, 60)
    lab.power_cut(three[0].name)
    _, said = run.communicate(timeout=400)
    assert run.returncode == 3, said
    assert f"{three[0].name}: " in said
    lab.start(three[0].name)
    for word in ("+ enable", "+ start"):
        run = start(controller, "deploy", *names(three))
        interrupt(run, word, lambda run=run: run.send_signal(signal.SIGKILL))
    controller.run("etcd", "deploy", *names(three))
    until(lambda: all_well(controller, three), 120)
    assert len({cluster_id(host) for host in three}) == 1
    again = controller.run("etcd", "deploy", *names(three))
    assert again.stderr.count("everything is as it should be") == 3


def test_a_power_cut_of_all_hosts_at_once_loses_nothing(controller, members, lab):
    three = members[:3]
    client = admin(Store(controller.store))
    try:
        client.put("before", b"1")
        for host in three:
            lab.power_cut(host.name)
        for host in three:
            lab.start(host.name)
        until(lambda: all_well(controller, three), 120)
        assert client.get("before")
    finally:
        client.close()


def test_new_options_restart_one_member_after_the_other(controller, members):
    """Never two at once, so a client that asks for a linearizable read all the time is answered all the time."""
    three = members[:3]
    run = start(controller, "deploy", "--quota", "1G", "--insecure-loopback", *names(three))
    client = admin(Store(controller.store))
    try:
        asked = 0
        while run.poll() is None:
            client.health(deadline=15.0)
            asked += 1
            time.sleep(0.02)
    finally:
        client.close()
        out, said = run.communicate()
    assert run.returncode == 0, out + said
    assert said.count("! restart") == 3
    # the hosts share one clock
    away = sorted(
        [
            int(host.run(f"systemctl show machinectl-etcd -p {what} --value").stdout)
            for what in ("ActiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        ]
        for host in three
    )
    assert all(begin < end for begin, end in away)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(away)), away
    assert asked
    for host in three:
        assert (
            "3.4"
            in host.run(
                "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:2379/version').read())\""
            ).stdout
        )
        listening = host.run("ss -ltnH 'sport = 2379'").stdout
        assert "0.0.0.0:2379" not in listening
    controller.run("etcd", "deploy", "--no-insecure-loopback", *names(three))


def test_another_store_may_use_it(controller, new_controller, members, tmp_path):
    """By endpoints and certificates; its members are not that store's affair."""
    other, certs = new_controller(), controller.store / "certs"
    urls = ",".join(f"https://{host.ip}:2379" for host in members[:3])
    bare = other.run("etcd", "use", "--endpoints", urls, "--ca", certs / "ca.pem", check=False)
    assert bare.returncode == 1
    assert "can't be used" in bare.stderr
    files = ("--ca", certs / "ca.pem", "--cert", certs / "cert.pem", "--key", certs / "key.pem")
    other.run("etcd", "use", "--endpoints", urls, *files)
    until(lambda: all_well(other, members[:3]))  # the names are etcd's own
    other.run("etcd", "backup", tmp_path / "other.db")
    refused = other.run("etcd", "remove", members[0].name, check=False)
    assert refused.returncode == 1
    assert "not its own" in refused.stderr
    other.run("etcd", "use", "--none")
    assert "there is no etcd yet" in other.run("etcd", "status", check=False).stderr


def test_a_dead_host_is_removed_by_force_and_may_come_back(controller, members, lab):
    dead, alive = members[2], members[:2]
    lab.power_cut(dead.name)
    refused = controller.run("etcd", "remove", dead.name, check=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert dead.name in health(controller)
    quorum = controller.run("etcd", "remove", "--force", alive[0].name, check=False)
    assert quorum.returncode == 1
    assert "no majority" in quorum.stderr
    controller.run("etcd", "remove", "--force", dead.name)
    until(lambda: all_well(controller, alive), 120)
    # it comes back with its old data: nobody takes it for a member, and it is none
    lab.start(dead.name)
    until(lambda: all_well(controller, alive))
    done = controller.run("etcd", "add", dead.name)
    assert "of a membership that has ended" in done.stderr
    until(lambda: all_well(controller, [*alive, dead]), 120)


def test_members_behind_a_firewall_are_reached_by_ssh(controller, members, tmp_path):
    """Only port 22 is open to the controller, as behind a jump host."""
    three, spare = members[:3], members[3]
    rule = "INPUT -p tcp --dport 2379 -s $(ip route show default | cut -d' ' -f3) -j DROP"
    for host in members:
        host.run(f"iptables -I {rule}")
    try:
        until(lambda: all_well(controller, three))
        controller.run("etcd", "backup", tmp_path / "etcd.db")
        controller.run("etcd", "add", spare.name)
        controller.run("etcd", "remove", "--delete-data", spare.name)
    finally:
        for host in members:
            host.run(f"iptables -D {rule}")


def test_an_add_that_is_killed_goes_on_and_can_be_undone(controller, members):
    spare, three = members[3], members[:3]
    run = start(controller, "add", spare.name)
    interrupt(run, "+ write /etc/machinectl-etcd/founding.env", lambda: run.send_signal(signal.SIGKILL))
    other = controller.run("etcd", "restore", "--yes", "/dev/null", check=False)
    assert other.returncode == 3
    controller.run("etcd", "add", spare.name)
    until(lambda: all_well(controller, members), 120)
    controller.run("etcd", "remove", "--delete-data", spare.name)
    until(lambda: all_well(controller, three), 120)
    assert spare.run("ls -d /var/lib/machinectl-etcd*", check=False).stdout.strip() == ""
    assert spare.run("ls /etc/machinectl-etcd").stdout.strip() == ""


def test_a_restore_that_is_killed_is_finished_by_the_same_restore(controller, members, tmp_path):
    three, file = members[:3], tmp_path / "etcd.db"
    client = admin(Store(controller.store))
    try:
        client.put("kept", b"1")
        controller.run("etcd", "backup", file)
        client.put("lost", b"1")
        run = start(controller, "restore", "--yes", file)
        interrupt(run, "the old data are in", lambda: run.send_signal(signal.SIGKILL))
        refused = controller.run("etcd", "deploy", *names(three), check=False)
        assert refused.returncode == 1
        assert "cut off" in refused.stderr
        controller.run("etcd", "restore", "--yes", file)
        assert client.get("kept")
        assert client.get("lost") is None
    finally:
        client.close()
    until(lambda: all_well(controller, three))
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(file.read_bytes()[:4096])
    refused = controller.run("etcd", "restore", "--yes", damaged, check=False)
    assert refused.returncode == 3
    assert "nothing has changed" in refused.stderr
    until(lambda: all_well(controller, three))


def test_the_majority_that_is_gone_for_good_comes_back_from_a_backup(controller, members, lab, tmp_path):
    file = tmp_path / "etcd.db"
    controller.run("etcd", "backup", file)
    for host in members[:2]:
        lab.power_cut(host.name)
    left = members[2:]
    controller.run("etcd", "restore", "--yes", file, *names(left))
    until(lambda: all_well(controller, left))
    for host in members[:2]:
        lab.start(host.name)
    until(lambda: all_well(controller, left))


def test_programs_of_ones_own(members, new_controller, tmp_path):
    """The host's own package serves as the given programs; an older one is no way."""
    host = members[0]
    controller = known(new_controller(), [host])
    host.run(f"systemctl disable --now {UNIT}; rm -rf /var/lib/machinectl-etcd* /etc/machinectl-etcd")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("etcd", "etcdctl"):
        (folder / name).write_bytes((host.root / "usr/bin" / name).read_bytes())
    controller.run("etcd", "deploy", "--binaries", folder, host.name)
    until(lambda: all_well(controller, [host]))
    assert (
        "/opt/machinectl/etcd/"
        in host.run(f"readlink /proc/$(systemctl show -p MainPID --value {UNIT})/exe").stdout
    )
    assert "as before" in controller.run("etcd", "upgrade").stdout
    (folder / "etcd").write_bytes(b"\x7fELF nonsense")
    refused = controller.run("etcd", "upgrade", "--binaries", folder, check=False)
    assert refused.returncode == 1
    assert "does not run on this host" in refused.stderr
    until(lambda: all_well(controller, [host]))


def test_three_suites_in_one_cluster(make_host, new_controller):
    """3.3, 3.5.16 and 3.5.30 understand each other; somebody else's etcd on a host is not touched."""
    hosts = [
        make_host(name, suite) for name, suite in (("mixb", "bullseye"), ("mixt", "trixie"), ("mixs", "sid"))
    ]
    controller = known(new_controller(), hosts)
    hosts[2].run("systemd-run -q --unit etcd.service sleep infinity")
    refused = controller.run("etcd", "deploy", *names(hosts), check=False)
    assert refused.returncode == 3
    assert "another etcd runs on this host" in refused.stderr
    assert hosts[2].run("systemctl is-active etcd").stdout.strip() == "active"
    hosts[2].run("systemctl stop etcd")
    controller.run("etcd", "deploy", *names(hosts))
    until(lambda: all_well(controller, hosts))
    found = json.loads(controller.run("etcd", "status", "--output", "json").stdout)
    assert [one["version"].rpartition(".")[0] for one in found] == ["3.3", "3.5", "3.5"]
    # without learners (3.3) a member is added with a vote at once
    controller.run("etcd", "remove", hosts[1].name)
    controller.run("etcd", "add", hosts[1].name)
    until(lambda: all_well(controller, hosts), 120)
    # without its oldest member the cluster goes up to the next version, and that one is too old for it
    controller.run("etcd", "remove", hosts[0].name)
    refused = controller.run("etcd", "add", hosts[0].name, check=False)
    assert refused.returncode == 1
    assert "all members have 3.5 or newer" in refused.stderr
    until(lambda: all_well(controller, hosts[1:]))
