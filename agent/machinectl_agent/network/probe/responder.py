"""The peer's side: opens an ear when a machine asks in etcd, answers what it hears, and notes it in etcd."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, Optional, Set

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.interface import Change, Kv, KvError, KvUnavailable, WatchItem
from machinectl_agent.network.probe.ear import Ear, Mouth
from machinectl_agent.network.probe.packet import ANSWER, ASK, LEAST, Probe, encode
from machinectl_agent.network.records import Layout

EAR = 8.0
"""Seconds that an ear is open."""

SLICE = 0.2
"""Seconds between two looks at who is still asking."""


@dataclass(frozen=True)
class Ask:
    """The value of probes/ID."""

    machine: str
    nonce: bytes
    vtep: str
    lease: int


def encode_ask(ask: Ask) -> bytes:
    return json.dumps({"nonce": ask.nonce.hex(), "vtep": ask.vtep, "lease": ask.lease}).encode()


def decode_ask(machine: str, value: bytes) -> Ask:
    """Raises ValueError."""
    try:
        document = json.loads(value)
        return Ask(machine, bytes.fromhex(document["nonce"]), str(document["vtep"]), int(document["lease"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no probe: {value[:80]!r}") from error


@dataclass
class Listening:
    """One asker that is being listened to."""

    ask: Ask
    until: float
    heard: Set[int] = field(default_factory=set)
    noted: Optional[Set[int]] = None
    """What etcd says of it; None: nothing yet."""


class Responder:
    """One ear for all askers, as all members may ask at the same time. `asked` is called by the thread that
    follows etcd, and returns at once."""

    def __init__(
        self, kv: Kv, layout: Layout, machine: str, port: int, vtep: Callable[[], str], journal: Journal
    ) -> None:
        self._kv, self._layout, self._machine, self._port = kv, layout, machine, port
        self._vtep = vtep
        self._journal = journal
        self._lock = threading.Lock()
        self._askers: Dict[str, Listening] = {}
        self._open = False

    def asked(self, item: WatchItem) -> None:
        # a snapshot holds asks that are being answered already, or that came before we were there
        if not isinstance(item, Change):
            return
        machine = item.key[len(self._layout.probes) :]
        if machine == self._machine:
            return
        with self._lock:
            self._askers.pop(machine, None)
            if item.value is None:  # it has done its asking
                return
            try:
                ask = decode_ask(machine, item.value)
            except ValueError:
                return
            self._askers[machine] = Listening(ask, time.monotonic() + EAR)
            if not self._open:
                self._open = True
                threading.Thread(target=self._serve, name="probe", daemon=True).start()

    def _serve(self) -> None:
        try:
            own = self._vtep()
            ear, mouth = Ear(own, self._port), Mouth(own, self._port)
        except OSError as error:
            self._journal.say("note", f"probes can't be answered: {error}")
            with self._lock:
                self._askers.clear()
                self._open = False
            return
        try:
            while self._wanted():
                self._note()
                for probe, sender, _ in ear.hear(time.monotonic() + SLICE):
                    self._hear(probe, sender, mouth)
        finally:
            ear.close()
            mouth.close()

    def _wanted(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._askers = {name: one for name, one in self._askers.items() if one.until > now}
            self._open = bool(self._askers)
            return self._open

    def _hear(self, probe: Probe, sender: str, mouth: Mouth) -> None:
        with self._lock:
            # the nonce comes through etcd: nobody else can make us send anything
            found = next((one for one in self._askers.values() if one.ask.nonce == probe.nonce), None)
        if found is None or probe.kind != ASK or sender != found.ask.vtep:
            return
        found.heard.add(probe.size)
        mouth.say(encode(Probe(ANSWER, probe.nonce, probe.size, time.time()), LEAST), found.ask.vtep)

    def _note(self) -> None:
        """On the asker's lease: it goes with the question."""
        with self._lock:
            changed = [one for one in self._askers.values() if one.noted != one.heard]
        for one in changed:
            heard = set(one.heard)
            key = self._layout.heard(one.ask.machine) + self._machine
            try:
                self._kv.put(key, json.dumps(sorted(heard)).encode(), lease=one.ask.lease, deadline=1.0)
                one.noted = heard
            except KvUnavailable:
                continue  # the next slice tries again, until nobody asks any more
            except KvError as error:
                self._journal.say("note", f"a probe of {one.ask.machine} is not noted: {error}")
                with self._lock:
                    if self._askers.get(one.ask.machine) is one:
                        del self._askers[one.ask.machine]
