"""Create on hosts that can't be made machines: one clear error within seconds, and nothing on the host but that.

Every case breaks the same bare host in its own way and mends it again; at its end it becomes a machine.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

LIMIT = 90.0
"""Seconds within which an error has to be there, on a busy machine: 15 where nothing else runs. apt alone takes two
minutes."""
PASSPHRASE = "not-a-real-secret"
SPOIL_APT = "cp -a /etc/apt /root/apt; sed -i '/::Proxy/d' /etc/apt/apt.conf.d/*; "
"""Behind a proxy, which the lab's hosts take over from the machine, only apt itself can tell who answers."""
MEND_APT = "cp -a /root/apt/. /etc/apt/; rm -r /root/apt; "
STATE = """dpkg-query -W
find /etc /usr /opt /root /home /srv /boot -xdev -path /opt/machinectl -prune -o -type f -print0 | sort -z |
    xargs -0 stat -c '%n %s %Y %a %U'
ls -A /var/lib/docker /etc/docker 2>&1
systemctl list-units --no-legend --plain --type=service --state=running | cut -d' ' -f1 | grep -v '^user@'
"""
"""What counts as the host: packages, files, services. Not the agent's own folder, logs, caches and lists."""
PREPARED = ("/etc/modules-load.d/machinectl.conf", "/etc/sysctl.d/99-machinectl.conf")
"""Written before packages are installed; a failing installation may leave them for the next run."""


@dataclass(frozen=True)
class Case:
    """How the host is broken, how it is mended, and what the error says."""

    name: str
    spoil: str
    mend: str
    what: str
    why: str
    stdin: str = ""
    user: str = "root"


CASES = (
    Case(
        "no-room-for-the-agent",
        "mount -t tmpfs -o size=200k tmpfs /opt",
        "umount /opt",
        "the agent can not be installed",
        "No space left on device",
    ),
    Case(
        "no-room-for-packages",
        "mount -t tmpfs -o size=1m tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial",
        "umount /var/cache/apt/archives",
        "the disk of this host is full",
        "free space in /var/cache/apt/archives",
    ),
    Case(
        "no-room-for-package-lists",
        "mount -t tmpfs -o size=1m tmpfs /var/lib/apt/lists",
        "umount /var/lib/apt/lists",
        "no room for the package lists",
        "KiB are free",
    ),
    Case(
        "no-room-for-the-lock",
        "mkdir -p /run/machinectl && mount -t tmpfs -o nr_inodes=1 tmpfs /run/machinectl",
        "umount /run/machinectl",
        "/run/machinectl/apply.lock can't be made",
        "No space left on device",
    ),
    Case(
        "sources-refuse",
        SPOIL_APT + "cat > /etc/apt/sources.list",
        MEND_APT,
        "no package source of this host answers",
        "Connection refused",
        stdin="deb http://127.0.0.1:9/debian bookworm main\n",
    ),
    Case(
        "sources-reject",
        SPOIL_APT + "iptables -I OUTPUT -p tcp --syn -j REJECT",
        MEND_APT + "iptables -D OUTPUT -p tcp --syn -j REJECT",
        "no package source of this host answers",
        "refused",
    ),
    Case(
        "sources-silent",
        SPOIL_APT + "iptables -I OUTPUT -p tcp --syn -j DROP",
        MEND_APT + "iptables -D OUTPUT -p tcp --syn -j DROP",
        "no package source of this host answers",
        "no answer within",
    ),
    Case(
        "name-server-silent",
        SPOIL_APT + "cat > /etc/apt/sources.list; cp -a /etc/resolv.conf /root; "
        "echo nameserver 192.0.2.1 > /etc/resolv.conf; ip address add 192.0.2.1/32 dev lo; "
        "iptables -I INPUT -d 192.0.2.1 -j DROP",
        MEND_APT + "cat /root/resolv.conf > /etc/resolv.conf; rm /root/resolv.conf; "
        "ip address delete 192.0.2.1/32 dev lo; iptables -D INPUT -d 192.0.2.1 -j DROP",
        "no package source of this host answers",
        "mirror.example.com",
        stdin="deb http://mirror.example.com/debian bookworm main\n",
    ),
    Case(
        "unknown-distribution",
        "cat > /run/os-release && mount --bind /run/os-release /usr/lib/os-release",
        "umount /usr/lib/os-release",
        "this distribution is not known: Plan 9 (ID=plan9)",
        "known: debian",
        stdin='ID=plan9\nPRETTY_NAME="Plan 9"\n',
    ),
    Case(
        "no-sudo-right",
        "true",
        "true",
        "plain can't become root",
        "sudo",
        user="plain",
    ),
)


