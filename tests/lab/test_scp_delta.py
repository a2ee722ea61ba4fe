"""scp -d on real hosts: rsync, with scp's users and patterns."""

from __future__ import annotations

import os

import pytest

from tests.lab.copy_hosts import as_machine

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

MIB = 1 << 20


@pytest.fixture(scope="module")
def shop(make_host, new_controller):
    """`d1` (bookworm, login ops, who may sudo) and `d2` (trixie, login root), both with rsync."""
    controller = new_controller()
    controller.hosts = {
        "d1": make_host("delta1", engine=True),
        "d2": make_host("delta2", "trixie", engine=True),
    }
    for name, user in (("d1", "ops"), ("d2", "root")):
        host = controller.hosts[name]
        as_machine(controller, host, user=user, name=name)
        host.run(
            "apt-get update -q >&2 && apt-get install -y -q --no-install-recommends rsync >&2", deadline=300
        )
    return controller


def test_only_what_changed_of_a_large_file(shop, tmp_path):
    """Into the home of whoever logs in, and theirs; counted by the host's kernel."""
    (tmp_path / "disk.img").write_bytes(os.urandom(8 * MIB))
    shop.run("scp", "-d", tmp_path / "disk.img", "d*:")
    with (tmp_path / "disk.img").open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"changed")
    counter = "cat /sys/class/net/host0/statistics/rx_bytes"
    before = {name: int(host.run(counter).stdout) for name, host in shop.hosts.items()}
    shop.run("scp", "-q", "-d", tmp_path / "disk.img", "d*:")
    wanted = os.popen(f"sha256sum < {tmp_path}/disk.img").read().split()[0]  # noqa: S605 - a path of our own
    for (name, host), place in zip(shop.hosts.items(), ("/home/ops", "/root"), strict=True):
        assert int(host.run(counter).stdout) - before[name] < MIB
        assert host.run(f"sha256sum < {place}/disk.img").stdout.split()[0] == wanted
    assert shop.hosts["d1"].run("stat -c %U /home/ops/disk.img").stdout == "ops\n"


def test_users_folders_and_back(shop, tmp_path):
    (tmp_path / "site/sub").mkdir(parents=True)
    (tmp_path / "site/sub/a b").write_text("a")
    (tmp_path / "site/link").symlink_to("sub/a b")
    folder = shop.run("scp", "-d", tmp_path / "site", "root@d1:/srv", check=False)
    assert (folder.returncode, "is a folder" in folder.stderr) == (2, True)
    shop.run("scp", "-d", "-r", tmp_path / "site", "root@d1:/srv")  # by sudo
    host = shop.hosts["d1"]
    assert host.run("cd /srv/site && stat -c '%U %F %n' link 'sub/a b'").stdout == (
        "root regular file link\nroot regular file sub/a b\n"  # scp follows links; -a keeps them
    )
    host.run("echo b > '/srv/site/sub/b'")
    shop.run("scp", "-d", "-r", "root@d1:/srv/site/", tmp_path / "back")
    assert (tmp_path / "back/sub/b").read_text() == "b\n"
    shop.run("scp", "-d", "d2:/etc/host*", tmp_path / "back")
    assert (tmp_path / "back/hostname").exists()
    shop.run("scp", "-d", "d2:/etc/debian_version", "d1:/etc/hostname", tmp_path / "back")
    assert (tmp_path / "back/hostname").read_text() == "delta1\n"


def test_what_cannot_be(shop, tmp_path):
    (tmp_path / "f").write_text("f")
    between = shop.run("scp", "-d", "d1:f", "d2:f", check=False)
    assert (between.returncode, "machinectl sync" in between.stderr) == (2, True)
    assert shop.run("scp", "-d", "--resume", tmp_path / "f", "d1:", check=False).returncode == 2
    denied = shop.run("scp", "-d", tmp_path / "f", "d1:/etc/f", check=False)
    assert (denied.returncode, "Permission denied" in denied.stderr) == (1, True)
    assert "try: root@d1:PATH does it as root" in denied.stderr
    shop.hosts["d2"].run("mv /usr/bin/rsync /usr/bin/rsync.away")
    try:
        lacking = shop.run("scp", "-d", tmp_path / "f", "d*:", check=False)
    finally:
        shop.hosts["d2"].run("mv /usr/bin/rsync.away /usr/bin/rsync")
    assert lacking.returncode == 3
    assert "d2: -d needs rsync on both sides\n  why: rsync is not installed there" in lacking.stderr
    assert shop.hosts["d1"].run("cat /home/ops/f").stdout == "f"
