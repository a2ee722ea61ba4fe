"""sync without rsync: what differs, what is left out, what a target is told; between two folders, for real."""

from __future__ import annotations

import io
import os
import shutil
import subprocess

import pytest

from machinectl.actions.sync.compare import compare, merge
from machinectl.actions.sync.ends import HereEnd, list_side
from machinectl.remote.rsync import Wish
from machinectl.remote.rsync_output import parse_change
from machinectl_agent.files.sync.changes import checked, consume_changes, produce_changes
from machinectl_agent.files.sync.exclude import compile_excludes
from machinectl_agent.files.sync.listing import scan, split_source
from machinectl_agent.files.sync.settle import settle
from machinectl_agent.problems import Problem
from tests.sync_here import run

NO_TEXT = os.fsdecode(b"no \xff text\n")

PATTERNS = [
    ["*.o"], ["/a"], ["a"], ["a/"], ["a/b"], ["/d/**"], ["d/*"], ["**/x"], ["[ab]"], ["[!a]"], ["?"], ["d/**/x"],
    [".git", "*.tmp"], ["d/***"], ["\\*"], ["\\[a\\]*"], ["/d/e/"], ["**.o"], ["a*/x"], ["*"], ["d/*/x"], ["/*/x"],
]  # fmt: skip


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """Names that patterns are about."""
    top = tmp_path_factory.mktemp("forest")
    for path in ("a", "b", "c.o", "x", "*", "[a]", ".git/config", "d/a/b", "d/e/x", "d/e/c.o", "d/x", "d/q.tmp",
                 "ab/x", "e/a", "e/d/x", "e/[a]b", "long name/a/b/x"):  # fmt: skip
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    return top


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
@pytest.mark.parametrize("slash", ["/", ""], ids=["inside", "folder"])
def test_patterns_mean_what_rsync_means(forest, tmp_path, patterns, slash):
    words = [f"--exclude={one}" for one in patterns]
    said = subprocess.run(
        ["rsync", "-rn", "--out-format=%i %n", *words, f"{forest}{slash}", f"{tmp_path}/t/"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    theirs = {one.path for line in said.splitlines() if (one := parse_change(line)) and one.verb == "send"}
    ours = {entry[0] for entry in scan(f"{forest}{slash}", patterns) if entry[1] == "f"}
    assert ours == theirs


def test_a_pattern_for_folders_only():
    excluded = compile_excludes(["build/"])
    assert excluded("a/build", True)
    assert not excluded("a/build", False)


@pytest.mark.parametrize(
    ("source", "split"),
    [("/a/b", ("/a", "b")), ("/a/b/", ("/a/b/", "")), ("b", (".", "b")), (".", (".", "")), ("/", ("/", "")),
     ("a/..", ("a/..", ""))],
)  # fmt: skip
def test_a_source(source, split):
    assert split_source(source) == split


def listed(*folders, wish=None):
    end = HereEnd()
    return merge(list_side(end, [str(one) for one in folders], (wish or Wish()).exclude, missing=True))[0]


@pytest.fixture
def tree(tmp_path):
    source = tmp_path / "src"
    (source / "d/empty").mkdir(parents=True)
    (source / "f").write_text("f")
    (source / "d/g").write_bytes(os.urandom(300_000))
    (source / "d/g").chmod(0o751)
    (source / "l").symlink_to("d/g")
    os.mkfifo(source / "fifo")
    os.utime(source / "f", ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789))
    (source / NO_TEXT).write_text("x")
    return source


def test_there_and_nothing_left_to_do(tree, tmp_path):
    plan = run(f"{tree}/", tmp_path / "t")
    assert plan.skipped == ["fifo"]
    again = compare(listed(f"{tree}/"), listed(f"{tmp_path}/t/"), Wish(delete=True))
    assert again.empty
    assert not again.unsure
    assert (tmp_path / "t/f").stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert (tmp_path / "t/d/g").stat().st_mode & 0o777 == 0o751
    assert (tmp_path / "t" / NO_TEXT).read_text() == "x"


def test_the_folder_itself_deletes_nothing_beside_it(tree, tmp_path):
    (tmp_path / "t/src/old").mkdir(parents=True)
    (tmp_path / "t/src/old/file").write_text("old")
    (tmp_path / "t/mine").write_text("mine")
    plan = run(str(tree), tmp_path / "t", Wish(delete=True))
    assert plan.delete == ["src/old/file", "src/old"]
    assert (tmp_path / "t/mine").read_text() == "mine"
    assert not (tmp_path / "t/src/old").exists()


def test_what_is_excluded_is_not_deleted(tree, tmp_path):
    (tmp_path / "t/keep").mkdir(parents=True)
    (tmp_path / "t/keep/a.log").write_text("log")
    (tmp_path / "t/gone").write_text("gone")
    run(f"{tree}/", tmp_path / "t", Wish(delete=True, exclude=("*.log",)))
    assert (tmp_path / "t/keep/a.log").exists()  # and so its folder
    assert not (tmp_path / "t/gone").exists()


def test_another_kind_in_the_way(tree, tmp_path):
    target = tmp_path / "t"
    (target / "f/inside").mkdir(parents=True)
    (target / "d").write_text("a file where a folder comes")
    with pytest.raises(Problem) as refused:
        run(f"{tree}/", target)
    assert refused.value.code == "folder-in-the-way"
    run(f"{tree}/", target, Wish(delete=True))
    assert (target / "f").read_text() == "f"
    assert (target / "d/empty").is_dir()


def test_a_link_to_elsewhere_is_replaced_not_followed(tree, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t/d").symlink_to(elsewhere)
    run(f"{tree}/", tmp_path / "t")
    assert not (tmp_path / "t/d").is_symlink()
    assert list(elsewhere.iterdir()) == []


def test_same_size_is_told_by_the_checksum(tree, tmp_path):
    run(f"{tree}/", tmp_path / "t")
    (tree / "f").write_text("F")
    os.utime(tree / "d/g", (1, 1))
    plan = compare(listed(f"{tree}/"), listed(f"{tmp_path}/t/"), Wish())
    assert sorted(plan.unsure) == ["d/g", "f"]
    assert (plan.send, plan.folders) == ([], [])


def test_a_file_that_changes_while_it_is_read_is_left_out(tree, tmp_path):
    entries = [[0, "d/g", 0o644, 1, "root:root"], [0, "gone", 0o644, 1, "root:root"]]

    class Sink(io.BytesIO):
        def write(self, part):
            with (tree / "d/g").open("ab") as file:
                file.write(b"more")
            return super().write(part)

    sink = Sink()
    said = produce_changes({"sources": [f"{tree}/"], "entries": entries}, sink, None)
    assert said == {"files": 1, "vanished": ["gone"]}
    (tmp_path / "t/d").mkdir(parents=True)
    (tmp_path / "t/d/g").write_text("old")
    sink.seek(0)
    assert consume_changes({"target": f"{tmp_path}/t"}, sink, None) == {"files": 0, "changed": ["d/g"]}
    assert [(one.name, one.read_text()) for one in (tmp_path / "t/d").iterdir()] == [("g", "old")]


def test_a_stream_that_breaks_off_leaves_the_old_file(tree, tmp_path):
    stream = io.BytesIO()
    produce_changes({"sources": [f"{tree}/"], "entries": [[0, "d/g", 0o644, 1, "root:root"]]}, stream, None)
    (tmp_path / "t/d").mkdir(parents=True)
    (tmp_path / "t/d/g").write_text("old")
    for cut in (10, 100_000, len(stream.getvalue()) - 1):
        with pytest.raises(Problem) as broken:
            consume_changes({"target": f"{tmp_path}/t"}, io.BytesIO(stream.getvalue()[:cut]), None)
        assert broken.value.code == "stream-broken"
        assert [(one.name, one.read_text()) for one in (tmp_path / "t/d").iterdir()] == [("g", "old")]


def test_what_a_killed_sync_left_is_swept(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    stale, live = f".machinectl-sync.{process.pid}.ab", f".machinectl-sync.{os.getpid()}.cd"
    for name in (stale, live):
        (tmp_path / name).write_text("half")
    assert [entry[0] for entry in scan(f"{tmp_path}/")] == ["."]
    settle({"target": f"{tmp_path}/", "delete": [], "attributes": []}, None)
    assert [one.name for one in tmp_path.iterdir()] == [live]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_path_outside_is_refused(path):
    with pytest.raises(Problem):
        checked(path)
