"""`machinectl config [NAME]`: the docker client's options for a machine; set, get, unset are config_change.py's."""

from __future__ import annotations

import json
import os
import sys

from machinectl.cli.endpoints import engine_url, require_listening
from machinectl.cli.words import help_asked, one_name, split_words
from machinectl.store.records import machine_folder, read_machine

HELP = """usage: machinectl config [--no-check] [NAME]
       machinectl config set [--dry-run] [--ask-become-pass] PATTERN KEY=VALUE|KEY+=VALUE|KEY-=VALUE …
       machinectl config unset [--dry-run] [--ask-become-pass] PATTERN KEY …
       machinectl config get [--output json] NAME [KEY]

Print the options that make the docker client talk to a machine. Without a name: the machine `default`.
An engine that does not answer is an error: `Host is not running`.

set, unset and get are for the daemon's options and proxies of engines that run; `machinectl config set --help` says
how. A machine that is named `set`, `unset` or `get`: `machinectl config -- set`.

options:
  --no-check  don't connect, print what the store says

examples:
  docker $(machinectl config node1) ps
  machinectl config set node1 registry-mirrors+=https://mirror.example.com
  machinectl config set 'web*' max-concurrent-downloads=6 HTTPS_PROXY=http://proxy:3128
  machinectl config get node1
  machinectl config unset 'web*' HTTPS_PROXY
"""

VERBS = ("set", "get", "unset")


def slower(words: list[str]) -> str:
    """The module that these words are for, where it is another one: it takes its time."""
    return "machinectl.cli.config_change" if words[:1] and words[0] in VERBS else ""


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
