"""`machinectl url [NAME…]`: where the docker client finds the engine."""

from __future__ import annotations

import sys

from machinectl.cli.each import each_machine
from machinectl.cli.endpoints import engine_url, require_listening
from machinectl.cli.words import help_asked, names_or_default, split_words
from machinectl.store.records import read_machine

HELP = """usage: machinectl url [--no-check] [NAME…]

Print the URLs of machines' engines, a line each. Without a name: the machine `default`.
An engine that does not answer is an error: `Host is not running`.

options:
  --no-check  don't connect, print what the store says

examples:
  machinectl url node1
  docker --tlsverify -H "$(machinectl url node1)" info
"""


def main(words: list[str], storage_path: str) -> int:
    """The fast path's entrance."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    options, names = split_words(words, {"--no-check": "no-check"}, {})

    def line(name: str) -> str:
        record = read_machine(storage_path, name)
        if not options.get("no-check"):
            require_listening(record)
        return engine_url(record)

    return each_machine(names_or_default(storage_path, names), line)
