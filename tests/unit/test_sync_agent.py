"""sync without rsync: what differs, what is left out, what a target is told; between two folders, for real."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from machinectl.actions.sync.compare import compare, merge
from machinectl.actions.sync.ends import HereEnd, list_side
from machinectl.errors import AgentFailed
from machinectl.remote.rsync import Wish
from machinectl.remote.rsync_output import parse_change
from machinectl_agent.files.sync.below import Below
from machinectl_agent.files.sync.changes import consume_changes, produce_changes
from machinectl_agent.files.sync.exclude import compile_excludes
from machinectl_agent.files.sync.listing import list_digests, scan, split_source
from machinectl_agent.files.sync.settle import prepare, settle
from machinectl_agent.files.tree.staging import staging_path
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
    return merge(
        list_side(end, [str(one) for one in folders], (wish or Wish()).exclude, missing=True, within=300)
    )[0]


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


@pytest.fixture
def kinds(tmp_path):
    """Files where the target has something else, the last one a large one."""
    (tmp_path / "src").mkdir()
    for name in ("folder", "link", "zone"):
        (tmp_path / "src" / name).write_text(name * 1000)
    (tmp_path / "src/file").symlink_to("new")
    target = tmp_path / "t"
    (target / "folder/sub").mkdir(parents=True)
    (target / "folder/sub/precious").write_text("precious")
    (target / "link").symlink_to("old")
    (target / "file").write_text("old")
    return target


def test_what_another_kind_replaces_is_there_until_it_is_whole(kinds, tmp_path):
    source, wish = f"{tmp_path}/src/", Wish(delete=True)
    before = listed(f"{kinds}/")
    for cut in (10, 1000, 6000, 6500):
        with pytest.raises(Problem) as broken:
            run(source, kinds, wish, cut=cut)
        assert broken.value.code == "stream-broken"
        assert str((kinds / "link").readlink()) == "old"
        if cut <= 6000:
            assert (kinds / "folder/sub/precious").read_text() == "precious"
    assert (kinds / "folder").read_text() == "folder" * 1000  # it came as a whole
    assert str((kinds / "file").readlink()) == "new"
    run(source, kinds, wish)
    assert (kinds / "link").read_text() == "link" * 1000

    plan = compare(listed(source), before, wish)
    changes = [(one.verb, one.path) for one in plan.changes(listed(source), before)]
    assert changes[:2] == [("delete", "folder/sub/precious"), ("delete", "folder/sub/")]
    assert (plan.clear, plan.delete) == ([], [])


def test_a_folder_with_something_excluded_stays_as_it_is(kinds, tmp_path):
    (kinds / "folder/keep.log").write_text("log")
    (kinds / "folder/.machinectl-sync.4194999.ab").write_text("of a killed one")
    with pytest.raises(Problem) as refused:
        run(f"{tmp_path}/src/", kinds, Wish(delete=True, exclude=("*.log",)))
    assert refused.value.code == "folder-in-the-way"
    assert (kinds / "folder/sub/precious").exists()
    run(f"{tmp_path}/src/", kinds, Wish(delete=True, exclude=("/folder/sub/*.log",)))
    assert (kinds / "folder").is_file()


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
    entries = [[0, "d/g"], [0, "gone"]]

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
    wanted = {"target": f"{tmp_path}/t", "files": [["d/g", 0o644, 1, "root:root"]]}
    assert consume_changes(wanted, sink, None) == {"files": 0, "changed": ["d/g"]}
    assert [(one.name, one.read_text()) for one in (tmp_path / "t/d").iterdir()] == [("g", "old")]


def test_a_stream_that_breaks_off_leaves_the_old_file(tree, tmp_path):
    stream = io.BytesIO()
    produce_changes({"sources": [f"{tree}/"], "entries": [[0, "d/g"]]}, stream, None)
    wanted = {"target": f"{tmp_path}/t", "files": [["d/g", 0o644, 1, "root:root"]]}
    (tmp_path / "t/d").mkdir(parents=True)
    (tmp_path / "t/d/g").write_text("old")
    for cut in (10, 100_000, len(stream.getvalue()) - 1):
        with pytest.raises(Problem) as broken:
            consume_changes(wanted, io.BytesIO(stream.getvalue()[:cut]), None)
        assert broken.value.code == "stream-broken"
        assert [(one.name, one.read_text()) for one in (tmp_path / "t/d").iterdir()] == [("g", "old")]


def test_what_a_killed_sync_left_is_swept(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    stale, live = f".machinectl-sync.{process.pid}.ab", f".machinectl-sync.{os.getpid()}.cd"
    for name in (stale, live):
        (tmp_path / name).write_text("half")
    assert [entry[0] for entry in scan(f"{tmp_path}/")] == ["."]
    settle({"target": f"{tmp_path}/", "steps": [], "sweep": True}, None)
    assert [one.name for one in tmp_path.iterdir()] == [live]


def test_a_copy_that_is_under_way_is_nobodys(tree, tmp_path):
    """Neither sent nor deleted: the folder in which scp gathers what comes."""
    for top in (tree, tmp_path / "t/d"):
        top.mkdir(parents=True, exist_ok=True)
        part = Path(os.fsdecode(staging_path(os.fsencode(f"{top}/")))) / "0"
        part.mkdir(parents=True)
        (part / "half").write_text("half")
    run(f"{tree}/", tmp_path / "t", Wish(delete=True))
    assert (tmp_path / "t/d" / part.relative_to(tmp_path / "t/d") / "half").exists()
    assert [one.name for one in (tmp_path / "t").glob(".machinectl*")] == []


PATHS_OUTSIDE = ["/etc/passwd", "../x", "a/../../x", "", "a/", "a//b", "./a", "a/.", "a/..", "..", "a/\0"]


@pytest.mark.parametrize("path", PATHS_OUTSIDE)
def test_a_path_outside_is_refused(tmp_path, path):
    (tmp_path / "a").mkdir()
    with Below(str(tmp_path)) as below, pytest.raises(Problem):
        below.parent(path)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_places_below_are_reached_through_folders_only(tmp_path):
    """Whatever was reached before, and deeper than folders are kept open."""
    deep = "/".join("d" * 80)
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / "l").symlink_to(tmp_path / "d")
    before = open_files()
    with Below(str(tmp_path)) as below:
        for path in (".", f"{deep}/a", "d/b", f"{deep[:-2]}/c", f"{deep}/e", "f", "d/d/g"):
            folder, name = below.parent(path)
            assert os.path.samestat(os.fstat(folder), (tmp_path / path).parent.stat()) or path == "."
            assert name == path.rpartition("/")[2]
        for path in ("l/x", "d/none/x", "l/d/x"):
            with pytest.raises((Problem, FileNotFoundError)):
                below.parent(path)
            assert below.parent("d/b")[1] == "b"
    assert open_files() == before


ENTRY: dict[str, list[object]] = {
    "d": ["d", 0, 1, 0o755, "", "root:root"],
    "f": ["f", 5, 1, 0o644, "", "root:root"],
}
ENTRY["l"] = ["l", 0, 1, 0o777, "/home/me", "root:root"]


class Hostile(HereEnd):
    """Says of its files what it likes."""

    def __init__(self, *entries):
        self.entries = [[path, *ENTRY[kind]] for path, kind in entries]

    def ask(self, op, args, within):
        assert op == "listing"
        return {}, [{"event": "entries", "source": 0, "entries": self.entries}]


@pytest.mark.parametrize(
    ("source", "entries"),
    [
        ("/srv/", [(".", "d"), ("l", "l"), ("l/.bashrc", "f")]),
        ("/srv/", [(".", "d"), ("a", "f"), ("a/b", "f")]),
        ("/srv/", [(".", "d"), ("a/b", "f"), ("a", "d")]),
        ("/srv/", [(".", "d"), ("./b", "f")]),
        ("/srv/www", [("www", "d"), (".ssh", "d"), (".ssh/authorized_keys", "f")]),
        ("/srv/www", [("www", "d"), ("other", "f")]),
        ("/srv/www", [("", "f")]),
        *(("/srv/", [(".", "d"), ("a", "d"), (path, "f")]) for path in PATHS_OUTSIDE),
    ],
)
def test_what_no_folder_can_have_is_not_believed(source, entries):
    """Neither a path behind a link, nor one beside what was asked for."""
    with pytest.raises(AgentFailed) as refused:
        list_side(Hostile(*entries), [source], (), missing=False, within=300)
    assert refused.value.problem == "listing-refused"


def test_an_entry_that_is_none_is_not_believed():
    for entry in ([], "abc", ["a", "x", 0, 1, 0o644, "", ""], ["a", "f", 0, 1, 0o200644, "", ""],
                  ["a", "f", 0, 1 << 70, 0, "", ""], ["a", "f", 0, 1, 0.5, "", ""]):  # fmt: skip
        end = Hostile()
        end.entries = [entry]  # type: ignore[list-item] # that is the point
        with pytest.raises(AgentFailed):
            list_side(end, ["/srv/"], (), missing=False, within=300)


def test_a_folder_of_one_source_comes_before_a_file_of_another(tmp_path):
    """As rsync has it: there is something in it."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a").write_text("one")
    (tmp_path / "two/a").mkdir(parents=True)
    (tmp_path / "two/a/b").write_text("two")
    for order in (("one", "two"), ("two", "one")):
        side = listed(*(f"{tmp_path / one}/" for one in order))
        assert (side["a"][1], side["a/b"][1]) == ("d", "f")


