"""scp between this computer and real hosts: every direction, names, users, and what goes wrong on the way."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.copy_hosts import as_machine, cut
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

LARGE = 1 << 30
MANY = 20_000


@pytest.fixture(scope="module")
def shop(make_host, new_controller):
    """`one` (bookworm, login ops, who may sudo) and `two` (trixie, login root)."""
    controller = new_controller()
    controller.one, controller.two = make_host("scp1", engine=True), make_host("scp2", "trixie", engine=True)
    as_machine(controller, controller.one, user="ops", name="one")
    as_machine(controller, controller.two, name="two")
    return controller


def digest_of(path):
    return here(f"sha256sum < '{path}'").split()[0]


def digest_on(host, path):
    return host.run(f"sha256sum < '{path}'").stdout.split()[0]


def tree_digest(run, path):
    """Of all names, modes, times and contents below."""
    listed = run(
        f"cd '{path}' && find . -printf '%P %m %T@\\n' | sort | sha256sum && "
        "find . -type f -print0 | sort -z | xargs -0 cat | sha256sum"
    )
    return listed.split()[::2]


def here(command):
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def left_on(host):
    return host.run(
        "find / -xdev -name '.machinectl-part*' 2>/dev/null; pgrep -f ' carry$'", check=False
    ).stdout


@pytest.fixture(autouse=True)
def nothing_left(shop):
    yield
    for host in (shop.one, shop.two):
        until(lambda host=host: left_on(host) == "")


def test_a_gigabyte_in_every_direction(shop, tmp_path):
    source = tmp_path / "large"
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for number in range(LARGE >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
    wanted = digest_of(source)
    assert shop.run("scp", source, "one:").stdout == ""
    assert digest_on(shop.one, "/home/ops/large") == wanted
    assert shop.one.run("stat -c '%U %a' /home/ops/large").stdout == "ops 644\n"
    done = shop.run("scp", "one:large", "two:/root/from-one")
    assert done.stderr == ""  # no word of a relay
    assert digest_on(shop.two, "/root/from-one") == wanted
    shop.run("scp", "two:from-one", tmp_path / "back")
    assert digest_of(tmp_path / "back") == wanted
    shop.one.run("rm /home/ops/large")
    shop.two.run("rm /root/from-one")


def test_memory_does_not_grow_with_the_file(shop, tmp_path):
    """600 MB in 3 s each: here, and at the machines' ends, are some buffers of it."""
    source = tmp_path / "big"
    with source.open("wb") as file:
        file.truncate(600_000_000)
    ways = [(source, "one:big"), ("one:big", "two:/root/big"), ("two:big", tmp_path / "back")]
    for words in (*ways, ("--relay", *ways[1])):
        process = shop.start("scp", "--limit-rate", "200M", *words, stdin=subprocess.DEVNULL)
        seen = {"here": 0, "there": 0}
        while process.poll() is None:
            seen["here"] = max(seen["here"], most_memory(here, str(process.pid)))
            for host in (shop.one, shop.two):
                on_host = lambda command, host=host: host.run(command, check=False).stdout  # noqa: E731
                seen["there"] = max(seen["there"], most_memory(on_host, "$(pgrep -f ' carry$')"))
        out, error = process.communicate()
        assert process.returncode == 0, out + error
        assert 10_000 < seen["here"] < 150_000 and 5_000 < seen["there"] < 60_000, (words, seen)
    shop.one.run("rm /home/ops/big")
    shop.two.run("rm /root/big")


def most_memory(run, pids):
    """kB; the largest of some processes so far (VmHWM of proc_pid_status(5))."""
    found = run(f"for one in {pids}; do grep VmHWM /proc/$one/status; done 2>/dev/null; :")
    return max((int(line.split()[1]) for line in found.splitlines()), default=0)


def test_twenty_thousand_files_in_every_direction(shop, tmp_path):
    source = tmp_path / "many"
    for number in range(MANY):
        path = source / f"d{number // 500}/f{number}"
        if number % 500 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(str(number).encode() * 50)
    wanted = tree_digest(here, source)
    shop.run("scp", "-rp", source, "one:")
    assert tree_digest(lambda command: shop.one.run(command).stdout, "/home/ops/many") == wanted
    shop.run("scp", "-a", "one:many", "two:/root/")
    assert tree_digest(lambda command: shop.two.run(command).stdout, "/root/many") == wanted
    shop.run("scp", "-a", "two:many", tmp_path / "back")
    assert tree_digest(here, tmp_path / "back") == wanted
    shop.one.run("rm -r /home/ops/many")
    shop.two.run("rm -r /root/many")


