"""What a carry can move: who writes the stream on one machine, and who reads it on the other.

A producer writes to `sink`, a consumer reads from `source`; `session.log(text)` and `session.emit(event)` tell the
controller. Both give their result, or raise `Problem`. `source` ends (`read` gives b"") only when the producer
ended well, and raises `stream-broken` otherwise: after the end a consumer may rename into place.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Callable, Dict, Mapping

from machinectl_agent.session import Session

End = Callable[[Mapping[str, Any], BinaryIO, Session], Dict[str, Any]]

PRODUCERS: Dict[str, End] = {}
CONSUMERS: Dict[str, End] = {}
