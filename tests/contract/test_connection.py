"""Connections to real sshds: commands, uploads, keys, and what goes wrong on the way."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from machinectl.errors import AuthenticationFailed, ConnectionFailed, RemoteFailed
from machinectl.model import SshAddress
from machinectl.remote import keys as machine_keys
from tests.frozen import freeze
from tests.ports import free_port
from tests.waiting import until

from .conftest import make_key


def test_a_command_gives_its_three_answers(connection):
    done = connection.run("cat; echo oops >&2; exit 7", stdin=b"\x00hello", deadline=10)
    assert (done.status, done.stdout, done.stderr) == (7, b"\x00hello", b"oops\n")


def test_output_of_many_megabytes_on_both_streams(connection):
    done = connection.run("head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2", deadline=30)
    assert len(done.stdout) == 20_000_000
    assert 0 < len(done.stderr) <= 2_000_000


def test_ended_by_a_signal_is_no_success(connection):
    assert connection.run("kill -9 $$", deadline=10).status not in (0, -1)


def test_a_command_costs_milliseconds(connection):
    times = []
    for _ in range(30):
        started = time.monotonic()
        connection.run("true", deadline=10)
        times.append(time.monotonic() - started)
    # 2.4 ms on an idle machine; Nagle against delayed acknowledgements would be 40 and more.
    assert min(times) < 0.035


def test_the_cipher_is_the_fast_one(connection):
    assert connection.fabric.transport.remote_cipher == "aes128-gcm@openssh.com"


def test_the_deadline_of_a_command_holds(connection):
    started = time.monotonic()
    with pytest.raises(RemoteFailed, match="nothing came"):
        connection.run("sleep 60", deadline=2)
    assert time.monotonic() - started < 10
    assert connection.run("echo still here", deadline=10).stdout == b"still here\n"


def test_a_broken_connection_is_an_error_at_once(connection):
    started = time.monotonic()
    with pytest.raises(ConnectionFailed, match="connection broke"):
        connection.run("kill -9 $PPID; sleep 60", deadline=30)
    assert time.monotonic() - started < 15
    with pytest.raises(ConnectionFailed):
        connection.run("true", deadline=5)


def test_a_broken_connection_is_not_taken_for_the_end_of_the_output(connection):
    with connection.start("kill -9 $PPID; sleep 60") as channel, pytest.raises(ConnectionFailed):
        channel.read(10)


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("iptables"), reason="iptables is not installed")
def test_a_host_that_was_switched_off_is_noticed(sshd, connection):
    """Nothing comes back any more, not even a reset: only TCP's keepalive and user timeout can tell."""
    rule = ["INPUT", "-i", "lo", "-p", "tcp", "-m", "multiport", "--ports", str(sshd.port), "-j", "DROP"]
    with connection.start("sleep 300") as channel:
        subprocess.run(["iptables", "-w", "-I", *rule], check=True)
        try:
            started = time.monotonic()
            with pytest.raises(ConnectionFailed, match="connection broke"):
                channel.read(120)
            assert time.monotonic() - started < 40
        finally:
            subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_an_upload_arrives_whole(connection, tmp_path, size):
    content = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(content)
    for name, what in (("from-bytes", content), ("from file's", source)):
        target = tmp_path / "deep" / "er" / name
        connection.upload(what, str(target), mode=0o640, deadline=20)
        assert target.read_bytes() == content
        assert target.stat().st_mode & 0o7777 == 0o640
    assert {one.name for one in (tmp_path / "deep" / "er").iterdir()} == {"from-bytes", "from file's"}


def test_upload_speed_is_sane(connection, tmp_path):
    content = os.urandom(50_000_000)
    started = time.monotonic()
    connection.upload(content, str(tmp_path / "big"), deadline=60)
    assert 50 / (time.monotonic() - started) > 2.5  # MB/s; 135 on an idle machine, one window per RTT gives 2


def test_a_failed_upload_says_why_and_leaves_nothing(connection, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RemoteFailed, match="can't be written") as caught:
        connection.upload(b"x" * 5_000_000, str(tmp_path / "file" / "below"), deadline=20)
    assert "file" in caught.value.why
    assert not list(tmp_path.glob("**/*.tmp"))


@pytest.mark.root
def test_a_full_disk_is_named(connection, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(RemoteFailed) as caught:
            connection.upload(b"x" * 3_000_000, str(small / "big"), deadline=20)
        assert caught.value.problem == "disk-full"
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("ed25519", ()), ("ecdsa", ()), ("rsa", ()), ("rsa", ("-m", "PEM")), ("ecdsa", ("-m", "PKCS8"))],
)
def test_every_kind_of_key_file_opens_the_door(sshd, connect, tmp_path, monkeypatch, kind, options):
    for passphrase in ("", "secret"):
        path = make_key(tmp_path / f"other{passphrase}", kind, passphrase, *options)
        sshd.authorize(path)
    monkeypatch.setattr(machine_keys, "ask_passphrase", lambda _prompt: "secret")
    for name in ("other", "othersecret"):
        with connect(sshd.address(tmp_path / name)) as connection:
            assert connection.run("id -un", deadline=10).stdout.decode().strip() == getpass.getuser()


def test_a_passphrase_is_asked_for_once_per_run(sshd, connect, tmp_path, monkeypatch):
    sshd.authorize(make_key(tmp_path / "locked", "ed25519", "secret"))
    asked = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "secret"

    monkeypatch.setattr(machine_keys, "ask_passphrase", ask)
    for _ in range(2):
        connect(sshd.address(tmp_path / "locked")).close()
    assert asked == [f"Passphrase for {tmp_path}/locked: "]