def test_one_to_many_and_users(shop, tmp_path):
    (tmp_path / "motd").write_text("hello\n")
    shop.run("scp", tmp_path / "motd", "root@*:/etc/motd")
    assert [host.run("stat -c %U /etc/motd; cat /etc/motd").stdout for host in (shop.one, shop.two)] == [
        "root\nhello\n"
    ] * 2
    done = shop.run("scp", tmp_path / "motd", "all:/etc/motd", check=False)
    assert done.returncode == 3  # ops may not, root may
    assert "one: /etc/motd: permission denied" in done.stderr
    assert "try: we are the user ops; USER@MACHINE:PATH is another user" in done.stderr
    done = shop.run("scp", tmp_path / "motd", "nobody-here@one:x", check=False)
    assert "one: there is no user nobody-here on this host" in done.stderr
    shop.run("scp", tmp_path / "motd", "daemon@two:/tmp/of-daemon")
    assert shop.two.run("stat -c %U /tmp/of-daemon").stdout == "daemon\n"


@pytest.mark.parametrize(
    "name", ["a b 'c' \"d\" $HOME `id`", "line\nbreak", "-r", "naïve 東京 🚢", "caf\udce9", "*"]
)
def test_names_survive_every_way(shop, tmp_path, name):
    (tmp_path / name).write_text("named")
    shop.run("scp", "--", tmp_path / name, "one:")
    shop.run("scp", "--", f"one:{name}", "two:")
    (tmp_path / "back").mkdir()
    shop.run("scp", "--", f"two:{name}", tmp_path / "back")
    assert os.listdir(tmp_path / "back") == [name]  # noqa: PTH208 - names
    for host, home in ((shop.one, "/home/ops"), (shop.two, "/root")):
        host.run(f"cd {home} && find . -maxdepth 1 -type f ! -name '.*' -delete")


def test_several_sources_and_patterns(shop, tmp_path):
    shop.one.run("mkdir /home/ops/logs; cd /home/ops/logs; touch a.log b.log c.txt; chown -R ops: .")
    shop.two.run("touch /root/conf")
    (tmp_path / "mine").touch()
    target = tmp_path / "target"
    target.mkdir()
    shop.run("scp", "one:logs/*.log", "two:conf", target)
    assert sorted(os.listdir(target)) == ["a.log", "b.log", "conf"]  # noqa: PTH208 - names
    shop.run("scp", "one:logs/*.log", tmp_path / "mine", "two:/tmp")
    assert shop.two.run("cd /tmp; ls a.log b.log mine").stdout.split() == ["a.log", "b.log", "mine"]
    done = shop.run("scp", "one:logs/*.jpg", target, check=False)
    assert (done.returncode, "one: nothing matches logs/*.jpg" in done.stderr) == (1, True)


def test_sudo_of_the_newer_suite_passes_bytes_on(shop, new_controller, tmp_path):
    """trixie's sudo runs commands on a terminal of its own (use_pty)."""
    controller = new_controller()
    as_machine(controller, shop.two, user="ops")
    source = tmp_path / "bytes"
    source.write_bytes(os.urandom(5_000_000) + bytes(range(256)) * 20)
    for _ in range(2):  # at first by ourselves, as the host's key is new, then by ssh
        controller.run("scp", source, "root@scp2:/srv/bytes")
        assert shop.two.run("stat -c %U /srv/bytes").stdout == "root\n"
        controller.run("scp", "root@scp2:/srv/bytes", tmp_path / "back")
        assert digest_of(tmp_path / "back") == digest_of(source)
        controller.run("scp", source, "scp2:mine")
        assert shop.two.run("stat -c %U /home/ops/mine").stdout == "ops\n"


def test_an_archive_keeps_owners_by_name_devices_and_holes(shop, tmp_path):
    for host, number in ((shop.one, 1500), (shop.two, 1600)):
        host.run(f"groupadd -g {number} web && useradd -u {number} -g web web")
    shop.one.run(
        "mkdir /srv/owned && cd /srv/owned && echo x > file && ln file hard && ln -s file link && mknod null c 1 3 && "
        "mkfifo fifo && chown -R web:web . && chown -h web:web link && chmod 4750 file && chown 4242 fifo && "
        "truncate -s 3G holes && echo end >> holes"
    )
    look = "cd /srv/owned && find . -printf '%P %y %m %U %n %T@ %l\\n' | sort && stat -c %t,%T null && du -m holes | cut -f1"
    wanted = shop.one.run(look.replace("%U", "%u")).stdout
    began = time.monotonic()
    shop.run("scp", "-a", "root@one:/srv/owned", "root@two:/srv/owned")
    assert time.monotonic() - began < 150  # 3 GB of holes do not travel
    assert shop.two.run(look.replace("%U", "%u")).stdout == wanted
    assert " 1600 " in shop.two.run(look).stdout
    # back to here, where nobody is called web: by number
    shop.run("scp", "-a", "root@two:/srv/owned/file", tmp_path)
    assert (tmp_path / "file").stat().st_uid == 1600
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o4750
    # a user who may not give files away keeps them
    shop.run("scp", "-a", "root@two:/srv/owned/file", "one:mine")
    assert shop.one.run("stat -c '%U %a' /home/ops/mine").stdout == "ops 4750\n"


