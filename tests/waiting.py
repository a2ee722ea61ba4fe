"""Tests wait for conditions, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[..., Any], deadline: float = 60.0, pause: float = 0.05) -> Any:
    """The condition's first true answer. `deadline` and `pause` in seconds.

    Raises:
        AssertionError: it was true at no time before the deadline, which says nothing of how long it should take:
            the machine may be busy.
    """
    end = time.monotonic() + deadline
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {condition}"
        time.sleep(pause)