@pytest.mark.parametrize(("answer", "reason"), [(None, "no terminal"), ("wrong", "3 wrong passphrases")])
def test_without_the_passphrase_the_error_says_so(sshd, connect, tmp_path, monkeypatch, answer, reason):
    sshd.authorize(make_key(tmp_path / "locked", "ed25519", "secret"))
    monkeypatch.setattr(machine_keys, "ask_passphrase", lambda _prompt: answer)
    with pytest.raises(AuthenticationFailed, match="none of our keys") as caught:
        connect(sshd.address(tmp_path / "locked"))
    assert reason in caught.value.why
    assert "ssh-add" in caught.value.hint


def test_the_agent_holds_a_locked_key(sshd, connect, agent, tmp_path):
    sshd.authorize(make_key(tmp_path / "locked", "ed25519", "secret"))
    agent(tmp_path / "locked", "secret")
    connect(sshd.address(tmp_path / "locked")).close()
    connect(sshd.address()).close()
    (tmp_path / "locked").unlink()
    connect(sshd.address(f"{tmp_path}/locked.pub")).close()


def test_a_named_key_is_the_only_one_tried(sshd, connect, agent, key, tmp_path):
    agent(key)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(sshd.address(make_key(tmp_path / "stranger")))
    assert "ssh-agent" not in caught.value.why


def test_default_keys_are_found(sshd, connect, home):
    make_key(home / ".ssh/id_rsa", "rsa")
    make_key(home / ".ssh/id_ed25519", "ed25519", "never asked for")
    sshd.authorize(home / ".ssh/id_rsa")
    connect(sshd.address()).close()


def test_a_refused_key_names_everything(sshd, connect, tmp_path):
    stranger = make_key(tmp_path / "stranger")
    started = time.monotonic()
    with pytest.raises(AuthenticationFailed) as caught:
        connect(sshd.address(stranger))
    assert time.monotonic() - started < 15
    error = caught.value
    assert str(error).startswith(f"node1: 127.0.0.1 takes none of our keys for user {getpass.getuser()}\n")
    assert str(stranger) in error.why
    assert "It accepts: publickey" in error.why
    assert "--ssh-key" in error.hint


def test_too_many_keys_in_the_agent(start_sshd, connect, agent, tmp_path):
    sshd = start_sshd("strict", ("ed25519",), "MaxAuthTries 2")
    for number in range(4):
        agent(make_key(tmp_path / f"agent{number}"))
    with pytest.raises(AuthenticationFailed, match="cut the connection off") as caught:
        connect(sshd.address())
    assert "--ssh-key" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.chmod(0o644), "others can read it (mode 0644)"),
        (lambda path: path.write_text("garbage"), "no private key"),
    ],
)
def test_a_key_that_can_not_be_used(sshd, key, connect, make, reason):
    make(key)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(sshd.address(key))
    assert reason in caught.value.why
    assert caught.value.hint


def test_a_server_that_never_speaks(connect, silent_server, home):
    started = time.monotonic()
    with pytest.raises(ConnectionFailed, match=r"did not finish the SSH login in 1\.5 s"):
        connect(SshAddress("127.0.0.1", silent_server()), deadline=1.5)
    assert 1.4 < time.monotonic() - started < 8


def test_a_server_that_stops_in_the_key_exchange(connect, silent_server, home):
    started = time.monotonic()
    with pytest.raises(ConnectionFailed):
        connect(SshAddress("127.0.0.1", silent_server(b"SSH-2.0-OpenSSH_9.2\r\n")), deadline=1.5)
    assert 1.4 < time.monotonic() - started < 8


@pytest.mark.parametrize("close", [True, False])
def test_something_that_is_no_ssh_server(connect, silent_server, home, close):
    port = silent_server(b"HTTP/1.1 400 Bad Request\r\n\r\n", close=close)
    with pytest.raises(ConnectionFailed) as caught:
        connect(SshAddress("127.0.0.1", port), deadline=3)
    assert "does not speak SSH" in caught.value.what or "did not finish" in caught.value.what


def test_a_refused_connection(connect, home):
    port = free_port()
    with pytest.raises(ConnectionFailed, match="the connection was refused") as caught:
        connect(SshAddress("127.0.0.1", port))
    assert "sshd running" in caught.value.hint


def test_a_name_without_an_address(connect, home):
    with pytest.raises(ConnectionFailed, match=r"no address for the name nowhere\.invalid"):
        connect(SshAddress("nowhere.invalid"))


def test_ipv6_and_names_with_several_addresses(sshd, key, connect):
    for host in ("::1", "localhost"):
        with connect(SshAddress(host, sshd.port, getpass.getuser(), str(key))) as connection:
            assert connection.run("true", deadline=10).status == 0


def test_many_sessions_over_one_connection(connection):
    started = [connection.start(f"read x; echo {number} $x") for number in range(8)]
    for number, channel in enumerate(started):
        channel.write(b"go\n", 5)
        assert channel.read_line(5) == f"{number} go\n".encode()
        assert channel.wait(5) == 0
        channel.close()


def test_a_stopped_sshd_is_bounded_by_the_deadline(connection):
    pid = int(connection.run("echo $PPID", deadline=10).stdout)
    freeze(pid)
    try:
        started = time.monotonic()
        with pytest.raises((ConnectionFailed, RemoteFailed)):
            connection.run("true", deadline=1)
        assert time.monotonic() - started < 8
    finally:
        os.kill(pid, signal.SIGCONT)


def test_closing_leaves_no_descriptor_behind(sshd, key, connect):
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    connect(sshd.address(key)).close()
    before = count()
    for _ in range(3):
        with connect(sshd.address(key)) as connection:
            connection.run("true", deadline=10)
    until(lambda: count() <= before)
