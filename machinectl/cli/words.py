"""Command lines of the fast commands: what argparse does, for a handful of options, in no time.

Imports nothing but errors; see records.py for why.
"""

from __future__ import annotations

from machinectl.errors import MachinectlError, UsageError
from machinectl.store.records import list_names


def split_words(
    words: list[str],
    switches: dict[str, str],
    valued: dict[str, str],
    *,
    stop_at_first: bool = False,
) -> tuple[dict[str, str], list[str]]:
    """Options by their keys (a switch has the value "1") and the other words.

    `switches` and `valued` map spellings to keys. Understood: `-x`, `-xVALUE`, `-x VALUE`, `--long VALUE`,
    `--long=VALUE`, `--` for the end of options. `stop_at_first`: all from the first other word on is left
    as it is. Raises UsageError for an unknown option or a missing value.
    """
    options: dict[str, str] = {}
    others: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--" and not stop_at_first:
            return options, others + left
        if not word.startswith("-") or word == "-":
            if stop_at_first:
                return options, [word, *left]
            others.append(word)
            continue
        spelling, equals, value = word.partition("=")
        if not word.startswith("--"):
            spelling, value = word[:2], word[2:].removeprefix("=")
            equals = value
        if spelling in switches and not equals:
            options[switches[spelling]] = "1"
        elif spelling in valued:
            if not equals:
                if not left:
                    raise UsageError(f"option {spelling} wants a value")
                value = left.pop(0)
            options[valued[spelling]] = value
        else:
            raise UsageError(f"unknown option {word}")
    return options, others


def seconds(text: str, default: float) -> float:
    """A -t/--timeout value. Raises UsageError."""
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 < number < 86400:
        raise UsageError(f"--timeout {text}: a number of seconds is wanted")
    return number


def default_name(store: str) -> str:
    """The machine that a command means where it gets no name. Raises where there is none of that name."""
    if "default" in list_names(store):
        return "default"
    raise MachinectlError('Error: No machine name(s) specified and no "default" machine exists')


def names_or_default(store: str, words: list[str]) -> list[str]:
    """The machines that a command with NAME… means."""
    return words or [default_name(store)]


def one_name(store: str, words: list[str]) -> str:
    """The machine that a command with [NAME] means."""
    if len(words) > 1:
        raise UsageError("Error: Expected one machine name as an argument")
    return names_or_default(store, words)[0]


def help_asked(words: list[str]) -> bool:
    """Whether -h or --help is among the options."""
    until = words.index("--") if "--" in words else len(words)
    return any(word in ("-h", "--help") for word in words[:until])
