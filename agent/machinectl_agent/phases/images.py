"""Phase `images`: what the engine is wanted to have. What else it has stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from machinectl_agent.engine.stopped import whose_wish
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.spec import ImageSpec


@dataclass(frozen=True)
class Seen:
    """What the engine says; nothing where nothing is wanted."""

    images: Mapping[str, Mapping[str, Any]]
    """Name, or id → what it is; those that it has."""
    stopped: bool = False
    """By somebody's wish: nothing can be loaded."""


class ImagesPhase:
    """Costs a question to dockerd for each image that is wanted."""

    name = "images"

    def observe(self, host: Host, context: Context) -> Seen:
        if not context.spec.images:
            return Seen({})
        from machinectl_agent.images.engine import Engine  # noqa: PLC0415 - most machines want none

        engine = Engine()
        found: Dict[str, Mapping[str, Any]] = {}
        try:
            for one in context.spec.images:
                image = engine.inspect(one.name or one.id)
                if image is not None:
                    found[one.name or one.id] = image
        except Problem:
            # no engine yet, or one that is to be started first: then it has none
            return Seen({}, stopped=bool(whose_wish(host)))
        return Seen(found)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        missing = [
            one
            for one in context.spec.images
            if not seen.stopped and not _is(seen.images.get(one.name or one.id), one)
        ]
        steps = []
        for source in dict.fromkeys(one.source for one in missing):
            wanted = [one for one in missing if one.source == source]
            names = ", ".join(one.name or one.id[:19] for one in wanted)
            sign = "~" if any(one.name in seen.images for one in wanted) else "+"
            if not source:
                steps.append(Step(f"{self.name}/pull", f"{sign} pull image {names}", _puller(wanted)))
                continue
            title = f"{sign} load image {names} ({_size(wanted)}from {source.rpartition('/')[2]})"
            steps.append(Step(f"{self.name}/{source}", title, _loader(wanted)))
        return steps


def _is(image: Optional[Mapping[str, Any]], wanted: ImageSpec) -> bool:
    if image is None or not wanted.id:
        return image is not None
    if image["Id"] == wanted.id:
        return True
    if "Descriptor" not in image:
        return False
    from machinectl_agent.images.likeness import likeness_of  # noqa: PLC0415 - as above

    # containerd's store knows it by another id
    return likeness_of(image) == wanted.likeness


def _size(wanted: Sequence[ImageSpec]) -> str:
    # several names of one image are one image
    number = sum({one.id: one.size for one in wanted}.values()) / 1e6
    return f"{number:.1f} MB, " if number else ""


def _loader(wanted: Sequence[ImageSpec]) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        work.need([{"images": [one.name or one.id for one in wanted]}])

    return apply


def _puller(wanted: Sequence[ImageSpec]) -> Callable[[Work], None]:
    def apply(_work: Work) -> None:
        from machinectl_agent.images.engine import Engine  # noqa: PLC0415 - as above
        from machinectl_agent.images.pull import pull  # noqa: PLC0415

        pull(Engine(), {"names": [one.name for one in wanted]}, lambda _: None)

    return apply
