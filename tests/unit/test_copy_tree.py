"""Files and folders through a stream: what is kept, where it goes, what is refused, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from machinectl_agent.files.framing import Sink, Source
from machinectl_agent.files.tree import content, pour, progress, records, staging
from machinectl_agent.files.tree.consumer import consume_tree
from machinectl_agent.problems import Problem
from tests.tree_copies import Pipe, Said, copy, look, partial_of, put, stream_of, text


@pytest.fixture
def tree(tmp_path):
    """A folder with a bit of everything."""
    root = tmp_path / "tree"
    (root / "sub/deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "file").write_bytes(b"content")
    (root / "nothing").touch()
    (root / "sub/large").write_bytes(os.urandom(1_100_001))
    (root / "sub/deep/run").write_text("#!/bin/sh\n")
    (root / "sub/deep/run").chmod(0o755)
    (root / "sub/secret").write_text("s")
    (root / "sub/secret").chmod(0o600)
    os.utime(root / "sub", ns=(10**18, 10**18))
    return root


def problem(*words, **args) -> Problem:
    with pytest.raises(Problem) as caught:
        copy(*words, **args)
    return caught.value


def clean(folder: Path) -> bool:
    return not [one for one in os.listdir(folder) if one.startswith(".machinectl")]  # noqa: PTH208 - names


def test_a_file_to_a_new_name_into_a_folder_and_over_another(tmp_path):
    source = tmp_path / "source"
    source.write_text("one")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert copy(source, tmp_path / "new") == {"files": 1, "bytes": 3}
    copy(source, folder)
    copy(source, f"{folder}/other")
    (folder / "source").chmod(0o640)
    source.write_text("two")
    copy(source, folder)
    assert (tmp_path / "new").read_text() == "one"
    assert (folder / "other").read_text() == "one"
    assert (folder / "source").read_text() == "two"
    assert stat.S_IMODE((folder / "source").stat().st_mode) == 0o640  # as scp, which writes into it
    assert clean(folder)
    assert clean(tmp_path)


def test_a_folder_and_its_content(tree, tmp_path):
    done = copy(tree, tmp_path / "copy", recursive=True)
    assert done == {"files": 5, "bytes": 7 + 1_100_001 + 10 + 1}
    contents = {name: one[:2] for name, one in look(tree).items()}
    assert {name: one[:2] for name, one in look(tmp_path / "copy").items()} == contents
    assert (tmp_path / "copy/sub").stat().st_mtime > 1.1 * 10**9
    copy(tree, tmp_path / "copy", recursive=True)  # it is there: into it
    assert {name: one[:2] for name, one in look(tmp_path / "copy/tree").items()} == contents
    copy(f"{tree}/.", tmp_path / "copy/empty", recursive=True)
    assert {name: one[:2] for name, one in look(tmp_path / "copy/empty").items()} == contents


def test_times_and_modes_are_kept_where_asked(tree, tmp_path):
    (tree / "sub/deep/run").chmod(0o4511)
    copy(tree, tmp_path / "copy", recursive=True, times=True)
    assert look(tmp_path / "copy") == look(tree)
    (tree / "sub").chmod(0o555)
    copy(tree, tmp_path / "again", recursive=True, times=True)
    assert look(tmp_path / "again") == look(tree)
    (tree / "sub").chmod(0o755)


def test_a_merge_keeps_what_is_there_already(tree, tmp_path):
    target = tmp_path / "folder"
    (target / "tree/sub").mkdir(parents=True)
    (target / "tree/sub/mine").write_text("mine")
    (target / "tree/sub/large").write_text("old")
    copy(tree, target, recursive=True, times=True)
    assert (target / "tree/sub/mine").read_text() == "mine"
    (target / "tree/sub/mine").unlink()
    os.utime(target / "tree/sub", ns=(10**18, 10**18))
    assert look(target / "tree") == look(tree)
    assert clean(target)


def test_an_archive_keeps_links_holes_and_fifos(tree, tmp_path):
    (tree / "link").symlink_to("sub/large")
    (tree / "broken").symlink_to("nowhere")
    (tree / "loop").symlink_to(".")
    (tree / "hard").hardlink_to(tree / "file")
    (tree / "sub/hard").hardlink_to(tree / "sub/large")
    os.mkfifo(tree / "fifo")
    with (tree / "holes").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"x" * 5000)
        file.truncate(100_000_000)
    copy(tree, tmp_path / "copy", recursive=True, archive=True)
    assert look(tmp_path / "copy") == look(tree)
    assert (tmp_path / "copy/holes").stat().st_blocks * 512 < 1_000_000
    assert (tmp_path / "copy/hard").stat().st_ino == (tmp_path / "copy/file").stat().st_ino


def test_without_it_links_are_followed(tree, tmp_path):
    (tree / "link").symlink_to("sub/secret")
    (tree / "folder").symlink_to("sub/deep")
    os.mkfifo(tree / "fifo")
    said = Said()
    copy(tree, tmp_path / "copy", recursive=True, said=said)
    assert (tmp_path / "copy/link").is_symlink() is False
    assert (tmp_path / "copy/folder/run").read_text() == "#!/bin/sh\n"
    assert said.lines == [f"{tree}/fifo: left out, it is neither a file nor a folder"]
    (tree / "loop").symlink_to(".")
    assert problem(tree, tmp_path / "again", recursive=True).code == "link-loop"
    (tree / "loop").unlink()
    (tree / "broken").symlink_to("nowhere")
    assert "is a link to what is not there" in problem(tree, tmp_path / "again", recursive=True).what
    assert not (tmp_path / "again").exists()
    assert clean(tmp_path)


NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_any_name_is_a_name(tmp_path, names):
    base = Path(tempfile.mkdtemp(dir=tmp_path))
    (base / "root").mkdir()
    for name in names:
        (base / "root" / os.fsdecode(name)).write_bytes(name)
    copy(base / "root", base / "copy", recursive=True)
    found = look(base / "copy")
    assert {name: found[name][1] for name in found if name != b"."} == {name: name for name in names}
    for name in names:
        copy(base / "root" / os.fsdecode(name), base / "single")
        assert (base / "single").read_bytes() == name


@pytest.mark.parametrize(
    "name",
    ["a b", "'quoted\" name'", "line\nbreak", "-rf", "--", "naïve 東京 🚢", "\\back", "*", "[x]", "~", "a:b"],
)
def test_names_that_other_tools_stumble_over(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / name).write_text(name)
    copy(root / name, tmp_path / "one", glob=True)
    assert (tmp_path / "one").read_text() == name
    copy(root, tmp_path / "all", recursive=True)
    assert os.listdir(tmp_path / "all") == [name]  # noqa: PTH208 - names


def test_patterns(tmp_path, monkeypatch):
    for name in ("a1", "a2", "b1", "[a]1"):
        (tmp_path / name).write_text(name)
    target = tmp_path / "target"
    target.mkdir()
    copy(tmp_path / "a*", target, glob=True)
    assert sorted(os.listdir(target)) == ["a1", "a2"]  # noqa: PTH208 - names
    copy(tmp_path / "[a]1", target, glob=True)  # it is there by that name
    assert (target / "[a]1").read_text() == "[a]1"
    assert problem(tmp_path / "c*", target, glob=True).what == f"nothing matches {tmp_path}/c*"
    monkeypatch.setenv("HOME", str(tmp_path))
    copy("~/b1", "~/target/home")
    assert (target / "home").read_text() == "b1"


def test_several_sources_need_a_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    found = problem(tmp_path / "one", tmp_path / "two", tmp_path / "none")
    assert (found.code, found.what) == ("not-a-folder", f"{tmp_path}/none is not there")
    assert problem(tmp_path / "one", tmp_path / "two", tmp_path / "two").code == "not-a-folder"
    assert problem(tmp_path / "one", tmp_path / "none", into=True).code == "not-a-folder"
    folder = tmp_path / "folder"
    folder.mkdir()
    copy(tmp_path / "one", tmp_path / "two", folder)
    assert sorted(os.listdir(folder)) == ["one", "two"]  # noqa: PTH208 - names


def test_what_is_refused_changes_nothing(tree, tmp_path):
    file = tree / "file"
    folder = tmp_path / "folder"
    (folder / "file").mkdir(parents=True)
    (folder / "tree").write_text("mine")
    before = look(tmp_path)
    cases = {
        "no-such-file": (tmp_path / "none", tmp_path / "x"),
        "is-a-folder": (tree, tmp_path / "x"),  # without -r
        "no-folder": (file, tmp_path / "none/x"),
        "not-a-folder": (file, f"{tmp_path}/none/"),
        "same-file": (file, file),
    }
    for code, words in cases.items():
        assert problem(*words).code == code
    assert problem(file, folder).code == "is-a-folder"
    assert problem(file, tree).code == "same-file"
    assert problem(tree, folder, recursive=True).code == "not-a-folder"
    assert problem(tree, tree / "sub/new", recursive=True).code == "into-itself"
    assert problem(tree, tmp_path, recursive=True).code == "same-file"
    link = tmp_path / "link"
    link.symlink_to(file)
    assert problem(file, link).code == "same-file"
    link.unlink()
    os.utime(tmp_path, ns=(before[b"."][2], before[b"."][2]))
    assert look(tmp_path) == before


def test_a_link_at_the_target_is_written_through(tmp_path):
    (tmp_path / "source").write_text("new")
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    copy(tmp_path / "source", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to(tmp_path):
    (tmp_path / "source").write_bytes(bytes(3_000_000))
    assert copy(tmp_path / "source", "/dev/null") == {"files": 1, "bytes": 3_000_000}
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("how", ["larger", "shorter", "touched"])
def test_a_source_that_changes_meanwhile(tmp_path, monkeypatch, how):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(5_000_000))
    target = tmp_path / "target"
    target.write_text("old")
    original = content.ContentReader.whole

    def disturbed(self, *words):
        if how == "shorter":
            os.truncate(source, 4_000_000)
        original(self, *words)
        if how == "larger":
            with source.open("ab") as file:
                file.write(b"x")
        os.utime(source, ns=(1, 1))

    monkeypatch.setattr(content.ContentReader, "whole", disturbed)
    found = problem(source, target)
    assert (found.code, found.what) == ("source-changed", f"{source} changed while it was copied")
    assert target.read_text() == "old"


@pytest.mark.parametrize("times", [False, True])
def test_every_broken_stream_leaves_the_old(tree, tmp_path, times):
    target = tmp_path / "target"
    (target / "tree").mkdir(parents=True)
    (target / "tree/file").write_text("old")
    before = look(target)
    whole = stream_of(tree, recursive=True, times=times)
    for cut in (*range(0, 400, 7), *range(400, len(whole), 300_007), len(whole) - 4, len(whole) - 1):
        with pytest.raises(Problem) as caught:
            put(whole[:cut], target, times=times)
        assert caught.value.code == "stream-broken"
        os.utime(target, ns=(before[b"."][2], before[b"."][2]))
        assert look(target) == before, cut


def test_checksums(tree, tmp_path):
    with (tree / "holes").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(1_500_000)
        file.write(b"x" * 5000)
    copy(tree, tmp_path / "copy", recursive=True, archive=True, verify=True)
    assert look(tmp_path / "copy") == look(tree)
    whole = bytearray(stream_of(tree / "sub/large", verify=True))
    whole[1_000_000] ^= 1
    with pytest.raises(Problem) as caught:
        put(bytes(whole), tmp_path / "large")
    assert caught.value.code == "checksum"
    assert not (tmp_path / "large").exists()
    assert clean(tmp_path)


def test_resume_goes_on_where_it_broke_off(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(20_000_000))
    target = tmp_path / "target"
    whole = stream_of(source)
    with pytest.raises(Problem) as caught:
        put(whole[:19_000_000], target)
    assert "--resume" in caught.value.hint
    partial = partial_of(target)
    assert list(partial) == ["0"]
    rest = stream_of(source, partial=partial)
    assert len(rest) < 1_300_000
    put(rest, target, resume=True, times=True)
    assert target.read_bytes() == source.read_bytes()
    assert clean(tmp_path)


def test_resume_after_a_change_sends_what_differs(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20_000_000))
    with pytest.raises(Problem):
        put(stream_of(source)[:19_000_000], target)
    with source.open("r+b") as file:
        file.seek(9_000_000)
        file.write(b"changed")
    for verify in (True, False):
        rest = stream_of(source, partial=partial_of(target), verify=verify)
        if verify:
            assert 11_000_000 < len(rest) < 12_100_000  # from the block on that differs
            with pytest.raises(Problem):
                put(rest[:-5], target, resume=True)
            with pytest.raises(Problem):
                put(rest[:5_000_000], target, resume=True)
        else:
            assert len(rest) < 8_000_000
            put(rest, target, resume=True)
    assert target.read_bytes() == source.read_bytes()


def test_resume_of_a_folder(tree, tmp_path):
    (tree / "link").symlink_to("file")
    (tree / "hard").hardlink_to(tree / "file")
    for number in range(5):
        (tree / f"sub/f{number}").write_bytes(os.urandom(1_000_000))
    target = tmp_path / "target"
    options = {"recursive": True, "archive": True, "resume": True}
    whole = stream_of(tree, **options)
    with pytest.raises(Problem):
        put(whole[: len(whole) - 1_500_000], target, **options)
    (tree / "sub/f0").unlink()  # gone since
    (tree / "sub/new").write_text("new")
    rest = stream_of(tree, partial=partial_of(target), **options)
    assert len(rest) < len(whole) / 2
    put(rest, target, **options)
    assert look(target) == look(tree)
    assert clean(tmp_path)


def test_a_plain_copy_clears_what_a_broken_one_left(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20_000_000))
    with pytest.raises(Problem):
        put(stream_of(source)[:19_000_000], target)
    assert not clean(tmp_path)
    copy(source, target)
    assert clean(tmp_path)


def test_a_staging_folder_of_somebody_else_is_not_used(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("secret")
    theirs = Path(os.fsdecode(staging.staging_path(os.fsencode(target))))
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    copy(source, target)
    assert target.read_text() == "secret"
    assert os.listdir(theirs) == []  # noqa: PTH208 - names
    theirs.rmdir()
    theirs.symlink_to(tmp_path)
    copy(source, target)
    assert theirs.is_symlink()


def test_totals_are_told_where_asked(tree, tmp_path):
    said = Said()
    copy(tree, tmp_path / "copy", recursive=True, total=True, said=said)
    assert {"event": "total", "files": 5, "bytes": 1_100_019} in said.events


def hostile(*records_of, **plan):
    """A stream as a machine that was broken into would send it."""
    pipe = Pipe()
    sink: Any = Sink(pipe)
    root = {"name": "file", "path": "file", "folder": False, "id": [0, 0], **plan}
    sink.write(records.encode(records.PLAN, json.dumps({"roots": 1, "host": ""}).encode()))
    sink.write(records.encode(records.ROOT, json.dumps(root).encode()))
    for one in records_of:
        sink.write(one)
    sink.write(records.encode(records.END))
    sink.finish()
    return bytes(pipe.content)


FILE = records.encode(records.FILE, b"0", mode=0o644)


@pytest.mark.parametrize(
    ("stream", "args"),
    [
        (hostile(FILE, name="../evil"), {}),
        (hostile(FILE, name="/evil"), {}),
        (hostile(FILE, name=".."), {}),
        (hostile(FILE, name=".bashrc"), {"names": ["file", "*.log"]}),
        (hostile(FILE, name=".bashrc"), {"names": ["*"]}),
        (hostile(records.encode(records.FILE, b"../evil", mode=0o644)), {}),
        (hostile(records.encode(records.ENTER, b"0", mode=0o755), records.encode(records.LEAVE)), {}),
        (hostile(records.encode(records.LINK, b"0", size=4) + b"/etc"), {"recursive": True}),
        (hostile(records.encode(records.NODE, b"0", mode=0o20666, size=259)), {"recursive": True}),
        (hostile(records.encode(records.LINK, b"0", size=1 << 40)), {"archive": True, "recursive": True}),
        (hostile(records.encode(records.HARD, b"0", size=7)), {"archive": True, "recursive": True}),
        (hostile(records.encode(records.LEAVE)), {"recursive": True}),
        (hostile(records.encode(records.ENTER, b"0", mode=0o755)), {"recursive": True}),
        (hostile(records.encode(records.FILE, b"0", mode=0o644, size=1 << 62)), {}),
        (
            hostile(
                records.encode(records.LINK, b"0", size=4) + b"/tmp",
                records.encode(records.ENTER, b"0", mode=0o755),
            ),
            {"archive": True, "recursive": True},
        ),
    ],
)
def test_a_machine_that_was_broken_into_writes_nothing_else(tmp_path, stream, args):
    target = tmp_path / "above/target"
    target.mkdir(parents=True)
    before = look(tmp_path)
    with pytest.raises(Problem):
        put(stream, target, **args)
    assert look(tmp_path).keys() == before.keys()


EVERYTHING = {"recursive": True, "archive": True}


@pytest.fixture
def victim(tmp_path):
    """A folder that no copy was asked for."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert os.listdir(folder) == ["file"]  # noqa: PTH208 - names
    assert (folder / "file").read_text() == "mine"


