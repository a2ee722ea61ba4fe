"""Becoming root on a host where we log in as somebody else.

A command is wrapped so that it says a marker on stderr as soon as it runs as root. Until then everything on
stderr is sudo's. A password goes to stdin only after sudo has shown a prompt that only we know: no other
program can ever read it, and a second prompt means that it was wrong.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, field

from machinectl.errors import BecomeFailed

MODES = ("auto", "sudo", "none")


@dataclass(frozen=True)
class Become:
    """`auto`: sudo unless the user is root already; `sudo`: always; `none`: never."""

    mode: str = "auto"
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is none of {', '.join(MODES)}")

    def wraps(self, user: str) -> bool:
        """Whether commands of `user` go through `wrap`."""
        return self.mode == "sudo" or (self.mode == "auto" and user != "root")


@dataclass(frozen=True)
class Wrapped:
    """A command as it goes to the host, and the texts by which we know how far it got."""

    command: str
    started: bytes
    """Appears on stderr when the command runs as root; what follows is the command's own."""
    prompt: bytes
    """sudo's prompt. Empty: a password is never asked for."""


def wrap(command: str, become: Become, token: str = "") -> Wrapped:
    """Pure but for the token. sudo's `-H` gives root's HOME, `--` ends its options."""
    token = token or secrets.token_hex(8)
    started, prompt, missing = (f"machinectl-{word}-{token}" for word in ("started", "password", "no-sudo"))
    inner = f"printf '%s\\n' {started} >&2; {command}"
    options = "-n" if become.password is None else f"-S -p {prompt}"
    script = f"command -v sudo >/dev/null 2>&1 || {{ echo {missing} >&2; exit 126; }}; "
    if become.mode == "auto":  # another name for root, or a host that maps everybody to it
        script = f'if [ "$(id -u)" = 0 ]; then exec sh -c {shlex.quote(inner)}; fi; ' + script
    script += f"LC_ALL=C; export LC_ALL; exec sudo -H {options} -- sh -c {shlex.quote(inner)}"
    return Wrapped(
        f"exec sh -c {shlex.quote(script)}",
        f"{started}\n".encode(),
        b"" if become.password is None else prompt.encode(),
    )


_REASONS: tuple[tuple[str, str, str], ...] = (
    # (what sudo says in the C locale, our why, our hint); the first that matches is the reason
    ("machinectl-no-sudo-", "sudo is not installed", "log in as root (--ssh-user root), or install sudo"),
    ("must have a tty", "sudo wants a terminal (requiretty)", "add `Defaults:USER !requiretty` to sudoers"),
    (
        "not in the sudoers",
        "the user is not in sudoers",
        "add it to the group sudo or wheel, or log in as root",
    ),
    ("is not allowed to", "sudoers does not allow it", "allow the user ALL commands, or log in as root"),
    ("may not run sudo", "sudoers does not allow it", "allow the user ALL commands, or log in as root"),
    ("account validation failure", "the user's account or password has expired", "log in by hand once"),
    ("a password is required", "sudo needs a password", "--ask-become-pass, or a NOPASSWD rule in sudoers"),
    ("a terminal is required", "sudo needs a password", "--ask-become-pass, or a NOPASSWD rule in sudoers"),
)


def explain(stderr: str, user: str, *, asked: bool) -> BecomeFailed:
    """The error for a wrapped command that never started. `asked`: a password was given and taken."""
    text = " ".join(stderr.split())
    for words, why, hint in _REASONS:
        if words in text:
            return BecomeFailed(f"{user} can't become root", why=why, hint=hint.replace("USER", user))
    if asked:
        return wrong_password(user)
    return BecomeFailed(
        f"{user} can't become root",
        why=f"sudo says: {text[-300:]}" if text else "sudo ended without a word",
        hint="try `sudo -v` on the host, or log in as root (--ssh-user root)",
    )


def wrong_password(user: str) -> BecomeFailed:
    return BecomeFailed(
        f"{user} can't become root", why="sudo did not take the password", hint="--ask-become-pass once more"
    )
