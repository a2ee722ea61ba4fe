"""An inventory in git: plan, apply, plan again; a change, its revert, drift, and a restart that goes wrong."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.inventories import Repository

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ALL = """
    machinectl:
      registry-mirrors: [http://127.0.0.1:5000]
      labels: [rack=a]
      sysctl:
        net.core.somaxconn: 7777
      packages: [tree]
      files:
        - dest: /etc/motd
          template: motd.j2
        - dest: /etc/app/token
          content: hunter2
          mode: "0600"
          secret: true
"""


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(make_host):
    return [make_host("ap1", "bookworm"), make_host("ap2", "trixie")]


@pytest.fixture(scope="module")
def repository(tmp_path_factory, hosts):
    """Two machines, as the first commit has them."""
    repository = Repository(tmp_path_factory.mktemp("git") / "inventory")
    repository.hosts(hosts, web=["ap1", "ap2"])
    repository.write("group_vars/all.yml", ALL)
    repository.write("templates/motd.j2", "{{ inventory_hostname }} of {{ groups['web'] | length }}\n")
    repository.commit("two machines")
    return repository


@pytest.fixture(scope="module")
def run(controller, repository):
    """A command with the inventory: `run("plan", …)`."""

    def run(command, *words, **more):
        return controller.run(command, "-i", repository.folder, *words, **more)

    return run


@pytest.fixture(scope="module")
def applied(run, controller, hosts, busybox):
    """Both are machines with a container each."""
    run("apply", "--yes")
    for host in hosts:
        controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
        controller.docker(
            host.name, "run", "-d", "--name", "stays", "--restart", "always", "busybox", "sleep", "9999"
        )
    return hosts


def started(controller, name):
    return controller.docker(name, "inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", "stays")


def test_plan_changes_nothing_and_apply_does_what_it_says(run, controller, hosts):
    before = run("plan", "--exit-code", "--diff", check=False)
    assert before.returncode == 2, before.stderr
    assert "ap1 (new)" in before.stdout
    assert "+ install tree" in before.stdout
    assert "+ap1 of 2" in before.stdout
    assert "hunter2" not in before.stdout + before.stderr
    assert before.stdout.splitlines()[-1].startswith("2 machines: ")
    assert controller.run("ls", "-q").stdout == ""
    assert hosts[0].run("ls /etc/docker /etc/app", check=False).returncode != 0
    done = run("apply", "--yes")
    assert done.stdout.splitlines()[-1].endswith("unchanged")
    assert hosts[0].run("cat /etc/motd").stdout == "ap1 of 2\n"
    assert hosts[1].run("stat -c %a /etc/app/token; sysctl -n net.core.somaxconn").stdout == "600\n7777\n"
    assert hosts[0].run("command -v tree").stdout
    after = run("plan", "--exit-code")
    assert after.stdout.startswith("2 machines: 0 to change, 0 to restart the engine, ")


def test_a_change_and_its_revert(run, repository, applied, controller):
    since = [started(controller, one.name) for one in applied]
    repository.write("group_vars/all.yml", ALL.replace("5000", "5001").replace("tree", "tree, file"))
    large = "changed\n" * 20_000  # too large to be a part of the request
    repository.write("templates/motd.j2", large)
    repository.commit("another mirror")
    shown = run("plan", "--diff", "ap1").stdout
    assert '-        "http://127.0.0.1:5000"' in shown
    assert '+        "http://127.0.0.1:5001"' in shown
    assert "reload docker.service" in shown
    assert " 0 to restart the engine" in shown
    run("apply", "--yes")
    for host in applied:
        assert "5001" in host.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout
        assert host.run("cat /etc/motd").stdout == large
    repository.git("revert", "--no-edit", "HEAD")
    run("apply", "--yes")
    for host in applied:
        assert "5000" in host.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout
        assert host.run("cat /etc/motd").stdout == f"{host.name} of 2\n"
        assert host.run("command -v file", check=False).returncode != 0
    assert [started(controller, one.name) for one in applied] == since
    assert run("plan", "--exit-code").returncode == 0


def test_nothing_to_do_is_no_success_where_dockerd_hangs(run, controller, applied):
    def state():
        return json.loads(controller.run("agent", "status", "--output", "json", "ap1").stdout)[0]["engine"][
            "state"
        ]

    host = applied[0]
    assert state() == "running"
    host.run("kill -STOP $(pidof dockerd)")
    try:
        end = time.monotonic() + 60
        while state() == "running":
            assert time.monotonic() < end
        failed = run("apply", "--yes", check=False)
    finally:
        host.run("kill -CONT $(pidof dockerd)")
    assert failed.returncode == 3
    assert "1 of 2 machines failed\nap1: " in failed.stderr
    assert run("apply", "--yes").returncode == 0


def test_what_could_not_be_reached_is_no_success_the_next_time(run, repository, applied):
    repository.write("host_vars/ap1.yml", "machinectl: {labels: [rack=b]}\n")
    rule = "INPUT -p tcp --dport 2376 -j REJECT"
    applied[0].run(f"iptables -I {rule}")
    try:
        for _ in range(2):  # the second one has nothing to do
            failed = run("apply", "--yes", check=False)
            assert failed.returncode == 3
            assert "1 of 2 machines failed\nap1: " in failed.stderr
    finally:
        applied[0].run(f"iptables -D {rule}")
    assert run("apply", "--yes").returncode == 0
    (repository.folder / "host_vars/ap1.yml").unlink()
    assert run("apply", "--yes").returncode == 0


def test_settings_that_go_are_taken_back(run, repository, applied):
    repository.write("group_vars/all.yml", "machinectl: {}\n")
    repository.commit("nothing")
    run("apply", "--yes", "ap2")
    assert "5000" not in applied[1].run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout
    assert applied[1].run("ls /etc/app/token", check=False).returncode != 0
    assert applied[1].run("sysctl -n net.core.somaxconn").stdout != "7777\n"
    assert "5000" in applied[0].run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout
    repository.git("revert", "--no-edit", "HEAD")
    run("apply", "--yes")
    assert run("plan", "--exit-code").returncode == 0


def test_drift_tells_who_wins(run, applied, controller):
    assert "nothing changed since the last apply" in run("drift", "--exit-code").stdout
    applied[0].run("echo mine > /etc/motd; sysctl -qw net.core.somaxconn=999")
    found = run("drift", "--diff", "--exit-code", check=False)
    assert found.returncode == 2
    assert "ap1: write /etc/motd would undo a change" in found.stdout
    assert "the inventory wins: apply puts it back" in found.stdout
    assert "-mine" in found.stdout
    assert "net.core.somaxconn = 7777 (now 999)" in found.stdout
    assert "ap2:" not in found.stdout
    rows = json.loads(run("drift", "--output", "json").stdout)
    assert [len(one["changes"]) for one in rows] == [2, 0]
    run("apply", "--yes")
    assert controller.run("drift", "ap1").stdout.startswith("1 machine: nothing changed")


def test_drift_tells_what_the_owner_of_the_host_has_added(run, applied):
    applied[0].run("sed -i '1a \\    \"max-download-attempts\": 3,' /etc/docker/daemon.json")
    found = run("drift", "--diff").stdout
    assert "ap1: /etc/docker/daemon.json: the host's owner has changed max-download-attempts" in found
    assert "the host wins: what machinectl has not brought is its owner's" in found
    assert '+    "max-download-attempts": 3' in found
    run("apply", "--yes")
    assert run("drift", "--exit-code").returncode == 0
    assert '"max-download-attempts": 3' in applied[0].run("cat /etc/docker/daemon.json").stdout


def test_a_restart_goes_on_in_batches_and_stops_at_the_first_sick_machine(
    run, repository, applied, controller
):
    """20.10 has no --validate: it says no only when it starts, and gets its old configuration back."""
    since = [started(controller, one.name) for one in applied]
    repository.write("host_vars/ap1.yml", "machinectl: {storage-driver: nothing, log-driver: local}\n")
    repository.write("host_vars/ap2.yml", "machinectl: {log-driver: local}\n")
    repository.commit("a driver that is not there")
    assert "2 to restart the engine" in run("plan").stdout
    failed = run("apply", "--yes", check=False)
    assert failed.returncode == 3
    assert "ap1: dockerd does not start with the new configuration; the old one is back" in failed.stderr
    assert "ap2: not begun" in failed.stderr
    assert "ap1 did not come through its engine's restart" in failed.stderr
    assert [started(controller, one.name) for one in applied] == since
    assert "json-file" in applied[1].run("docker info -f '{{.LoggingDriver}}'").stdout
    repository.write("host_vars/ap1.yml", "machinectl: {log-driver: local}\n")
    repository.commit("without it")
    assert "2 engines restarted" in run("apply", "--yes").stdout
    assert [started(controller, one.name) for one in applied] == since
    for host in applied:
        assert "local" in host.run("docker info -f '{{.LoggingDriver}}'").stdout


def test_without_a_terminal_nobody_is_asked(run):
    refused = run("apply", check=False)
    assert refused.returncode == 2
    assert "run it with --yes" in refused.stderr


def test_a_wrong_setting_is_one_error_with_file_and_line(run, repository, applied, controller):
    repository.write("host_vars/ap2.yml", "machinectl:\n  registry-mirors: [http://x]\n")
    refused = run("apply", "--yes", check=False)
    assert refused.returncode == 2
    assert "host_vars/ap2.yml:2" in refused.stderr
    assert "registry-mirrors" in refused.stderr
    repository.git("checkout", "-q", ".")


def test_a_machine_with_another_address_is_the_same_machine(run, repository, applied, controller):
    prefix = applied[0].ip.rpartition(".")[0]
    since = started(controller, "ap1")
    applied[0].run(f"ip addr add {prefix}.201/24 dev host0")
    hosts = (repository.folder / "hosts.yml").read_text()
    repository.write("hosts.yml", hosts.replace(f"{applied[0].ip}\n", f"{prefix}.201\n"))
    assert f"~ set its address {prefix}.201 (now {applied[0].ip})" in run("plan").stdout
    run("apply", "--yes")
    assert controller.run("ip", "ap1").stdout == f"{prefix}.201\n"
    assert started(controller, "ap1") == since
    assert run("plan", "--exit-code").returncode == 0
    repository.git("checkout", "-q", ".")
    run("apply", "--yes")
    assert controller.run("ip", "ap1").stdout == f"{applied[0].ip}\n"


def test_two_applies_at_once_end_well(run, repository, applied, controller):
    """Each may find a machine locked by the other, or changed meanwhile; all is done, and nothing twice."""
    (repository.folder / "host_vars/ap1.yml").write_text("machinectl: {log-driver: local, debug: true}\n")
    words = ("apply", "-i", repository.folder, "--yes")
    both = [controller.start(*words) for _ in range(2)]
    ended = [(one.communicate(), one.returncode) for one in both]
    assert {status for _, status in ended} <= {0, 3, 4}, ended
    refused = [stderr for (_, stderr), status in ended if status]
    others = ("the lock is held by", "changed by another run meanwhile")
    assert all(any(word in one for word in others) for one in refused), ended
    assert run("plan", "--exit-code").returncode == 0
    repository.git("checkout", "-q", ".")
    run("apply", "--yes")


def test_a_machine_that_left_is_forgotten_on_demand_only(run, repository, applied, controller):
    repository.hosts(applied[:1], web=["ap1"])
    (repository.folder / "host_vars/ap2.yml").unlink()
    repository.commit("one less")
    assert "no longer in the inventory: ap2 is left alone; --prune forgets it" in run("plan").stdout
    run("apply", "--yes")
    assert "ap2" in controller.run("ls", "-q").stdout
    run("apply", "--yes", "--prune")
    assert controller.run("ls", "-q").stdout == "ap1\n"
    assert applied[1].run("docker ps -q").stdout
