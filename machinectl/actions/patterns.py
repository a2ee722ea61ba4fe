"""Which machines are meant: host patterns as in Ansible, over the names in the store. Pure.

`web1`, `web*`, `[ab]1`, `~web\\d+`, `all`; several by `,` or `:`; `!x` takes away, `&x` keeps what is in both. The
order of the words does not matter: first all that is named, then what is in every `&`, then less every `!`.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Sequence

from machinectl.errors import MachineNotFound, UsageError
from machinectl.inventory.patterns import combine, split_pattern

_ALL = ("all", "*")


def choose_names(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The chosen ones of `names`, in their order.

    Raises MachineNotFound for a word that matches no name (a mistyped `!x` would otherwise choose too much) and
    where nothing is left, UsageError for a regular expression that is none, or no word at all.
    """
    if not any(split_pattern(one) for one in patterns):
        # a variable of a script's that is empty must not mean every machine
        raise UsageError("no machine is named", hint="`all` means every machine")
    chosen = combine(patterns, lambda word: _match(word, names))
    if not chosen:
        raise MachineNotFound(
            f"no machine is left of {' '.join(patterns)!r}" if names else "there are no machines yet",
            hint="machinectl ls -q lists their names" if names else "machinectl create --ip ADDRESS NAME",
        )
    return [name for name in names if name in chosen]


def _match(word: str, names: Sequence[str]) -> set[str]:
    if word in _ALL:
        return set(names)
    if word.startswith("~"):
        try:
            expression = re.compile(word[1:])
        except re.error as error:
            raise UsageError(f"{word}: no regular expression", why=str(error)) from error
        found = {name for name in names if expression.match(name)}
    else:
        found = {name for name in names if fnmatch.fnmatchcase(name, word)}
    if not found:
        raise _nothing(word, names)
    return found


def _nothing(word: str, names: Sequence[str]) -> MachineNotFound:
    near = difflib.get_close_matches(word, names, 1, 0.6)
    if any(sign in word for sign in "*?[~"):
        return MachineNotFound(
            f"no machine's name matches {word!r}", hint="machinectl ls -q lists their names"
        )
    return MachineNotFound(
        f'Docker machine "{word}" does not exist. Use "machinectl ls" to list machines.',
        hint=f"did you mean {near[0]!r}?" if near else "",
    )
