"""What a word of sync's command line means: a path here, or a path on the machines of a pattern. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.patterns import choose_names
from machinectl.errors import UsageError


@dataclass(frozen=True)
class Place:
    """`pattern` empty: here. `user`: whose rights and home count; empty: root's."""

    path: str
    pattern: str = ""
    user: str = ""

    @property
    def here(self) -> bool:
        return not self.pattern


@dataclass(frozen=True)
class Route:
    """Sources and the target; machines on one side of it, or on both."""

    sources: tuple[str, ...]
    source: str
    """The machine that they are on; empty: here."""
    target: str
    machines: tuple[str, ...]
    """Those that have the target; none: here."""
    user: str = ""


def parse_place(text: str) -> Place:
    """`/a`, `./a:b`, `web1:/a`, `web*:!web3:/a`, `ops@web1:a`. Raises UsageError.

    The path begins behind the first colon that a `/`, `~` or `.` follows, else behind the first one of all that
    is in no bracket.
    """
    if ":" not in text.partition("/")[0]:
        return Place(text)
    colons = [at for at, sign in enumerate(text) if sign == ":" and not _in_brackets(text[:at])]
    if not colons or colons[0] == 0:
        raise UsageError(f"{text}: no machine is named", hint="PATTERN:PATH, or ./PATH for one here")
    split = next((at for at in colons if text[at + 1 : at + 2] in ("/", "~", ".")), colons[0])
    user, at, pattern = text[:split].rpartition("@")
    if at and not (user and pattern):
        raise UsageError(f"{text}: no user or no machine is named", hint="USER@PATTERN:PATH")
    return Place(text[split + 1 :], pattern, user)


def _in_brackets(text: str) -> bool:
    return text.count("[") > text.count("]")


def plan_route(words: Sequence[str], names: Sequence[str]) -> Route:
    """SRC… and a target, over the machines' names. Raises UsageError and MachineNotFound."""
    if len(words) < 2:
        raise UsageError("a target is missing", hint="machinectl sync SRC… PATTERN:PATH")
    *sources, target = (parse_place(one) for one in words)
    patterns = {one.pattern for one in sources}
    if len(patterns) > 1:
        raise UsageError("all sources must be here, or on the same machine")
    if len({one.user for one in sources if not one.here} | {target.user} - {""}) > 1:
        raise UsageError("one user can be named, for both sides")
    user = target.user or sources[0].user
    source = ""
    if not sources[0].here:
        found = choose_names([sources[0].pattern], names)
        if len(found) > 1:
            raise UsageError(
                f"{sources[0].pattern} names {len(found)} machines", hint="a sync has one source: name one"
            )
        source = found[0]
    machines = () if target.here else tuple(choose_names([target.pattern], names))
    if not source and not machines:
        raise UsageError("no machine is named", hint="machinectl sync SRC… PATTERN:PATH")
    if not all(one.path for one in sources) and not source:
        raise UsageError("a source is empty")
    return Route(tuple(one.path for one in sources), source, target.path, machines, user)


def home_path(path: str) -> str:
    """On a machine: relative paths begin in the user's home, and so does `~/`."""
    return "./" if path in ("", "~") else path.removeprefix("~/") or "./"
