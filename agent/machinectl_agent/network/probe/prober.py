"""The asker's side: what each peer heard, and what came back."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Set

from machinectl_agent.kv.interface import Kv, KvError
from machinectl_agent.network.probe.ear import Ear, Mouth
from machinectl_agent.network.probe.packet import ANSWER, ASK, IPV4, IPV6, Probe, encode
from machinectl_agent.network.probe.responder import Ask, encode_ask
from machinectl_agent.network.records import Layout

LASTS = 4.0
"""Seconds at most; peers that answer everything end it sooner."""

AGAIN = 0.2
"""Seconds between two rounds of probes: one that is lost is no finding."""

LEASE = 15


@dataclass
class Reach:
    """What is known of one peer."""

    listening: bool = False
    """It has said so in etcd."""
    heard: Set[int] = field(default_factory=set)
    """Sizes of our packets that reached it, as it says in etcd."""
    answered: Set[int] = field(default_factory=set)
    """Sizes whose answers reached us."""
    refused: Dict[int, str] = field(default_factory=dict)
    """Sizes that our own kernel did not send, and why."""
    clock: Optional[float] = None
    """Seconds that its clock is ahead of ours."""
    delay: Optional[float] = None
    """Seconds there and back; the error of `clock` is half of it at most."""


def probe(
    kv: Kv,
    layout: Layout,
    machine: str,
    port: int,
    vtep: str,
    peers: Mapping[str, str],
    sizes: Sequence[int],
    *,
    lasts: float = LASTS,
) -> Dict[str, Reach]:
    """`peers`: machine id → VTEP; `sizes`: bytes of whole IP packets. Raises OSError and KvError."""
    ear, mouth = Ear(vtep, port), Mouth(vtep, port)
    lease = kv.grant(LEASE)
    ask = Ask(machine, secrets.token_bytes(8), vtep, lease)
    found = {peer: Reach() for peer in peers}
    sent: Dict[str, float] = {}
    until = time.monotonic() + lasts
    listener = threading.Thread(
        target=_collect, args=(ear, ask, peers, found, sent, until), name="probe-ear", daemon=True
    )
    try:
        kv.put(layout.probes + machine, encode_ask(ask), lease=lease)
        listener.start()
        _send(mouth, ask, peers, sizes, found, sent, until)
        _read_heard(kv, layout, machine, found)
    finally:
        ear.close()
        mouth.close()
        try:
            kv.revoke(lease, deadline=2.0)
        except KvError:
            pass  # it ends by itself
    return found


def _send(
    mouth: Mouth,
    ask: Ask,
    peers: Mapping[str, str],
    sizes: Sequence[int],
    found: Dict[str, Reach],
    sent: Dict[str, float],
    until: float,
) -> None:
    headers = IPV6 if ":" in ask.vtep else IPV4
    while time.monotonic() < until:
        open_ones = {peer: [one for one in sizes if one not in found[peer].answered] for peer in peers}
        if not any(open_ones.values()):
            return
        for peer, left in open_ones.items():
            for size in left:
                sent[peer] = time.time()
                refused = mouth.say(
                    encode(Probe(ASK, ask.nonce, size, sent[peer]), size - headers), peers[peer]
                )
                if refused:
                    found[peer].refused[size] = refused
        time.sleep(AGAIN)  # the pace of the probes


def _collect(
    ear: Ear,
    ask: Ask,
    peers: Mapping[str, str],
    found: Dict[str, Reach],
    sent: Mapping[str, float],
    until: float,
) -> None:
    by_address: Dict[str, List[str]] = {}
    for peer, address in peers.items():
        by_address.setdefault(address, []).append(peer)
    try:
        for answer, sender, _ in ear.hear(until):
            if answer.kind != ANSWER or answer.nonce != ask.nonce:
                continue
            now = time.time()
            for peer in by_address.get(sender, ()):
                reach = found[peer]
                reach.answered.add(answer.size)
                delay = now - sent.get(peer, now)
                if reach.delay is None or delay < reach.delay:
                    reach.delay, reach.clock = delay, answer.clock - (now - delay / 2)
    except (OSError, ValueError):
        return  # the ear was closed: the probing is over


def _read_heard(kv: Kv, layout: Layout, machine: str, found: Dict[str, Reach]) -> None:
    prefix = layout.heard(machine)
    for one in kv.range(prefix).items:
        reach = found.get(one.key[len(prefix) :])
        if reach:
            reach.listening = True
            reach.heard |= set(json.loads(one.value))
