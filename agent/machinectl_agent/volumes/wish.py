"""Whether a volume is as somebody wishes it. Pure."""

from __future__ import annotations

from typing import Any, Mapping


def differs(
    volume: Mapping[str, Any], driver: str, options: Mapping[str, str], labels: Mapping[str, str]
) -> str:
    """What of Docker's document is not as wished, for people; empty where all is. Labels beyond the wished ones are
    fine. Values may be secrets and are not shown."""
    if str(volume.get("Driver")) != driver:
        return f"the driver {volume.get('Driver')}"
    have = volume.get("Options") or {}
    names = sorted(name for name in {*have, *options} if have.get(name) != options.get(name))
    if names:
        return f"another value of the option {names[0]}" if names[0] in have else f"no option {names[0]}"
    have = volume.get("Labels") or {}
    names = sorted(name for name, value in labels.items() if have.get(name) != value)
    return f"another label {names[0]}" if names else ""
