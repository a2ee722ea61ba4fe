"""Completion, typed into the real shells: a word's beginning, TAB, return; and what the command then gets."""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from machinectl.cli.completion import command_tree, script
from machinectl.cli.main import main
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"needs {shell}"))
    for shell in ("bash", "zsh", "fish")
]
PROMPT = "READY>"

CASES = [
    ("provi", "provision"),
    ("netw", "network"),
    ("env no", "env node1"),
    ("env --she", "env --shell"),
    ("env --shell fi", "env --shell fish"),
    ("env --no-check no", "env --no-check node1"),
    ("rm node1 we", "rm node1 web-2.lan"),
    ("rm -f we", "rm -f web-2.lan"),
    ("url no", "url node1"),
    ("ssh no", "ssh node1"),
    ("exec we", "exec web-2.lan"),
    ("ls --fil", "ls --filter"),
    ("ls --output js", "ls --output json"),
    ("logs node1 jo", "logs node1 journal"),
    ("context a", "context add"),
    ("context add no", "context add node1"),
    ("network create x --mach", "network create x --machine"),
    ("network create --machine no", "network create --machine node1"),
    ("network join no", "network join node1"),
    ("create --ssh-key {files}/id_", "create --ssh-key {files}/id_ed25519"),
    ("-s {other} env fa", "-s {other} env far"),
    # not a machine's name
    ("network rm no", "network rm no"),
    ("create no", "create no"),
    ("ls no", "ls no"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Stores, a key, the scripts, and a machinectl that says what it was called with."""
    folder = tmp_path_factory.mktemp("completion")
    for store, names in {"store": ("node1", "web-2.lan"), "other": ("far",)}.items():
        for name in names:
            Store(folder / store).save(Machine(name, "198.18.0.11", SshAddress("198.18.0.11")))
    (folder / "store/machines/nobody").mkdir()
    (folder / "files").mkdir()
    (folder / "files/id_ed25519").touch()
    (folder / "bin").mkdir()
    for name in ("machinectl", "mctl"):
        (folder / "bin" / name).write_text('#!/bin/sh\necho "called with <$*>"\n')
        (folder / "bin" / name).chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        (folder / f"script.{shell}").write_text(script(shell))
    return folder


def environment(places):
    return {
        "PATH": f"{places}/bin:/usr/bin:/bin",
        "HOME": str(places),
        "MACHINECTL_STORAGE_PATH": str(places / "store"),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


START = {
    "bash": (["--norc", "--noprofile", "-i"], "PS1='{prompt}'; bind 'set enable-bracketed-paste off'; source {script}"),
    "zsh": (["-f", "-i"], "PROMPT='{prompt}'; unsetopt zle_bracketed_paste prompt_sp; autoload -U compinit; compinit -D -u; eval \"$(<{script})\""),
}  # fmt: skip


class Terminal:
    """An interactive shell, typed into."""

    def __init__(self, shell, places):
        self.master, slave = pty.openpty()
        words, first = START[shell]
        self.shell = subprocess.Popen(
            [shell, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(places),
            start_new_session=True,
            cwd=places / "bin",
        )
        os.close(slave)
        # split, so that the echo of this line is no prompt
        prompt = f"{PROMPT[:3]}''{PROMPT[3:]}"
        self.type(first.format(prompt=prompt, script=places / f"script.{shell}") + "\r")
        self.read_until(PROMPT)

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, pattern):
        seen = ""
        end = time.monotonic() + 120
        while not re.search(pattern, seen):
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{pattern} did not come: {seen!r}"
            seen += os.read(self.master, 65536).decode("utf-8", "replace")
        return seen

    def completed(self, line):
        self.type(line + "\t\r")
        answer = re.search(r"called with <(.*?) ?>", self.read_until(r"called with <.*>[\s\S]*" + PROMPT))
        assert answer
        return answer[1]

    def close(self):
        self.shell.kill()
        self.shell.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)


def fish_completed(places, line):
    """fish says by itself what TAB would make of a line's last word, if there is just one answer."""
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {places}/script.fish; complete -C $argv[1]", line],
        env=environment(places),
        cwd=places / "bin",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not done.stderr
    found = [one.partition("\t")[0] for one in done.stdout.splitlines()]
    before, _, _ = line.rpartition(" ")
    return f"{before} {found[0]}" if len(found) == 1 else line


@pytest.fixture(scope="module")
def complete(places):
    terminals: dict[str, Terminal] = {}

    def completed(shell, line):
        if shell == "fish":
            return fish_completed(places, line)
        if shell not in terminals:
            terminals[shell] = Terminal(shell, places)
        program, _, rest = line.partition(" ")
        return f"{program} {terminals[shell].completed(f'{program} {rest}')}"

    yield completed
    for one in terminals.values():
        one.close()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("typed", "expected"), CASES, ids=[one for one, _ in CASES])
def test_tab(shell, typed, expected, places, complete):
    where = {"files": places / "files", "other": places / "other"}
    assert complete(shell, "machinectl " + typed.format(**where)) == "machinectl " + expected.format(**where)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_short_name(shell, complete):
    assert complete(shell, "mctl env no") == "mctl env node1"


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_store(shell, places):
    command = {
        "bash": "source {script}; COMP_WORDS=(machinectl env ''); COMP_CWORD=2; shopt -s failglob; _shtab_machinectl; echo ${{#COMPREPLY[@]}}",
        "zsh": "compdef() {{ }}; eval \"$(<{script})\"; compadd() {{ echo ${{#names}} }}; LBUFFER='machinectl env '; _machinectl_names",
        "fish": "source {script}; count (complete -C 'machinectl env ')",
    }[shell]  # fmt: skip
    done = subprocess.run(
        [shell, {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell], "-c", command.format(script=places / f"script.{shell}")],
        env={**environment(places), "MACHINECTL_STORAGE_PATH": f"{places}/none here"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_every_flag_of_every_command_is_there(capsys):
    """Those of the fast commands are read from their help; the others' come from their parsers."""
    tree = command_tree("bash")
    commands = next(one for one in tree._actions if isinstance(one, argparse._SubParsersAction)).choices
    for name, flags in {
        "env": {"--shell", "-u", "--unset", "--no-proxy", "--ssh", "--no-check"},
        "active": {"-t", "--timeout"},
        "url": {"--no-check"},
        "ip": set(),
    }.items():
        known = {flag for action in commands[name]._actions for flag in action.option_strings}
        assert known - {"-h", "--help"} == flags, name
    for name, parser in commands.items():
        with contextlib.suppress(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        for action in parser._actions:
            if action.help != argparse.SUPPRESS and action.dest != "help":
                assert all(flag in text for flag in action.option_strings), name


@pytest.mark.parametrize("shell", SHELLS)
def test_it_is_fast(shell, places):
    """One completion with 200 machines, the best of some, in milliseconds of the shell's own CPU time: Python has no
    part in it, and what else this machine does neither (/proc/PID/schedstat, nanoseconds)."""
    for number in range(200):
        folder = places / f"many/machines/node{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").touch()
    once = {
        "bash": "COMP_WORDS=(machinectl env node19); COMP_CWORD=2; _shtab_machinectl",
        "zsh": "_machinectl_names",
        "fish": "complete -C 'machinectl env node19' >/dev/null",
    }[shell]
    before = {"zsh": "compdef() {}; compadd() {}; LBUFFER='machinectl env '; "}.get(shell, "")
    load = 'eval "$(<{})"' if shell == "zsh" else "source {}"
    clock = "read -r one rest < /proc/$$/schedstat; echo $one"
    if shell == "fish":
        clock = "read -d ' ' one rest < /proc/$fish_pid/schedstat; echo $one"
    lines = [before + load.format(places / f"script.{shell}"), once]
    lines += [clock, once, clock] * 5
    called, traps = places / "python-was-called", places / "traps"
    traps.mkdir(exist_ok=True)
    for name in ("machinectl", "python3"):
        (traps / name).write_text(f"#!/bin/sh\ntouch {called}\n")
        (traps / name).chmod(0o755)
    done = subprocess.run(
        [shell, {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell], "-c", "\n".join(lines)],
        env={
            **environment(places),
            "PATH": f"{traps}:/usr/bin:/bin",
            "MACHINECTL_STORAGE_PATH": str(places / "many"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not called.exists()
    marks = [int(line) for line in done.stdout.split()]
    assert min(end - start for start, end in zip(marks[::2], marks[1::2], strict=True)) < 50e6
