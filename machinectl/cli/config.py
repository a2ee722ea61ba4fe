"""`machinectl config [NAME]`: the docker client's options for a machine."""

from __future__ import annotations

import json
import os
import sys

from machinectl.cli.endpoints import engine_url, require_listening
from machinectl.cli.words import help_asked, one_name, split_words
from machinectl.store.records import machine_folder, read_machine

HELP = """usage: machinectl config [--no-check] [NAME]

Print the options that make the docker client talk to a machine. Without a name: the machine `default`.
An engine that does not answer is an error: `Host is not running`.

options:
  --no-check  don't connect, print what the store says

examples:
  docker $(machinectl config node1) ps
"""


def main(words: list[str], storage_path: str) -> int:
    """The fast path's entrance."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    options, names = split_words(words, {"--no-check": "no-check"}, {})
    name = one_name(storage_path, names)
    record = read_machine(storage_path, name)
    if not options.get("no-check"):
        require_listening(record)
    folder = machine_folder(storage_path, name)
    print("--tlsverify")
    for option, file in (("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem")):
        # docker strips one pair of double quotes (opts.QuotedString); docker-machine prints Go's %q
        print(f"{option}={json.dumps(os.path.join(folder, file), ensure_ascii=False)}")  # noqa: PTH118 - no pathlib here
    print(f"-H={engine_url(record)}")
    return 0
