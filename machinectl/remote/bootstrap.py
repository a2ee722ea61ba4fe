"""From an SSH session to a running agent in one round trip, two at the first contact.

One shell script goes to the host as a command and the request right behind it. Where the bundle is there
already, the script becomes the agent, which reads the request. Where it is not, the script asks for the
archive and gets it with the request once more. A host without Python gets its distribution's own first.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import secrets
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from machinectl.errors import AgentFailed
from machinectl.remote.bundle import Bundle
from machinectl.remote.channel import Channel, InputClosed
from machinectl.remote.connection import Connection
from machinectl.remote.deadline import Deadline
from machinectl_agent import wire

ROOT = "/opt/machinectl/agent"
"""Folder on the host; a bundle is ROOT/HASH, `current` and `previous` are links."""

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a non-login shell's PATH may lack."""

SOCKET = "/run/machinectl/agent.sock"
"""Of the agent's daemon on the host, which answers what needs no agent of its own."""

INSTALL_LIMIT = 300
"""Seconds for one run of the host's package manager."""

_HELLO_LIMIT = 30.0
_TAIL = 20

OnEvent = Callable[[Mapping[str, Any]], None]


def render_bootstrap(
    bundle: Bundle,
    verb: str,
    token: str,
    *,
    root: str = ROOT,
    search: str = SEARCH,
    limit: int = INSTALL_LIMIT,
    socket: str = SOCKET,
) -> str:
    """Pure: the script with its values in front."""
    values = {
        "root": root,
        "hash": bundle.hash,
        "token": token,
        "verb": verb,
        "receiver": _text("receive_bundle.py"),
        "limit": str(limit),
        "search": search,
        "socket": socket,
    }
    assignments = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*assignments, _text("bootstrap.sh")])


def agent_command(verb: str, *, tree: str = "current", root: str = ROOT) -> str:
    """Pure: the command for an agent that is there already, `dial-stdio` for one. `tree` may be a hash."""
    folder = shlex.quote(f"{root}/{tree}")
    script = f'read -r python < {folder}/interpreter && exec "$python" -IS {folder} {shlex.quote(verb)}'
    return f"exec sh -c {shlex.quote(script)}"


def render_archive(bundle: Bundle) -> bytes:
    """Pure: the archive behind the header that receive_bundle.py reads."""
    return (
        f"{len(bundle.archive):20} {hashlib.sha256(bundle.archive).hexdigest()}\n".encode() + bundle.archive
    )


def start_agent(
    connection: Connection,
    bundle: Bundle,
    request: Mapping[str, Any],
    *,
    on_event: OnEvent,
    deadline: Deadline,
    root: str = ROOT,
    search: str = SEARCH,
) -> Channel:
    """The agent with its request sent, its first line not yet read.

    `on_event` gets `{"event": "log", "source": "bootstrap", "text": …}` for what the host's package manager
    says. Raises `AgentFailed` with the problems `python-install-failed`, `disk-full`, `install-failed`,
    `bootstrap-failed`, and what `Connection.start` raises.
    """
    token = secrets.token_hex(8)
    script = render_bootstrap(bundle, str(request["verb"]), token, root=root, search=search)
    line = wire.encode(request)
    channel = connection.start(f"exec sh -c {shlex.quote(script)}", timeout=deadline.left())
    try:
        _send(channel, line, deadline)
        _negotiate(channel, f"machinectl {token} ", bundle, line, on_event, deadline, connection.machine)
    except BaseException:
        channel.close()
        raise
    return channel


def _send(channel: Channel, content: bytes, deadline: Deadline) -> None:
    with contextlib.suppress(InputClosed):  # what it says at its end tells why
        channel.write(content, deadline.left())


def _negotiate(
    channel: Channel,
    prefix: str,
    bundle: Bundle,
    request: bytes,
    on_event: OnEvent,
    deadline: Deadline,
    machine: str,
) -> None:
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
    greeted = False
    while True:
        wait = deadline.left() if greeted else min(deadline.left(), _HELLO_LIMIT)
        raw = channel.read_line(wait)
        text = raw.decode(errors="replace").rstrip("\r\n")
        # The login's own output may lack a newline at its end, so the greeting need not start a line.
        start = text.find(prefix) if not greeted else (0 if text.startswith(prefix) else -1)
        if not raw:
            raise _ended_early(channel, tail, machine, greeted=greeted)
        if start < 0:
            _other_line(text, tail, on_event, machine, greeted=greeted)
            continue
        greeted = True
        word, _, rest = text[start + len(prefix) :].partition(" ")
        if word == "run":
            return
        if word == "need-bundle":
            _send(channel, render_archive(bundle) + request, deadline)
        elif word == "need-python":
            tail.clear()
            on_event(_log(f"no usable Python on the host ({rest.strip()}): installing the distribution's"))
        elif word == "no-python":
            raise AgentFailed(
                "Python can't be installed on the host",
                why=" / ".join(list(tail)[-5:]),
                hint="install Python 3.9 or later there by hand, or repair its package sources",
                machine=machine,
                problem="python-install-failed",
            )


def _other_line(
    text: str, tail: collections.deque[str], on_event: OnEvent, machine: str, *, greeted: bool
) -> None:
    tail.append(text)
    if not greeted:
        return
    if text.startswith('{"event": "error"'):  # the receiver speaks as the agent does
        error = wire.decode(text.encode())
        raise AgentFailed(
            str(error.get("what")),
            why=str(error.get("why", "")),
            hint=str(error.get("hint", "")),
            machine=machine,
            problem=str(error.get("problem")),
        )
    on_event(_log(text))


def _ended_early(
    channel: Channel, tail: collections.deque[str], machine: str, *, greeted: bool
) -> AgentFailed:
    status = channel.wait(5.0)
    said = channel.stderr_tail()[-500:] or " / ".join(list(tail)[-5:])
    return AgentFailed(
        "the agent could not be started" if greeted else "the host runs no commands for us",
        why=f"exit status {status}" + (f": {said}" if said else ""),
        hint="" if greeted else "can the user run `ssh HOST sh -c true`? look at its login shell",
        machine=machine,
        problem="bootstrap-failed",
    )


def _log(text: str) -> dict[str, str]:
    return {"event": "log", "source": "bootstrap", "text": text}


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
