"""config set, get, unset: what is wanted of a machine's engine, one setting after the other. Pure, but for
`configure`.

    KEY=VALUE     the whole value, instead of what was wanted before; again in the same command: one entry more
    KEY+=VALUE    a list's or map's further entry
    KEY-=VALUE    one entry less (a map's by its name)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.provision import Change, provision
from machinectl.errors import MachinectlError, UsageError
from machinectl.inventory.keys import find_key
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.store import Store
from machinectl_agent.spec import OptionError, collect, entry_name, find, parse_assignment

_ENV = re.compile(r"(?:env\.([A-Za-z_][A-Za-z0-9_]*)|([A-Z_][A-Z0-9_]*))")
"""`env.http_proxy`, or a name in capitals: dockerd's environment. No option of dockerd's has a capital."""

_PROXIES = ("http-proxy", "https-proxy", "no-proxy")
"""dockerd has had them as flags since Engine 23 only; in its environment they work with every release."""

_ASSIGNMENT = re.compile(r"(?P<key>[^=]*?)(?P<sign>\+=|-=|=)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """One change of the wishes."""

    kind: str
    """`options` or `env`, as in Machine.engine."""
    key: str
    """daemon.json's key, or the variable's name."""
    sign: str
    """`=`, `+=`, `-=`, or empty: not wanted any more."""
    value: Any = None
    """As in daemon.json; for `-=` of a map: the entries' names."""


def parse_edit(text: str) -> Edit:
    """`KEY=VALUE` and the like. Raises `UsageError`; its text has no value, which may be a password."""
    found = _ASSIGNMENT.fullmatch(text)
    if not found or not found["key"].strip():
        raise UsageError(
            f"{text.partition('=')[0]!r}: KEY=VALUE is wanted", hint="registry-mirrors+=https://HOST"
        )
    kind, key = parse_key(found["key"])
    sign, value = found["sign"], found["value"]
    if kind == "env":
        if sign != "=":
            raise UsageError(f"{key}{sign}: a variable has one value", hint=f"{key}=VALUE")
        if "\n" in value or "\0" in value:
            raise UsageError(f"{key}: a value on one line is wanted")
        return Edit(kind, key, sign, value)
    option = find(key)
    is_map = option.kind == "map" if option else False
    if sign == "-=" and is_map:
        return Edit(kind, key, sign, [value.partition("=")[0]])
    parsed = _parsed(key, found["key"].strip(), value)
    if sign != "=" and not isinstance(parsed, (list, dict)):
        if option:
            raise UsageError(f"{key}{sign}: it is no list and no map", hint=f"{key}=VALUE")
        parsed = [parsed]  # an option of a newer engine
    return Edit(kind, key, sign, parsed)


def parse_key(text: str) -> tuple[str, str]:
    """Kind and key of what is named, by daemon.json's name or dockerd's flag. Raises `UsageError`."""
    text = text.strip()
    env = _ENV.fullmatch(text)
    if env:
        return "env", env[1] or env[2]
    name = text.lstrip("-")
    option = find(name)
    if option and option.key in _PROXIES:
        return "env", option.key.replace("-", "_").upper()
    if option:
        return "options", option.key
    try:
        return "options", parse_assignment(f"{name}=0")[0]
    except OptionError as error:
        raise UsageError(f"{error.what}", hint=error.hint) from error


def _parsed(key: str, written: str, value: str) -> Any:
    name = written.lstrip("-")
    try:
        parsed = parse_assignment(f"{name}={value}")[1]
    except OptionError as error:
        raise UsageError(error.what, hint=error.hint) from error
    return find_key(key, "config").check(parsed, "config") if find(key) else parsed


def edited(machine: Machine, edits: Sequence[Edit]) -> Machine:
    """The machine with other wishes; the same where none of them changes any."""
    engine: dict[str, dict[str, Any]] = {
        kind: dict(machine.engine.get(kind) or {}) for kind in ("options", "env")
    }
    replaced: set[tuple[str, str]] = set()
    for one in edits:
        document = engine[one.kind]
        if one.sign == "":
            document.pop(one.key, None)
        elif one.sign == "-=":
            left = _without(one.key, document.get(one.key), one.value)
            document.pop(one.key, None)
            if left:
                document[one.key] = left
        else:
            # `set n registry-mirrors=A registry-mirrors=B` means both
            if one.sign == "=" and (one.kind, one.key) not in replaced:
                document.pop(one.key, None)
            replaced.add((one.kind, one.key))
            engine[one.kind] = collect([*document.items(), (one.key, one.value)])
    present = {kind: dict(machine.engine.get(kind) or {}) for kind in engine}
    if engine == present:
        return machine
    kept = {key: value for key, value in machine.engine.items() if key not in engine}
    return dataclasses.replace(machine, engine={**kept, **{kind: one for kind, one in engine.items() if one}})


def _without(key: str, present: Any, gone: list[Any] | dict[str, Any]) -> Any:
    if isinstance(present, dict):
        return {name: one for name, one in present.items() if name not in gone}
    if isinstance(present, list):
        names = [entry_name(key, one) for one in gone]
        return [one for one in present if entry_name(key, one) not in names]
    return present


def configure(
    store: Store,
    names: Sequence[str],
    edits: Sequence[Edit],
    *,
    become: Become,
    say: Callable[[str], None],
    quiet: bool = False,
    dry_run: bool = False,
) -> None:
    """Brings the changed wishes to the hosts, in parallel; they are remembered for those that took them, as by
    `provision`. A machine from which there is nothing to take away is not visited. Raises as `provision` does."""
    taking = all(one.sign in ("", "-=") for one in edits)
    touched = []
    for name in names:
        machine = store.load(name)
        if taking and not machine.pending and edited(machine, edits) == machine:
            say(f"{name}: nothing of it was set by machinectl")
            continue
        if machine.inventory:
            say(
                f"{name}: it is in the inventory {machine.inventory}: the next `machinectl apply` takes this back"
            )
        touched.append(name)
    if touched:
        change = Change(edit=lambda machine: edited(machine, edits))
        provision(store, touched, change, become=become, quiet=quiet, dry_run=dry_run)


def value_of(machine: Machine, key: str) -> Any:
    """What is wanted of one key. Raises `MachinectlError` where nothing is."""
    kind, name = parse_key(key)
    found = (machine.engine.get(kind) or {}).get(name)
    if found is None:
        raise MachinectlError(
            f"{name} is not set by machinectl",
            hint=f"`machinectl config get {machine.name}` lists what is; the host's own daemon.json may have it",
            machine=machine.name,
        )
    return found