def link(name: bytes, target) -> bytes:
    where = os.fsencode(target)
    return records.encode(records.LINK, name, size=len(where)) + where


def refused(stream, target, **args) -> Problem:
    with pytest.raises(Problem) as caught:
        put(stream, target, **args)
    return caught.value


def test_a_root_that_was_announced_as_something_else(tmp_path, victim):
    target = tmp_path / "target"
    (target / "file").mkdir(parents=True)
    enter = records.encode(records.ENTER, b"0", mode=0o755)
    for stream in (
        hostile(link(b"0", victim), folder=True),  # its content was listed through the link, and moved
        hostile(FILE, folder=True),
        hostile(enter, records.encode(records.LEAVE), name="other"),
        hostile(records.encode(records.FILE, b"1", mode=0o644), name="other"),
        hostile(FILE, records.encode(records.FILE, b"1", mode=0o644), name="other"),
        hostile(FILE, FILE, name="other"),
    ):
        for resume in (False, True):
            found = refused(stream, target, resume=resume, **EVERYTHING)
            assert (found.code, bool(found.why)) == ("stream-broken", True)
            assert os.listdir(target) == ["file"]  # noqa: PTH208 - names


def test_a_root_that_is_left_out_is_no_fault(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "target").mkdir()
    said = Said()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        copy(tmp_path / "socket", tmp_path / "file", tmp_path / "target", said=said, **EVERYTHING)
    assert os.listdir(tmp_path / "target") == ["file"]  # noqa: PTH208 - names
    assert said.lines == [f"{tmp_path}/socket: left out, it is a socket"]


