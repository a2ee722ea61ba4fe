"""Create in the wrong conditions: killed, repeated, in parallel, without Python, without root, on other engines."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from machinectl.lab.images import PASSWORD

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


def ready(controller, host):
    assert controller.docker(host.name, "info", "-f", "{{.Name}}") == host.name
    return "everything is as it should be" in controller.create(host).stderr


@pytest.mark.parametrize("moment", ["uploading", "installing", "configuring"])
def test_a_create_that_was_killed_is_finished_by_the_next(make_host, new_controller, lab, moment):
    """kill -9 of the controller, and of all that it started on the host."""
    controller = new_controller()
    host = make_host("killed", "trixie")
    signs = {
        "uploading": "test -d /opt/machinectl",
        "installing": "pidof dpkg",
        "configuring": "test -e /etc/docker/daemon.json",
    }
    run = controller.start("create", "--ip", host.ip, "--ssh-key", host.key, host.name)
    end = time.monotonic() + 200
    while host.run(signs[moment], check=False).returncode != 0:
        assert time.monotonic() < end and run.poll() is None, run.communicate()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    host.run("pkill -9 -f '[/]opt/machinectl'; pkill -9 dpkg; pkill -9 apt-get", check=False)
    finished = controller.create(host)
    assert "is ready at tcp://" in finished.stderr
    assert ready(controller, host)
    lab.down([host.name])


def test_a_power_cut_in_the_middle_is_survived(make_host, new_controller, lab):
    controller = new_controller()
    host = make_host("powercut", "trixie")
    run = controller.start("create", "--ip", host.ip, "--ssh-key", host.key, host.name)
    end = time.monotonic() + 200
    while host.run("pidof dpkg", check=False).returncode != 0:
        assert time.monotonic() < end and run.poll() is None, run.communicate()
    lab.power_cut(host.name)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "error: powercut:" in said
    lab.start(host.name)
    assert "is ready at tcp://" in controller.create(host).stderr
    assert ready(controller, host)
    lab.down([host.name])


def test_several_creates_on_an_empty_store_share_one_authority(make_host, new_controller, lab):
    controller = new_controller()
    hosts = [make_host(f"parallel{number}", "bookworm") for number in range(3)]
    runs = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    said = [run.communicate(timeout=400)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    for host in hosts:
        assert controller.docker(host.name, "info", "-f", "{{.Name}}") == host.name
    authorities = {(controller.store / "machines" / one.name / "ca.pem").read_bytes() for one in hosts}
    assert len(authorities) == 1
    lab.down([host.name for host in hosts])


def test_two_runs_on_one_machine_wait_for_each_other(make_host, new_controller, lab):
    one, other = new_controller(), new_controller()
    host = make_host("twice", "bookworm")
    first = one.start("create", "--ip", host.ip, "--ssh-key", host.key, host.name)
    assert "connecting" in first.stderr.readline()  # it holds the machine's lock from here on
    same = one.run("create", "--ip", host.ip, "--ssh-key", host.key, host.name, check=False)
    second = other.start("create", "--ip", host.ip, "--ssh-key", host.key, host.name)
    said = first.communicate(timeout=300)[1], second.communicate(timeout=300)[1]
    # the same controller's second run is told at once; another store's waits on the host and finds it taken
    assert same.returncode == 4, same.stderr
    assert sorted((first.returncode, second.returncode)) == [0, 1], said
    assert "belongs to another store" in said[0] + said[1]
    assert host.run("systemctl is-active docker").stdout.strip() == "active"
    lab.down([host.name])


def test_a_host_without_python_gets_one(make_host, new_controller, lab):
    controller = new_controller()
    host = make_host("nopython", "bookworm", python=False)
    assert host.run("command -v python3", check=False).returncode != 0
    assert "is ready at tcp://" in controller.create(host).stderr
    assert ready(controller, host)
    lab.down([host.name])


def typed(controller, words, prompt, answer):
    """Runs the command line on a terminal of its own and answers its question: exit status, what was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "machinectl", *map(str, words)], controller.env)  # noqa: S606 - in the child
    shown = b""
    answered = False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
        if not answered and prompt.encode() in shown:
            os.write(terminal, answer.encode() + b"\n")
            answered = True
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_users_with_sudo(make_host, new_controller, lab):
    controller = new_controller()
    host = make_host("sudoers", "bookworm")
    refused = controller.create(host, "--ssh-user", "plain", check=False)
    assert refused.returncode == 1
    assert "sudo" in refused.stderr
    needs = controller.create(host, "--ssh-user", "opspw", check=False)
    assert needs.returncode == 1
    assert "--ask-become-pass" in needs.stderr
    # a terminal types the password; it is on no command line and in no output
    words = ("create", "--ip", host.ip, "--ssh-key", host.key, "--ssh-user", "opspw", "--ask-become-pass")
    no_terminal = controller.run(*words, host.name, check=False, start_new_session=True)
    assert (no_terminal.returncode, "needs a terminal" in no_terminal.stderr) == (2, True)
    status, said = typed(controller, [*words, host.name], "sudo password: ", PASSWORD)
    assert status == 0, said
    assert "is ready at tcp://" in said
    assert PASSWORD not in said
    assert not any(
        PASSWORD in path.read_text(errors="replace") for path in controller.store.rglob("*") if path.is_file()
    )
    passwordless = new_controller()
    assert "is ready" in passwordless.create(host, "--ssh-user", "ops", "--take-over").stderr
    shown = passwordless.run("ssh", host.name, "--", "id", "-un").stdout
    assert shown.strip() == "ops"
    lab.down([host.name])


