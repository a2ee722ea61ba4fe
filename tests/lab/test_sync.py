"""sync on real hosts: only what changed travels, nothing half-written, one machine's trouble is its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import pytest

from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store
from tests.frozen import freeze
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def site(make_host, new_controller):
    """Two machines with rsync, known to a store; no engine is wanted for files."""
    controller = new_controller()
    controller.hosts = {
        "sync1": make_host("sync1", engine=True),
        "sync2": make_host("sync2", "trixie", engine=True),
    }
    for name, host in controller.hosts.items():
        remember(controller, name, host.ip, host.key)
        host.run(
            "apt-get update -q >&2 && apt-get install -y -q --no-install-recommends rsync >&2", deadline=300
        )
    return controller


def remember(controller, name, ip, key):
    Store(controller.store).save(Machine(name, ip, SshAddress(ip, key=str(key)), state="ready"))


@pytest.fixture
def tree(tmp_path):
    source = tmp_path / "src"
    (source / "sub dir").mkdir(parents=True)
    for number in range(40):
        (source / f"f{number}").write_text(f"{number}\n" * 50)
    (source / "sub dir" / "it's\nodd é").write_text("odd")
    (source / "link").symlink_to("f1")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "big").write_bytes(os.urandom(8 * MIB))
    return source


def listing(host, folder):
    """Every name with kind, mode, size, time, target and checksum: what a copy has to match."""
    return host.run(
        f"cd '{folder}' && find . ! -name . \\( -type f -printf '%P %y %m %s %T@ ' -exec sha256sum {{}} \\; "
        "-o -type d -printf '%P %y %m\\n' -o -printf '%P %y %l\\n' \\) | sort"
    ).stdout


def local_listing(folder):
    found = []
    for path in sorted(folder.rglob("*")):
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
        found.append((str(path.relative_to(folder)), kind))
    return found


def received(host):
    """Bytes that came over the host's network so far: counted by its kernel, not by us."""
    return int(host.run("cat /sys/class/net/host0/statistics/rx_bytes").stdout)


def unfinished(host, folder):
    """Files under a temporary name, of either way's."""
    names = host.run(f"ls -A '{folder}'", check=False).stdout.split()
    return [name for name in names if name.startswith((".big.", ".machinectl-sync."))]


def results(done):
    return {one["name"]: one for one in json.loads(done.stdout)}


@contextlib.contextmanager
def without_rsync(host):
    host.run("mv /usr/bin/rsync /usr/bin/rsync.away")
    try:
        yield
    finally:
        host.run("mv /usr/bin/rsync.away /usr/bin/rsync")


WAYS = ("rsync", "agent")


@pytest.mark.parametrize("way", WAYS)
def test_only_what_changed_travels(site, tree, way):
    target = f"/srv/only {way}"
    words = ("sync", "--way", way, "--output", "json", f"{tree}/", f"sync*:{target}")
    first = results(site.run(*words))
    assert [(one["way"], one["files"], one["sent"]) for one in first.values()] == [(way, 43, 43)] * 2
    one, two = (listing(host, target) for host in site.hosts.values())
    assert one == two
    assert len(one.splitlines()) >= 46

    (tree / "f7").write_text("changed\n")
    (tree / "f1").unlink()
    before = {name: received(host) for name, host in site.hosts.items()}
    second = results(site.run(*words))
    for name, host in site.hosts.items():
        assert (second[name]["sent"], second[name]["deleted"]) == (1, 0)
        assert 0 < second[name]["bytes"] < 20_000
        assert received(host) - before[name] < MIB
        assert host.run(f"cat '{target}/f7'").stdout == "changed\n"
        assert host.run(f"cat '{target}/f1'").stdout.startswith("1\n")  # nobody said --delete

    dry = site.run(
        "sync", "-n", "--delete", "--way", way, "--exclude", "f3*", f"{tree}/", f"sync1:{target}"
    ).stdout
    assert dry.splitlines()[-2:] == ["sync1: delete f1", "sync1: 0 of 31 files would be sent, 1 deleted"]
    assert site.hosts["sync1"].run(f"test -e '{target}/f1'").returncode == 0
    done = results(site.run(*words, "--delete", "--exclude", "f3*"))
    for name, host in site.hosts.items():
        assert done[name]["deleted"] == 1
        assert host.run(f"test -e '{target}/f1'", check=False).returncode == 1
        assert host.run(f"ls '{target}'/f3*").stdout.count("\n") == 11  # excluded: not deleted


