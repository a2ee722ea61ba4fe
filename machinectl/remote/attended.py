"""A command that ends when its caller goes away: by Ctrl-C, by a deadline, by a cable that is pulled.

sshd only closes a command's streams when the connection ends; `sleep 1000` or `tail -f` of a quiet file never
notice, and SSH's signals (RFC 4254, 6.9) are refused by many servers for root. So a shell on the host waits
for the end of its stdin, which is the connection, and ends the process group.
"""

from __future__ import annotations

import shlex

GRACE = 5
"""Seconds between SIGTERM and SIGKILL."""


def render_attended(command: str) -> str:
    """Pure: `command` for the login shell ($SHELL, as ssh runs it), with an empty stdin.

    sshd makes every command the leader of a session and process group of its own; under sudo it may be another
    one. `kill 0` means whatever group it is. What the command sends into a session of its own is left alone.
    """
    # `read` is the shell's own: no further process stays behind. The watcher holds neither stdout nor stderr, or
    # sshd would wait for it. It ignores SIGTERM to live until it is time for SIGKILL.
    script = "\n".join(
        (
            "exec 3<&0 </dev/null",
            f"(trap '' HUP INT TERM; read -r _ <&3; kill -TERM 0; sleep {GRACE}; kill -KILL 0) >/dev/null 2>&1 &",
            "watcher=$!",
            f'"${{SHELL:-/bin/sh}}" -c {shlex.quote(command)} 3<&-',
            "status=$?",
            'kill -KILL "$watcher" 2>/dev/null',
            'exit "$status"',
        )
    )
    return f"exec sh -c {shlex.quote(script)}"