def test_an_engine_that_is_there_is_adopted(make_host, new_controller, busybox, lab):
    controller = new_controller()
    host = make_host("adopted", "trixie")
    host.run("apt-get update -q && apt-get install -q -y docker.io docker-cli", deadline=300)
    host.run("docker import - busybox", stdin="", check=False)
    host.run(
        "mkdir -p /etc/docker && cat > /etc/docker/daemon.json && systemctl restart docker",
        stdin='{"debug": true}',
    )
    image = subprocess.run(
        ["nsenter", "-t", str(host.leader), "-m", "-n", "-p", "-r", "-w", "docker", "import", "-", "busybox"],
        input=busybox, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert image.returncode == 0
    host.run("docker run -d --name precious busybox sleep infinity")
    started = host.run("docker inspect -f '{{.State.StartedAt}}' precious").stdout
    said = controller.create(host, "--adopt").stderr
    assert "install docker" not in said
    # live-restore was off: it is turned on first, and the container does not notice the restart
    assert host.run("docker inspect -f '{{.State.StartedAt}}' precious").stdout == started
    assert json.loads(host.run("cat /etc/docker/daemon.json").stdout)["debug"] is True
    assert ready(controller, host)
    lab.down([host.name])


def test_unreachable_and_refused_hosts_fail_fast_and_leave_nothing(make_host, new_controller, lab):
    controller = new_controller()
    host = make_host("refusing", "bookworm")
    began = time.monotonic()
    dead = controller.run(
        "create", "--ip", str(lab.settings.network[250]), "--ssh-key", host.key, "dead", check=False
    )
    assert dead.returncode == 1
    assert "error: dead:" in dead.stderr and "why:" in dead.stderr and "try:" in dead.stderr
    key = controller.home / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
    wrong = controller.run("create", "--ip", host.ip, "--ssh-key", key, "wrong", check=False)
    assert wrong.returncode == 1
    assert "error: wrong:" in wrong.stderr
    assert time.monotonic() - began < 40
    assert controller.run("ls", "-q").stdout == ""
    lab.down([host.name])


def test_a_host_behind_another_one(make_host, new_controller, lab):
    controller = new_controller()
    bastion, host = make_host("bastion", "bookworm"), make_host("behind", "bookworm")
    # only the bastion gets through to sshd; 2376 stays open for the engine
    host.run(f"iptables -A INPUT -p tcp --dport 22 ! -s {bastion.ip} -j DROP")
    direct = controller.create(host, check=False)
    assert direct.returncode == 1
    jump = f"root@{bastion.ip}"
    assert "is ready at tcp://" in controller.create(host, "--ssh-jump", jump).stderr
    assert controller.run("ssh", host.name, "--", "hostname").stdout == "behind\n"
    lab.down([bastion.name, host.name])


def test_a_changed_host_key_is_refused(make_host, new_controller, lab):
    controller = new_controller()
    host = make_host("rekeyed", "bookworm")
    assert controller.create(host, "--dry-run").returncode == 0
    host.run("rm /etc/ssh/ssh_host_* && ssh-keygen -A && systemctl restart ssh")
    refused = controller.create(host, check=False)
    assert refused.returncode == 1
    assert "key" in refused.stderr and "--replace-host-key" in refused.stderr
    assert host.run("command -v dockerd", check=False).returncode != 0
    assert controller.create(host, "--dry-run", "--replace-host-key").returncode == 0
    lab.down([host.name])


def test_a_name_or_host_that_is_taken_is_refused(make_host, controller, lab):
    host = make_host("bookworm")
    controller.create(host)
    other = controller.run("create", "--ip", str(lab.settings.network[251]), host.name, check=False)
    assert (other.returncode, 'Docker machine "bookworm" already exists' in other.stderr) == (1, True)
    again = controller.run("create", "--ip", host.ip, "--ssh-key", host.key, "another", check=False)
    assert again.returncode == 1
    assert "already the machine" in again.stderr
    differing = controller.create(host, "--engine-mtu", "1234", check=False)
    assert differing.returncode == 1
    assert "already exists" in differing.stderr
