"""Messages between controller and agent: one JSON object per line, both ways, over SSH's stdin and stdout.

The controller writes one `Request`. The agent answers with `hello` and then any number of events; `done` or
`error` is the last. The only time that the controller speaks again is to answer a `need` event.

    controller                                  agent
    {"wire":1,"verb":"apply","args":{…}}   →
                                           ←    {"event":"hello","wire":1,"bundle":"3f…","version":"0.1.0"}
                                           ←    {"event":"facts","facts":{…}}
                                           ←    {"event":"plan","steps":[…]}
                                           ←    {"event":"need","files":[{"name":…,"sha256":…,"path":…}]}
    {"reply":"need"}                       →    (the files are in place; sent only if asked)
                                           ←    {"event":"log","text":…}      progress for people, any time
                                           ←    {"event":"warning","text":…}  what people must not overlook
                                           ←    {"event":"alive"}             every 10 s: silence is a fault
                                           ←    {"event":"step","id":…,"state":"started"}
                                           ←    {"event":"step","id":…,"state":"done","seconds":1.2}
                                           ←    {"event":"done","result":{…}}
                                           or   {"event":"error","problem":…,"what":…,"why":…,"hint":…}

Secrets (the server's private key) travel in `args` only; no event ever carries one.
Nothing is imported here but json and typing: both sides load this on their fast paths.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping

WIRE = 1
"""Version of these messages. Both sides refuse another one and name both numbers."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes; a longer line is a broken or hostile peer."""

Message = Dict[str, Any]


class WireError(ValueError):
    """A line that is no message of ours: not JSON, not an object, too long, or of another wire version."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line, newline at the end; non-ASCII is escaped so that any locale passes it on."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Raises `WireError` with the first characters of what came instead."""
    if len(line) > MAX_LINE:
        raise WireError(f"a message of {len(line)} bytes, more than {MAX_LINE}")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a message: {line[:120]!r}") from error
    if not isinstance(message, dict):
        raise WireError(f"not a message: {line[:120]!r}")
    return message


def request(verb: str, args: Mapping[str, Any]) -> Message:
    """The controller's opening line; `verb` is one of the agent's commands (apply, facts, status, …)."""
    return {"wire": WIRE, "verb": verb, "args": dict(args)}


def hello(bundle: str, version: str) -> Message:
    """The agent's opening line; `bundle` is the content hash of the tree that it runs from."""
    return {"event": "hello", "wire": WIRE, "bundle": bundle, "version": version}


def error(problem: str, what: str, why: str = "", hint: str = "") -> Message:
    """The closing line of a failure. `problem` is a code like `engine-start-failed`, stable over versions."""
    return {"event": "error", "problem": problem, "what": what, "why": why, "hint": hint}


def done(result: Mapping[str, Any]) -> Message:
    """The closing line of a success."""
    return {"event": "done", "result": dict(result)}


def check_version(message: Mapping[str, Any], mine: int = WIRE) -> None:
    """Raises `WireError` where the peer speaks another version of these messages."""
    theirs = message.get("wire")
    if theirs != mine:
        raise WireError(f"the other side speaks wire version {theirs}, this side {mine}")
