"""The same work on many machines at once: threads, every machine's outcome kept, one exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from machinectl.errors import MachinectlError, SomeMachinesFailed

Result = TypeVar("Result")

PARALLEL = 16
"""Machines at once; each is a thread that waits for a host most of the time."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one machine: a result or an error, never both."""

    name: str
    result: Result | None = None
    error: MachinectlError | None = None


def on_each(
    names: Sequence[str], work: Callable[[str], Result], *, parallel: int = PARALLEL
) -> list[Outcome[Result]]:
    """`work(name)` for every name, in the order of `names`. Only `MachinectlError` is an outcome; any other
    exception is a fault of ours and is raised once all have ended."""

    def one(name: str) -> Outcome[Result]:
        try:
            return Outcome(name, result=work(name))
        except MachinectlError as error:
            error.machine = error.machine or name
            return Outcome(name, error=error)

    if len(names) == 1:
        return [one(names[0])]
    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(names)))) as pool:
        return list(pool.map(one, names))


def raise_failures(outcomes: Sequence[Outcome[Result]]) -> None:
    """Nothing where all went well; the error itself where one machine was asked; else `SomeMachinesFailed`
    (exit 3) that names every machine that failed, with its error."""
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if not failed:
        return
    if len(outcomes) == 1:
        raise failed[0]
    raise SomeMachinesFailed(
        f"{len(failed)} of {len(outcomes)} machines failed\n" + "\n".join(str(error) for error in failed)
    )
