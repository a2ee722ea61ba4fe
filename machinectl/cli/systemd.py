"""The name is systemd's too: its verbs are answered with which program this is and where the other one is."""

from __future__ import annotations

import os

from machinectl.errors import UsageError

# fmt: off
VERBS = (
    "bind", "cancel-transfer", "cat", "clean", "clone", "copy-from", "copy-to", "disable", "edit", "enable",
    "export-raw", "export-tar", "image-status", "import-fs", "import-raw", "import-tar", "list",
    "list-images", "list-transfers", "login", "poweroff", "pull-raw", "pull-tar", "read-only", "reboot",
    "remove", "rename", "set-limit", "shell", "show", "show-image", "terminate",
)
# fmt: on
"""machinectl(1) of systemd 257, less what we have under the same names (kill, start, status)."""

_ELF = b"\x7fELF"


def refuse(words: list[str]) -> None:
    """Raises UsageError if there is a verb of systemd's among the words; else returns."""
    verb = next((word for word in words if word in VERBS), "")
    if not verb:
        return
    other = find_systemd()
    where = (
        f"systemd's machinectl is {other}: run `{other} {verb} …`"
        if other
        else "systemd's machinectl is not installed here; it is in the package systemd-container"
    )
    raise UsageError(
        f"{verb!r} is a command of systemd's machinectl",
        why="this is the machinectl that provisions Docker hosts (also installed as mctl); "
        "both programs have the same name",
        hint=f"{where}; `machinectl --help` lists the commands of this one",
    )


def find_systemd() -> str:
    """The other program's path; empty where it is not on PATH or in /usr/bin.

    Ours starts a Python script; systemd's is an ELF file.
    """
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/bin"):
        path = os.path.join(folder, "machinectl")  # noqa: PTH118 - one string operation
        try:
            with open(path, "rb") as file:
                if file.read(4) == _ELF:
                    return path
        except OSError:
            continue
    return ""