def test_a_killed_controller_leaves_the_old_file(shop, tmp_path):
    """Directly between machines, and from here: the agents end, the target is as it was."""
    source = tmp_path / "source"
    source.write_bytes(bytes(60_000_000))
    shop.two.run("head -c 60000000 /dev/zero > /root/source")
    shop.one.run("echo old > /home/ops/target; chown ops: /home/ops/target")
    for word in ("two:source", source):
        process = shop.start("scp", "--limit-rate", "1M", word, "one:target")
        until(lambda: "carry" in shop.one.run("ls -A /home/ops; pgrep -af ' carry$'", check=False).stdout)
        until(lambda: ".machinectl-part" in shop.one.run("ls -A /home/ops").stdout)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: left_on(shop.one) == "" and left_on(shop.two) == "")
        assert shop.one.run("cat /home/ops/target").stdout == "old\n"


def test_a_cut_is_an_error_and_resume_goes_on(shop, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(80_000_000))
    process = shop.start("scp", "--limit-rate", "5M", source, "one:resumed")
    kept = 20_000_000  # with less it would begin again
    until(lambda: int(shop.one.run("cat /home/ops/.machinectl-part*/0 2>/dev/null | wc -c").stdout) > kept)
    part = shop.one.run("ls -d /home/ops/.machinectl-part*").stdout.strip()
    shop.one.run("pkill -f '[s]shd: ops'")  # as if the link went: both ends see it at once
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: one: " in error and "--resume goes on" in error
    until(lambda: not shop.one.run("pgrep -f ' carry$'", check=False).stdout)
    assert int(shop.one.run(f"cat {part}/0 | wc -c").stdout) > kept
    assert shop.one.run("ls /home/ops/resumed", check=False).returncode
    assert shop.run("scp", "--resume", source, "one:resumed").stderr == ""
    assert digest_on(shop.one, "/home/ops/resumed") == digest_of(source)


def test_resume_waits_for_a_copy_that_goes_on(shop, tmp_path):
    """As after a link that died without a word: the old agent is still there."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(40_000_000))
    process = shop.start("scp", "--limit-rate", "1M", source, "one:twice")
    until(lambda: shop.one.run("cat /home/ops/.machinectl-part*/0 2>/dev/null | wc -c").stdout != "0\n")
    done = shop.run("scp", "--resume", source, "one:twice", check=False)
    assert (done.returncode, "error: one: an earlier copy to twice still runs there" in done.stderr) == (
        1,
        True,
    )
    shop.run("scp", source, "one:twice")  # from the beginning: they do not disturb each other
    assert digest_on(shop.one, "/home/ops/twice") == digest_of(source)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: left_on(shop.one) == "")


def test_a_full_disk_and_other_refusals(shop, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(12_000_000))
    two = shop.two
    two.run("mkdir -p /mnt/small /mnt/folder/source && mount -t tmpfs -o size=8m small /mnt/small")
    shop.run("scp", source, "one:source")
    for words in ((source,), ("one:source",)):
        done = shop.run("scp", *words, "two:/mnt/small/target", check=False)
        assert (done.returncode, "two: /mnt/small/target: the disk is full" in done.stderr) == (1, True)
    assert two.run("ls -A /mnt/small").stdout == ""
    until(lambda: two.run("umount /mnt/small", check=False).returncode == 0)  # an agent may be about to end
    for target, says in (
        ("two:/mnt/folder", "two: /mnt/folder/source is a folder, and source a file"),
        ("two:/mnt/none/x", "two: /mnt/none is not there\n  try: make the folder first"),
        ("two:/mnt/none/", "two: /mnt/none/ is not there"),
        ("one:source", "one: both ends are the same file: /home/ops/source"),
        ("root@one:/home/ops/source", "one: both ends are the same file: /home/ops/source"),
    ):
        done = shop.run("scp", "one:source", target, check=False)
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        assert done.stderr.count("error:") == 1
    done = shop.run("scp", "two:/root/none", "one:", check=False)
    assert "error: two: there is no /root/none" in done.stderr
    done = shop.run("scp", source, tmp_path / "x", check=False)
    assert (done.returncode, "neither end is on a machine" in done.stderr) == (2, True)


def test_a_block_device_takes_a_whole_image_or_none(shop, tmp_path):
    """From a machine to a disk of this computer's, which has something on it."""
    shop.two.run("truncate -s 3M /root/image && printf 'begin' | dd of=/root/image conv=notrunc status=none")
    disk = tmp_path / "disk"
    disk.write_bytes(b"y" * 4_194_304)
    device = here(f"losetup -f --show {disk}").strip()
    try:
        done = shop.run("scp", "-a", "--checksum", "two:image", device)
        assert done.stderr == ""
        shop.two.run("truncate -s 5M /root/image")
        done = shop.run("scp", "two:image", device, check=False)
        assert f"{device}: the device is too small" in done.stderr
    finally:
        here(f"losetup -d {device}")
    content = disk.read_bytes()
    assert content == b"begin".ljust(3_145_728, b"\0") + b"y" * 1_048_576


