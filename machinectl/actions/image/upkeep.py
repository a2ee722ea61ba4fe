"""ls, pull, rm: what machines have, what they fetch for themselves, what they drop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from machinectl.actions.fleet import PARALLEL, Outcome, on_each
from machinectl.actions.image.ask import ask_images
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError
from machinectl.remote.become import Become
from machinectl.sizes import human
from machinectl.store.store import Store

PULL_DEADLINE = 6 * 3600.0
"""Seconds. A registry that falls silent is noticed by dockerd."""


def list_images(store: Store, names: Sequence[str], *, become: Become) -> list[Outcome[list[dict[str, Any]]]]:
    """Every machine's: id, names, created (Unix time), size (bytes)."""

    def one(name: str) -> list[dict[str, Any]]:
        return list(ask_images(store, name, "list", {}, become=become)["images"])

    return on_each(names, one)


def pull(
    store: Store,
    images: Sequence[str],
    names: Sequence[str],
    *,
    become: Become,
    reports: Callable[[str], Report],
    parallel: int = PARALLEL,
) -> list[Outcome[list[dict[str, Any]]]]:
    """Every machine by itself, from its own mirrors and registries: name, id, changed."""

    def one(name: str) -> list[dict[str, Any]]:
        report = reports(name)

        def event(message: Mapping[str, Any]) -> None:
            if message.get("event") == "progress":
                done, total = human(int(message["bytes"])), human(int(message["of"]))
                report.now(f"pulling {message['name']}: {done} of {total}")

        try:
            report.line(f"pulling {', '.join(images)}")
            args = {"names": list(images)}
            answer = ask_images(
                store, name, "pull", args, become=become, on_event=event, deadline=PULL_DEADLINE
            )
            for found in answer["images"]:
                report.line(f"{'pulled' if found['changed'] else 'has the newest'} {found['name']}")
            return list(answer["images"])
        finally:
            report.finished()

    return on_each_until_interrupted(names, one, stop=lambda: None, parallel=parallel)


def remove(
    store: Store, images: Sequence[str], names: Sequence[str], *, force: bool, become: Become
) -> list[Outcome[dict[str, Any]]]:
    """Machines that don't have an image are none that failed, unless no machine has it."""

    def one(name: str) -> dict[str, Any]:
        args = {"names": list(images), "force": force}
        return ask_images(store, name, "remove", args, become=become)

    outcomes = on_each(names, one)
    answers = [one.result for one in outcomes if one.result]
    nowhere = set.intersection(*(set(one["missing"]) for one in answers)) if answers else set()
    if nowhere and len(answers) == len(outcomes):
        raise MachinectlError(
            f"no machine of these has {', '.join(sorted(nowhere))}", problem="image-unknown"
        )
    return outcomes