def of_file(kind, name, *, size=0, flags=0) -> bytes:
    return records.encode(kind, name, mode=0o644, size=size, flags=flags)


def enter(name) -> bytes:
    return records.encode(records.ENTER, name, mode=0o755)


LEAVE = records.encode(records.LEAVE)


def test_a_name_that_comes_twice(tmp_path, victim):
    """With --resume, what is there already makes room for what comes."""
    target = tmp_path / "target"
    evil = records.OFFSET.pack(0) + b"evil"
    file = of_file(records.FILE, b"file", flags=records.SEVERAL)
    hard = records.encode(records.HARD, b"hard")
    for inside in (
        # another name of the victim, which is then written to in place
        (enter(b"a"), file, LEAVE, link(b"a", victim), hard, of_file(records.REST, b"hard", size=4) + evil),
        (enter(b"a"), file, LEAVE, of_file(records.FILE, b"a")),
        (file, enter(b"file"), LEAVE),
        (file, of_file(records.KEEP, b"file")),
        (file, of_file(records.REST, b"file", size=4) + evil),
        (file, hard, hard),
        (link(b"a", victim), records.encode(records.NODE, b"a", mode=stat.S_IFIFO | 0o644)),
    ):
        stream = hostile(enter(b"0"), *inside, LEAVE, folder=True)
        for resume in (False, True):
            refused(stream, target, resume=resume, **EVERYTHING)
            assert not target.exists()
    with pytest.raises(Problem) as caught:
        put(stream, target, resume=True, **EVERYTHING)
    assert caught.value.why == "a name came twice"


