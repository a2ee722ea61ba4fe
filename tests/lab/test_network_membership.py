"""Joining and leaving the networks on real hosts: what is there afterwards, after a reboot, and after kills."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.lab.network_cluster import import_image
from tests.lab.test_killed_steps import READY, steps_of
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

RESOLVER = "169.254.77.53"
FILES = "cd /etc && find . ! -name mtab -printf '%p %m %l\\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2"
LEFT = "ls /run/netns /etc/machinectl /run/docker/plugins 2>/dev/null; ip -brief address show lo"


@pytest.fixture(scope="module")
def hosts(make_host, lab):
    made = [make_host("memb1", "bookworm", engine=True), make_host("memb2", "trixie", engine=True)]
    yield made
    lab.down([host.name for host in made])


@pytest.fixture(scope="module")
def controller(hosts, new_controller, busybox):
    """Two machines, an etcd on the first, and what /etc is like before anybody joins."""
    controller = new_controller()
    creates = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    for one in creates:
        said = one.communicate(timeout=400)
        assert one.returncode == 0, said
    controller.run("etcd", "deploy", hosts[0].name, timeout=400)
    for one in hosts:
        import_image(one, busybox)
    controller.before = {one.name: one.run(FILES).stdout for one in hosts}
    return controller


@pytest.fixture
def joined(controller, hosts):
    controller.run("network", "join", *(one.name for one in hosts), timeout=300)
    return controller


def daemon_json(host):
    return json.loads(host.run("cat /etc/docker/daemon.json").stdout)


def members(controller, name):
    """Names of the machines that are in etcd, as a network's inspect shows them."""
    return [
        one["Name"] for one in json.loads(controller.run("network", "inspect", name).stdout)[0]["Machines"]
    ]


def test_a_dry_run_shows_the_plan_and_changes_nothing(controller, hosts):
    shown = controller.run("network", "join", "--dry-run", hosts[1].name).stdout
    assert "+ start machinectl-network.socket" in shown
    assert "! restart docker.service (no reload for dns)" in shown
    assert "PRIVATE" not in shown
    assert hosts[1].run(FILES).stdout == controller.before[hosts[1].name]


def test_what_a_member_has(joined, hosts):
    for host in hosts:
        states = host.run("systemctl is-active machinectl-network.service machinectl-network.socket").stdout
        assert states.split() == ["active", "active"]
        servers = daemon_json(host)["dns"]
        assert servers[0] == RESOLVER
        assert len(servers) > 1 and not any(one.startswith("127.") for one in servers)
        modes = host.run(
            "stat -c %a /etc/machinectl/etcd /etc/machinectl/etcd/key.pem /etc/machinectl/network.json "
            "/run/docker/plugins/machinectl.sock"
        ).stdout
        assert modes.split() == ["700", "600", "600", "600"]


def test_a_second_join_plans_nothing(joined, hosts):
    said = joined.run("network", "join", *(one.name for one in hosts)).stderr
    assert said.count(READY) == 2


def test_a_provision_keeps_the_membership(joined, hosts):
    assert READY in joined.run("provision", hosts[1].name).stderr
    assert daemon_json(hosts[1])["dns"][0] == RESOLVER


def test_an_engine_option_stays_behind_our_server(joined, hosts):
    """And the network service asks it for names that are not ours."""
    name = hosts[1].name
    joined.run("provision", "--engine-dns", "192.0.2.53", name)
    assert daemon_json(hosts[1])["dns"] == [RESOLVER, "192.0.2.53"]
    assert json.loads(hosts[1].run("cat /etc/machinectl/network.json").stdout)["upstreams"] == ["192.0.2.53"]


def test_no_question_of_a_container_leaves_the_host(joined, hosts):
    """daemon.json's server is that of containers in Docker's own networks as well."""
    host = hosts[0]
    shown = host.run("docker run --rm busybox cat /etc/resolv.conf").stdout
    assert f"nameserver {RESOLVER}" in shown
    assert f"local {RESOLVER}" in host.run(f"ip route get {RESOLVER}").stdout
    host.run("systemctl stop machinectl-network.service")
    try:
        said = host.run("docker run --rm busybox nslookup example.org", check=False)
        assert f"'{RESOLVER}': Connection refused" in said.stdout + said.stderr
    finally:
        host.run("systemctl start machinectl-network.service")


def test_the_socket_is_there_before_dockerd_after_a_reboot(joined, hosts, lab):
    host = hosts[0]
    if not joined.run("network", "ls", "-q").stdout.split():
        joined.run("network", "create", "boot")
    until(lambda: "boot" in host.run("docker network ls --format '{{.Name}}'").stdout.split())
    host.run("docker run -d --name atboot --restart always --network boot busybox sleep infinity")
    lab.reboot(host.name)
    until(
        lambda: (
            host.run("docker inspect -f '{{.State.Running}}' atboot", check=False).stdout.strip() == "true"
        ),
        120.0,
    )
    socket, dockerd = (
        int(host.run(f"systemctl show {unit} -p {what} --value").stdout)
        for unit, what in (
            ("machinectl-network.socket", "ActiveEnterTimestampMonotonic"),
            ("docker.service", "ExecMainStartTimestampMonotonic"),
        )
    )
    assert 0 < socket <= dockerd
    # for a plugin that is missing, dockerd tries again for 15 s
    journal = host.run("journalctl -b -u docker -o cat --no-pager").stdout
    assert not re.search(r"Unable to (locate|connect to) plugin", journal)
    assert host.run("systemctl list-units --failed --no-legend").stdout.strip() == ""


