"""push: images to many machines at once; of each only the layers that the machine lacks.

ask the source what it has ─► ask every machine what it lacks (what is there gets its name) ─► carry the rest
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.actions.fleet import Outcome
from machinectl.actions.image.ask import ask_images
from machinectl.actions.image.sending import Sending, Ways
from machinectl.actions.image.sources import Image, Source
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError
from machinectl.sizes import human
from machinectl.store.store import Store

GOARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""uname's machine, as dockerd tells it, → what images say."""


@dataclass(frozen=True)
class Pushed:
    """What became of one machine."""

    sent: tuple[str, ...] = ()
    """Names of images that travelled."""
    named: tuple[str, ...] = ()
    """Their images were there already, and have the name now."""
    unchanged: tuple[str, ...] = ()
    bytes: int = 0
    seconds: float = 0.0
    way: str = ""
    """direct, relay, ssh; empty: nothing travelled."""
    layers: int = 0
    spared: int = 0
    """Layers that travelled, and that did not."""
    replaced: tuple[dict[str, str], ...] = field(default=())
    """name and id of images that had one of the names until now."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "seconds": round(self.seconds, 3)}


def push(
    store: Store, source: Source, names: Sequence[str], ways: Ways, reports: Callable[[str], Report]
) -> list[Outcome[Pushed]]:
    """To every machine of `names`. Raises only what concerns all: the source has no such image, or is broken."""
    images = source.offer()

    def one(name: str) -> Pushed:
        report = reports(name)
        try:
            return push_to(store, source, images, name, ways, report)
        except MachinectlError as error:
            if error.machine not in ("", name):
                # every destination has an error of its own, whosever fault it is
                error.what, error.machine = f"the source {error.machine}: {error.what}", name
            raise
        finally:
            report.finished()

    # the end of this process closes the connections, and that ends the agents with nothing loaded
    return on_each_until_interrupted(names, one, stop=lambda: None, parallel=ways.parallel)


def push_to(
    store: Store, source: Source, images: Sequence[Image], machine: str, ways: Ways, report: Report
) -> Pushed:
    """One machine's turn."""
    asked = {"images": [one.to_json() for one in images], "containerd": source.containerd}
    answer = ask_images(store, machine, "prepare", asked, become=ways.become)
    _warn(images, answer["architecture"], report)
    lacking = {(one["name"], one["id"]) for one in answer["wanted"]}
    wanted = [one for one in images if (one.name, one.id) in lacking]
    named, replaced = tuple(answer["named"]), list(answer["replaced"])
    unchanged = tuple(one.label for one in images if one not in wanted and one.name not in named)
    if not wanted:
        _say(report, Pushed(named=named, unchanged=unchanged, replaced=tuple(replaced)))
        return Pushed(named=named, unchanged=unchanged, replaced=tuple(replaced))
    whole = bool(answer["containerd"])
    if whole:
        report.line("this machine keeps images in containerd's store: all layers are sent")
    elif source.containerd:
        report.line(f"{source.label} keeps images in containerd's store: compressed layers are all sent")
    sending = Sending(store, source, machine, ways, report)
    carried = sending.send(wanted, answer["wanted"], answer["there"], whole=whole)
    layers = sum(int(one.source["layers"]) for one in carried)
    pushed = Pushed(
        sent=tuple(one.label for one in wanted),
        named=named,
        unchanged=unchanged,
        bytes=sum(one.bytes for one in carried),
        seconds=sum(one.seconds for one in carried),
        way=carried[-1].way,
        layers=layers,
        spared=len({layer for one in wanted for layer in one.layers}) - layers,
        replaced=(*replaced, *(entry for one in carried for entry in one.destination["replaced"])),
    )
    _say(report, pushed)
    return pushed


def _warn(images: Sequence[Image], machine: str, report: Report) -> None:
    own = GOARCH.get(machine, machine)
    for one in images:
        if one.architecture and own and one.architecture != own:
            report.line(f"warning: {one.label} is made for {one.architecture}, this machine is {own}")


def _say(report: Report, pushed: Pushed) -> None:
    if pushed.unchanged:
        report.line(f"has {', '.join(pushed.unchanged)} already")
    for name in pushed.named:
        report.line(f"has the image of {name} already; it is called so now")
    if pushed.sent:
        layers = f"{pushed.layers} of {pushed.layers + pushed.spared} layers"
        way = {"direct": ", directly", "relay": ", through this computer"}.get(pushed.way, "")
        report.line(
            f"got {', '.join(pushed.sent)}: {human(pushed.bytes)} in {pushed.seconds:.1f} s ({layers}{way})"
        )
    for one in pushed.replaced:
        report.line(f"{one['name']} was another image, which has no name now: {one['id'][7:19]}")
