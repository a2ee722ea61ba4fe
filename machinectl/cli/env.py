"""`machinectl env [NAME]`: what a shell evaluates to point the docker client at a machine."""

from __future__ import annotations

import os
import sys

from machinectl.cli import shells
from machinectl.cli.endpoints import engine_url, require_listening, ssh_url
from machinectl.cli.words import help_asked, one_name, split_words
from machinectl.errors import MachinectlError
from machinectl.store.records import machine_folder, read_machine

TYPE_CHECKING = False  # see records.py
if TYPE_CHECKING:
    from typing import Any

HELP = """usage: machinectl env [OPTION…] [NAME]
       machinectl env -u [OPTION…]

Print the commands that point the docker client at a machine. Without a name: the machine `default`.
An engine that does not answer is an error: `Host is not running`.

options:
  --shell SHELL  bash, sh, zsh, fish, tcsh, cmd, powershell or emacs (default: as $SHELL says)
  -u, --unset    print the commands that undo it
  --no-proxy     add the machine's address to NO_PROXY
  --ssh          go through SSH (DOCKER_HOST=ssh://…): needs no certificate and no open port; the docker
                 client runs ssh itself, with ~/.ssh/config
  --no-check     don't connect, print what the store says

examples:
  eval "$(machinectl env node1)"
  machinectl env --shell fish node1 | source
  eval "$(machinectl env -u)"
"""

VARIABLES = ("DOCKER_TLS_VERIFY", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_MACHINE_NAME")

SWITCHES = {
    "-u": "unset",
    "--unset": "unset",
    "--no-proxy": "no-proxy",
    "--ssh": "ssh",
    "--no-check": "no-check",
}


def main(words: list[str], storage_path: str) -> int:
    """The fast path's entrance."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    options, names = split_words(words, SWITCHES, {"--shell": "shell"})
    shell = options.get("shell") or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - no pathlib here
    if options.get("unset"):
        if names:
            raise MachinectlError(
                "Error: Expected no machine name when the -u flag is present", problem="usage"
            )
        removed = [*VARIABLES, _no_proxy()[0]] if options.get("no-proxy") else list(VARIABLES)
        lines = [shells.unset_line(shell, one) for one in removed]
    else:
        name = one_name(storage_path, names)
        record = read_machine(storage_path, name)
        if options.get("ssh"):
            lines = _through_ssh(shell, record)
        else:
            if not options.get("no-check"):
                require_listening(record)
            values = ("1", engine_url(record), machine_folder(storage_path, name), name)
            lines = [shells.set_line(shell, *pair) for pair in zip(VARIABLES, values, strict=True)]
        if options.get("no-proxy"):
            lines.append(_no_proxy_line(shell, record["ip"], joined=bool(options.get("ssh"))))
    # as bytes: a path need not be text in the locale's encoding
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode("".join(lines) + shells.usage_hint(shell, sys.argv)))
    return 0


def _through_ssh(shell: str, record: dict[str, Any]) -> list[str]:
    """TLS variables of an earlier `env` are removed: with DOCKER_TLS_VERIFY set, docker refuses ssh://."""
    if record["ssh"].get("key") and sys.stderr.isatty():
        print(
            f"note: the docker client runs ssh without the key that was given to create; "
            f"name it in ~/.ssh/config (IdentityFile {record['ssh']['key']})",
            file=sys.stderr,
        )
    return [
        shells.unset_line(shell, "DOCKER_TLS_VERIFY", joined=True),
        shells.unset_line(shell, "DOCKER_CERT_PATH", joined=True),
        shells.set_line(shell, "DOCKER_HOST", ssh_url(record), joined=True),
        shells.set_line(shell, "DOCKER_MACHINE_NAME", record["name"], joined=True),
    ]


def _no_proxy() -> tuple[str, str]:
    """The variable in use and its value; curl and others read the lower-case one first."""
    lower = os.environ.get("no_proxy", "")
    return ("no_proxy", lower) if lower else ("NO_PROXY", os.environ.get("NO_PROXY", ""))


def _no_proxy_line(shell: str, ip: str, *, joined: bool) -> str:
    variable, value = _no_proxy()
    present = [one.strip() for one in value.split(",") if one.strip()]
    if ip not in present:
        value = f"{value},{ip}" if value else ip
    return shells.set_line(shell, variable, value, joined=joined)
