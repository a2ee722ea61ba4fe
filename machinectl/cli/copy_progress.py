"""A copy's progress on a terminal: the file that is on its way, and all of it, with speed and time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from machinectl.actions.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.progress import Progress

    Reporter = Callable[[str], Report]

_LONGEST = 40
"""Characters of a file's name."""


def wants_bars(*, quiet: bool) -> bool:
    """scp shows its meter only on a terminal, too."""
    return not quiet and sys.stderr.isatty()


@contextmanager
def copy_reports(*, quiet: bool) -> Iterator[Reporter]:
    """A function: destination → where its progress goes. Without a terminal only what one has to know is said."""
    if not wants_bars(quiet=quiet):
        yield lambda name: Report(name, quiet=quiet)
        return
    with make_bars() as progress:
        yield lambda name: CopyReport(name, progress)


class CopyReport(Report):
    """One destination's two lines. Events: `total`, `at` (machinectl_agent.files.tree), `whole` (copy.py)."""

    def __init__(self, machine: str, progress: Progress) -> None:
        super().__init__(machine)
        self._progress = progress
        self._all: Any = progress.add_task(machine, total=None)
        self._file: Any = None
        self._total = self._before = self._done = 0

    def line(self, text: str) -> None:
        for one in text.splitlines():
            safe = "".join(sign if sign.isprintable() else "?" for sign in one)
            self._progress.console.print(f"{self.machine}: {safe}", markup=False, highlight=False)

    def event(self, message: Mapping[str, Any]) -> None:
        kind = message.get("event")
        if kind == "total":
            self._before = self._done
            self._total += int(message["bytes"])
            self._progress.update(self._all, total=self._total)
        elif kind == "at":
            self._at(message)
        elif kind == "whole" and self._total:
            self._progress.update(self._all, completed=self._total)
        else:
            super().event(message)

    def _at(self, message: Mapping[str, Any]) -> None:
        self._done = self._before + int(message["bytes"])
        self._progress.update(self._all, completed=self._done)
        name = shorten(str(message["name"]))
        if self._file is None:
            self._file = self._progress.add_task(name)
        self._progress.update(
            self._file, description=name, total=int(message["size"]), completed=int(message["done"])
        )

    def finished(self) -> None:
        if self._file is not None:
            self._progress.remove_task(self._file)
            self._file = None


def shorten(name: str) -> str:
    """The end of it, which tells files apart."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def make_bars(console: Console | None = None) -> Progress:
    """On stderr, unless told otherwise."""
    from rich import progress as bars  # noqa: PLC0415 - only on a terminal
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    columns: Sequence[Any] = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    return Progress(*columns, console=console or Console(stderr=True))
