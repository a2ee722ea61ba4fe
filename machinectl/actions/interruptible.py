"""Work on many machines that a person may end at any moment: Ctrl-C takes effect at once, whatever a host does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from machinectl.actions.fleet import PARALLEL, Outcome, Result
from machinectl.errors import MachinectlError


def on_each_until_interrupted(
    names: Sequence[str],
    work: Callable[[str], Result],
    *,
    stop: Callable[[], None],
    parallel: int = PARALLEL,
) -> list[Outcome[Result]]:
    """As `fleet.on_each`. On KeyboardInterrupt no further machine begins, `stop` is called, and the interrupt is
    raised without waiting for those that are at work."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome[Result] | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()
    for name in names:
        waiting.put(name)

    def run() -> None:
        while not stopped.is_set():
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(Outcome(name, result=work(name)))
            except MachinectlError as error:
                error.machine = error.machine or name
                done.put(Outcome(name, error=error))
            except BaseException as fault:  # raised below, in the thread that asked
                done.put(fault)

    # daemons: the interpreter's end does not wait for a host that does not answer
    for _ in range(min(max(1, parallel), len(names))):
        threading.Thread(target=run, daemon=True).start()
    outcomes = {}
    try:
        for _ in names:
            one = done.get()
            if isinstance(one, BaseException):
                raise one  # noqa: TRY301 - the handler below is for this one, too
            outcomes[one.name] = one
    except BaseException:
        stopped.set()
        stop()
        raise
    return [outcomes[name] for name in names]