def test_a_fifo_holds_no_agent_back(shop, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(5_000_000))
    one = shop.one
    one.run("mkfifo -m 666 /srv/fifo")
    shop.two.run("truncate -s 5M /root/source")
    done = shop.run("scp", source, "one:/srv/fifo", check=False)
    assert (done.returncode, "one: /srv/fifo: nobody reads from it" in done.stderr) == (1, True)
    reader = one.run(
        "setsid sleep 600 <> /srv/fifo > /dev/null 2>&1 & echo $!"
    ).stdout.strip()  # it reads nothing
    process = shop.start("scp", "two:source", "one:/srv/fifo")
    until(lambda: "/srv/fifo" in one.run("ls -l /proc/$(pgrep -f ' carry$')/fd", check=False).stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: left_on(one) == "")
    one.run(f"kill {reader}; rm /srv/fifo")


def test_other_disks_in_the_target(shop, tmp_path):
    """A folder that is a mount point is filled on its own disk; what is mounted in it gets its part, too."""
    source = tmp_path / "data"
    for name in ("sub/new/file", "bound/new/file", "file"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(os.urandom(8_000_000))
    two = shop.two
    two.run(
        "mkdir -p /srv/held /srv/behind && mount -t tmpfs -o size=2m held /srv/held && "
        "mkdir /srv/held/data && mount -t tmpfs -o size=64m data /srv/held/data && cd /srv/held/data && "
        "mkdir sub bound && mount -t tmpfs -o size=32m sub sub && mount --bind /srv/behind bound"
    )
    try:
        wanted = tree_digest(here, source)
        for _ in range(2):
            shop.run("scp", "-a", source, "two:/srv/held")
            assert tree_digest(lambda command: two.run(command).stdout, "/srv/held/data") == wanted
        shop.run("scp", "-r", f"{source}/.", "two:/srv/held/data")
        assert two.run("cd /srv/held && find . -name '.machinectl*' && mountpoint -q data/sub").stdout == ""
        assert two.run("ls /srv/behind/new").stdout == "file\n"
    finally:
        until(lambda: two.run("umount -R /srv/held", check=False).returncode == 0)
        two.run("rm -r /srv/held /srv/behind")


def test_through_this_computer_where_a_firewall_is_between(shop):
    shop.one.run("echo hello > /home/ops/word")
    with cut(shop.one, shop.two):
        done = shop.run("scp", "one:word", "two:/root/word")
    assert "two: one and two do not reach each other: all goes through this computer" in done.stderr
    assert shop.two.run("cat /root/word").stdout == "hello\n"
    done = shop.run("scp", "--relay", "-C", "two:word", "one:word2")
    assert done.stderr == ""
    assert shop.one.run("cat /home/ops/word2").stdout == "hello\n"


def test_what_the_page_tells(shop, new_controller, tmp_path, monkeypatch):
    """Every command of docs/files.md, in its order, with what it needs."""
    page = (Path(__file__).parents[2] / "docs/files.md").read_text()
    controller = new_controller()
    monkeypatch.chdir(tmp_path)
    for host, names in ((shop.one, ("web1", "db1")), (shop.two, ("web2",))):
        for name in names:
            as_machine(controller, host, name=name)
        host.run(
            "mkdir -p /srv/html /var/log && echo hello > /srv/html/index.html && echo note > /root/notes.txt; touch /var/log/dpkg.log"
        )
    (tmp_path / "html").mkdir()
    (tmp_path / "html/index.html").write_text("hello\n")
    (tmp_path / "logs").mkdir()
    for name in ("site.tar.gz", "root.crt", "disk.img"):
        (tmp_path / name).write_bytes(os.urandom(100_000))
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 10
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["machinectl", "scp"]
        controller.run(*words[1:])
    assert {"dpkg.log", "notes.txt"} <= set(os.listdir(tmp_path / "logs"))  # noqa: PTH208 - names
    for host in (shop.one, shop.two):
        assert (
            host.run("cat /srv/html/index.html; stat -c %U /usr/local/share/ca-certificates/root.crt").stdout
            == "hello\nroot\n"
        )
    assert shop.two.run("cat /srv/copy/index.html").stdout == "hello\n"
    sums = shop.one.run("cd /var/tmp && sha256sum < disk.img").stdout
    assert sums.split()[0] == digest_of(tmp_path / "disk.img")
