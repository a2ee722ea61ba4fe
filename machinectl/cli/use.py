"""`machinectl use`, where it arrives here: the shell's function is not loaded."""

from __future__ import annotations

import sys

from machinectl.cli.words import help_asked
from machinectl.errors import UsageError

HELP = """usage: machinectl use [OPTION…] [NAME]
       machinectl use -u

Point this shell's docker client at a machine: a function of the shell, for `eval "$(machinectl env NAME)"`.
`machinectl shell-init` prints it. Without a name: the machine `default`.

options:
  -u, --unset    point it at the local engine again
  --no-proxy     add the machine's address to NO_PROXY
  --ssh          go through SSH (DOCKER_HOST=ssh://…)
  --no-check     don't connect, take what the store says

examples:
  eval "$(machinectl shell-init bash)"
  machinectl use node1 && docker ps
  machinectl use -u
"""


def main(words: list[str], _storage_path: str) -> int:
    """The help, or what is missing."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    raise UsageError(
        "`use` is a function of the shell, and this shell has not got it",
        why="a program can't change the variables of the shell that it was started by",
        hint='eval "$(machinectl shell-init bash)" first (or zsh, fish), with `use` as the first word; '
        'or eval "$(machinectl env NAME)"',
    )
