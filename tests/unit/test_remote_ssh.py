"""Pieces of the connection: what ssh's configuration says, commands as texts, imports that stay light."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from machinectl.errors import ConnectionFailed
from machinectl.model import SshAddress
from machinectl.remote import sockets
from machinectl.remote.become import Become, explain, wrap
from machinectl.remote.connection import render_receive
from machinectl.remote.deadline import Deadline
from machinectl.remote.openssh import render_ssh
from machinectl.remote.sshconfig import Settings, parse_jump, parse_ssh_g

SSH_G = """host web
user alice
hostname 10.0.0.1
port 2222
identitiesonly yes
identityfile ~/.ssh/id_rsa
identityfile /keys/%h-%r
identityagent ~/agent.sock
proxyjump bastion
hostkeyalias web-1
userknownhostsfile /home/a/.ssh/known_hosts /home/a/.ssh/known_hosts2
"""


def test_ssh_g_is_read(monkeypatch):
    monkeypatch.setenv("HOME", "/home/a")
    found = parse_ssh_g("web", SSH_G, {})
    assert (found.host, found.port, found.user, found.jump) == ("10.0.0.1", 2222, "alice", "bastion")
    assert found.identity_files == (Path("/keys/10.0.0.1-alice"),)  # ssh's own defaults are not named keys
    assert found.identities_only
    assert found.agent == "/home/a/agent.sock"
    assert found.known_as == "web-1"
    assert found.known_hosts[0] == Path("/home/a/.ssh/known_hosts")


@pytest.mark.parametrize(
    ("value", "socket_path"),
    [("none", ""), ("SSH_AUTH_SOCK", "/env"), ("$OTHER", "/other"), ("/a/%r", "/a/alice")],
)
def test_the_agents_socket(value, socket_path):
    text = f"user alice\nidentityagent {value}\n"
    assert parse_ssh_g("h", text, {"SSH_AUTH_SOCK": "/env", "OTHER": "/other"}).agent == socket_path


def test_known_as_has_the_port_off_22():
    assert Settings("a", "Host", 22, "root").known_as == "host"
    assert Settings("a", "::1", 23, "root").known_as == "[::1]:23"


@pytest.mark.parametrize(
    ("text", "last", "before"),
    [
        ("bastion", SshAddress("bastion"), ""),
        ("a,bob@b:2222", SshAddress("b", 2222, "bob"), "a"),
        ("a,b,c", SshAddress("c"), "a,b"),
        ("me@[fe80::1]:23", SshAddress("fe80::1", 23, "me"), ""),
        ("ssh://me@h:1", SshAddress("h", 1, "me"), ""),
        ("fe80::1", SshAddress("fe80::1"), ""),
    ],
)
def test_jump_hosts_are_parsed(text, last, before):
    assert parse_jump(text) == (last, before)


@pytest.mark.parametrize("text", ["", "a,", "h:port", "me@"])
def test_what_is_no_jump_host_is_refused(text):
    with pytest.raises(ConnectionFailed, match="no jump host"):
        parse_jump(text)


def test_the_ssh_command_nests_and_escapes():
    hops = [
        replace(Settings("one", "1.1.1.1", 22, "u1"), known_hosts=()),
        Settings("two", "::2", 2222, "u2"),
        replace(Settings("web", "3.3.3.3", 22, "root"), identity_files=(Path("/k/50% key"),)),
    ]
    command = render_ssh(hops, Path("/my store/known_hosts"), key=True)
    assert command[-1] == "web"
    assert 'UserKnownHostsFile="/my store/known_hosts"' in command
    assert command[command.index("-i") + 1] == "/k/50% key"

    def inner(outer: list[str]) -> list[str]:
        (proxy,) = [one for one in outer if one.startswith("ProxyCommand=")]
        return shlex.split(proxy.removeprefix("ProxyCommand=").replace("%%", "%"))

    second = inner(command)
    assert second[-3:] == ["-W", "3.3.3.3:22", "two"]
    first = inner(second)
    assert first[-3:] == ["-W", "[::2]:2222", "one"]
    assert "IdentitiesOnly=yes" not in first
    assert first[first.index("-i") + 1] == "/k/50% key"


def test_who_is_wrapped():
    assert not Become().wraps("root")
    assert Become().wraps("ops")
    assert Become("sudo").wraps("root")
    assert not Become("none").wraps("ops")
    with pytest.raises(ValueError, match="guess"):
        Become("guess")


def test_a_password_is_in_no_command():
    wrapped = wrap("id", Become("sudo", "hunter2"), token="t")
    assert "hunter2" not in wrapped.command
    assert wrapped.prompt in wrapped.command.encode()
    assert "sudo -H -S" in wrapped.command
    assert "sudo -H -n" in wrap("id", Become("sudo"), token="t").command


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("sudo: a password is required", "needs a password"),
        ("sudo: a terminal is required to read the password", "needs a password"),
        ("ops is not in the sudoers file.  This incident will be reported.", "not in sudoers"),
        ("Sorry, user ops is not allowed to execute '/bin/sh' as root on h.", "does not allow"),
        ("Sorry, user ops may not run sudo on h.", "does not allow"),
        ("sudo: sorry, you must have a tty to run sudo", "requiretty"),
        ("sudo: account validation failure, is your account locked?", "expired"),
        ("something else", "something else"),
        ("", "without a word"),
    ],
)
def test_sudos_words_are_explained(said, why):
    error = explain(said, "ops", asked=False)
    assert why in error.why
    assert error.hint


def test_the_upload_script_survives_odd_names():
    script = render_receive("/a b/it's.tmp", "/a b/it's", 0o640, "00")
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


def test_every_address_is_tried_and_a_silent_one_costs_a_quarter_second(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as full:
        full.bind(("127.0.0.1", 0))  # bound and not listening: refused
        silent = socket.create_server(("127.0.0.1", 0), backlog=0)
        fillers = [socket.socket() for _ in range(4)]
        for one in fillers:  # a full backlog drops what comes: nothing answers
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        found = [(socket.AF_INET, one.getsockname()) for one in (full, silent, server)]
        monkeypatch.setattr(sockets, "resolve_name", lambda *_: found)
        started = time.monotonic()
        connection = sockets.connect_tcp("many", 1, Deadline(10))
        assert connection.getpeername() == server.getsockname()
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert time.monotonic() - started < 5
        connection.close()
        found.pop()
        with pytest.raises(ConnectionFailed, match="does not answer") as caught:
            sockets.connect_tcp("many", 1, Deadline(0.6))
        assert "connection refused" in caught.value.why
        assert "no answer in 0.6 s" in caught.value.why
        for one in [*fillers, silent]:
            one.close()


@pytest.mark.parametrize(
    "module", ["agent_client", "bootstrap", "bundle", "connection", "openssh", "become", "hostkeys"]
)
def test_importing_is_light(module):
    program = (
        f"import sys, machinectl.remote.{module};"
        "print([one for one in ('paramiko', 'fabric', 'cryptography', 'jinja2') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
