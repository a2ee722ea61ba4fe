"""Phase `volumes`: named volumes that are to be there. None is ever removed: there are data in them."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Optional

from machinectl_agent.engine.stopped import wished_stopped
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.wish import differs

DEADLINE = 60.0


class VolumesPhase:
    """After the engine, which it asks: once, and only where volumes are wanted."""

    name = "volumes"

    def observe(self, host: Host, context: Context) -> Optional[Mapping[str, Mapping[str, Any]]]:
        """Name → Docker's document. None: nothing is to be done; empty also where there is no engine yet."""
        if not context.spec.host.volumes or wished_stopped(host):
            return None
        from machinectl_agent.engine.api import ApiError, get  # noqa: PLC0415 - HTTP's client costs 20 ms

        try:
            found = get("/volumes", deadline=DEADLINE)
        except ApiError:
            return {}
        return {str(one["Name"]): one for one in found.get("Volumes") or ()}

    def plan(self, seen: Optional[Mapping[str, Mapping[str, Any]]], context: Context) -> List[Step]:
        steps: List[Step] = []
        if seen is None:
            return steps
        for name, wish in context.spec.host.volumes.items():
            if name not in seen:
                title = f"+ make volume {name}" + (
                    f" ({wish['driver']})" if wish["driver"] != "local" else ""
                )
                steps.append(Step(f"{self.name}/{name}", title, _maker(name, wish)))
                continue
            difference = differs(seen[name], wish["driver"], wish["options"], wish["labels"])
            if difference:
                raise Problem(
                    "volume-differs",
                    f"there is a volume {name} already, with {difference}",
                    why="Docker can't change a volume, and machinectl removes none",
                    hint="copy it with `machinectl volume clone`, remove it, and run this again; "
                    "or let the inventory say what is there",
                )
        return steps


def _maker(name: str, wish: Mapping[str, Any]) -> Callable[[Work], None]:
    def apply(_work: Work) -> None:
        from machinectl_agent.volumes.docker import create_volume  # noqa: PLC0415 - see above

        create_volume(name, wish["driver"], wish["options"], wish["labels"])

    return apply
