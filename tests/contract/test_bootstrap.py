"""The bootstrap script under real shells, into temporary folders, with what hosts really lack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from machinectl.remote.bootstrap import agent_command, render_archive, render_bootstrap
from machinectl.remote.bundle import Bundle

TOKEN = "0123456789abcdef"
SHELLS = [
    pytest.param(
        shell, marks=pytest.mark.skipif(not shutil.which(shell[0]), reason=f"{shell[0]} is not here")
    )
    for shell in (("dash",), ("bash",), ("busybox", "sh"))
]
AGENT = Bundle(
    {
        "__main__.py": b"import sys, piece.part\nprint('agent', sys.argv[1], sys.stdin.readline().strip())\n",
        "piece/part.py": b"",
    }
)
SAYS = f"machinectl {TOKEN} "


def tools(folder: Path, *extra: str) -> Path:
    """A PATH with the tools that the script may count on and no Python."""
    folder.mkdir()
    for name in ("sh", "timeout", "ls", "cat", "ln", *extra):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return folder


def program(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def run(
    shell, root: Path, stdin: bytes, *, bundle: Bundle = AGENT, path: str = "", search: str = ""
) -> list[str]:
    script = render_bootstrap(bundle, "apply", TOKEN, root=str(root), search=search or os.environ["PATH"])
    done = subprocess.run(
        [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", script],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": path or os.environ["PATH"]},
        check=False,
        timeout=60,
    )
    return done.stdout.decode().splitlines()


def first_contact(bundle: Bundle = AGENT) -> bytes:
    return b"request\n" + render_archive(bundle) + b"request again\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_first_contact_then_the_short_path(shell, tmp_path):
    root = tmp_path / "opt/machinectl/agent"
    before = os.umask(0o077)
    try:
        said = run(shell, root, first_contact())
    finally:
        os.umask(before)
    assert said == [SAYS + "hello", SAYS + "need-bundle", SAYS + "run", "agent apply request again"]
    tree = root / AGENT.hash
    assert (root / "current").readlink() == Path(AGENT.hash)
    for one in (root, tree, tree / "piece"):
        assert one.stat().st_mode & 0o777 == 0o755
    assert (tree / "piece/part.py").stat().st_mode & 0o777 == 0o644
    said = run(shell, root, b"request\n")
    assert said == [SAYS + "hello", SAYS + "run", "agent apply request"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_without_python_is_found_out(shell, tmp_path):
    path = tools(tmp_path / "bin")
    said = run(shell, tmp_path / "opt", b"request\n", path=str(path), search=str(path))
    assert said[0] == SAYS + "hello"
    assert said[1].startswith(SAYS + "need-python ")
    assert "no apt-get" in said[2]
    assert said[-1] == SAYS + "no-python"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_distributions_python_is_installed(shell, tmp_path):
    path = tools(tmp_path / "bin")
    program(path / "python3", "echo 'no module named json' >&2; exit 1\n")  # python3-minimal
    program(
        path / "apt-get",
        f'echo "apt $*"; cat; case "$*" in *update*) >"{path}/lists";; esac\n'
        f'[ -e "{path}/lists" ] || exit 100\n'
        f'case "$*" in *install*) ln -sf {sys.executable} "{path}/python3";; esac\n',
    )
    program(path / "dpkg", "exit 0\n")
    said = run(shell, tmp_path / "opt", first_contact(), path=str(path), search=str(path))
    assert said[-1] == "agent apply request again"
    assert [one for one in said if one.startswith(SAYS)][1].startswith(SAYS + "need-python")
    log = "\n".join(said)
    assert log.index("install python3") < log.index("Retries=1 update")
    assert "DPkg::Lock::Timeout" in log


def test_an_old_python_is_passed_over(tmp_path):
    path = tools(tmp_path / "bin")
    program(path / "python3", "exit 1\n")
    (path / "python3.12").symlink_to(sys.executable)
    said = run(("sh",), tmp_path / "opt", first_contact(), path=str(path), search=str(path))
    assert said[-1] == "agent apply request again"


def test_a_vanished_interpreter_is_replaced(tmp_path):
    root = tmp_path / "opt"
    run(("sh",), root, first_contact())
    (root / AGENT.hash / "interpreter").write_text("/nowhere/python3\n")
    said = run(("sh",), root, first_contact())
    assert said[-1] == "agent apply request again"
    assert run(("sh",), root, b"request\n")[-1] == "agent apply request"


@pytest.mark.parametrize("cut", [10, 100, -200])
def test_an_interrupted_upload_leaves_nothing_half(tmp_path, cut):
    root = tmp_path / "opt"
    said = run(("sh",), root, (b"request\n" + render_archive(AGENT))[:cut])
    assert json.loads(said[-1])["problem"] == "upload-interrupted"
    assert not root.exists() or not list(root.iterdir())
    assert run(("sh",), root, first_contact())[-1] == "agent apply request again"


def test_a_damaged_archive_is_refused(tmp_path):
    content = bytearray(render_archive(AGENT))
    content[-1] ^= 1
    said = run(("sh",), tmp_path / "opt", b"request\n" + bytes(content))
    assert json.loads(said[-1])["problem"] == "bundle-damaged"
    assert not (tmp_path / "opt").exists()


@pytest.mark.root
def test_a_full_disk_is_named_and_cleaned(tmp_path):
    root = tmp_path / "opt"
    root.mkdir()
    large = Bundle({**AGENT.files, "large": os.urandom(3_000_000)})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], check=True)
    try:
        error = json.loads(run(("sh",), root, first_contact(large), bundle=large)[-1])
        assert error["problem"] == "disk-full"
        assert "No space left" in error["why"]
        assert not list(root.iterdir())
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_controllers_at_once(tmp_path):
    root = tmp_path / "opt"
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(run(("sh",), root, first_contact())[-1]))
        for _ in range(6)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.removesuffix(" again") for one in answers} == {"agent apply request"}
    assert {one.name for one in root.iterdir()} == {AGENT.hash, "current"}


def test_old_trees_go_and_the_previous_one_stays(tmp_path):
    root = tmp_path / "opt"
    versions = [Bundle({**AGENT.files, "version": str(number).encode()}) for number in range(3)]
    day = 90_000
    for one in versions:
        run(("sh",), root, first_contact(one), bundle=one)
        os.utime(root / one.hash, (time.time() - day,) * 2)
    stale = root / f"{'0' * 32}.tmp.1"
    stale.mkdir()
    os.utime(stale, (time.time() - day,) * 2)
    young = root / "f0" / "x"
    young.mkdir(parents=True)
    last = Bundle({**AGENT.files, "version": b"last"})
    run(("sh",), root, first_contact(last), bundle=last)
    assert {one.name for one in root.iterdir()} == {last.hash, versions[-1].hash, "f0", "current", "previous"}
    assert (root / "previous").readlink() == Path(versions[-1].hash)


def test_the_texts_pass_through_any_login_shell():
    script = render_bootstrap(AGENT, "apply", TOKEN)
    assert "\\" not in script
    assert script.count("'") <= 2 * 9  # around the values, nowhere else


def test_an_agent_that_is_there_is_called_directly(tmp_path):
    root = tmp_path / "it's here"
    run(("sh",), root, first_contact())
    for tree in ("current", AGENT.hash):
        done = subprocess.run(
            ["sh", "-c", agent_command("dial-stdio", tree=tree, root=str(root))],
            input=b"hi\n",
            capture_output=True,
            check=False,
        )
        assert done.stdout == b"agent dial-stdio hi\n"
