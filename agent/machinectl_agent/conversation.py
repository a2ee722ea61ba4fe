"""What an agent says to its controller, and how its work ends; session.py has the verbs. Carries begin here."""

from __future__ import annotations

import threading
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Optional

from machinectl_agent import wire
from machinectl_agent.problems import Problem

HEARTBEAT = 10.0
"""Seconds between `alive` events; the controller takes a longer silence for a dead host."""


class Session:
    """Writes events; a controller that has gone away is noticed between steps, never inside one."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._writing = threading.Lock()
        self.gone = False
        """Nobody listens any more."""
        self._ended = threading.Event()

    def emit(self, message: Mapping[str, Any]) -> None:
        """Raises `Problem` `controller-gone` when a step is about to begin and nobody listens any more."""
        with self._writing:
            if not self.gone:
                try:
                    self._stdout.write(wire.encode(message))
                    self._stdout.flush()
                except OSError:
                    self.gone = True
        if self.gone and message.get("event") == "step" and message.get("state") == "started":
            raise Problem("controller-gone", "the controller went away; the next run finishes the job")

    def log(self, text: str) -> None:
        self.emit({"event": "log", "text": text})

    def need(self, files: List[Dict[str, Any]]) -> None:
        """Asks for files and waits for the reply; the heartbeat goes on meanwhile."""
        self.emit({"event": "need", "files": files})
        line = self._stdin.readline()
        if not line:
            raise Problem("controller-gone", "the controller went away; the next run finishes the job")
        reply = wire.decode(line)
        if reply.get("reply") != "need":
            raise Problem(
                "need-refused", "the controller did not deliver the files", why=str(reply.get("why", ""))
            )

    def beat(self) -> None:
        """A background thread until `end` is called."""

        def run() -> None:
            while not self._ended.wait(HEARTBEAT):
                self.emit({"event": "alive"})

        threading.Thread(target=run, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def read_request(self, source: Optional[BinaryIO] = None) -> wire.Message:
        """From stdin, or where it is kept already. Raises `Problem` `wire` or `wire-version`."""
        try:
            request = wire.decode((source or self._stdin).readline())
        except wire.WireError as error:
            raise Problem("wire", "the agent did not understand the controller", why=str(error)) from error
        try:
            wire.check_version(request)
        except wire.WireError as error:
            hint = "use the same version of machinectl, or `machinectl agent upgrade NAME`"
            raise Problem("wire-version", str(error), hint=hint) from error
        return request


def told(session: Session, work: Callable[[], Dict[str, Any]]) -> int:
    """Does the work and says how it ended: exit status 0 after `done`, 1 after `error`."""
    try:
        result = work()
    except Problem as problem:
        session.end()
        session.emit(problem.to_message())
        return 1
    except Exception as error:
        session.end()
        import traceback  # noqa: PLC0415 - 2 ms

        why = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-3:])
        session.emit(wire.error("agent-fault", f"a fault of the agent's own: {error}", why, "report this"))
        return 1
    session.end()
    session.emit(wire.done(result))
    return 0