def sent(*files):
    """A stream of these paths and contents."""
    return io.BytesIO(
        b"".join(
            json.dumps({"path": path, "size": len(content)}).encode() + b"\n" + content + b"\0"
            for path, content in files
        )
    )


def test_what_nobody_asked_for_is_not_written(tmp_path):
    (tmp_path / ".bashrc").write_text("mine")
    (tmp_path / "d").mkdir()
    wanted = {"target": str(tmp_path), "files": [["d/a", 0o600, 1, "root:root"]]}
    for path in (".bashrc", "d/b", "../x", "/etc/x", "d/../.bashrc"):
        with pytest.raises(Problem) as refused:
            consume_changes(wanted, sent(("d/a", b"a"), (path, b"evil")), None)
        assert refused.value.code == "sync-path"
    with pytest.raises(Problem):  # nor twice
        consume_changes(wanted, sent(("d/a", b"a"), ("d/a", b"b")), None)
    assert (tmp_path / ".bashrc").read_text() == "mine"
    assert [one.name for one in (tmp_path / "d").iterdir()] == ["a"]
    for line in (b"[]\n", b"{\n", b'{"path":1,"size":1}\n', b'{"path":"d/a","size":-1}\n', b"x" * 2_000_000):
        with pytest.raises(Problem) as broken:
            consume_changes(wanted, io.BytesIO(line), None)
        assert broken.value.code == "stream-broken"