def test_inside_of_a_large_file(site, tree):
    site.run("sync", f"{tree}/", "sync1:/srv/delta")
    with (tree / "big").open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"x" * 1000)
    done = results(site.run("sync", "--output", "json", f"{tree}/", "sync1:/srv/delta"))
    assert (done["sync1"]["sent"], done["sync1"]["bytes"] < MIB // 4) == (1, True)
    here = site.hosts["sync1"].run("sha256sum /srv/delta/big").stdout.split()[0]
    assert here in os.popen(f"sha256sum {tree}/big").read()  # noqa: S605 - a path of our own


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_itself_and_back(site, tree, tmp_path, way):
    site.run("sync", "--way", way, tree, "ops@sync2:")
    host = site.hosts["sync2"]
    assert host.run("stat -c '%U %n' /home/ops/src /home/ops/src/big").stdout.split()[0::2] == ["ops", "ops"]
    site.run("sync", "--way", way, "ops@sync2:src", tmp_path / "back")
    assert local_listing(tmp_path / "back" / "src") == local_listing(tree)
    assert (tmp_path / "back/src/big").read_bytes() == (tree / "big").read_bytes()
    assert (tmp_path / "back/src/run.sh").stat().st_mode & 0o777 == 0o755
    host.run("rm -r /home/ops/src")


@pytest.mark.parametrize("way", WAYS)
def test_killed_in_the_middle(site, tree, way):
    """The old file stays under its name; the next run finishes, and leaves nothing behind."""
    host = site.hosts["sync1"]
    target = f"/srv/killed-{way}"
    host.run(f"mkdir {target} && echo old > {target}/big")
    process = site.start("sync", "--way", way, "--limit-rate", "1M", f"{tree}/", f"sync1:{target}")
    until(lambda: unfinished(host, target))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    until(lambda: not unfinished(host, target))
    assert host.run(f"cat {target}/big").stdout == "old\n"
    site.run("sync", "--way", way, f"{tree}/", f"sync1:{target}")
    assert host.run(f"stat -c %s {target}/big").stdout == f"{8 * MIB}\n"
    assert not unfinished(host, target)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_to_the_same_folder_is_left_alone(site, tree, tmp_path, way):
    """What scp gathers beside its target is in no source: --delete does not mean it."""
    host, target = site.hosts["sync1"], f"/srv/both-{way}"
    (tmp_path / "small").mkdir()
    (tmp_path / "small/one").write_text("one")
    host.run(f"mkdir {target} && touch {target}/old")
    copy = site.start("scp", "--limit-rate", "1M", tree / "big", f"root@sync1:{target}/")
    until(lambda: ".machinectl-part-" in host.run(f"ls -A {target}").stdout)
    freeze(copy.pid)  # it stays in the middle, however long the sync takes
    try:
        site.run("sync", "--way", way, "--delete", f"{tmp_path}/small/", f"sync1:{target}")
        assert ".machinectl-part-" in host.run(f"ls -A {target}").stdout
    finally:
        copy.send_signal(signal.SIGCONT)
    said = copy.communicate(timeout=300)
    assert copy.returncode == 0, said
    assert host.run(f"ls -A {target}").stdout.split() == ["big", "one"]


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c(site, tree, way):
    process = site.start("sync", "--way", way, "--limit-rate", "1M", f"{tree}/", f"sync1:/srv/ctrl-{way}")
    host = site.hosts["sync1"]
    until(lambda: unfinished(host, f"/srv/ctrl-{way}"))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    until(lambda: not unfinished(host, f"/srv/ctrl-{way}"))
    assert "big" not in host.run(f"ls /srv/ctrl-{way}").stdout.split()


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk(site, tree, way):
    host = site.hosts["sync1"]
    host.run("mkdir -p /srv/small && mount -t tmpfs -o size=4m tmpfs /srv/small && echo old > /srv/small/big")
    try:
        done = site.run("sync", "--way", way, f"{tree}/", "sync*:/srv/small", check=False)
        assert done.returncode == 3
        assert "1 of 2 machines failed\nsync1: the disk is full\n" in done.stderr
        assert done.stdout.startswith("sync2: 43 of 43 files sent")
        assert host.run("cat /srv/small/big").stdout == "old\n"
        until(lambda: not unfinished(host, "/srv/small"))
    finally:
        until(
            lambda: host.run("umount /srv/small", check=False).returncode == 0
        )  # an rsync may be ending in it
        site.hosts["sync2"].run("rm -r /srv/small")


@pytest.mark.parametrize("way", WAYS)
def test_permission_denied(site, tree, way):
    done = site.run("sync", "--way", way, f"{tree}/", "ops@sync1:/etc", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Permission denied" in done.stderr
    assert "leave USER@ out" in done.stderr
    assert not site.hosts["sync1"].run("ls /etc/f1", check=False).stdout


def test_a_machine_that_is_away_hides_nobody(site, tree):
    remember(site, "sync9", site.hosts["sync1"].ip.rpartition(".")[0] + ".250", site.hosts["sync1"].key)
    try:
        done = site.run("sync", f"{tree}/", "sync*:/srv/away", check=False)
    finally:
        Store(site.store).remove("sync9")
    assert done.returncode == 3
    assert [line.split(" sent")[0] for line in done.stdout.splitlines()] == [
        "sync1: 43 of 43 files", "sync2: 43 of 43 files",
    ]  # fmt: skip
    assert "1 of 3 machines failed\nsync9: " in done.stderr


def test_logins_that_must_become_root(site, tree):
    """sudo without a password: rsync. With one: the agents' way, which says what is missing."""
    host = site.hosts["sync2"]
    for user, name in (("ops", "sudo1"), ("opspw", "sudo2")):
        Store(site.store).save(
            Machine(name, host.ip, SshAddress(host.ip, user=user, key=str(host.key)), state="ready")
        )
    try:
        done = site.run("sync", "--way", "rsync", f"{tree}/", "sudo1:/srv/by-sudo")
        assert "by rsync" in done.stdout
        assert host.run("stat -c %U /srv/by-sudo/f1").stdout == "root\n"
        asked = site.run("sync", f"{tree}/", "sudo2:/srv/by-sudo", check=False)
        assert "sudo needs a password" in asked.stderr
        own = site.run("sync", f"{tree}/", "opspw@sudo2:own")  # no sudo is needed for one's own
        assert "by rsync" in own.stdout
        (tree / "f2").write_text("new")
        assert (
            "1 of 43 files sent" in site.run("sync", "--way", "agent", f"{tree}/", "opspw@sudo2:own").stdout
        )
        assert host.run("stat -c %U /home/opspw/own/f1").stdout == "opspw\n"
    finally:
        for name in ("sudo1", "sudo2"):
            Store(site.store).remove(name)


def test_ctrl_c_of_a_pull_leaves_nothing_half_here(site, tree, tmp_path):
    site.run("sync", f"{tree}/", "sync1:/srv/pulled")
    process = site.start(
        "sync", "--way", "agent", "--limit-rate", "1M", "sync1:/srv/pulled/", tmp_path / "here"
    )
    until(
        lambda: list((tmp_path / "here").glob(".machinectl-sync.*")) if (tmp_path / "here").is_dir() else []
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert not [
        one.name for one in (tmp_path / "here").iterdir() if one.name.startswith(".") or one.name == "big"
    ]


def test_where_a_machine_has_no_rsync(site, tree):
    """Both ways in one run, and both leave the same."""
    with without_rsync(site.hosts["sync2"]):
        done = site.run("sync", "--exclude", "f2*", f"{tree}/", "sync*:/srv/mixed")
        assert [line.split(", by ")[1].split()[0] for line in done.stdout.splitlines()] == ["rsync", "agent"]
        assert [line.split(" sent")[0] for line in done.stdout.splitlines()] == [
            "sync1: 32 of 32 files", "sync2: 32 of 32 files",
        ]  # fmt: skip
        one, two = (listing(host, "/srv/mixed") for host in site.hosts.values())
        assert one == two
        asked = site.run("sync", "--way", "rsync", f"{tree}/", "sync2:/srv/mixed", check=False)
        assert "why: rsync is not installed there" in asked.stderr


def test_from_machine_to_machines(site, tree):
    """Directly between them, owners and all; only what differs, the second time."""
    site.run("sync", f"{tree}/", "sync1:/srv/origin")
    site.hosts["sync1"].run("chown ops:www-data /srv/origin/f5 && ln -s f5 /srv/origin/second")
    words = ("sync", "-a", "--delete", "--output", "json", "sync1:/srv/origin/", "sync2:/srv/from")
    assert results(site.run(*words))["sync2"]["sent"] == 43
    one, two = (
        listing(host, folder)
        for host, folder in zip(site.hosts.values(), ("/srv/origin", "/srv/from"), strict=True)
    )
    assert one == two
    assert site.hosts["sync2"].run("stat -c %U:%G /srv/from/f5").stdout == "ops:www-data\n"
    site.hosts["sync1"].run("echo new > /srv/origin/f5; rm /srv/origin/second; touch /srv/origin/f6")
    again = results(site.run(*words))["sync2"]
    assert (again["sent"], again["deleted"], again["bytes"] < 1000) == (1, 1, True)
    third = results(site.run(*words))["sync2"]
    assert (third["sent"], third["deleted"], third["bytes"]) == (0, 0, 0)


def test_checksums_have_as_long_as_the_command(site, tmp_path):
    """No more, and no less: they are not given up after a time of their own."""
    host = site.hosts["sync1"]
    host.run("mkdir /srv/huge && truncate -s 800G /srv/huge/image")
    with (tmp_path / "image").open("wb") as file:
        file.truncate(800 * 1024 * MIB)
    words = ("--way", "agent", "--checksum", "--timeout", "30", "sync1:/srv/huge/", tmp_path)
    done = site.run("sync", *words, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("error: sync1: the agent did not finish in time")
    assert "was given 30 s" in done.stderr
    assert "--timeout" in done.stderr
    # whoever asked is gone: nobody reads on for nothing
    until(lambda: "image" not in host.run("ls -l /proc/[0-9]*/fd 2>/dev/null", check=False).stdout)
    host.run("rm -r /srv/huge")


def test_wrong_words(site, tmp_path):
    missing = site.run("sync", tmp_path / "none", "sync*:/srv", check=False)
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (
        2,
        f"error: {tmp_path}/none can't be read",
    )
    assert (
        "there is no user nobodyhere"
        in site.run("sync", tmp_path, "nobodyhere@sync1:/srv", check=False).stderr
    )
    assert site.run("sync", tmp_path, tmp_path, check=False).returncode == 2
