"""sudo in all its moods. A stand-in speaks sudo's own lines, so that no user has to be made for a test."""

from __future__ import annotations

import os
import time

import pytest

from machinectl.errors import BecomeFailed
from machinectl.remote.become import Become

SUDO = r"""#!/bin/sh
# sudo's lines as sudo 1.9 says them; MOOD says which of them
prompt= nonblock=
while :; do
    case $1 in
        -H) ;;
        -n) nonblock=1 ;;
        -S) ;;
        -p) prompt=$2; shift ;;
        --) shift; break ;;
        *) echo "unexpected $1" >&2; exit 99 ;;
    esac
    shift
done
ask() {
    if [ -n "$nonblock" ]; then echo "sudo: a password is required" >&2; exit 1; fi
    for try in 1 2 3; do
        printf %s "$prompt" >&2
        read -r answer
        if [ "$answer" = "pass word" ]; then return; fi
        echo "Sorry, try again." >&2
    done
    echo "sudo: 3 incorrect password attempts" >&2
    exit 1
}
case $MOOD in
    nopasswd) ;;
    password) echo "We trust you have received the usual lecture." >&2; ask ;;
    stranger) ask; echo "bob is not in the sudoers file." >&2; exit 1 ;;
    tty) echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1 ;;
    odd) echo "sudo: unable to open /etc/sudoers" >&2; exit 1 ;;
esac
AS_ROOT=yes exec "$@"
"""


@pytest.fixture
def log_in(start_sshd, key, connect, tmp_path):
    """A connection whose host has a sudo of that mood."""
    opened = []

    def log_in(mood: str, become: Become):
        tools = tmp_path / f"bin-{mood}"
        tools.mkdir()
        if mood == "missing":
            for name in ("sh", "cat", "id", "echo"):
                (tools / name).symlink_to(f"/bin/{name}" if name != "id" else "/usr/bin/id")
            path = str(tools)
        else:
            (tools / "sudo").write_text(SUDO)
            (tools / "sudo").chmod(0o755)
            path = f"{tools}:{os.environ['PATH']}"
        sshd = start_sshd(f"sshd-{mood}", ("ed25519",), f'SetEnv SHLVL=3 MOOD={mood} "PATH={path}"')
        sshd.authorize(key)
        opened.append(connect(sshd.address(key), become=become))
        return opened[-1]

    yield log_in
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("mood", "password"),
    [("nopasswd", None), ("nopasswd", "pass word"), ("password", "pass word")],
)
def test_root_is_had_and_stdin_is_the_commands_own(log_in, mood, password):
    connection = log_in(mood, Become("sudo", password))
    done = connection.run("cat; echo $AS_ROOT; echo mine >&2; exit 5", stdin=b"in\n", deadline=10)
    assert (done.status, done.stdout) == (5, b"in\nyes\n")
    assert done.stderr == b"mine\n"
    assert connection.run("cat", stdin=b"x" * 2_000_000, deadline=20).stdout == b"x" * 2_000_000
    assert connection.run("true", deadline=10).status == 0


def test_an_upload_goes_through_sudo(log_in, tmp_path):
    connection = log_in("password", Become("sudo", "pass word"))
    connection.upload(b"content", str(tmp_path / "file"), deadline=10)
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("mood", "password", "why"),
    [
        ("password", None, "sudo needs a password"),
        ("password", "guess", "did not take the password"),
        ("stranger", "pass word", "not in sudoers"),
        ("tty", None, "requiretty"),
        ("tty", "pass word", "requiretty"),
        ("missing", None, "not installed"),
        ("odd", None, "unable to open /etc/sudoers"),
    ],
)
@pytest.mark.parametrize("stdin", [b"", b"x" * 3_000_000])
def test_refusals_are_told_at_once(log_in, mood, password, why, stdin):
    connection = log_in(mood, Become("sudo", password))
    started = time.monotonic()
    with pytest.raises(BecomeFailed, match="can't become root") as caught:
        connection.run("cat", stdin=stdin, deadline=20)
    assert why in caught.value.why
    assert caught.value.hint
    assert caught.value.machine == "node1"
    assert time.monotonic() - started < 15
    assert not password or password not in str(caught.value)


def test_a_program_that_asks_later_gets_no_password(log_in):
    connection = log_in("nopasswd", Become("sudo", "pass word"))
    done = connection.run("printf 'Password: ' >&2; cat", stdin=b"from the caller\n", deadline=10)
    assert done.stdout == b"from the caller\n"


def test_as_ourselves_where_root_is_not_needed(log_in):
    connection = log_in("odd", Become("sudo"))
    assert connection.run("echo ${AS_ROOT:-no}", deadline=10, as_root=False).stdout == b"no\n"


def test_a_password_is_shown_nowhere():
    become = Become("sudo", "pass word")
    assert "pass word" not in repr(become) + str(become)
