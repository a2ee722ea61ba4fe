"""The service itself: its socket, its threads, its end."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, Mapping, Optional, TextIO

from machinectl_agent import wire
from machinectl_agent.bundle import leave_link, own_hash
from machinectl_agent.conversation import Session
from machinectl_agent.daemon.conversation import Answer, Work, converse, peer_uid, refuse
from machinectl_agent.daemon.holds import sweep_until
from machinectl_agent.daemon.journal import Journal
from machinectl_agent.daemon.notify import notify, watchdog_seconds
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.daemon.status import Desk
from machinectl_agent.daemon.supervisor import Supervisor
from machinectl_agent.daemon.systemd import Systemd
from machinectl_agent.problems import Problem
from machinectl_agent.version import __version__

BEAT = 20.0
"""Seconds between two messages to the watchdog at most."""

STUCK = 75.0
"""Seconds without a round of the supervisor after which the watchdog hears no more of us. The longest round
is two pings at 5 s and five calls of systemctl at 10 s."""


FRESH = 15.0
"""Seconds since a round of the supervisor for which its word counts."""

_WORK_STACK = 8 * 1024 * 1024
"""Bytes for a client's thread, as a process of its own would have; only what is used is taken."""


def serve(settings: Optional[Settings] = None, systemd: Optional[Systemd] = None) -> int:
    """Until SIGTERM or SIGINT. Exit status 0, or 1 where another daemon has the socket."""
    leave_link("daemon")
    settings = settings or Settings()
    journal = Journal()
    threading.stack_size(256 * 1024)
    try:
        with only_one(settings.socket):
            _serve(settings, journal, Supervisor(settings, journal, systemd or Systemd(settings.unit)))
    except Problem as problem:
        journal.say("error", f"{problem.what}: {problem.why}")
        return 1
    return 0


def _serve(settings: Settings, journal: Journal, supervisor: Supervisor) -> None:
    ending, end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: os.write(end, b"x"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listener = open_socket(settings.socket)
    watcher = threading.Thread(target=supervisor.run, args=(ending,), name="supervisor", daemon=True)
    watcher.start()
    threading.Thread(target=sweep_until, args=(ending, journal), name="holds", daemon=True).start()
    journal.say(
        "notice", f"machinectl-agent {__version__} ({own_hash() or 'checkout'}) serves {settings.socket}"
    )
    notify("READY=1")
    desk = Desk(journal, supervisor)

    def apply(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
        from machinectl_agent.converge import converge_by_daemon  # noqa: PLC0415 - as with _survey

        result = converge_by_daemon(session, args)
        shot, age = supervisor.snapshot(), time.monotonic() - supervisor.beat
        # what watches dockerd has had an answer seconds ago, and none since has failed to come
        answers = shot["state"] == "running" and shot["latency"] is not None and age < FRESH
        return {**result, "answers": answers}

    door = Door(listener, settings, desk.answers(), {"survey": _survey, "apply": apply})
    threading.stack_size(_WORK_STACK)
    pause = min(BEAT, watchdog_seconds() / 3 or BEAT)

    def beat() -> None:
        if not watcher.is_alive():
            os.write(end, b"x")  # its traceback is in the journal; systemd starts us anew
        elif time.monotonic() - supervisor.beat < STUCK:
            notify("WATCHDOG=1", f"STATUS=engine: {supervisor.snapshot()['state']}")

    door.open_until(ending, pause, beat)
    notify("STOPPING=1")
    listener.close()
    watcher.join(1.0)
    os.unlink(settings.socket)  # noqa: PTH108 - no pathlib here
    journal.say("notice", "machinectl-agent ends")


def _survey(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.converge import survey_by_daemon  # noqa: PLC0415 - a daemon that is never asked needs none of it

    return survey_by_daemon(session, args)


class Door:
    """Lets clients in, a thread for each."""

    def __init__(
        self,
        listener: socket.socket,
        settings: Settings,
        answers: Mapping[str, Answer],
        work: Optional[Mapping[str, Work]] = None,
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._answers = answers
        self._work = work or {}
        # by it relay.py knows whether we are what it would become
        self._hello = {
            **wire.hello(own_hash(), __version__),
            "python": f"{sys.executable} {sys.version.split()[0]}",
        }
        self._places = threading.BoundedSemaphore(settings.clients)

    def open_until(self, ending: int, pause: float, beat: Callable[[], None]) -> None:
        """Until `ending` is readable; `beat` is called at least every `pause` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(ending, selectors.EVENT_READ)
            next_beat = 0.0
            while True:
                now = time.monotonic()
                if now >= next_beat:
                    beat()
                    next_beat = now + pause
                for key, _ in selector.select(next_beat - now if next_beat > now else 0):
                    if key.fileobj == ending:
                        return
                    self._accept()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it has gone already, or we are out of descriptors: others will end
        uid = peer_uid(client)
        if uid != self._settings.owner:
            refuse(client, self._hello, Problem("not-root", f"only root may ask; you are uid {uid}"))
        elif not self._places.acquire(blocking=False):
            what = f"{self._settings.clients} clients are being answered already"
            refuse(client, self._hello, Problem("too-many-clients", what, hint="try again in 10 s"))
        else:
            threading.Thread(target=self._serve, args=(client,), name="client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            converse(client, self._hello, self._answers, self._work, self._settings)
        finally:
            self._places.release()


def open_socket(path: str) -> socket.socket:
    """A listening socket 0600 in a folder 0700; what is left of an earlier daemon is replaced."""
    try:
        os.unlink(path)  # noqa: PTH108 - no pathlib here
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.setblocking(False)
    listener.listen(128)
    return listener


def only_one(path: str) -> TextIO:
    """A lock beside the socket, held until the file is closed. Raises `Problem` `daemon-running`."""
    folder = os.path.dirname(path)  # noqa: PTH120 - no pathlib here
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    os.chmod(folder, 0o700)  # noqa: PTH101
    lock = open(f"{path}.lock", "a", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Problem("daemon-running", "another daemon is at work", why=f"it holds {path}.lock") from None
    return lock
