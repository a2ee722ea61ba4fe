"""Volumes of two machines with two engines: their life as the guides have it, and that nothing of them is lost."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import subprocess
import time

import pytest

from machinectl.store.store import Store
from machinectl_agent.volumes.frame import render_head, render_trailer
from machinectl_agent.volumes.tree import write_tree
from tests.lab.network_cluster import import_image
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

LISTING = r"""
import hashlib, os, sys, json
found = {}
for folder, folders, files in os.walk(sys.argv[1]):
    for name in [".", *folders, *files]:
        path = os.path.normpath(os.path.join(folder, name))
        about = os.lstat(path)
        content = hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.isfile(path) and not os.path.islink(path) else ""
        found[os.path.relpath(path, sys.argv[1])] = [
            oct(about.st_mode), about.st_uid, about.st_gid, about.st_nlink, about.st_rdev, about.st_mtime_ns, content,
            os.readlink(path) if os.path.islink(path) else "",
            sorted((key, os.getxattr(path, key, follow_symlinks=False).hex()) for key in os.listxattr(path, follow_symlinks=False)),
            about.st_size if not os.path.isdir(path) else 0,
        ]
print(json.dumps(found))
"""

RICH = r"""
import os, struct
os.umask(0o022)
os.chdir("/var/lib/docker/volumes/rich/_data")
open("a\nb -c'", "w").write("x")
open("\udcff\udcfe", "w").write("no utf-8")
os.link("a\nb -c'", "hard")
os.symlink("/no/where", "link")
os.mkdir("d")
open("d/" + "n" * 250, "w").close()
open("holes", "w").truncate(1 << 28)
with open("holes", "r+b") as file:
    file.seek(3 << 26)
    file.write(b"in between")
