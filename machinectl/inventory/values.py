"""Checked settings → what a wish says of the engine and of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.keys import KEYS
from machinectl_agent.spec import OptionError, collect, parse_assignment


class Place(str):
    """`FILE:LINE`."""

    __slots__ = ()


Settings = Mapping[str, tuple[Any, Any]]
OPTIONS = {key.name for key in KEYS if key.option}


def engine_wishes(settings: Settings, folders: Sequence[Path]) -> dict[str, Any]:
    """As `Machine.engine`; `packages` are paths."""
    engine: dict[str, Any] = {}
    options = {name: value for name, (value, _) in settings.items() if name in OPTIONS}
    if "engine-opt" in settings:
        options = collect([*options.items(), *_free_options(*settings["engine-opt"])])
    if options:
        engine["options"] = options
    if settings.get("engine-env", ({}, None))[0]:
        engine["env"] = _environment(*settings["engine-env"])
    if "engine-version" in settings:
        engine["version"] = settings["engine-version"][0]
    if "engine-mirror" in settings:
        engine["mirror"] = settings["engine-mirror"][0].rstrip("/")
    if settings.get("engine-package", ([], None))[0]:
        engine["packages"] = [str(_path(one, folders)) for one in settings["engine-package"][0]]
    if settings.get("adopt", (False, None))[0]:
        engine["adopt"] = True
        clash = next(
            (one for one in ("engine-version", "engine-mirror", "engine-package") if one in settings), ""
        )
        if clash:
            raise InventoryError(
                f"{settings['adopt'][1]}: adopt takes the engine as it is, and {clash} is set"
            )
    return engine


def host_wishes(settings: Settings, name: str) -> dict[str, Any]:
    """os, hostname, sysctl, packages; only what is wanted."""
    found: dict[str, Any] = {}
    if "os" in settings:
        found["os"] = settings["os"][0]
    if settings.get("set-hostname", (False, None))[0]:
        found["hostname"] = name
    if settings.get("sysctl", ({}, None))[0]:
        found["sysctl"] = dict(settings["sysctl"][0])
    if settings.get("packages", ([], None))[0]:
        found["packages"] = tuple(settings["packages"][0])
    return found


def _free_options(values: Mapping[str, Any], place: Any) -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            found.append((str(name), value))
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            found.append(parse_assignment(f"{name}={text}"))
        except OptionError as error:
            raise InventoryError(f"{place}: engine-opt: {error.what}", hint=error.hint) from error
    return found


def _environment(values: Mapping[str, str], place: Any) -> dict[str, str]:
    for name in values:
        if not name.isidentifier():
            # the value may be a password: only the name is shown
            raise InventoryError(f"{place}: engine-env: {name!r} is no name of a variable")
    return dict(values)


def _path(text: str, folders: Sequence[Path]) -> Path:
    path = Path(text).expanduser()
    if path.is_absolute():
        return path
    return next((one / path for one in folders if (one / path).exists()), folders[0] / path)