def test_containers_keep_a_machine_from_leaving(joined, hosts):
    name = hosts[0].name
    refused = joined.run("network", "leave", name, check=False)
    assert refused.returncode == 1
    assert "atboot" in refused.stderr and "--force" in refused.stderr
    assert daemon_json(hosts[0])["dns"][0] == RESOLVER
    assert READY in joined.run("network", "join", name).stderr


def test_a_forced_leave_disconnects_them_and_they_run_on(joined, hosts):
    host = hosts[0]
    joined.run("network", "leave", "--force", host.name)
    assert host.run("docker inspect -f '{{.State.Running}}' atboot").stdout.strip() == "true"
    assert members(joined, "boot") == [hosts[1].name]
    host.run("docker rm -f atboot")


def test_leaving_takes_everything_back(joined, hosts):
    joined.run("network", "leave", *(one.name for one in hosts))
    assert hosts[0].run(FILES).stdout == joined.before[hosts[0].name]
    for host in hosts:
        left = host.run(LEFT, check=False).stdout
        assert "mctl-" not in left and "pem" not in left and "machinectl.sock" not in left
        assert RESOLVER not in left
        assert "machinectl-network" not in host.run("systemctl list-unit-files").stdout
    # the engine option of an earlier test is the user's own
    assert daemon_json(hosts[1])["dns"] == ["192.0.2.53"]
    none = joined.run("network", "ls", check=False)
    assert none.returncode == 1 and "network join" in none.stderr


def kill_after(controller, host, verb, step):
    """SIGKILL to the controller as soon as it says that the step is done; after one of the last it may have ended."""
    run = controller.start("network", verb, host.name)
    seen, done = [], False
    for line in run.stderr:
        seen.append(line)
        done = line.startswith(f"{host.name}: {step} (")
        if done:
            break
    run.send_signal(signal.SIGKILL)
    rest = run.communicate()[1]
    assert run.returncode == -signal.SIGKILL or (not run.returncode and done), f"{step}: {seen} {rest}"


def network_steps(said, host):
    """Without what only the first run of a new bundle does."""
    return [one for one in steps_of(said, host.name) if "machinectl-agent" not in one]


def test_joins_and_leaves_that_are_killed_after_any_step_are_finished_by_the_next(controller, hosts):
    host = hosts[0]
    joins = network_steps(controller.run("network", "join", host.name).stderr, host)
    leaves = network_steps(controller.run("network", "leave", host.name).stderr, host)
    assert len(joins) >= 10 and len(leaves) >= 5
    for step in joins:
        kill_after(controller, host, "join", step)
        controller.run("network", "join", host.name)
        assert READY in controller.run("network", "join", host.name).stderr, step
        assert daemon_json(host)["dns"][0] == RESOLVER, step
        controller.run("network", "leave", host.name)
        assert host.run(FILES).stdout == controller.before[host.name], step
    for step in leaves:
        controller.run("network", "join", host.name)
        kill_after(controller, host, "leave", step)
        controller.run("network", "leave", host.name)
        assert host.run(FILES).stdout == controller.before[host.name], step
        assert "machinectl-network" not in host.run("systemctl list-unit-files").stdout


def test_a_killed_network_service_is_back_at_once(controller, hosts):
    host = hosts[1]
    controller.run("network", "join", host.name)
    before = host.run("systemctl show machinectl-network -p MainPID --value").stdout
    host.run("systemctl kill -s KILL machinectl-network.service")
    after = "systemctl show machinectl-network -p MainPID --value"
    until(lambda: host.run(after).stdout not in (before, "0\n"))
    until(lambda: host.run("systemctl is-active machinectl-network", check=False).stdout.strip() == "active")
    until(lambda: controller.run("network", "ls", check=False).returncode == 0)
    controller.run("network", "leave", host.name)


def test_a_dead_machine_is_forgotten_with_its_record(controller, hosts, lab):
    """While its lease lasts it may only be cut off: then its addresses stay."""
    first, second = hosts
    controller.run("network", "join", first.name, second.name)
    if "boot" not in controller.run("network", "ls", "-q").stdout.split():
        controller.run("network", "create", "boot")
    until(lambda: "boot" in second.run("docker network ls --format '{{.Name}}'").stdout.split())
    second.run("docker run -d --name lost --network boot busybox sleep infinity")
    until(lambda: controller.run("dns", "lookup", "lost", check=False).returncode == 0)
    found = json.loads(controller.run("dns", "lookup", "--output", "json", "lost").stdout)
    assert [one["machine"] for one in found] == [second.name]
    alive = controller.run("network", "forget", second.name, check=False)
    assert alive.returncode == 1 and "alive" in alive.stderr
    lab.power_cut(second.name)
    until(
        lambda: controller.run("network", "forget", second.name, check=False).returncode == 0,
        120.0,
        pause=2.0,
    )
    assert controller.run("dns", "lookup", "lost", check=False).returncode == 1
    removed = controller.run("rm", "-y", second.name)
    assert "alive" not in removed.stderr
    assert members(controller, "boot") == [first.name]
