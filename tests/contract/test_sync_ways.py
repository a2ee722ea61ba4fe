"""Both ways of a sync leave the same: the rsync program, and the parts that agents run, on any two trees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machinectl.remote.rsync import Wish
from machinectl_agent.problems import Problem
from tests.sync_here import run

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")

NAMES = st.sampled_from(["a", "b", "c.o", "x y", "é\n", "-n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
NODES = st.one_of(
    st.tuples(st.just("file"), st.sampled_from(["", "one", "two", "three"]), st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("folder"), st.just(""), st.sampled_from([0o755, 0o700])),
    st.tuples(st.just("link"), st.sampled_from(["a", "../b", "/nowhere"]), st.just(0)),
)
TREES = st.dictionaries(PATHS, NODES, max_size=7)
EXCLUDES = st.lists(st.sampled_from(["*.o", "/a", "b/", "a/b", "**/x y"]), max_size=2)


def plant(top, tree):
    """As much of the tree as fits together."""
    top.mkdir()
    for number, (path, (kind, content, mode)) in enumerate(sorted(tree.items())):
        place = top / path
        if any(one.is_symlink() for one in place.parents):
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                place.write_text(content)
                place.chmod(mode)
                os.utime(place, (1_600_000_000 + number % 3, 1_600_000_000 + number % 3))
            elif kind == "folder":
                place.mkdir(mode)
            else:
                place.symlink_to(content)
        except OSError:
            continue  # another kind is there already


def shape(top):
    found: list[tuple[object, ...]] = []
    for place in sorted(top.rglob("*")):
        status = place.lstat()
        if place.is_symlink():
            found.append((str(place.relative_to(top)), "link", str(place.readlink())))
        elif place.is_dir():
            found.append((str(place.relative_to(top)), "folder", status.st_mode))
        else:
            found.append((str(place.relative_to(top)), status.st_mode, status.st_mtime_ns, place.read_text()))
    return found


@settings(max_examples=60)
@given(source=TREES, target=TREES, excludes=EXCLUDES, delete=st.booleans(), inside=st.booleans())
def test_the_same_is_left(source, target, excludes, delete, inside):
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        plant(top / "src", source)
        plant(top / "by-rsync", target)
        plant(top / "by-agent", target)
        named = f"{top}/src/" if inside else f"{top}/src"
        words = [*(["--delete"] if delete else []), *(f"--exclude={one}" for one in excludes)]
        argv = ["rsync", "-rlpt", "--checksum", *words, named, f"{top}/by-rsync/"]
        theirs = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        try:
            run(named, top / "by-agent", Wish(delete=delete, exclude=tuple(excludes), checksum=True))
            refused = False
        except Problem as problem:
            refused = True
            assert problem.code == "folder-in-the-way"
        # neither takes away what is in a folder without being told to; rsync goes on with the rest
        assert refused == (theirs.returncode == 23), theirs.stderr
        if not refused:
            assert shape(top / "by-agent") == shape(top / "by-rsync")
