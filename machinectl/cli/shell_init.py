"""`machinectl shell-init [SHELL]`: `machinectl use`, a prompt helper and completion, for a shell's start-up file.

A program can't change its shell's variables: `use` has to be a function of the shell, as in docker-machine's
docker-machine-wrapper.bash; `__machinectl_ps1` is its docker-machine-prompt.bash, whose name works, too. Nothing of
it starts a program before it is used. Completion is loaded at the first TAB in bash and zsh; for fish see
`machinectl completion`.
"""

from __future__ import annotations

import os
import sys

from machinectl.cli.words import help_asked, split_words
from machinectl.errors import UsageError

HELP = """usage: machinectl shell-init [SHELL]

Print functions for a shell's start-up file: `machinectl use`, a prompt helper and completion.
SHELL is bash, zsh or fish (default: as $SHELL says).

examples:
  eval "$(machinectl shell-init bash)"       # in ~/.bashrc; zsh: in ~/.zshrc, after compinit
  machinectl shell-init fish | source        # in ~/.config/fish/config.fish

  machinectl use node1                       # eval "$(machinectl env node1)"
  machinectl use -u                          # back to the local engine
  PS1='\\u@\\h:\\w$(__machinectl_ps1)\\$ '       # bash: user@host:~ [node1]$
"""

_FUNCTIONS = """\
_machinectl_use() {
  local program=$1 commands
  shift
  case " $* " in
    *" -h "*|*" --help "*) command "$program" use --help; return ;;
  esac
  commands=$(command "$program" env --shell sh "$@") || return
  eval "$commands"
  case " $* " in
    *" -u "*|*" --unset "*) ;;
    *) echo "Active machine: $DOCKER_MACHINE_NAME" ;;
  esac
}
machinectl() {
  if [ "${1-}" = use ]; then shift; _machinectl_use machinectl "$@"; else command machinectl "$@"; fi
}
mctl() {
  if [ "${1-}" = use ]; then shift; _machinectl_use mctl "$@"; else command mctl "$@"; fi
}
__machinectl_ps1() {
  [ -z "${DOCKER_MACHINE_NAME-}" ] || printf -- "${1- [%s]}" "$DOCKER_MACHINE_NAME"
}
__docker_machine_ps1() { __machinectl_ps1 "$@"; }
"""

_BASH = """\
_machinectl_completion() {
  eval "$(command machinectl completion bash)" && return 124
}
complete -F _machinectl_completion machinectl mctl
"""

_ZSH = """\
_machinectl_completion() {
  unfunction _machinectl_completion
  eval "$(command machinectl completion zsh)"
  _shtab_machinectl "$@"
}
(( $+functions[compdef] )) && compdef _machinectl_completion machinectl mctl
setopt prompt_subst
"""

_FISH = """\
function _machinectl_use
  set -l program $argv[1]
  set -e argv[1]
  if contains -- -h $argv; or contains -- --help $argv
    command $program use --help
    return
  end
  set -l commands (command $program env --shell fish $argv)
  or return
  string join \\n -- $commands | source
  if not contains -- -u $argv; and not contains -- --unset $argv
    echo "Active machine: $DOCKER_MACHINE_NAME"
  end
end
function machinectl
  if test "$argv[1]" = use
    _machinectl_use machinectl $argv[2..-1]
  else
    command machinectl $argv
  end
end
function mctl
  if test "$argv[1]" = use
    _machinectl_use mctl $argv[2..-1]
  else
    command mctl $argv
  end
end
function __machinectl_ps1
  set -l format ' [%s]'
  set -q argv[1]; and set format $argv[1]
  test -z "$DOCKER_MACHINE_NAME"; or printf $format $DOCKER_MACHINE_NAME
end
"""

SCRIPTS = {"bash": _FUNCTIONS + _BASH, "zsh": _FUNCTIONS + _ZSH, "fish": _FISH}


def main(words: list[str], _storage_path: str) -> int:
    """The fast path's entrance: it runs at each start of a shell."""
    if help_asked(words):
        sys.stdout.write(HELP)
        return 0
    _, shells = split_words(words, {}, {})
    shell = shells[0] if shells else os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - no pathlib here
    if len(shells) > 1 or shell not in SCRIPTS:
        raise UsageError(
            f"there are no functions for the shell {shell!r}" if len(shells) < 2 else "one shell is wanted",
            hint=f"there are {', '.join(SCRIPTS)}",
        )
    sys.stdout.write(SCRIPTS[shell])
    return 0
