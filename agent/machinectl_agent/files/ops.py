"""Questions about files, and small work on them, that need no stream: the verb `files`."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from machinectl_agent.conversation import Session
from machinectl_agent.problems import Problem


def _list(args: Mapping[str, Any], session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.listing import list_entries  # noqa: PLC0415 - the others need none of it

    return list_entries(args, session)


def _digest(args: Mapping[str, Any], session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.listing import list_digests  # noqa: PLC0415 - the others need none of it

    return list_digests(args, session)


def _prepare(args: Mapping[str, Any], session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.settle import prepare  # noqa: PLC0415 - the others need none of it

    return prepare(args, session)


def _settle(args: Mapping[str, Any], session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.settle import settle  # noqa: PLC0415 - the others need none of it

    return settle(args, session)


def _partial(args: Mapping[str, Any], _session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.tree.partial import list_partial  # noqa: PLC0415 - the others need none of it

    return list_partial(args)


OPS: Dict[str, Callable[[Mapping[str, Any], Session], Dict[str, Any]]] = {
    "digests": _digest,
    "listing": _list,
    "partial": _partial,
    "prepare": _prepare,
    "settle": _settle,
}


def run_op(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: op, user (see login.py), and what the op takes."""
    from machinectl_agent.files.login import become_user  # noqa: PLC0415 - only here

    op = OPS.get(str(args.get("op")))
    if op is None:
        raise Problem("files-op", f"the agent has no such work on files: {args.get('op')!r}")
    become_user(str(args.get("user", "root")))
    return op(args, session)
