"""`machinectl active`: the machine that $DOCKER_HOST points at."""

from __future__ import annotations

import os
import sys

from machinectl.cli.endpoints import dial, engine_port, engine_url, ssh_url
from machinectl.cli.words import help_asked, seconds, split_words
from machinectl.errors import MachinectlError, StoreError, UsageError
from machinectl.store.records import list_names, read_machine

HELP = """usage: machinectl active [-t SECONDS]

Print the machine that $DOCKER_HOST points at and whose engine answers; `No active host found` and exit
status 1 if there is none.

options:
  -t, --timeout SECONDS  how long to wait for that engine (default 10)

examples:
  eval "$(machinectl env node1)" && machinectl active
"""


def main(words: list[str], storage_path: str) -> int:
    """The fast path's entrance."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    options, names = split_words(words, {}, {"-t": "timeout", "--timeout": "timeout"})
    if names:
        raise UsageError("Error: Too many arguments given")
    within = seconds(options.get("timeout", ""), 10.0)
    target = os.environ.get("DOCKER_HOST", "").rstrip("/")
    for name in list_names(storage_path) if target else ():
        try:
            record = read_machine(storage_path, name)
        except StoreError:
            continue  # `ls` shows what is wrong with it
        if target == ssh_url(record):
            print(name)
            return 0
        if target == engine_url(record):
            why = dial(record["ip"], engine_port(record), within)
            if why == "timed out":
                raise MachinectlError("Error getting active host: timeout", machine="")
            if not why:
                print(name)
                return 0
    raise MachinectlError("No active host found")
