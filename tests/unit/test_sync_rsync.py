"""sync: what its words mean, and how rsync is called and understood."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from machinectl.actions.sync.places import Place, Route, parse_place, plan_route
from machinectl.actions.sync.result import Synced, summary
from machinectl.cli.sync import shown
from machinectl.errors import MachineNotFound, UsageError
from machinectl.remote.openssh import render_ssh
from machinectl.remote.rsync import Wish, quoted, render_as, render_rsync
from machinectl.remote.rsync_output import Change, Progress, parse_change, parse_progress, parse_stats
from machinectl.remote.sshconfig import Settings

NAMES = ["db1", "web1", "web2", "web3"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/a/b", Place("/a/b")),
        ("a/b:c", Place("a/b:c")),
        ("./a:b", Place("./a:b")),
        ("~/a:b", Place("~/a:b")),
        ("web1:", Place("", "web1")),
        ("web1:a", Place("a", "web1")),
        ("web1:/a:b", Place("/a:b", "web1")),
        ("web*:!web3:/srv/a", Place("/srv/a", "web*:!web3")),
        ("web[1:2]:/a", Place("/a", "web[1:2]")),
        (r"~web\d:/a", Place("/a", r"~web\d")),
        ("web1:~/a", Place("~/a", "web1")),
        ("ops@web1:a b", Place("a b", "web1", "ops")),
    ],
)
def test_a_word(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", [":a", "@web1:a", "ops@:a"])
def test_a_word_that_names_nobody(text):
    with pytest.raises(UsageError):
        parse_place(text)


def test_a_route():
    assert plan_route(["a", "b", "web*:/t"], NAMES) == Route(("a", "b"), "", "/t", ("web1", "web2", "web3"))
    assert plan_route(["web1:/s", "web*,!web1:/t"], NAMES) == Route(("/s",), "web1", "/t", ("web2", "web3"))
    assert plan_route(["ops@web1:s", "here"], NAMES) == Route(("s",), "web1", "here", (), "ops")


@pytest.mark.parametrize(
    "words",
    [
        ["a"],
        ["a", "b"],
        ["a", "web1:b", "web2:c"],
        ["web*:a", "b"],
        ["x@web1:a", "y@web2:b"],
        ["", "web1:/a"],
    ],
)
def test_a_route_that_is_none(words):
    with pytest.raises(UsageError):
        plan_route(words, NAMES)


def test_a_route_to_nobody():
    with pytest.raises(MachineNotFound):
        plan_route(["a", "wbe1:/a"], NAMES)


SSH = ["ssh", "-o", "ProxyCommand=ssh -o 'UserKnownHostsFile=\"/a b\"' -W h:22 jump", "-l", "root", "web1"]


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
def test_rsync_reads_our_quotes(tmp_path):
    """The real rsync hands every word of the ssh command on as it is."""
    program = tmp_path / "it's ssh"
    program.write_text(
        f"#!{sys.executable}\nimport sys; open({str(tmp_path / 'words')!r}, 'w').write(repr(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    ssh = [str(program), *SSH[1:-1], "a \"b\" 'c'", "web1"]
    argv = render_rsync(ssh, ["src/"], "/t x", Wish(), push=True, there=render_as("ops", by_root=False))
    subprocess.run(
        argv, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}, timeout=20
    )
    words = eval((tmp_path / "words").read_text())  # noqa: S307 - written by the line above
    assert words[: len(ssh) + 1] == ["-o", "BatchMode=yes", *ssh[1:]]
    assert words[len(ssh) + 1].startswith(
        "sudo -n -u ops -- sh -c 'cd ~ops 2>/dev/null || cd /; exec rsync \"$@\"' rsync"
    )


def test_the_command():
    argv = render_rsync(
        SSH, ["-x", "a:b", "/c/"], "-t", Wish(delete=True, exclude=("*.o",), limit_rate=10240), push=True
    )
    assert argv[0] == "rsync"
    assert argv[argv.index("--") :] == ["--", "./-x", "./a:b", "/c/", "web1:./-t"]
    assert {
        "--delete",
        "--exclude=*.o",
        "--exclude=.machinectl-part-*",
        "--bwlimit=10",
        "--protect-args",
        "--timeout=120",
    } < set(argv)
    assert not {"--owner", "--checksum", "--dry-run", "--compress"} & set(argv)
    pulled = render_rsync(
        [*SSH[:-1], "fe80::1"], ["~/a", "~"], "b", Wish(dry_run=True, archive=True), push=False
    )
    assert pulled[-3:] == ["[fe80::1]:a", "[fe80::1]:./", "./b"]
    assert {"--owner", "--hard-links", "--dry-run"} < set(pulled)


def test_a_user_is_a_name():
    assert render_as("www-data", by_root=True).startswith("runuser -u www-data -- ")
    for bad in ("a b", "$(id)", "-x", ""):
        with pytest.raises(UsageError):
            render_as(bad, by_root=True)


def test_the_ssh_command_fits(tmp_path):
    hops = [Settings("jump", "jump", 22, "me"), Settings("web1", "10.0.0.1", 2222, "root")]
    ssh = render_ssh(hops, tmp_path / "known hosts", key=False)
    assert "'ProxyCommand=ssh " in quoted(ssh)
    assert "\\" not in quoted(ssh)


STATS = """
Number of files: 12 (reg: 10, dir: 2)
Number of created files: 1 (reg: 1)
Number of deleted files: 3 (reg: 2, dir: 1)
Number of regular files transferred: 2
Total file size: 100 bytes
Total transferred file size: 50 bytes
Total bytes sent: 1234
Total bytes received: 77

sent 1234 bytes  received 77 bytes  10.00 bytes/sec
"""


def test_statistics():
    pushed = parse_stats(STATS.splitlines(), push=True)
    assert (pushed.files, pushed.sent, pushed.bytes, pushed.deleted) == (10, 2, 1234, 3)
    assert parse_stats(STATS.splitlines(), push=False).bytes == 77
    assert parse_stats([], push=True).files == 0


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("<f+++++++++ a b", Change("send", "a b")),
        (">f.st...... a", Change("send", "a")),
        ("cd+++++++++ d/", Change("create", "d/")),
        ("cL+++++++++ l", Change("create", "l")),
        (".d..t...... ./", Change("update", "./")),
        ("*deleting   x/y", Change("delete", "x/y")),
        ("<f+++++++++ n\\#012l", Change("send", "n\nl")),
        ("hf+++++++++ h", Change("create", "h")),
        ("Number of files: 3", None),
        ("", None),
    ],
)
def test_a_change(line, change):
    assert parse_change(line) == change


def test_progress():
    line = "      1,238,099 100%  146.38kB/s    0:00:08 (xfr#5, to-chk=169/396)"
    assert parse_progress(line) == Progress(1238099, 100, "146.38kB/s")
    assert str(parse_progress("         12 3%    1.00MB/s    0:00:08  ")) == "3% 1.00MB/s"
    assert parse_progress("Number of files: 3") is None


def test_the_summary():
    done = Synced("rsync", 120, 3, 12345, 2, 0.84)
    assert summary(done) == "3 of 120 files sent (12.3 kB), 2 deleted, by rsync in 0.8 s"
    assert summary(done, dry_run=True) == "3 of 120 files would be sent, 2 deleted"


def test_a_name_is_one_line():
    assert shown("a\nb é") == "a\\nb é"
