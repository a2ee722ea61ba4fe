"""`machinectl completion SHELL`: a script that completes commands, flags, files and machines' names.

The script is made by shtab out of the commands' own parsers and needs no Python when TAB is pressed: 6 ms in bash, 15
in fish. argcomplete would start us each time, 60 ms and more, as the module of the command has to be loaded. Names
are read from the store's folder by the shell itself.
"""

from __future__ import annotations

import argparse
import importlib
import re

EXAMPLES = """examples:
  machinectl completion bash > ~/.local/share/bash-completion/completions/machinectl
  machinectl completion zsh > ~/.zsh/completions/_machinectl     # a folder of your $fpath
  machinectl completion fish > ~/.config/fish/completions/machinectl.fish

Make it again after an upgrade. `eval "$(machinectl completion bash)"` in ~/.bashrc does it, too, but costs 0.2 s at
each start; `machinectl shell-init` loads it when it is needed first.
"""

NAMES_OF_OTHERS = (
    "create",
    "dns lookup",
    "lab reboot",
    "lab down",
    "lab ssh",
    "network create",
    "network doctor",
    "network inspect",
    "network migrate",
    "network rm",
)
"""Commands whose NAME is that of a network, of a lab's host, or new."""

FILES = ("FILE", "PATH", "DIR|TAR")
FOLDERS = ("DIR", "MOUNTPOINT")
MACHINES = ("MACHINE", "MACHINE[:PORT]", "PATTERN", "PATTERN… -- COMMAND", "[[USER@]NAME:]PATH")

CHOICES = {
    "env --shell": ("bash", "sh", "zsh", "fish", "tcsh", "cmd", "powershell", "emacs"),
    "create --os": ("debian", "redhat", "suse", "arch"),
}

NAMES = {"bash": "_machinectl_names", "zsh": "_machinectl_names", "fish": "(_machinectl_names)"}

PREAMBLE = {
    "bash": r"""
_machinectl_names() {
  local store="${MACHINECTL_STORAGE_PATH:-${MACHINE_STORAGE_PATH:-$HOME/.machinectl}}" index path
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "${COMP_WORDS[index]}" in
      -s|--storage-path) store="${COMP_WORDS[index + 1]}" ;;
    esac
  done
  shopt -u failglob
  for path in "${store/#\~/$HOME}/machines/$1"*/config.json; do
    [[ -e $path ]] || continue
    path="${path%/config.json}"
    printf '%s\n' "${path##*/}"
  done
}
""",
    "zsh": r"""
_machinectl_names() {
  local store="${MACHINECTL_STORAGE_PATH:-${MACHINE_STORAGE_PATH:-$HOME/.machinectl}}"
  local -a typed=("${(@Q)${(z)LBUFFER}}")
  local index=$typed[(I)(-s|--storage-path)]
  (( index )) && store="${typed[index + 1]/#\~/$HOME}"
  local -a names=("$store"/machines/*/config.json(N:h:t))
  compadd -a names
}
""",
    "fish": r"""
function _machinectl_names
  set -l store ~/.machinectl
  set -q MACHINE_STORAGE_PATH; and test -n "$MACHINE_STORAGE_PATH"; and set store $MACHINE_STORAGE_PATH
  set -q MACHINECTL_STORAGE_PATH; and test -n "$MACHINECTL_STORAGE_PATH"; and set store $MACHINECTL_STORAGE_PATH
  set -l typed (commandline -opc)
  for flag in -s --storage-path
    set -l index (contains -i -- $flag $typed); and set store (string replace -r '^~' ~ -- $typed[(math $index + 1)])
  end
  for path in $store/machines/*/config.json
    string replace -r '.*/([^/]+)/config.json$' '$1' -- $path
  end
end
""",
}

ALSO = {
    "bash": "complete -o bashdefault -F _shtab_machinectl mctl\n",
    "zsh": "[[ $zsh_eval_context[-1] == eval ]] && compdef _shtab_machinectl -N mctl\n",
    "fish": "complete -c mctl -e\ncomplete -c mctl -w machinectl\n",
}
"""The short name has the same completions."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=tuple(NAMES), help="for which shell")


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    print(script(args.shell), end="")
    return 0


def script(shell: str) -> str:
    """What the shell sources."""
    import shtab  # noqa: PLC0415 - the other commands do without

    parser = command_tree(shell)
    text: str = shtab.complete(parser, shell, preamble=PREAMBLE[shell])
    if shell == "bash":
        # functions of shtab's that have no prefix are every shtab script's, whatever its version
        text = re.sub(r"\b_set_(parser_defaults|new_action)\b", r"_machinectl_\1", text)
    elif shell == "zsh":
        # any number of names: shtab says `(*)::`, which _arguments takes for one
        text = re.sub(r'^  "\(\*\)::?', '  "*:', text, flags=re.MULTILINE)
    return f"{text.rstrip()}\n{ALSO[shell]}"


def command_tree(shell: str) -> argparse.ArgumentParser:
    """All commands in one parser, each argument knowing what completes it (`complete`, shtab's attribute)."""
    from machinectl.cli.main import COMMANDS  # noqa: PLC0415 - it imports us

    root = argparse.ArgumentParser(prog="machinectl", allow_abbrev=False)
    root.add_argument("-s", "--storage-path", metavar="DIR", help="where machines and certificates are kept")
    root.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    root.add_argument("-D", "--debug", action="store_true", help="a traceback with every error")
    root.add_argument("-v", "--version", action="store_true", help="print the version")
    commands = root.add_subparsers()
    for name, module_name, summary, fast in COMMANDS:
        module = importlib.import_module(module_name)
        parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if fast:
            _read_help(parser, module.HELP)
        else:
            module.configure(parser)
    _mark(root, "", shell)
    return root


def _read_help(parser: argparse.ArgumentParser, text: str) -> None:
    """The options and names of a fast command, which has no parser: its help is the only list of them."""
    for flags, value, description in re.findall(
        r"^  ((?:-\w, )?--[\w-]+|-\w)(?: ([A-Z]+))?  +(.*)$", text, re.MULTILINE
    ):
        spellings = flags.split(", ")
        if value:
            parser.add_argument(*spellings, metavar=value, help=description.replace("%", "%%"))
        else:
            parser.add_argument(*spellings, action="store_true", help=description.replace("%", "%%"))
    usage = text.partition("\n\n")[0]
    if "[NAME" in usage:
        parser.add_argument("names", metavar="NAME", nargs="*" if "[NAME…]" in usage else "?")


def _mark(parser: argparse.ArgumentParser, path: str, shell: str) -> None:
    import shtab  # noqa: PLC0415 - see script

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                _mark(verb, f"{path} {name}".strip(), shell)
            continue
        flag = f"{path} {action.option_strings[-1]}" if action.option_strings else ""
        kind = action.metavar or action.dest.upper().removesuffix("S")
        if flag in CHOICES:
            action.choices = CHOICES[flag]
        elif action.nargs == 0 or action.choices:
            continue
        elif kind in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab's own attribute
        elif kind in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif kind in MACHINES or (kind == "NAME" and not flag and path not in NAMES_OF_OTHERS):
            action.complete = {shell: NAMES[shell]}  # type: ignore[attr-defined]