def test_the_rest_of_what_an_earlier_stream_left(tmp_path, victim):
    """A device or FIFO is not written to, a link not followed, and no more is taken for there than is."""
    target = tmp_path / "target"
    left = (
        enter(b"0"),
        link(b"a", victim / "file"),
        records.encode(records.NODE, b"b", mode=stat.S_IFIFO | 0o644),
        of_file(records.FILE, b"c", size=2) + b"xx",
    )
    for one in (b"a", b"b", b"c"):
        for kind in (records.REST, records.KEEP):
            refused(hostile(*left, folder=True)[:-4], target, resume=True, **EVERYTHING)
            size = 9 if kind == records.REST else 0
            rest = of_file(kind, one, size=size) + (records.OFFSET.pack(5) + b"evil") * bool(size)
            if (one, kind) != (b"c", records.KEEP):
                refused(hostile(enter(b"0"), rest, LEAVE, folder=True), target, resume=True, **EVERYTHING)
            assert not target.exists()


class Disturbed(Pipe):
    """Something happens when the last bytes are asked for."""

    def __init__(self, stream, deed) -> None:
        super().__init__(stream)
        self._deed = deed
        self._left = len(stream) - 60

    def receive_into(self, view):
        if self._left <= 0 and self._deed:
            self._deed()
            self._deed = None
        part = view[: max(self._left, 1)]
        self._left -= len(part)
        return super().receive_into(part)