open("big", "wb").write(os.urandom(3_000_000))
os.utime("big", ns=(1, 981173106_789012345))
os.mknod("null", 0o600 | 0o020000, os.makedev(1, 3))
os.mkfifo("pipe")
os.setxattr("d", "user.key", b"va\0lue")
os.setxattr("big", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
# acl(5) as the kernel keeps it: version 2, then tag, permissions, id
entries = [(1, 7, 0xFFFFFFFF), (2, 7, 1234), (4, 5, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)
os.setxattr("d", "system.posix_acl_access", acl)
os.setxattr("d", "system.posix_acl_default", acl)
os.chown("d", 1000, 2000)
os.chmod("big", 0o4755)
"""

WRITER = "trap exit TERM; i=0; while true; do i=$((i+1)); echo $i >> /data/a; echo $i >> /data/z; done"
"""A database of a kind: whatever the moment, `z` has as many lines as `a`, or one less."""


class Shop:
    """Two machines."""

    def __init__(self, controller, hosts):
        self.controller = controller
        self.hosts = {host.name: host for host in hosts}

    def volume(self, *words, **more):
        return self.controller.run("volume", *words, **more)

    def docker(self, name, words, check=True):
        done = self.hosts[name].run(f"docker {words}", check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def state(self, name, container):
        return self.docker(name, f"inspect -f '{{{{.State.Status}}}}' {container}")

    def listing(self, name, folder):
        done = self.hosts[name].run(f"python3 - {shlex.quote(folder)}", stdin=LISTING)
        return json.loads(done.stdout)

    def volumes(self, name):
        return self.docker(name, "volume ls -q").split()

    def writer(self, name, volume, container="writer", more=""):
        self.docker(name, f"run -d --name {container} {more} -v {volume}:/data busybox sh -c '{WRITER}'")
        until(lambda: self.hosts[name].run(f"test -s {data(volume)}/z", check=False).returncode == 0)


def data(volume):
    return f"/var/lib/docker/volumes/{volume}/_data"


@pytest.fixture(scope="module")
def shop(request, make_host, new_controller, busybox):
    controller = new_controller()
    hosts = [
        make_host(f"vol{number}", suite, engine=True)
        for number, suite in enumerate(("bookworm", "trixie"), 1)
    ]
    creates = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    for one in hosts:
        import_image(one, busybox)
        one.run("mkdir /srv/backups")
    return Shop(controller, hosts)


@pytest.fixture(autouse=True)
def clean(shop):
    """Every test begins with nothing, and leaves no hold."""
    yield
    for name, host in shop.hosts.items():
        until(lambda host=host: not host.run("ls /var/lib/machinectl/holds | grep json", check=False).stdout)
        until(lambda name=name: not any("staging" in one for one in shop.volumes(name)))
        host.run(
            "docker rm -f $(docker ps -aq) 2>/dev/null; docker volume rm $(docker volume ls -q)", check=False
        )
        host.run("rm -rf /srv/site /srv/backups; mkdir /srv/backups")


def test_create_use_back_up_migrate_restore_destroy(shop, tmp_path):
    """The guides' life of a volume."""
    one, two = shop.hosts
    options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs")
    shop.volume("create", f"{one}:notes", "--label", "team=blue", *options)
    assert shop.volume("create", f"{one}:notes", "--label", "team=blue", *options).returncode == 0
    refused = shop.volume("create", f"{one}:notes", "--label", "team=red", *options, check=False)
    assert "there is a volume notes already, with another label team" in refused.stderr
    shop.volume("rm", f"{one}:notes")

    shop.volume("create", f"{one}:site", "--label", "team=blue")
    shop.docker(one, "run --name make -v site:/web busybox sh -c 'echo hello > /web/index.html'")
    listed = json.loads(shop.volume("ls", "--size", "--output", "json").stdout)
    assert [(row["machine"], row["name"], row["containers"][0]["name"]) for row in listed] == [
        (one, "site", "make")
    ]
    assert listed[0]["size"] > 4096
    file = tmp_path / "site.tar.zst"
    said = shop.volume("backup", f"{one}:site", file)
    assert (
        said.stdout
        == f"{subprocess.run(['sha256sum', file], capture_output=True, text=True, check=True).stdout}"
    )
    assert file.stat().st_mode & 0o777 == 0o600

    # Docker removes no volume that a container has, even a stopped one: nothing is copied in vain
    refused = shop.volume("migrate", f"{one}:site", two, check=False)
    assert "volume site is in use" in refused.stderr
    assert "make (exited)" in refused.stderr
    assert shop.volumes(two) == []
    assert "in use" in shop.volume("rm", f"{one}:site", check=False).stderr
    shop.docker(one, "rm make")
    moved = shop.volume("migrate", f"{one}:site", two)
    assert moved.stdout == f"{two}:site\n"
    assert "direct" in moved.stderr
    assert (shop.volumes(one), shop.volumes(two)) == ([], ["site"])
    shown = json.loads(shop.volume("inspect", f"{two}:site").stdout)[0]
    assert (shown["Labels"], shown["Driver"]) == ({"team": "blue"}, "local")
    assert shop.docker(two, "run --rm -v site:/web busybox cat /web/index.html") == "hello"

    shop.volume("restore", file, f"{one}:old-site")
    assert shop.docker(one, "run --rm -v old-site:/web busybox cat /web/index.html") == "hello"
    assert json.loads(shop.docker(one, "volume inspect old-site"))[0]["Labels"] == {"team": "blue"}
    # from a machine's file, to a folder that containers mount
    shop.volume("backup", f"{one}:old-site", f"{two}:/srv/backups/s.tar.gz", "--compress", "gzip")
    shop.volume("restore", f"{two}:/srv/backups/s.tar.gz", f"{one}:/srv/site")
    assert shop.hosts[one].run("cat /srv/site/index.html").stdout == "hello\n"
    assert "--yes" in shop.volume("rm", f"{one}:/srv/site", check=False).stderr
    shop.volume("rm", "--yes", f"{one}:/srv/site", f"{one}:old-site", f"{two}:site")
    assert shop.volume("ls", "-q").stdout == ""
    assert shop.hosts[one].run("ls /srv").stdout.split() == ["backups"]


def test_an_image_that_brings_data_along(shop):
    one = next(iter(shop.hosts))
    shop.volume("create", f"{one}:site")
    shop.hosts[one].run(
        f"mkdir {data('site')}/css; cd {data('site')}; echo hi > css/a; ln -s css/a link; ln css/a hard"
    )
    shop.volume("pack", f"{one}:site", "site-data:1.0", "--path", "/web", "--label", "by=me")
    shop.docker(one, "create --name site-data site-data:1.0")
    seen = shop.docker(
        one, "run --rm --volumes-from site-data busybox sh -c 'cat /web/hard; readlink /web/link'"
    )
    assert seen == "hi\ncss/a"
    labels = json.loads(shop.docker(one, "image inspect site-data:1.0"))[0]["Config"]["Labels"]
    assert (labels["by"], labels["machinectl.volume"]) == ("me", "site")
    refused = shop.volume("pack", f"{one}:site", "Site", check=False)
    assert (refused.returncode, "no name of an image" in refused.stderr) == (2, True)


def test_all_of_a_file_is_kept(shop, tmp_path):
    """Owners, modes, times, links, attributes, ACLs, holes, devices and names of all kinds; on both engines."""
    one, two = shop.hosts
    shop.volume("create", f"{one}:rich")
    shop.hosts[one].run("python3 -", stdin=RICH)
    wanted = shop.listing(one, data("rich"))
    assert len(wanted) == 11
    assert len(wanted["d"][8]) == 3
    shop.volume("clone", f"{one}:rich", two)
    assert shop.listing(two, data("rich")) == wanted
    assert int(shop.hosts[two].run(f"du -sk {data('rich')} | cut -f1").stdout) < 4000
    file = tmp_path / "rich.tar.zst"
    shop.volume("backup", f"{two}:rich", file)
    assert file.stat().st_size < 3_300_000
    shop.volume("restore", file, f"{one}:/srv/site")
    assert shop.listing(one, "/srv/site") == wanted
    shop.volume("clone", f"{one}:rich", f"{one}:rich2")
    assert shop.listing(one, data("rich2")) == wanted
    moved = shop.volume("migrate", "--relay", f"{one}:/srv/site", f"{two}:/srv/site")
    assert "relay" in moved.stderr
    assert shop.listing(two, "/srv/site") == wanted
    assert shop.hosts[one].run("test -e /srv/site", check=False).returncode == 1


def test_source_and_destination_are_the_same_data(shop):
    """Under whatever names: the copy that goes with the source would be the only one."""
    one = next(iter(shop.hosts))
    host = shop.hosts[one]
    store = Store(shop.controller.store)
    twin = dataclasses.replace(store.load(one), name="vol-twin")
    with store.machine_lock(twin.name):
        store.save(twin)
    host.run("mkdir -p /srv/site/sub /srv/seen /srv/part; echo only > /srv/site/sub/a")
    host.run("mount --bind /srv/site /srv/seen; mount --bind /srv/site/sub /srv/part")
    shop.volume("create", f"{one}:vb", "-o", "type=none", "-o", "o=bind", "-o", "device=/srv/site")
    shop.volume("create", f"{one}:plain")
    host.run(f"echo a > {data('plain')}/a")
    try:
        before = shop.listing(one, "/srv/site")
        for source, target in (
            (f"{one}:/srv/site", f"{one}:vb"),
            (f"{one}:/srv/site", f"{twin.name}:/srv/site"),
            (f"{one}:/srv/site", f"{twin.name}:vb"),
            (f"{one}:/srv/site", f"{one}:/srv/seen"),
            (f"{one}:/srv/seen", f"{one}:/srv/site"),
            (f"{one}:plain", f"{twin.name}:plain"),
        ):
            for verb in (("migrate",), ("migrate", "--replace"), ("clone", "--replace")):
                said = shop.volume(*verb, source, target, check=False)
                assert (said.returncode, "are the same data" in said.stderr) == (1, True), said.stderr
        for source, target in (
            (f"{one}:/srv/site", f"{one}:/srv/seen/new"),
            (f"{one}:/srv/site", f"{one}:/srv/part"),
            (f"{one}:/srv/part", f"{one}:vb"),
        ):
            said = shop.volume("migrate", "--replace", source, target, check=False)
            assert (said.returncode, "are one inside the other" in said.stderr) == (1, True), said.stderr
        assert shop.listing(one, "/srv/site") == before
        assert host.run(f"cat {data('plain')}/a").stdout == "a\n"
        # one beside the other is none of that
        shop.volume("clone", f"{one}:/srv/site", f"{one}:/srv/site2")
        assert shop.listing(one, "/srv/site2") == before
    finally:
        host.run("umount /srv/seen /srv/part; rm -rf /srv/seen /srv/part /srv/site2")
        with store.machine_lock(twin.name):
            store.remove(twin.name)


def test_a_backup_has_no_say_in_what_is_replaced(shop, tmp_path):
    one, two = shop.hosts
    for host in shop.hosts.values():
        host.run("mkdir /srv/site; echo unrelated > /srv/site/a; chmod 751 /usr/local/sbin")
    bind = ("-o", "type=none", "-o", "o=bind", "-o")
    shop.volume("create", f"{one}:bound", *bind, "device=/srv/site", "--label", "team=blue")
    shop.volume("backup", "--compress", "none", f"{one}:bound", tmp_path / "good.tar")
    hostile = tmp_path / "hostile.tar"
    head = {
        "Name": "v", "Driver": "local", "Options": {"type": "none", "o": "bind", "device": "/usr/local/sbin"},
        "Labels": {}, "Machine": one, "Time": "now", "Consistent": True, "Containers": [],
    }  # fmt: skip
    (tmp_path / "tree").mkdir()
    with hostile.open("wb") as file:
        written = render_head(head)
        file.write(written)
        digest = write_tree(
            str(tmp_path / "tree"), file.write, live=False, beat=lambda: None, log=lambda _: None
        )
        file.write(render_trailer(digest, written))
    unchanged = shop.hosts[two].run("stat -c '%i %a' /usr/local/sbin /srv/site").stdout

    said = shop.volume("restore", hostile, f"{two}:vb")
    assert "volume vb is made as a plain one" in said.stderr
    shop.volume("rm", f"{two}:vb")
    for words in ((), ("--replace", "--stop")):
        said = shop.volume("restore", "--with-options", *words, hostile, f"{two}:vb", check=False)
        assert (said.returncode, "belongs to the host's system" in said.stderr) == (1, True), said.stderr
        assert shop.volumes(two) == []
    # the volume is there already: the user's own doing, and refused all the same
    shop.volume("create", f"{two}:vb", *bind, "device=/usr/local/../local/sbin")
    said = shop.volume("restore", "--replace", hostile, f"{two}:vb", check=False)
    assert (said.returncode, "belongs to the host's system" in said.stderr) == (1, True), said.stderr
    shop.volume("rm", f"{two}:vb")

    shop.volume("restore", "--replace", tmp_path / "good.tar", f"{two}:new")
    shown = json.loads(shop.docker(two, "volume inspect new"))[0]
    assert (shown["Options"] or {}, shown["Labels"]) == ({}, {"team": "blue"})
    shop.volume("clone", f"{one}:bound", two)
    assert shop.hosts[two].run("stat -c '%i %a' /usr/local/sbin /srv/site").stdout == unchanged
    shop.volume("rm", f"{two}:bound")
    shop.hosts[one].run("echo wanted > /srv/site/b")
    said = shop.volume("clone", "--with-options", f"{one}:bound", two, check=False)
    assert (said.returncode, "not empty" in said.stderr, shop.volumes(two)) == (1, True, ["new"])
    shop.volume("clone", "--with-options", "--replace", f"{one}:bound", two)
    assert shop.hosts[two].run("cat /srv/site/b").stdout == "wanted\n"
    assert json.loads(shop.docker(two, "volume inspect bound"))[0]["Options"]["device"] == "/srv/site"


def test_a_mount_inside_is_not_emptied(shop, tmp_path):
    """Of another file system, and of the same one."""
    one, two = shop.hosts
    host = shop.hosts[one]
    shop.volume("create", f"{one}:db")
    shop.volume("backup", f"{one}:db", tmp_path / "db")
    host.run(f"mkdir -p '/srv/site/my media' /srv/media {data('db')}/media; echo keep > /srv/media/a")
    for kind in ("tmpfs", "bind"):
        mount = "mount -t tmpfs tmpfs" if kind == "tmpfs" else "mount --bind /srv/media"
        for place, inside in (("/srv/site", "/srv/site/my media"), ("db", f"{data('db')}/media")):
            host.run(f"{mount} '{inside}'; echo keep > '{inside}/a'")
            try:
                for words in (
                    ("restore", "--replace", tmp_path / "db", f"{one}:{place}"),
                    ("rm", "--yes", f"{one}:{place}"),
                    ("migrate", "--replace", f"{one}:{place}", f"{two}:moved"),
                ):
                    said = shop.volume(*words, check=False)
                    assert said.returncode == 1
                    assert (
                        f"{inside} is a mount inside {data('db') if place == 'db' else place}" in said.stderr
                    )
                assert shop.volumes(two) == []
                assert host.run(f"cat '{inside}/a'").stdout == "keep\n"
            finally:
                host.run(f"umount '{inside}'")
    shop.volume("restore", "--replace", tmp_path / "db", f"{one}:/srv/site")
    assert host.run("ls -A /srv/site; cat /srv/media/a").stdout == "keep\n"
    host.run("rm -r /srv/media")


def test_containers_that_mount_over_a_link(shop, tmp_path):
    one = next(iter(shop.hosts))
    shop.hosts[one].run("mkdir /srv/site; ln -s site /srv/link")
    shop.volume("create", f"{one}:vb", "-o", "type=none", "-o", "o=bind", "-o", "device=/srv/link")
    shop.docker(one, "run -d --name linked -v /srv/link:/data busybox sleep infinity")
    shop.docker(one, "run -d --name bound -v vb:/data busybox sleep infinity")
    try:
        for place in ("/srv/site", "vb"):
            said = shop.volume("backup", f"{one}:{place}", tmp_path / "site")
            assert f"{one}: paused linked, bound\n" in said.stderr
            said = shop.volume("restore", "--replace", tmp_path / "site", f"{one}:{place}", check=False)
            assert f"{place} is in use by bound, linked" in said.stderr
        assert "is in use" in shop.volume("rm", "--yes", f"{one}:/srv/site", check=False).stderr
        # the folder that the link leads to is replaced, not the link
        shop.docker(one, "rm -f linked bound")
        shop.volume("restore", "--replace", tmp_path / "site", f"{one}:vb")
        assert shop.hosts[one].run("readlink /srv/link; ls -A /srv").stdout.split() == [
            "site", "backups", "link", "site"
        ]  # fmt: skip
    finally:
        shop.hosts[one].run("rm /srv/link")


def lines(path, folder):
    """How many numbers `a` and `z` have in a backup."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", path, "-C", folder], check=True)
    return [len((folder / name).read_text().splitlines()) for name in "az"]


def test_a_database_that_writes_all_the_time(shop, tmp_path):
    """What is copied is of one moment; the control is a copy with --live, which is not."""
    one = next(iter(shop.hosts))
    shop.volume("create", f"{one}:db")
    shop.hosts[one].run(f"dd if=/dev/urandom of={data('db')}/m bs=1M count=100 2>/dev/null")
    shop.writer(one, "db")
    shop.docker(one, "run -d --name reader -v db:/data:ro busybox sleep infinity")
    shop.docker(one, "run -d --name still -v db:/data busybox sleep infinity")
    shop.docker(one, "pause still")
    shop.docker(one, "create --name idle -v db:/data busybox sleep infinity")
    said = shop.volume("backup", "--compress", "none", f"{one}:db", tmp_path / "db.tar")
    assert f"{one}: paused writer\n" in said.stderr
    first, last = lines(tmp_path / "db.tar", tmp_path / "paused")
    assert first - last in (0, 1)
    shop.volume("backup", "--live", "--compress", "none", f"{one}:db", tmp_path / "live.tar")
    first, last = lines(tmp_path / "live.tar", tmp_path / "live")
    assert last > first + 1
    began = shop.docker(one, "inspect -f '{{.State.StartedAt}}' writer")
    said = shop.volume("backup", "--stop", "--compress", "none", f"{one}:db", tmp_path / "stop.tar")
    assert f"{one}: stopped writer\n" in said.stderr
    first, last = lines(tmp_path / "stop.tar", tmp_path / "stopped")
    assert first - last in (0, 1)
    assert shop.docker(one, "inspect -f '{{.State.StartedAt}}' writer") != began
    states = [shop.state(one, name) for name in ("writer", "reader", "still", "idle")]
    assert states == ["running", "running", "paused", "created"]


def test_what_would_be_removed_by_a_stop_is_not_stopped(shop, tmp_path):
    one = next(iter(shop.hosts))
    shop.writer(one, "db", more="--rm")
    refused = shop.volume("backup", "--stop", f"{one}:db", tmp_path / "db.tar", check=False)
    assert "is removed as soon as it is stopped" in refused.stderr
    assert shop.state(one, "writer") == "running"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_backup_changes_nothing(shop, tmp_path):
    one, two = shop.hosts
    shop.volume("create", f"{one}:db")
    shop.hosts[one].run(f"head -c 2000000 /dev/urandom > {data('db')}/new")
    good = tmp_path / "db.tar.gz"
    shop.volume("backup", "--compress", "gzip", f"{one}:db", good)
    shop.volume("create", f"{two}:db", "--label", "mine=yes")
    shop.hosts[two].run(f"echo old > {data('db')}/old")
    before = shop.listing(two, data("db"))
    refused = shop.volume("restore", good, f"{two}:db", check=False)
    assert "volume db is not empty" in refused.stderr
    assert "--replace" in refused.stderr
    content = good.read_bytes()
    middle = len(content) // 2
    broken = {
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut": content[:-100],
        "empty": b"",
        "other": b"hello" * 1000,
    }
    for name, damaged in broken.items():
        (tmp_path / name).write_bytes(damaged)
        for target in (f"{two}:db", f"{two}:{'other' if name == 'cut' else '/srv/site'}"):
            done = shop.volume("restore", "--replace", tmp_path / name, target, check=False)
            assert done.returncode == 1, name
            assert "the backup is damaged" in done.stderr or "no backup of a volume" in done.stderr, (
                done.stderr
            )
    assert shop.listing(two, data("db")) == before
    assert shop.volumes(two) == ["db"]
    assert shop.hosts[two].run("ls -A /srv").stdout.split() == ["backups"]

    shop.docker(two, "run -d --name user -v db:/data busybox sleep infinity")
    refused = shop.volume("restore", "--replace", good, f"{two}:db", check=False)
    assert "in use by user" in refused.stderr
    assert shop.listing(two, data("db")) == before
    shop.volume("restore", "--replace", "--stop", good, f"{two}:db")
    assert shop.docker(two, "exec user ls /data") == "new"
    # one that its user has paused is stopped by nobody: it would go on without its files
    shop.docker(two, "pause user")
    refused = shop.volume("restore", "--replace", "--stop", good, f"{two}:db", check=False)
    assert "paused containers have it: user" in refused.stderr
    assert "docker unpause user" in refused.stderr
    assert shop.state(two, "user") == "paused"
    shop.docker(two, "unpause user")
    assert json.loads(shop.docker(two, "volume inspect db"))[0]["Labels"] == {"mine": "yes"}


def test_zstd_where_only_one_side_has_it(shop, tmp_path):
    """The machines have none here: the controller compresses and unpacks; a machine alone falls back to gzip."""
    one, two = shop.hosts
    assert shop.hosts[one].run("which zstd", check=False).stdout == ""
    shop.volume("create", f"{one}:db")
    shop.hosts[one].run(f"seq 200000 > {data('db')}/n")
    wanted = shop.listing(one, data("db"))
    here = bool(shutil.which("zstd"))
    shop.volume("backup", f"{one}:db", tmp_path / "db.tar.zst")
    assert ((tmp_path / "db.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd") == here
    shop.volume("restore", tmp_path / "db.tar.zst", f"{two}:db")
    assert shop.listing(two, data("db")) == wanted
    said = shop.volume("backup", f"{one}:db", f"{two}:/srv/backups/db")
    assert "zstd is not installed: compressing by gzip" in said.stderr
    refused = shop.volume("backup", "--compress", "zstd", f"{one}:db", f"{two}:/srv/backups/no", check=False)
    assert "install its package zstd" in refused.stderr
    assert shop.hosts[two].run("ls -A /srv/backups").stdout.split() == ["db"]
    shop.volume("restore", f"{two}:/srv/backups/db", f"{one}:db2")
    assert shop.listing(one, data("db2")) == wanted


def test_a_full_disk_at_the_destination(shop):
    one, two = shop.hosts
    host = shop.hosts[two]
    shop.volume("create", f"{one}:db")
    shop.hosts[one].run(f"head -c 40000000 /dev/urandom > {data('db')}/n")
    host.run("mkdir -p /srv/small; mount -t tmpfs -o size=20m tmpfs /srv/small")
    try:
        for words in (
            ("migrate", f"{one}:db", f"{two}:/srv/small"),
            ("backup", f"{one}:db", f"{two}:/srv/small/b"),
        ):
            done = shop.volume(*words, check=False)
            assert done.returncode == 1
            assert f"{two}: " in done.stderr
            assert "no space left" in done.stderr.lower()
            assert host.run("ls -A /srv/small").stdout == ""
        assert shop.volumes(one) == ["db"]
        host.run("mount -o remount,size=80m /srv/small; echo old > /srv/small/old")
        assert "not empty" in shop.volume("migrate", f"{one}:db", f"{two}:/srv/small", check=False).stderr
        shop.volume("migrate", "--replace", f"{one}:db", f"{two}:/srv/small")
        assert host.run("ls -A /srv/small").stdout == "n\n"
        assert shop.volumes(one) == []
    finally:
        host.run("umount /srv/small; rmdir /srv/small")


def test_many_volumes_are_listed_quickly(shop):
    one = next(iter(shop.hosts))
    shop.hosts[one].run("for i in $(seq 60); do docker volume create many$i; done >/dev/null")
    began = time.monotonic()
    assert len(shop.volume("ls", one, "-q").stdout.split()) == 60
    assert time.monotonic() - began < 60


def test_an_inventory_wants_volumes(shop, tmp_path):
    """Made by apply, kept for ever, one that is another is an error; no-op applies ask once and do nothing."""
    one = next(iter(shop.hosts))
    host = shop.hosts[one]

    def hosts(volumes):
        address = {"ansible_host": host.ip, "ansible_ssh_private_key_file": str(host.key)}
        document = {"all": {"hosts": {one: {**address, "machinectl": {"volumes": volumes}}}}}
        (tmp_path / "hosts.yml").write_text(json.dumps(document))
        return ("-i", tmp_path / "hosts.yml")

    wanted = {
        "web": {"labels": {"team": "blue"}},
        "cache": {"driver_opts": {"type": "tmpfs", "device": "tmpfs"}},
    }
    assert "+ make volume web" in shop.controller.run("plan", *hosts(wanted), check=False).stdout
    assert shop.volumes(one) == []
    shop.controller.run("apply", "--yes", *hosts(wanted))
    assert sorted(shop.volumes(one)) == ["cache", "web"]
    assert json.loads(shop.docker(one, "volume inspect web"))[0]["Labels"] == {"team": "blue"}
    assert "volume" not in shop.controller.run("plan", *hosts(wanted)).stdout
    wanted["web"]["driver_opts"] = {"type": "none", "o": "bind", "device": "/srv"}
    refused = shop.controller.run("apply", "--yes", *hosts(wanted), check=False)
    assert "there is a volume web already, with no option device" in refused.stderr + refused.stdout
    shop.controller.run("apply", "--yes", *hosts(["new"]))
    assert sorted(shop.volumes(one)) == ["cache", "new", "web"]
