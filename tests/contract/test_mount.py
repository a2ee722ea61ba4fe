"""`machinectl mount`: a real sshfs and a real sshd."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from machinectl.model import Machine, SshAddress
from machinectl.remote.become import Become
from machinectl.remote.connection import open_connection
from machinectl.store.store import Store
from tests.ports import free_port

pytestmark = pytest.mark.timeout(120)

SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
needs_fuse = pytest.mark.skipif(
    not shutil.which("sshfs") or not os.access("/dev/fuse", os.R_OK | os.W_OK),
    reason="needs sshfs and /dev/fuse",
)


@pytest.fixture
def sshd(start_sshd, tmp_path):
    from tests.contract.conftest import make_key  # noqa: PLC0415 - beside its use

    server = start_sshd(
        "sshd", ("ed25519",), *[f"Subsystem sftp {one}" for one in SERVERS if Path(one).exists()][:1]
    )
    server.authorize(make_key(tmp_path / "a,key"))
    return server


@pytest.fixture
def store(tmp_path, sshd):
    """A store in a folder with a space and a comma, and a machine whose host key is pinned."""
    store = Store(tmp_path / "my store, really")
    shutil.copy(tmp_path / "a,key", store.folder("box") / "id")
    ssh = SshAddress("127.0.0.1", sshd.port, getpass.getuser(), "machines/box/id")
    store.save(Machine("box", "127.0.0.1", ssh))
    gone = SshAddress("127.0.0.1", free_port(), getpass.getuser(), "machines/box/id")
    store.save(Machine("gone", "127.0.0.1", gone))
    open_connection(ssh, machine="box", known_hosts=store.known_hosts, become=Become("none")).close()
    return store


@pytest.fixture
def call(store):
    def call(*words, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "machinectl", "-s", str(store.path), *map(str, words)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def folders(tmp_path):
    source, target = tmp_path / "source dir", tmp_path / "target dir"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("hello")
    yield source, target
    subprocess.run(["fusermount", "-u", target], capture_output=True, check=False)


@needs_fuse
def test_mount_and_unmount(call, folders):
    source, target = folders
    done = call("mount", f"box:{source}", target)
    assert done == (0, "", ""), done
    assert (target / "file").read_text() == "hello"
    (target / "new").write_text("from here")
    assert (source / "new").read_text() == "from here"
    status, _, err = call("mount", f"box:{source}", target)
    assert (status, "mounted on" in err) == (2, True)
    assert call("mount", "-u", f"box:{source}", target) == (0, "", "")
    assert list(target.iterdir()) == []
    status, _, err = call("mount", "-u", target)
    assert (status, "can't be unmounted" in err) == (1, True)


@needs_fuse
def test_read_only_and_unmounted_by_the_folder_alone(call, folders):
    source, target = folders
    assert call("mount", "-o", "ro", f"{getpass.getuser()}@box:{source}", target)[0] == 0
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").touch()
    assert call("mount", "-u", target) == (0, "", "")


@needs_fuse
def test_what_goes_wrong_is_said(call, folders, store):
    source, target = folders
    status, _, err = call("mount", f"box:{source}/nope", target)
    assert (status, "No such file" in err) == (1, True)
    status, _, err = call("mount", f"gone:{source}", target)
    assert status == 1
    assert "refused" in err
    pinned = store.known_hosts.read_text()
    store.known_hosts.write_text("")
    status, _, err = call("mount", f"box:{source}", target)
    assert (status, "Host key verification failed" in err) == (1, True)
    store.known_hosts.write_text(pinned)
    assert not os.path.ismount(target)


@needs_fuse
def test_a_busy_folder(call, folders):
    source, target = folders
    assert call("mount", f"box:{source}", target)[0] == 0
    with (target / "file").open():
        status, _, err = call("mount", "-u", target)
    assert (status, "busy" in err, "fuser" in err) == (1, True, True)
    assert call("mount", "-u", target)[0] == 0


def test_without_sshfs(call, folders):
    status, _, err = call("mount", "box:/", folders[1], PATH="/nowhere")
    assert (status, "sshfs is not installed" in err) == (1, True)
    status, _, err = call("mount", "-u", folders[1], PATH="/nowhere")
    assert (status, "fusermount is not installed" in err) == (1, True)


@needs_fuse
def test_what_can_not_be_meant(call, tmp_path):
    assert call("mount", "box:", "-u")[0] == 2
    assert call("mount", "box:/", tmp_path / "nope")[0] == 2
    assert call("mount", "/")[0] == 1
    assert "does not exist" in call("mount", "nobody:/", tmp_path)[2]
