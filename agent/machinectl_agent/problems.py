"""What the agent raises: a problem code that is the same on the wire, and words for a person."""

from __future__ import annotations

from typing import Any, Dict

from machinectl_agent import wire


class Problem(Exception):
    """`code` is stable (`engine-start-failed`); `what`, `why`, `hint` are for people and hold no secret."""

    def __init__(self, code: str, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.hint = hint

    def to_message(self) -> Dict[str, Any]:
        """The `error` event that closes the conversation."""
        return wire.error(self.code, self.what, self.why, self.hint)
