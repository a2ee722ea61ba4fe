"""`machinectl ip [NAME…]`: addresses from the records; no machine is contacted."""

from __future__ import annotations

import sys

from machinectl.cli.each import each_machine
from machinectl.cli.words import help_asked, names_or_default, split_words
from machinectl.store.records import read_machine

HELP = """usage: machinectl ip [NAME…]

Print the addresses of machines, a line each, as they were given to create. Without a name: the machine
`default`.

examples:
  machinectl ip node1
  ping $(machinectl ip node1)
"""


def main(words: list[str], storage_path: str) -> int:
    """The fast path's entrance."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    _, names = split_words(words, {}, {})
    return each_machine(
        names_or_default(storage_path, names), lambda name: str(read_machine(storage_path, name)["ip"])
    )
