"""Shells' ways of setting and unsetting variables, and of quoting any value. Pure; docker-machine's forms.

People write `eval $(machinectl env node1)` without quotes: the shell then splits the output into words and
joins them with single spaces. That is why comments come last, why a run of spaces in a value is cut into
separate strings, and why lines that mix `unset` and `export` end with a semicolon.
"""

from __future__ import annotations

import os
import re
import sys

from machinectl.errors import MachinectlError

# shell: (before the name, between name and value, after the value)
_SET = {
    "fish": ("set -gx ", ' "', '";\n'),
    "tcsh": ("setenv ", ' "', '";\n'),
    "csh": ("setenv ", ' "', '";\n'),
    "powershell": ("$Env:", ' = "', '"\n'),
    "cmd": ("SET ", "=", "\n"),
    "emacs": ('(setenv "', '" "', '")\n'),
}
_SET_SH = ("export ", '="', '"\n')

_UNSET = {
    "fish": ("set -e ", ";\n"),
    "tcsh": ("unsetenv ", ";\n"),
    "csh": ("unsetenv ", ";\n"),
    "powershell": ("Remove-Item Env:\\\\", "\n"),
    "cmd": ("SET ", "=\n"),
    "emacs": ('(setenv "', '" nil)\n'),
}
_UNSET_SH = ("unset ", "\n")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SPACES = re.compile(r" (?= )")
_PLAIN = re.compile(r"[\w@%+=:,./\\-]+", re.ASCII)


def set_line(shell: str, variable: str, value: str, *, joined: bool = False) -> str:
    """The line that sets a variable. `joined`: it stands among `unset` lines, see above."""
    before, between, after = _SET.get(shell, _SET_SH)
    if joined and shell not in _SET:
        after = '";\n'
    return f"{before}{variable}{between}{quoted(shell, value)}{after}"


def unset_line(shell: str, variable: str, *, joined: bool = False) -> str:
    """The line that unsets a variable. `joined`: it stands among lines that set."""
    before, after = _UNSET.get(shell, _UNSET_SH)
    if joined and shell not in _UNSET:
        after = ";\n"
    if joined and shell == "powershell":
        after = " -ErrorAction SilentlyContinue\n"
    return f"{before}{variable}{after}"


def quoted(shell: str, value: str) -> str:
    """The value as it stands between the double quotes of that shell (cmd: as it is, it has none).

    Raises MachinectlError for control characters: no shell takes a line break through `eval $(…)`.
    """
    if _CONTROL.search(value):
        raise MachinectlError(
            f"{value!r} can't be put into commands for a shell",
            why="it holds a control character",
            hint="use a store whose path has none (-s)",
        )
    if shell == "cmd":
        return value
    if shell == "powershell":
        return re.sub(r'([`"$])', r"`\1", value)
    if shell == "emacs":
        return re.sub(r'([\\"])', r"\\\1", value)
    if shell in ("tcsh", "csh"):
        # nothing can be escaped inside a csh's double quotes: out of them, backslash, in again
        # (the tilde: as a word of its own it is expanded in the result of `…`; so are stars, but against
        # these only `set noglob` helps, as csh users know from tset)
        value = re.sub(r'([\\"$`!~])', r'"\\\1"', value)
    elif shell == "fish":
        value = re.sub(r'([\\"$])', r"\\\1", value)
    else:
        value = re.sub(r'([\\"$`])', r"\\\1", value)
        # a star that is a word of its own would match files; with quotes around it matches none
        value = re.sub(r"([*?\[])", "\"'\\1'\"", value)
    return _SPACES.sub(' ""', value)


def usage_hint(shell: str, argv: list[str]) -> str:
    """The two comment lines that say how to run it; `argv` is the command line that we were called by."""
    line = command_line(argv)
    comment = "#"
    if shell == "fish":
        run = f"eval ({line})"
    elif shell == "powershell":
        run = f"& {line} | Invoke-Expression"
    elif shell == "cmd":
        comment, run = "REM", f"\t@FOR /f \"tokens=*\" %i IN ('{line}') DO @%i"
    elif shell == "emacs":
        comment = ";;"
        run = f'(with-temp-buffer (shell-command "{line}" (current-buffer)) (eval-buffer))'
    elif shell in ("tcsh", "csh"):
        comment, run = ":", f"eval `{line}`"
    else:
        run = f"eval $({line})"
    return f"{comment} Run this command to configure your shell: \n{comment} {run}\n"


def command_line(argv: list[str]) -> str:
    """How we were called, to be typed again: quoted for sh where a word needs it (fish and csh take that)."""
    if any(_CONTROL.search(word) for word in argv):
        # a line break would end the comment that this goes into, and the shell would run what follows
        raise MachinectlError("there is a control character in the command line", problem="usage")
    return " ".join([_program(argv[0]), *map(_typed, argv[1:])])


def _typed(word: str) -> str:
    if word and _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _program(path: str) -> str:
    """The bare name if that is what PATH leads to: Python gets the full path even where a name was typed."""
    folder, name = os.path.split(path)
    if name == "__main__.py":
        return f"{_typed(sys.executable)} -m machinectl"
    for one in os.environ.get("PATH", "").split(os.pathsep):
        if os.path.exists(os.path.join(one, name)):  # noqa: PTH110, PTH118 - no pathlib here
            return name if os.path.realpath(one) == os.path.realpath(folder) else _typed(path)
    return _typed(path)
