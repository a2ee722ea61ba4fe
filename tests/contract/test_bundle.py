"""The agent's bundle runs with every Python that is here, by itself and isolated."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from machinectl.remote.bundle import Bundle, build_bundle, pack_bundle

PROBE = b"""import sys
import jinja2, markupsafe
from machinectl_agent import wire, templates
here = __file__.rsplit("/", 1)[0]
assert all(one.__file__.startswith(here) for one in (jinja2, markupsafe, wire)), sys.path
assert templates.folder().is_dir(), templates.folder()
print(jinja2.Template("{{ word }}").render(word=markupsafe.escape("<")), sys.argv[1])
"""


def pythons() -> list[str]:
    """The running one, those of $PYTHONS (a PATH-like list), those that names and pyenv find."""
    found = {sys.executable: None}
    named = [one for one in os.environ.get("PYTHONS", "").split(":") if one]
    named += [shutil.which(f"python3.{minor}") or "" for minor in range(9, 15)]
    named += [str(one) for one in Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")]
    wanted = "import sys; sys.exit(sys.version_info < (3, 9))"
    for one in filter(None, named):
        done = subprocess.run([one, "-I", "-c", wanted], check=False, capture_output=True)
        if done.returncode == 0:
            found[one] = None
    return list(found)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return build_bundle()


def unpack(bundle: Bundle, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as tar:
        # Debian 12's Python 3.11.2 has no `filter` yet; the archive is our own
        tar.extractall(folder)  # noqa: S202
    return folder


@pytest.mark.parametrize("python", pythons())
def test_it_runs_isolated_with_every_python(bundle, tmp_path, python):
    probe = Bundle({**bundle.files, "__main__.py": PROBE, "machinectl_agent/templates/probe.j2": b""})
    folder = unpack(probe, tmp_path / probe.hash)
    done = subprocess.run(
        [python, "-I", str(folder), "verb"], check=False, capture_output=True, text=True, cwd="/", timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("&lt; verb\n", "", 0)


def test_only_source_travels(bundle):
    source = {
        name
        for name in bundle.files
        if not name.startswith("machinectl_agent/templates/") and "license" not in name.lower()
    }
    assert {Path(name).suffix for name in source} == {".py"}
    assert "machinectl_agent/wire.py" in bundle.files
    assert any("jinja2" in name and "LICENSE" in name for name in bundle.files)
    # pyroute2 is two thirds of it
    assert len(bundle.archive) < 1_200_000


def test_it_is_reproducible(bundle):
    again = pack_bundle()
    assert again.hash == bundle.hash
    assert again.archive == bundle.archive
    changed = Bundle({**bundle.files, "machinectl_agent/wire.py": b""})
    assert changed.hash != bundle.hash


def test_names_and_contents_are_told_apart():
    assert Bundle({"a": b"bc"}).hash != Bundle({"ab": b"c"}).hash


def test_it_is_made_quickly():
    pack_bundle()
    started = time.thread_time()
    assert pack_bundle().hash
    assert time.thread_time() - started < 0.25  # 15 ms on an idle machine