def put_while(stream, target, deed, **args):
    source: Any = Source(Disturbed(stream, deed))
    return consume_tree({"target": text(target), **args}, source, Said())


def swap(folder: Path, there: Path) -> Path:
    """As somebody does who may rename in the folder above. Where the true one is then."""
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(there)
    return moved


@pytest.mark.parametrize("times", [False, True])
def test_folders_that_are_swapped_for_links_meanwhile(tree, tmp_path, victim, times):
    (victim / "0").write_text("mine, too")
    (victim / "0").chmod(0o600)
    theirs = tmp_path / "theirs"
    for source, name in ((tree / "file", "file"), (tree, "tree"), (f"{tree}/.", "folder/.")):
        stream = stream_of(source, recursive=True, times=times)
        (theirs / "folder/tree/sub").mkdir(parents=True)
        before = look(victim)
        put_while(
            stream,
            theirs / "folder",
            lambda: swap(theirs / "folder", victim),
            recursive=True,
            times=times,
        )
        assert look(victim) == before
        landed = (
            theirs
            / "moved"
            / (name if name == "file" else "tree/sub/large" if name == "tree" else "sub/large")
        )
        assert landed.exists()
        assert clean(theirs / "moved")
        shutil.rmtree(theirs)
    for source in (tree / "file", tree):
        stream = stream_of(source, recursive=True, times=times)
        (theirs / "folder").mkdir(parents=True)
        put_while(
            stream,
            theirs / "folder",
            lambda: swap(next((theirs / "folder").glob(".machinectl-part-*")), victim),
            recursive=True,
            times=times,
        )
        assert look(victim) == before
        assert (theirs / "folder" / source.name).exists()
        shutil.rmtree(theirs)
    (victim / "0").unlink()


