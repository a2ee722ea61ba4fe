"""One line of output for each of several machines; one that fails hides no other. Light, see records.py."""

from __future__ import annotations

import sys

from machinectl.errors import MachinectlError, SomeMachinesFailed

TYPE_CHECKING = False  # see records.py
if TYPE_CHECKING:
    from collections.abc import Callable


def each_machine(names: list[str], line: Callable[[str], str]) -> int:
    """Prints `line(name)` for each name, in order.

    The error of a single machine is raised as it is. Of several: each is printed, then SomeMachinesFailed is
    raised (exit status 3).
    """
    failed: list[str] = []
    for name in names:
        try:
            print(line(name))
        except MachinectlError as error:
            if len(names) == 1:
                raise
            failed.append(name)
            sys.stdout.flush()
            print(f"error: {error}", file=sys.stderr)
    if failed:
        raise SomeMachinesFailed(f"{len(failed)} of {len(names)} machines failed: {', '.join(failed)}")
    return 0