@pytest.fixture
def swapped(tmp_path):
    """A target whose owner puts a link where the listing had a folder."""
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "passwd").write_text("root")
    (outside / "passwd").chmod(0o644)
    os.utime(outside / "passwd", ns=(5, 5))
    (tmp_path / "t").mkdir()
    (tmp_path / "t/sub").symlink_to(outside)
    yield tmp_path / "t"
    found = (outside / "passwd").stat()
    assert [one.name for one in outside.iterdir()] == ["passwd"]
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o644, 5)
    assert (outside / "passwd").read_text() == "root"


ATTRIBUTES = ["sub/passwd", 0o777, 9, "nobody:nogroup"]


@pytest.mark.parametrize(
    "work",
    [
        lambda t: consume_changes({"target": t, "files": [ATTRIBUTES]}, sent(("sub/passwd", b"evil")), None),
        lambda t: consume_changes(
            {"target": t, "files": [["sub/new", 0o600, 9, ""]]}, sent(("sub/new", b"evil")), None
        ),
        lambda t: prepare({"target": t, "steps": [["clear", "sub/passwd"]]}, None),
        lambda t: prepare({"target": t, "steps": [["folder", "sub/new"]]}, None),
        lambda t: prepare({"target": t, "steps": [["link", "sub/passwd", "x"]]}, None),
        lambda t: settle({"target": t, "steps": [["delete", "sub/passwd"]]}, None),
        lambda t: settle({"target": t, "steps": [["set", *ATTRIBUTES]], "owners": True}, None),
    ],
    ids=["replace", "new", "clear", "folder", "link", "delete", "attributes"],
)
def test_a_link_that_came_meanwhile_is_not_followed(swapped, work):
    with pytest.raises(Problem) as refused:
        work(f"{swapped}/")
    assert refused.value.code == "sync-path"


def test_attributes_are_not_those_of_what_a_link_leads_to(swapped):
    (swapped / "link").symlink_to("../etc/passwd")
    settle({"target": str(swapped), "steps": [["set", "link", 0o777, 9, "root:root"]]}, None)
    assert (swapped / "link").lstat().st_mtime_ns == 9


def test_a_target_that_is_gone_is_told(tmp_path):
    for work in (
        lambda: settle({"target": f"{tmp_path}/none/", "steps": [], "sweep": True}, None),
        lambda: consume_changes({"target": f"{tmp_path}/none/", "files": []}, io.BytesIO(), None),
        lambda: list_digests({"root": f"{tmp_path}/none/", "paths": []}, None),
        lambda: produce_changes({"sources": [f"{tmp_path}/none/"], "entries": []}, io.BytesIO(), None),
    ):
        with pytest.raises(Problem, match="No such file"):
            work()


def test_nothing_is_read_behind_a_link(swapped):
    (swapped / "f").write_text("f")
    (swapped / "l").symlink_to("f")
    os.mkfifo(swapped / "fifo")
    paths = ["f", "l", "sub/passwd", "fifo", "none", "none/f", "f/f"]
    found = list_digests({"root": str(swapped), "paths": paths}, None)["digests"]
    assert [bool(one) for one in found] == [True] + [False] * 6
    stream = io.BytesIO()
    args = {"sources": [f"{swapped}/"], "entries": [[0, one] for one in paths]}
    assert produce_changes(args, stream, None) == {"files": 1, "vanished": paths[1:]}
    assert b"root" not in stream.getvalue()