def test_a_link_below_the_target_is_not_followed(tree, tmp_path, victim):
    target = tmp_path / "target"
    (target / "tree").mkdir(parents=True)
    (target / "tree/sub").symlink_to(victim)
    found = problem(tree, target, recursive=True)
    assert found.what == f"{target}/tree/sub is a link, and a folder was copied"
    assert os.listdir(target / "tree") == ["sub"]  # noqa: PTH208 - names
    assert clean(target)


def test_folders_nested_deeper_than_are_kept_open(tmp_path):
    target = tmp_path / "target"
    stream = hostile(enter(b"0"), *[enter(b"x")] * 5000, folder=True)
    assert refused(stream, target, recursive=True).code == "too-deep"
    assert clean(tmp_path)


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another disk."""
    shared = Path("/dev/shm")  # noqa: S108 - a file system
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no other file system that anybody may write to")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def bit_of_everything(tree: Path) -> None:
    (tree / "sub/link").symlink_to("large")
    (tree / "sub/deep/hard").hardlink_to(tree / "sub/deep/run")
    os.mkfifo(tree / "sub/fifo", 0o622)
    (tree / "sub/deep").chmod(0o711)
    with (tree / "sub/holes").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"x" * 5000)
        file.truncate(100_000_000)
    os.utime(tree / "sub/deep", ns=(10**18, 10**18))
    os.utime(tree / "sub", ns=(10**18, 10**18))


def test_what_is_moved_to_another_disk_is_as_it_was(tree, tmp_path, elsewhere):
    """Two roots, so that all comes to the target's own disk first."""
    bit_of_everything(tree)
    (tmp_path / "other").touch()
    target = tmp_path / "target"
    target.mkdir()
    (target / "tree").symlink_to(elsewhere)
    (elsewhere / "file").write_text("old")
    (elsewhere / "empty").mkdir()
    copy(tree, tmp_path / "other", target, **EVERYTHING)
    assert look(elsewhere) == look(tree)
    assert (elsewhere / "sub/deep/hard").stat().st_ino == (elsewhere / "sub/deep/run").stat().st_ino
    assert (elsewhere / "sub/holes").stat().st_blocks * 512 < 1_000_000
    assert clean(target)
    (elsewhere / "file").chmod(0o640)
    copy(tree / "file", tmp_path / "other", tree / "sub", target / "tree", recursive=True)
    assert stat.S_IMODE((elsewhere / "file").stat().st_mode) == 0o640


