"""Checked settings → what a wish says of the engine and of the host."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.keys import KEYS
from machinectl.inventory.registry_cas import registry_cas
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
        engine["env"] = dict(settings["engine-env"][0])
    if "engine-version" in settings:
        engine["version"] = settings["engine-version"][0]
    if "engine-mirror" in settings:
        engine["mirror"] = settings["engine-mirror"][0].rstrip("/")
    if settings.get("engine-package", ([], None))[0]:
        place = settings["engine-package"][1]
        engine["packages"] = [_path(one, folders, place) for one in settings["engine-package"][0]]
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


def host_wishes(settings: Settings, name: str, folders: Sequence[Path]) -> dict[str, Any]:
    """os, hostname, sysctl, packages, volumes, registry_cas; only what is wanted. A CA may be the name of a
    machine yet."""
    found: dict[str, Any] = {}
    if "os" in settings:
        found["os"] = settings["os"][0]
    if settings.get("set-hostname", (False, None))[0]:
        found["hostname"] = name
    if settings.get("sysctl", ({}, None))[0]:
        found["sysctl"] = dict(settings["sysctl"][0])
    if settings.get("packages", ([], None))[0]:
        found["packages"] = tuple(settings["packages"][0])
    if settings.get("volumes", ({}, None))[0]:
        found["volumes"] = dict(settings["volumes"][0])
    if settings.get("registry-cas", ({}, None))[0]:
        found["registry_cas"] = registry_cas(
            settings["registry-cas"][0], folders, settings["registry-cas"][1]
        )
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


def _path(text: str, folders: Sequence[Path], place: Any) -> str:
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises for a user that is not there
    places = [path] if path.is_absolute() else [one / path for one in folders]
    for one in places:
        if one.is_file():
            return str(one)
    looked = ", ".join(str(one) for one in places)
    raise InventoryError(f"{place}: engine-package: there is no file {text}", why=f"looked at {looked}")
