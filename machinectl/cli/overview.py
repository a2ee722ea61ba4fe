"""What `machinectl --help` prints, and what an unknown command gets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from machinectl.errors import UsageError

_HEAD = """usage: {program} [OPTION…] COMMAND [ARG…]

Turns Linux hosts that you can SSH to into Docker hosts, with docker-machine's commands.

commands:
{commands}

options, before the command:
  -s, --storage-path DIR   where machines and certificates are kept (MACHINECTL_STORAGE_PATH,
                           MACHINE_STORAGE_PATH; default ~/.machinectl)
  -q, --quiet              no progress on stderr
  -D, --debug              a traceback with every error (MACHINECTL_DEBUG=1)
  -v, --version            print the version
  -h, --help               this text, or that of a command

examples:
  {program} create --ip 192.168.1.10 node1
  {program} ls
  eval "$({program} env node1)" && docker ps
  {program} ssh node1 -- journalctl -u docker

exit status: 0 done, 1 failed, 2 wrong usage, 3 some machines failed, 4 in use by another {program}.
`{program} COMMAND --help` says more. This is not systemd's program of the same name."""


def overview(program: str, commands: Iterable[tuple[str, str, str, bool]]) -> str:
    """The whole help text."""
    rows = [(name, summary) for name, _, summary, _ in commands]
    width = max(len(name) for name, _ in rows)
    return _HEAD.format(
        program=program, commands="\n".join(f"  {name:{width}}  {summary}" for name, summary in rows)
    )


def unknown_command(word: str, names: list[str]) -> UsageError:
    """The error for a command that nobody has, with the nearest one that we have."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f"did you mean `machinectl {near[0]}`?" if near else "machinectl --help lists the commands"
    return UsageError(f"there is no command {word!r}", hint=hint)
