"""Images on their way to one machine, some at a time: what has arrived stays when the next one breaks off."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.carry import Carried, MachineEnd, carry
from machinectl.actions.fleet import PARALLEL
from machinectl.actions.image.sources import Image, Source
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError
from machinectl.remote.become import Become
from machinectl.sizes import human
from machinectl.store.store import Store
from machinectl_agent.images.chains import chain_ids

BATCH = 256 * 1000**2
"""Bytes, unpacked: small images go together, as each carry costs half a second."""


@dataclass(frozen=True)
class Ways:
    """How images travel."""

    become: Become
    direct: bool = True
    compress: bool = False
    limit_rate: int = 0
    parallel: int = PARALLEL


@dataclass(frozen=True)
class Sending:
    """From one source to one machine."""

    store: Store
    source: Source
    machine: str
    ways: Ways
    report: Report

    def send(
        self,
        images: Sequence[Image],
        wanted: Sequence[Mapping[str, Any]],
        there: Collection[str],
        *,
        whole: bool,
    ) -> list[Carried]:
        """`wanted`: the same images as the machine has named them; `there`: chain ids of its layers; `whole`: it
        wants archives as dockerd writes them. Raises `MachinectlError`."""
        meter = Meter(self.report, f"sending {', '.join(one.label for one in images)}")
        known = set(there)
        done = []
        for batch in batches(images) if self.source.divisible and not whole else [list(images)]:
            keys = {(one.name, one.id) for one in batch}
            asked = [one for one in wanted if (one["name"], one["id"]) in keys]
            done.append(self._send(batch, asked, known, meter, whole=whole))
            meter.before += done[-1].bytes
            known.update(chain for one in batch for chain in chain_ids(one.layers))
        return done

    def _send(
        self,
        images: Sequence[Image],
        wanted: Sequence[Mapping[str, Any]],
        there: Collection[str],
        meter: Meter,
        *,
        whole: bool,
    ) -> Carried:
        try:
            with self.source.turns:
                return carry(
                    self.store,
                    self.source.end(images, there, whole=whole),
                    MachineEnd(self.machine, "image", {"images": list(wanted)}),
                    become=self.ways.become,
                    progress=meter.add,
                    report=self.report,
                    direct=self.ways.direct,
                    limit_rate=self.ways.limit_rate,
                    compress=self.ways.compress,
                )
        except MachinectlError as error:
            unreadable = error.problem == "layers-unreadable" or "invalid diffID" in error.why
            if whole or not unreadable:
                raise
            own = f"asking {self.source.label}'s dockerd for its own archive"
            self.report.line(f"{error.what} ({error.why}): {own}")
        return self._send(images, wanted, there, meter, whole=True)


def batches(images: Sequence[Image], most: int = BATCH) -> Iterator[list[Image]]:
    """In their order; an image that is larger goes alone. Pure."""
    batch: list[Image] = []
    for one in images:
        if batch and sum(other.size for other in batch) + one.size > most:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


class Meter:
    """How far it is, for a terminal."""

    def __init__(self, report: Report, what: str) -> None:
        self.before = 0
        """Bytes of what is over."""
        self._report = report
        self._what = what
        self._began = time.monotonic()
        report.line(what)

    def add(self, done: int) -> None:
        done += self.before
        seconds = time.monotonic() - self._began
        speed = f", {human(int(done / seconds))}/s" if seconds > 0.5 else ""
        self._report.now(f"{self._what}: {human(done)}{speed}")
