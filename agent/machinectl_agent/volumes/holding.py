"""A copy's side of its keeper (keeper.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set, Type

from machinectl_agent.bundle import own_folder
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.coming import Watch
from machinectl_agent.volumes.place import Place
from machinectl_agent.volumes.users import users_of

if TYPE_CHECKING:
    from machinectl_agent.session import Session

STALL = 60.0
"""Seconds without a byte copied after which containers go on, unless the user says otherwise."""

BEAT = 1.0
"""Seconds between two signs of life at least."""

LIVE, PAUSE, STOP = "live", "pause", "stop"


class Hold:
    """`with Hold(…) as hold:` the containers stand still, until `end`. Nothing is held with the action `live`."""

    def __init__(
        self, place: Place, action: str, session: Session, *, stall: float = STALL, everyone: bool = False
    ) -> None:
        self._place = place
        self._action = action
        self._session = session
        self._stall = stall
        self._everyone = everyone
        self._keeper: Optional[subprocess.Popen[bytes]] = None
        self._beat = 0.0
        self._began = 0.0
        self._watch: Optional[Watch] = None
        self._held: Set[str] = set()
        self._held_since = 0.0
        self.names: List[str] = []
        """The containers that stand still."""

    def __enter__(self) -> Hold:
        if self._action == LIVE:
            return self
        if not self._everyone:
            self._watch = Watch(self._place)
        try:
            self._stand_still()
        except BaseException:
            self._unwatch()
            raise
        return self

    def _stand_still(self) -> None:
        if not users_of(self._place):
            return
        words = [sys.executable, "-I", str(own_folder()), "hold"]
        self._keeper = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what kills us must not kill it
        )
        request = {
            "place": self._place.name, "action": self._action, "stall": self._stall, "everyone": self._everyone,
        }  # fmt: skip
        try:
            self._tell(json.dumps(request).encode() + b"\n")
            answer = self._hear("held")
        except BaseException:
            self._leave()
            raise
        self._began = time.monotonic()
        self._held, self._held_since = {str(one) for one in answer["ids"]}, time.time()
        self.names = [str(one) for one in answer["containers"]]
        if self.names:
            self._session.log(f"{answer['action']} {', '.join(self.names)}")

    def beat(self) -> None:
        """Something was copied. Raises `Problem` where the keeper is gone."""
        now = time.monotonic()
        if self._keeper and now - self._beat >= min(BEAT, self._stall / 4):
            self._beat = now
            self._tell(b".")

    def end(self, *, judge: bool = True) -> None:
        """They go on. Raises `Problem` `not-consistent` where somebody may have written, if `judge` is set."""
        # before they go on, as that is an event, too
        came = self._watch.trouble(self._held, self._held_since) if self._watch and judge else ""
        if self._keeper is None:
            if came:
                raise not_consistent(came)
            if judge:
                self._check_nobody_came()
            return
        self._tell(b"r")
        answer = self._hear("released")
        self._leave()
        if self.names:
            seconds = time.monotonic() - self._began
            verb = "start again" if self._action == STOP else "go on"
            self._session.log(f"{', '.join(self.names)} {verb} after {seconds:.1f} s")
        for one in answer.get("troubles", ()):
            self._session.log(f"warning: {one}")
        if judge and (came or answer["trouble"]):
            raise not_consistent(str(answer["trouble"]) or came)

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._leave()
        self._unwatch()

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch:
            watch.close()

    def _check_nobody_came(self) -> None:
        if self._action == LIVE:
            return
        new = [one.name for one in users_of(self._place) if one.runs and one.writes]
        if new:
            raise not_consistent(f"container {new[0]} was started while the copy was made")

    def _tell(self, content: bytes) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(content)
            self._keeper.stdin.flush()
        except OSError:
            raise not_consistent(self._last_words()) from None

    def _hear(self, event: str) -> Dict[str, Any]:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        for line in self._keeper.stdout:
            message: Dict[str, Any] = json.loads(line)
            if message["event"] == event:
                return message
            if message["event"] == "error":
                raise Problem(
                    str(message["problem"]),
                    str(message["what"]),
                    why=str(message["why"]),
                    hint=str(message["hint"]),
                )
            if message["event"] == "log":
                self._session.log(str(message["text"]))
            elif message["event"] == "released":
                raise not_consistent(str(message["trouble"]))
        raise not_consistent("the process that held the containers was killed")

    def _last_words(self) -> str:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        for line in self._keeper.stdout:
            message = json.loads(line)
            if message.get("event") == "released":
                return str(message["trouble"])
        return "the process that held the containers was killed"

    def _leave(self) -> None:
        """Its end of the pipe tells the keeper; it is waited for, so that the containers go on when we answer."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        try:
            keeper.stdin.close()
        except OSError:
            pass  # it has ended
        keeper.stdout.read()
        keeper.stdout.close()
        keeper.wait()


def not_consistent(why: str) -> Problem:
    return Problem(
        "not-consistent",
        "the copy is not of one moment, and was given up",
        why=why,
        hint="run the same command again; --live takes what comes",
    )
