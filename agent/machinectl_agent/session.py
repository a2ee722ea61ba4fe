"""One conversation with a controller over stdin and stdout: request in, events out (see wire.py)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable, Dict, Mapping

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.conversation import Session, told
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Work
from machinectl_agent.version import __version__

__all__ = ["Session", "serve_request"]


def serve_request(verb: str, kept: str = "") -> int:
    """Exit status 0 after `done`, 1 after `error`. `kept`: the descriptor of a file with the request (see
    daemon/relay.py), which is not on stdin then."""
    # a lost connection must not kill dpkg or a half-done restart: the step ends, then the run stops
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    session = Session(sys.stdin.buffer, sys.stdout.buffer)
    session.emit(wire.hello(own_hash(), __version__))
    session.beat()
    source = os.fdopen(int(kept), "rb") if kept else None
    return told(session, lambda: _VERBS[verb](session, session.read_request(source)["args"]))


def _apply(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.converge import converge  # noqa: PLC0415 - the others need none of it

    return converge(session, args)


def _upgrade(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.upgrade import upgrade  # noqa: PLC0415 - the others need none of it

    return upgrade(Work(Host(), session.log, session.need), args, session.emit)


def _etcd(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.etcd.apply import apply_etcd  # noqa: PLC0415 - the others need none of it

    return apply_etcd(Work(Host(), session.log, session.need), args, session.emit)


def _files(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.files.ops import run_op  # noqa: PLC0415 - the others need none of it

    return run_op(session, args)


def _power(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.power import power  # noqa: PLC0415 - the others need none of it

    return power(Work(Host(), session.log, session.need), args, session.emit)


def _volumes(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.volumes.ops import volumes  # noqa: PLC0415 - the others need none of it

    return volumes(session, args)


def _images(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.images.ops import serve  # noqa: PLC0415 - the others need none of it

    return serve(session, args)


def _registry(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.registry.verb import registry  # noqa: PLC0415 - the others need none of it

    return registry(Work(Host(), session.log, session.need), args, session.emit)


def _shares(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.shares.ops import shares  # noqa: PLC0415 - the others need none of it

    return shares(session, args)


def _survey(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.converge import survey  # noqa: PLC0415 - the others need none of it

    return survey(session.emit, args)


_VERBS: Dict[str, Callable[[Session, Mapping[str, Any]], Dict[str, Any]]] = {
    "apply": _apply,
    "etcd": _etcd,
    "files": _files,
    "facts": lambda _session, _args: gather(Host()).to_json(),
    "images": _images,
    "power": _power,
    "registry": _registry,
    "shares": _shares,
    "survey": _survey,
    "upgrade": _upgrade,
    "volumes": _volumes,
}
