"""Questions about files, and small work on them, that need no stream: the verb `files`."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from machinectl_agent.problems import Problem
from machinectl_agent.session import Session

OPS: Dict[str, Callable[[Mapping[str, Any], Session], Dict[str, Any]]] = {}


def run_op(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: op, user (see login.py), and what the op takes."""
    from machinectl_agent.files.login import become_user  # noqa: PLC0415 - only here

    op = OPS.get(str(args.get("op")))
    if op is None:
        raise Problem("files-op", f"the agent has no such work on files: {args.get('op')!r}")
    become_user(str(args.get("user", "root")))
    return op(args, session)
