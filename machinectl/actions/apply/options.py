"""What plan and apply are told, beside the inventory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from machinectl.actions.apply.targets import Target
from machinectl.actions.fleet import PARALLEL
from machinectl.actions.once import Once
from machinectl.actions.report import Report
from machinectl.errors import UsageError
from machinectl.remote.become import Become


@dataclass(frozen=True)
class ApplyOptions:
    """One run's."""

    become: Become = field(default_factory=Become)
    report: Callable[[str], Report] = Report
    """A machine's name → where its progress goes."""
    parallel: int = PARALLEL
    """Machines at once."""
    serial: str = "1"
    """Machines whose engines restart at once: a number, or a share of those (`25%`)."""
    max_fail: int | None = None
    """More failures than that, and no further machine is begun; None: all get their turn."""
    prune: bool = False
    replace_host_key: bool = False
    take_over: bool = False
    once: Once | None = None

    def become_for(self, target: Target) -> Become:
        """As the inventory says, with the password that was asked for."""
        return dataclasses.replace(self.become, mode=target.become)


def batch_size(serial: str, count: int) -> int:
    """`serial` as a number of machines, at least one. Raises `UsageError`."""
    digits = serial.removesuffix("%")
    if not digits.isdigit() or int(digits) == 0:
        raise UsageError(
            f"--serial {serial}: a number of machines or a share of them is wanted",
            hint="--serial 2, --serial 25%",
        )
    return max(1, count * int(digits) // 100 if serial.endswith("%") else int(digits))
