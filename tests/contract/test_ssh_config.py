"""~/.ssh/config and jump hosts, through real sshds; the ssh command agrees with our own connections."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys

import pytest

from machinectl.errors import AuthenticationFailed, ConnectionFailed
from machinectl.model import Machine, SshAddress
from machinectl.remote import sshconfig
from machinectl.remote.deadline import Deadline
from machinectl.remote.openssh import ssh_command
from machinectl.store.store import Store
from tests.ports import free_port


@pytest.fixture(params=["ssh -G", "paramiko"])
def parser(request, monkeypatch):
    if request.param == "paramiko":
        monkeypatch.setattr("machinectl.remote.sshconfig.shutil.which", lambda _name: None)
    return request.param


def test_a_host_block_says_where_and_how(sshd, key, connect, home, parser):
    (home / ".ssh/config").write_text(
        f"Host web\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {key}\n  IdentitiesOnly yes\n"
    )
    with connect(SshAddress("web")) as connection:
        assert connection.settings.host == "127.0.0.1"
        assert connection.run("true", deadline=10).status == 0


def test_include_and_match_are_honoured(sshd, key, connect, home):
    (home / ".ssh/more").write_text(
        f"Match originalhost web exec true\n  Port {sshd.port}\n  IdentityFile {key}\n"
    )
    (home / ".ssh/config").write_text(
        f"Include {home}/.ssh/more\nHost web\n  HostName 127.0.0.1\n  User {getpass.getuser()}\n"
    )
    connect(SshAddress("web")).close()


def test_flags_win_over_the_file_and_root_is_the_default_user(home, parser):
    (home / ".ssh/config").write_text("Host named\n  User alice\n  Port 2222\n")
    deadline = Deadline(10)
    assert sshconfig.resolve(SshAddress("named"), deadline).user == "alice"
    assert sshconfig.resolve(SshAddress("named", user="bob", port=22), deadline).user == "bob"
    assert sshconfig.resolve(SshAddress("named", user="bob", port=23), deadline).port == 23
    assert sshconfig.resolve(SshAddress("other"), deadline).user == "root"
    assert sshconfig.resolve(SshAddress("other"), deadline, default_user="").user == getpass.getuser()


def test_a_broken_file_is_named(connect, home):
    (home / ".ssh/config").write_text("Frobnicate yes\n")
    with pytest.raises(ConnectionFailed, match="configuration can't be read") as caught:
        connect(SshAddress("127.0.0.1"))
    assert "frobnicate" in caught.value.why.lower()


def test_another_file_is_used_where_the_address_names_it(sshd, key, connect, tmp_path):
    own = tmp_path / "config"
    own.write_text(f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {key}\n")
    connect(SshAddress("web", user=getpass.getuser(), config=str(own))).close()
    with pytest.raises(ConnectionFailed, match="no SSH configuration file"):
        connect(SshAddress("web", config=str(tmp_path / "absent")))


def test_a_jump_host(start_sshd, sshd, key, connect, known_hosts):
    bastion = start_sshd("bastion")
    bastion.authorize(key)
    user = getpass.getuser()
    with connect(sshd.address(key, jump=f"{user}@127.0.0.1:{bastion.port}")) as connection:
        assert connection.run("cat", stdin=b"x" * 3_000_000, deadline=20).stdout == b"x" * 3_000_000
    text = known_hosts.read_text()
    assert f"[127.0.0.1]:{bastion.port} " in text
    assert f"[127.0.0.1]:{sshd.port} " in text


def test_two_jump_hosts_by_the_file(start_sshd, sshd, key, connect, home, parser):
    first, second = start_sshd("first"), start_sshd("second")
    first.authorize(key)
    second.authorize(key)
    (home / ".ssh/config").write_text(
        f"Host *\n  IdentityFile {key}\n  User {getpass.getuser()}\n"
        f"Host first\n  HostName 127.0.0.1\n  Port {first.port}\n"
        f"Host second\n  HostName 127.0.0.1\n  Port {second.port}\n  ProxyJump first\n"
        f"Host web\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyJump second\n"
    )
    with connect(SshAddress("web")) as connection:
        assert [one.settings.alias for one in connection._hops] == ["first", "second", "web"]
        assert connection.run("echo $SSH_CLIENT", deadline=10).status == 0


def test_errors_of_a_jump_host_name_it(start_sshd, sshd, key, connect, tmp_path):
    with pytest.raises(ConnectionFailed, match=r"node1: the jump host 127\.0\.0\.1.*refused"):
        connect(sshd.address(key, jump=f"127.0.0.1:{free_port()}"))
    strange = start_sshd("strange")
    with pytest.raises(AuthenticationFailed, match="the jump host"):
        connect(sshd.address(key, jump=f"127.0.0.1:{strange.port}"))
    strange.authorize(key)
    nowhere = SshAddress("127.0.0.1", free_port(), "root", str(key), jump=f"127.0.0.1:{strange.port}")
    with pytest.raises(ConnectionFailed, match="can't be reached from the jump host"):
        connect(nowhere)


def test_a_circle_of_jump_hosts(connect, home):
    (home / ".ssh/config").write_text("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with pytest.raises(ConnectionFailed, match="more than 8 jump hosts"):
        connect(SshAddress("a"))


def test_a_proxy_command(sshd, key, connect, home, tmp_path):
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, select, socket, sys\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "ends = {0: s.fileno(), s.fileno(): 1}\n"
        "while True:\n"
        "    for one in select.select(list(ends), [], [])[0]:\n"
        "        content = os.read(one, 65536)\n"
        "        if not content:\n"
        "            sys.exit()\n"
        "        os.write(ends[one], content)\n"
    )
    (home / ".ssh/config").write_text(f"Host *\n  ProxyCommand {sys.executable} {relay} %h %p\n")
    with connect(sshd.address(key)) as connection:
        assert connection.run("echo through", deadline=10).stdout == b"through\n"
    (home / ".ssh/config").write_text("Host *\n  ProxyCommand sh -c 'echo no way >&2; exit 3'\n")
    with pytest.raises(ConnectionFailed, match="ProxyCommand failed") as caught:
        connect(sshd.address(key))
    assert caught.value.why == "no way"


def test_the_ssh_command_goes_the_same_way(start_sshd, sshd, key, connect, known_hosts, tmp_path):
    bastion = start_sshd("bastion")
    bastion.authorize(key)
    other = start_sshd("other")
    other.authorize(key)
    user = getpass.getuser()
    jump = f"{user}@127.0.0.1:{other.port},{user}@127.0.0.1:{bastion.port}"
    empty = tmp_path / "config"
    empty.touch()
    address = sshd.address(key, jump=jump, config=str(empty))
    command = ssh_command(address, known_hosts)
    before = subprocess.run([*command, "true"], check=False, capture_output=True, text=True, timeout=30)
    assert before.returncode == 255
    assert "Host key verification failed" in before.stderr
    connect(address).close()
    done = subprocess.run(
        [*command, "-C", "echo", "a b; exit 7"], check=False, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "a b\n", "")


@pytest.fixture
def machinectl_ssh(sshd, key, connect, known_hosts, tmp_path):
    """`machinectl ssh` as a process of its own, on a store with one machine."""
    connect(sshd.address(key)).close()
    empty = tmp_path / "config"
    empty.touch()
    Store(known_hosts.parent).save(Machine("node1", "127.0.0.1", sshd.address(key, config=str(empty))))
    program = (
        "import argparse, sys; from machinectl.cli import ssh; p = argparse.ArgumentParser();"
        "ssh.configure(p); a = p.parse_args(sys.argv[2:]); a.storage_path = sys.argv[1]; sys.exit(ssh.run(a))"
    )

    def run(*arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", program, str(known_hosts.parent), *arguments]
        return subprocess.run(command, check=False, capture_output=True, timeout=30, **options)

    return run


@pytest.mark.root  # an sshd that is not root's can't hand out a terminal
def test_machinectl_ssh_is_docker_machines(machinectl_ssh):
    assert machinectl_ssh("node1", "exit 7").returncode == 7
    assert machinectl_ssh("node1", "--", "echo", "-n", "hi").stdout == b"hi"
    assert machinectl_ssh("node1", "-C", "echo", "foo").stdout == b"foo\n"
    assert machinectl_ssh("node1", "cat", input=b"in").stdout == b"in"
    assert machinectl_ssh("node1", "-tt", "tty").stdout.startswith(b"/dev/")


def test_machinectl_ssh_without_an_ssh_client(machinectl_ssh, tmp_path):
    nothing = tmp_path / "empty path"
    nothing.mkdir()
    environment = {**os.environ, "PATH": str(nothing)}
    assert machinectl_ssh("node1", "--", "echo out; echo err >&2; exit 7", env=environment).returncode == 7
    done = machinectl_ssh("node1", "cat", input=b"in", env=environment)
    assert (done.returncode, done.stdout) == (0, b"in")
    done = machinectl_ssh("node1", input=b"echo by a shell; exit 3\n", env=environment)
    assert (done.returncode, done.stdout) == (3, b"by a shell\n")
