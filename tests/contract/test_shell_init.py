"""`use`, the prompt helper and the loading of completion, in the real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from machinectl.cli.main import main
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"needs {shell}"))
    for shell in ("bash", "zsh", "fish")
]
PLAIN = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}
LOAD = {"bash": 'eval "$(machinectl shell-init bash)"', "zsh": 'eval "$(machinectl shell-init zsh)"', "fish": "machinectl shell-init fish | source"}  # fmt: skip
STATUS = {"bash": "$?", "zsh": "$?", "fish": "$status"}


@pytest.fixture
def run(tmp_path):
    store = Store(tmp_path / "a store")
    for name in ("default", "node1"):
        store.save(Machine(name, "198.18.0.11", SshAddress("198.18.0.11"), state="ready"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("machinectl", "mctl"):
        (programs / name).symlink_to(Path(sys.executable).with_name(name))

    def run(shell, script, *, load=True, interactive=False):
        lines = f"{LOAD[shell] if load else ''}\n{script}"
        return subprocess.run(
            [shell, PLAIN[shell], *(["-i"] if interactive else []), "-c", lines],
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "SHELL": f"/bin/{shell}",
                "MACHINECTL_STORAGE_PATH": str(store.path),
                "LC_ALL": "C.UTF-8",
                "TERM": "dumb",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("program", ["machinectl", "mctl"])
def test_use_and_back(run, shell, program):
    done = run(
        shell,
        f'{program} use --no-check node1\necho "$DOCKER_HOST $DOCKER_CERT_PATH"\n{program} use -u\necho "<$DOCKER_HOST$DOCKER_MACHINE_NAME>"',
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "Active machine: node1", done
    assert lines[1].startswith("tcp://198.18.0.11:2376 ")
    assert lines[1].endswith("/a store/machines/node1")
    assert lines[2:] == ["<>"]
    assert not done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_use_of_what_is_not_there_changes_nothing(run, shell):
    done = run(
        shell,
        f'machinectl use --no-check node1\nmachinectl use nobody\necho "{STATUS[shell]} $DOCKER_MACHINE_NAME"',
    )
    assert done.stdout.splitlines() == ["Active machine: node1", "1 node1"]
    assert '"nobody" does not exist' in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_other_commands_and_help(run, shell):
    done = run(
        shell,
        f'machinectl ip node1\nmachinectl use --help\nmachinectl\nmachinectl ip nobody\necho "status {STATUS[shell]}"',
    )
    assert done.stdout.startswith("198.18.0.11\nusage: machinectl use")
    assert "usage: machinectl [OPTION…] COMMAND" in done.stdout
    assert done.stdout.endswith("status 1\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_prompt(run, shell):
    call = {"fish": "(__machinectl_ps1)", "bash": "$(__machinectl_ps1)", "zsh": "$(__machinectl_ps1)"}[shell]
    own = call.replace("ps1", "ps1 '%s:'")
    done = run(
        shell, f"machinectl use --no-check\necho a{call}b\necho a{own}b\nmachinectl use -u\necho a{call}b"
    )
    # in fish, nothing in a part of a word makes no word at all
    without = "" if shell == "fish" else "ab"
    assert done.stdout.splitlines()[1:] == ["a [default]b", "adefault:b", without], done
    if shell != "fish":
        assert (
            run(shell, "machinectl use --no-check node1 >/dev/null; __docker_machine_ps1").stdout
            == " [node1]"
        )


def test_an_alias_for_docker_machine_takes_use_along(run):
    done = run(
        "bash",
        "shopt -s expand_aliases\nalias docker-machine=machinectl\ndocker-machine use --no-check node1",
    )
    assert done.stdout == "Active machine: node1\n"


def test_strict_scripts_may_load_it(run):
    done = run(
        "bash",
        'set -euo pipefail\neval "$(machinectl shell-init bash)"\n__machinectl_ps1\nmachinectl use --no-check node1\nmachinectl >/dev/null',
        load=False,
    )
    assert (done.returncode, done.stdout) == (0, "Active machine: node1\n"), done


def test_completion_comes_with_the_first_tab(run):
    script = "_machinectl_completion; echo $?; complete -p machinectl mctl"
    assert run("bash", script).stdout.splitlines() == [
        "124",
        "complete -o bashdefault -F _shtab_machinectl machinectl",
        "complete -o bashdefault -F _shtab_machinectl mctl",
    ]
    script = "_shtab_machinectl() { echo never }; compdef() { echo $* }; unsetopt xtrace; _machinectl_completion 2>/dev/null; echo $+functions[_machinectl_names]"
    if shutil.which("zsh"):
        found = run("zsh", f"autoload -U compinit; compinit -D -u\n{LOAD['zsh']}\n{script}", load=False)
        assert found.stdout.splitlines()[-1] == "1", found


@pytest.mark.parametrize("words", [["tcsh"], ["bash", "zsh"], [""]])
def test_shells_without(words, capsys):
    assert main(["shell-init", *words]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def test_use_without_the_function_says_what_is_missing(capsys):
    assert main(["use", "node1"]) == 2
    assert "machinectl shell-init bash" in capsys.readouterr().err
    assert main(["use", "-h"]) == 0
