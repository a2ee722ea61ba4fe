"""What a carry can move: who writes the stream on one machine, and who reads it on the other.

A producer writes to `sink`, a consumer reads from `source`; `session.log(text)` and `session.emit(event)` tell the
controller. Both give their result, or raise `Problem`. `source` ends (`read` gives b"") only when the producer
ended well, and raises `stream-broken` otherwise: after the end a consumer may rename into place.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Callable, Dict, Mapping

from machinectl_agent.conversation import Session

End = Callable[[Mapping[str, Any], BinaryIO, Session], Dict[str, Any]]


def _send_changes(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.changes import produce_changes  # noqa: PLC0415 - the others need none of it

    return produce_changes(args, sink, session)


def _receive_changes(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.sync.changes import consume_changes  # noqa: PLC0415 - the others need none of it

    return consume_changes(args, source, session)


def _send_images(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.images.ends import produce  # noqa: PLC0415 - the others need none of it

    return produce(args, sink, session)


def _load_images(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.images.ends import consume  # noqa: PLC0415 - the others need none of it

    return consume(args, source, session)


def _send_tree(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.tree.producer import produce_tree  # noqa: PLC0415 - the others need none of it

    return produce_tree(args, sink, session)


def _receive_tree(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.files.tree.consumer import consume_tree  # noqa: PLC0415 - the others need none of it

    return consume_tree(args, source, session)


def _send_volume(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.volumes.ends import produce  # noqa: PLC0415 - the others need none of it

    return produce(args, sink, session)


def _receive_volume(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    from machinectl_agent.volumes.ends import consume  # noqa: PLC0415 - the others need none of it

    return consume(args, source, session)


def _remove_volume(args: Mapping[str, Any], session: Session) -> Dict[str, Any]:
    from machinectl_agent.volumes.ops import volumes  # noqa: PLC0415 - the others need none of it

    return volumes(session, {**args, "op": "rm"})


PRODUCERS: Dict[str, End] = {
    "changes": _send_changes,
    "image": _send_images,
    "tree": _send_tree,
    "volume": _send_volume,
}
CONSUMERS: Dict[str, End] = {
    "changes": _receive_changes,
    "image": _load_images,
    "tree": _receive_tree,
    "volume": _receive_volume,
}
AFTERWARDS: Dict[str, Callable[[Mapping[str, Any], Session], Dict[str, Any]]] = {"volume": _remove_volume}
"""What the producer's machine may be told to do once the consumer has all of it."""