def test_nothing_follows_a_link_on_the_way_to_another_disk(tree, tmp_path, elsewhere, victim):
    (tmp_path / "other").touch()
    (elsewhere / "file.machinectl-part").symlink_to(victim / "file")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/tree").symlink_to(elsewhere)
    copy(tree, tmp_path / "other", tmp_path / "target", recursive=True)
    assert (elsewhere / "file").read_text() == "content"
    assert (elsewhere / "file.machinectl-part").is_symlink()


def test_a_folder_on_another_disk_is_filled_there(tree, tmp_path, elsewhere):
    """Its disk is the one that must have room, and nothing is written twice."""
    (tree / "sub/larger").write_bytes(os.urandom(20_000_000))
    target = tmp_path / "target"
    target.mkdir()
    (target / "tree").symlink_to(elsewhere)
    stream = stream_of(tree, **EVERYTHING)
    with pytest.raises(Problem) as caught:
        put(stream[:-50], target, **EVERYTHING)
    assert "--resume" in caught.value.hint
    assert clean(target)
    assert not clean(elsewhere)
    partial = partial_of(target, names=["tree"])
    rest = stream_of(tree, partial=partial, **EVERYTHING)
    assert len(rest) < 10_000
    put(rest, target, resume=True, **EVERYTHING)
    assert look(elsewhere) == look(tree)


@pytest.fixture
def as_user():
    """A folder of a user's who is not root; that user is who we are."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid():
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_what_was_merged_has_the_attributes_that_came(tree, tmp_path):
    """The target itself, too, which the copy grew in."""
    (tree / "sub").chmod(0o2750)
    tree.chmod(0o711)
    os.utime(tree, ns=(10**18, 10**18))
    (tmp_path / "target/sub").mkdir(parents=True)
    copy(f"{tree}/.", tmp_path / "target", recursive=True, times=True)
    assert look(tmp_path / "target") == look(tree)
    copy(tree, tmp_path / "target", **EVERYTHING)
    copy(tree, tmp_path / "target", **EVERYTHING)
    assert look(tmp_path / "target/tree") == look(tree)


def test_folders_that_may_not_be_written_to(as_user):
    """Of a user's, who may do so as little as anybody."""
    source, target = as_user / "source", as_user / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_text("x")
    for one in (source / "sub", source):
        one.chmod(0o555)
    (target / "old").mkdir(parents=True)
    copy(f"{source}/.", target, **EVERYTHING)
    assert stat.S_IMODE(target.stat().st_mode) == 0o555
    target.chmod(0o755)
    assert sorted(os.listdir(target)) == ["old", "sub"]  # noqa: PTH208 - names
    assert look(target / "sub") == look(source / "sub")
    whole = stream_of(source, **EVERYTHING)
    with pytest.raises(Problem):
        put(whole[:-5], as_user / "broken", **EVERYTHING, resume=True)
    copy(source, as_user / "broken", **EVERYTHING)
    assert look(as_user / "broken") == look(source)
    assert clean(as_user)


def test_a_folder_that_may_be_written_to_but_not_read(as_user):
    (as_user / "source").mkdir()
    (as_user / "source/file").write_text("x")
    box = as_user / "box"
    box.mkdir()
    box.chmod(0o333)
    copy(as_user / "source", as_user / "source/file", box, recursive=True)
    (box / "source/file").unlink()
    copy(as_user / "source/file", box / "source")
    box.chmod(0o755)
    assert sorted(os.listdir(box)) == ["file", "source"]  # noqa: PTH208 - names
    assert (box / "source/file").read_text() == "x"


@pytest.mark.parametrize("resume", [False, True])
def test_a_staging_folder_that_vanishes_leaves_the_target_as_it_is(tree, tmp_path, resume):
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o1777)

    def vanish():
        shutil.rmtree(next(target.glob(".machinectl-part-*")))

    with pytest.raises(Problem):
        put_while(stream_of(tree, recursive=True), target, vanish, recursive=True, resume=resume)
    assert stat.S_IMODE(target.stat().st_mode) == 0o1777
    assert os.listdir(target) == []  # noqa: PTH208 - names


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


