"""The peer's side: opens an ear when a machine asks in etcd, answers what it hears, and notes it in etcd."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Callable, List, Set

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.interface import Change, Kv, KvError, WatchItem
from machinectl_agent.network.probe.ear import Ear, Mouth
from machinectl_agent.network.probe.packet import ANSWER, ASK, LEAST, Probe, encode
from machinectl_agent.network.records import Layout

EAR = 8.0
"""Seconds that an ear is open."""

AT_ONCE = 4
"""Askers that are listened to at the same time; the others are told nothing and say so."""


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


class Responder:
    """`asked` is called by the thread that follows etcd, and returns at once."""

    def __init__(
        self, kv: Kv, layout: Layout, machine: str, port: int, vtep: Callable[[], str], journal: Journal
    ) -> None:
        self._kv, self._layout, self._machine, self._port = kv, layout, machine, port
        self._vtep = vtep
        self._journal = journal
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def asked(self, item: WatchItem) -> None:
        # a snapshot holds asks that are being answered already, or that came before we were there
        if not isinstance(item, Change) or item.value is None:
            return
        machine = item.key[len(self._layout.probes) :]
        if machine == self._machine:
            return
        try:
            ask = decode_ask(machine, item.value)
        except ValueError:
            return
        if self._places.acquire(blocking=False):
            threading.Thread(target=self._serve, args=(ask,), name="probe", daemon=True).start()

    def _serve(self, ask: Ask) -> None:
        try:
            self._listen(ask)
        except (OSError, KvError) as error:
            self._journal.say("note", f"a probe of {ask.machine} is not answered: {error}")
        finally:
            self._places.release()

    def _listen(self, ask: Ask) -> None:
        own = self._vtep()
        ear, mouth = Ear(own, self._port), Mouth(own, self._port)
        heard: Set[int] = set()
        try:
            self._note(ask, [])
            for probe, sender, _ in ear.hear(time.monotonic() + EAR):
                # the nonce comes through etcd: nobody else can make us send anything
                if probe.kind != ASK or probe.nonce != ask.nonce or sender != ask.vtep:
                    continue
                if probe.size not in heard:
                    heard.add(probe.size)
                    self._note(ask, sorted(heard))
                answer = Probe(ANSWER, ask.nonce, probe.size, time.time())
                mouth.say(encode(answer, LEAST), ask.vtep)
        finally:
            ear.close()
            mouth.close()

    def _note(self, ask: Ask, heard: List[int]) -> None:
        """On the asker's lease: it goes with the question."""
        key = self._layout.heard(ask.machine) + self._machine
        self._kv.put(key, json.dumps(heard).encode(), lease=ask.lease)
