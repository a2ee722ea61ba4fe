"""Progress of many machines at once: live on a terminal, plain lines elsewhere, nothing with -q.

On a terminal every machine that is at work has a line that says what it does now; what is over scrolls away
above.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from machinectl.actions.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

    Reporter = Callable[[str], Report]


@contextmanager
def live_reports(names: list[str], *, title: str, quiet: bool, lines: bool = True) -> Iterator[Reporter]:
    """A function: machine's name → where its progress goes. `lines`: plain lines where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        silent = quiet or not lines
        yield lambda name: Report(name, quiet=silent)
        return
    with _progress() as progress:
        rows: dict[str, LiveReport] = {}
        whole = Whole(progress, title, len(names))

        def report(name: str) -> Report:
            return rows.setdefault(name, LiveReport(name, progress, whole))

        yield report


class Whole:
    """The line that counts the machines whose turn is over."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._total = total
        self._over: set[str] = set()
        self._row = progress.add_task(title, total=total, now=f"0 of {total}")

    def add(self, machine: str) -> None:
        self._over.add(machine)
        now = f"{len(self._over)} of {self._total}"
        self._progress.update(self._row, completed=len(self._over), now=now)


class LiveReport(Report):
    """One machine's line, there for as long as it is at work."""

    def __init__(self, machine: str, progress: Progress, whole: Whole) -> None:
        super().__init__(machine)
        self._progress = progress
        self._whole = whole
        self._row: Any = None

    def line(self, text: str) -> None:
        first = text.splitlines()[0] if text else ""
        safe = "".join(sign if sign.isprintable() else "?" for sign in first)
        if self._row is None:
            self._row = self._progress.add_task(self.machine, total=None, now=safe)
        self._progress.update(self._row, now=safe)

    def now(self, text: str) -> None:
        self.line(text)

    def warn(self, text: str) -> None:
        safe = "".join(sign if sign.isprintable() else "?" for sign in text)
        self._progress.console.print(
            f"{self.machine}: warning: {safe}", markup=False, highlight=False, soft_wrap=True
        )

    def finished(self) -> None:
        if self._row is not None:
            self._progress.remove_task(self._row)
            self._row = None
        self._whole.add(self.machine)


def _progress() -> Progress:
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