@pytest.fixture(scope="module")
def bare(make_host, lab):
    host = make_host("troubled", "bookworm")
    host.run("systemctl is-system-running --wait", check=False)  # what boots is no change
    yield host
    lab.down([host.name])


def state_of(host):
    """A set of lines, without what an installation that fails may have prepared."""
    lines = host.run(STATE, check=False).stdout.splitlines()
    return {line for line in lines if not line.startswith(PREPARED)}


def failed_clearly(host, run, *, what, why):
    """One error of three parts, exit status 1."""
    said = run.stderr.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    assert run.returncode == 1, run.stderr
    assert len(errors) == 1 and errors[0].startswith(f"error: {host.name}: "), run.stderr
    assert what in errors[0], run.stderr
    rest = said[said.index(errors[0]) + 1 :]
    assert [line[:7] for line in rest] == ["  why: ", "  try: "], run.stderr
    assert why in rest[0], run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_host_that_cannot_be_a_machine(bare, new_controller, case):
    controller = new_controller()
    bare.run(case.spoil, stdin=case.stdin)
    try:
        before = state_of(bare)
        began = time.monotonic()
        run = controller.create(bare, "--ssh-user", case.user, check=False)
        seconds = time.monotonic() - began
        after = state_of(bare)
    finally:
        bare.run(case.mend)
    failed_clearly(bare, run, what=case.what, why=case.why)
    assert seconds < LIMIT, run.stderr
    assert after == before
    assert bare.run("command -v dockerd", check=False).returncode != 0


@pytest.fixture
def locked_key(bare, tmp_path):
    """A key with a passphrase, which the host lets in; nothing else is in the folder."""
    key = tmp_path / "locked"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "locked", "-f", str(key)]
    subprocess.run(words, check=True, timeout=20)
    bare.run("cat >> /root/.ssh/authorized_keys", stdin=key.with_suffix(".pub").read_text())
    return key


@pytest.fixture
def agent_with_key(locked_key, tmp_path):
    """A real ssh-agent that holds the key; gives its socket."""
    socket = tmp_path / "agent"
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    ask.chmod(0o700)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not socket.exists():
        assert time.monotonic() < end and agent.poll() is None
        time.sleep(0.01)
    env = {
        **os.environ,
        "SSH_AUTH_SOCK": str(socket),
        "SSH_ASKPASS": str(ask),
        "SSH_ASKPASS_REQUIRE": "force",
    }
    words = ["ssh-add", "-q", str(locked_key)]
    subprocess.run(words, env=env, check=True, timeout=20, stdin=subprocess.DEVNULL)
    yield str(socket)
    agent.terminate()
    agent.wait(10)


def test_a_locked_key_without_agent_and_terminal(bare, new_controller, locked_key):
    controller = new_controller()
    began = time.monotonic()
    words = ("create", "--ip", bare.ip, "--ssh-key", locked_key, bare.name)
    run = controller.run(*words, check=False, start_new_session=True, SSH_AUTH_SOCK="")
    assert time.monotonic() - began < LIMIT
    failed_clearly(
        bare, run, what="takes none of our keys", why="it has a passphrase, and there is no terminal"
    )
    assert "ssh-add" in run.stderr
    assert PASSPHRASE not in run.stderr


def test_a_locked_key_in_an_agent_opens_the_mended_host(bare, new_controller, locked_key, agent_with_key):
    """With the file named, and with what the agent alone offers; no terminal is there to ask."""
    bare.run(f"echo '{locked_key.with_suffix('.pub').read_text().strip()}' > /root/.ssh/authorized_keys")
    alone = new_controller()
    words = ("create", "--ip", bare.ip, bare.name)
    shown = alone.run(*words, "--dry-run", start_new_session=True, SSH_AUTH_SOCK=agent_with_key)
    assert "install docker.io" in shown.stdout
    named = new_controller()
    more = ("--ssh-key", locked_key)
    made = named.run(*words, *more, start_new_session=True, SSH_AUTH_SOCK=agent_with_key)
    assert "is ready at tcp://" in made.stderr
    assert named.docker(bare.name, "info", "-f", "{{.Name}}") == bare.name