class Reader(threading.Thread):
    """Who reads from a FIFO."""

    def __init__(self, fifo: Path) -> None:
        super().__init__()
        # there is somebody who reads from now on, without waiting for a writer
        self._descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._descriptor, True)
        self.content = b""

    def run(self) -> None:
        while part := os.read(self._descriptor, 65536):
            self.content += part
        os.close(self._descriptor)


@pytest.mark.parametrize("archive", [False, True])
def test_a_fifo_that_somebody_reads_from(tmp_path, fifo, archive):
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(os.urandom(300_000))
        file.seek(3_000_000)
        file.write(b"x" * 5000)
        file.truncate(4_000_000)
    reader = Reader(fifo)
    keeps_it_open = os.open(fifo, os.O_WRONLY)
    reader.start()
    assert copy(source, fifo, archive=archive) == {"files": 1, "bytes": 4_000_000}
    os.close(keeps_it_open)
    reader.join()
    assert reader.content == source.read_bytes()
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_fifo_that_nobody_reads_from(tmp_path, fifo, monkeypatch):
    (tmp_path / "source").write_bytes(bytes(3_000_000))
    assert problem(tmp_path / "source", fifo).what == f"{fifo}: nobody reads from it"
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # and never does
    said = Said()
    said.gone = True
    with pytest.raises(Problem) as caught:
        copy(tmp_path / "source", fifo, said=said)
    assert caught.value.code == "controller-gone"
    monkeypatch.setattr(pour, "PATIENCE", 0.1)
    assert problem(tmp_path / "source", fifo).what == f"{fifo}: nobody has read from it for 0.1 s"
    os.close(reading)


def test_what_a_device_can_not_do(tmp_path, fifo):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(source)
    assert problem(source, "/dev/full").code == "disk-full"
    assert (
        problem(source, "/dev/null", verify=True).what
        == "/dev/null: what is written there can't be read again"
    )
    assert problem(tmp_path / "link", "/dev/null", archive=True).code == "not-a-file"
    target = tmp_path / "target"
    target.mkdir()
    os.mkfifo(target / "source")
    (tmp_path / "other").touch()
    for words in ((source, tmp_path / "other"), (tmp_path / "other", source)):
        found = problem(*words, target)
        assert found.what == f"{target}/source is a device or FIFO, and several files are copied"
    assert clean(target)


def test_resume_while_an_earlier_copy_is_at_it(tree, tmp_path):
    target = tmp_path / "target"
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20_000_000))
    stream = stream_of(large)
    said = []

    def meanwhile():
        for work in (lambda: partial_of(target), lambda: put(stream, target, resume=True)):
            with pytest.raises(Problem) as caught:
                work()
            said.append((caught.value.code, caught.value.what))
        with pytest.raises(Problem) as caught:
            put(stream[:-5], target)
        assert "--resume" not in caught.value.hint  # nobody would find it again
        copy(tree / "file", target)

    put_while(stream, target, meanwhile)
    assert said == [("copy-under-way", f"an earlier copy to {target} still runs there")] * 2
    assert target.read_bytes() == large.read_bytes()
    assert clean(tmp_path)


def test_what_is_left_of_somebody_else_is_not_listed(tmp_path):
    target = tmp_path / "target"
    theirs = Path(os.fsdecode(staging.staging_path(os.fsencode(target))))
    assert partial_of(target) == {}
    theirs.mkdir(mode=0o700)
    (theirs / "0").write_text("x")
    assert list(partial_of(target)) == ["0"]
    theirs.chmod(0o755)
    assert partial_of(target) == {}


def test_progress_calls_files_as_people_know_them(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", -1)
    said = Said()
    copy(tree / "file", tmp_path / "single", said=said)
    copy(tree / "sub", tmp_path / "copy", recursive=True, said=said)
    names = [one["name"] for one in said.events if one["event"] == "at"]
    assert names[0] == "single"
    assert set(names[1:]) == {"large", "run", "secret"}
    pouring = Said()
    copy(tree / "file", "/dev/null", said=pouring)
    assert [one["name"] for one in pouring.events] == ["null"]
