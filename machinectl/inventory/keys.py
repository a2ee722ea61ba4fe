"""Every setting of a machine: its names, its kind, what it is for. docs/inventory.md's table is made of this one.

The options of dockerd come from the agent's table: daemon.json's key (`registry-mirrors`), dockerd's flag
(`registry-mirror`) and create's flag (`engine-registry-mirror`) name the same setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.entries import WrongError, check_entry, check_host, check_key, check_volume
from machinectl_agent.spec import OURS, TABLE, Option, OptionError, parse_value

FLAG, NUMBER, TEXT, LIST, MAP = "flag", "number", "text", "list", "map"


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    kind: str
    help: str
    option: Option | None = None
    """The option of dockerd that it is."""
    also: tuple[str, ...] = ()
    """Further names."""

    @property
    def merges(self) -> bool:
        """A stronger group's map adds to a weaker one's; all other kinds replace."""
        return self.kind in (MAP, "volumes")

    def check(self, value: Any, place: str) -> Any:
        """The value in its kind. Raises `InventoryError`."""
        try:
            return _CHECKS[self.kind](self, value)
        except WrongError as error:
            raise InventoryError(f"{place}: {self.name}: {error}", hint=error.hint) from None


def _flag(_key: Key, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return value.lower() in ("true", "yes", "on")
    raise WrongError(f"true or false is wanted, not {value!r}")


def _number(key: Key, value: Any) -> int:
    if isinstance(value, bool) or not (
        isinstance(value, int) or (isinstance(value, str) and value.isdecimal())
    ):
        raise WrongError(f"a whole number is wanted, not {value!r}")
    if key.name.endswith("port") and not 0 < int(value) < 65536:
        raise WrongError(f"a port is a number from 1 to 65535, not {value}")
    if key.name == "engine-port" and int(value) == 2375:
        raise WrongError("2375 means Docker without TLS to every client", "leave it out (2376)")
    return int(value)


def _text(key: Key, value: Any) -> str:
    if isinstance(value, float):
        raise WrongError(f"YAML reads {value} as a number", f'put it into quotation marks: "{value}"')
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise WrongError(f"a text is wanted, not {value!r}")
    if "\n" in str(value) or not str(value):
        raise WrongError("a text on one line is wanted")
    if key.name == "engine-mirror" and not str(value).startswith(("https://", "http://")):
        raise WrongError(f"{value} is no URL", "write https://HOST/PATH")
    if key.name == "ip":
        check_host(str(value))
    return str(value)


def _list(key: Key, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WrongError(f"a list is wanted, not {value!r}", f"write {key.name}: [{value}]" if value else "")
    if key.name in ("files", "images"):
        return value
    if key.option and key.option.key == "default-address-pools":
        return [_pool(one) for one in value]
    for one in value:
        if not isinstance(one, (str, int)) or isinstance(one, bool):
            raise WrongError(f"a list of texts is wanted, {one!r} is none")
    texts = [str(one) for one in value]
    again = next((one for one in texts if texts.count(one) > 1), None)
    if again is not None:
        raise WrongError(f"{again} is there twice")
    for one in texts:
        check_entry(key.name, one)
    return texts


def _pool(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and set(value) == {"base", "size"} and isinstance(value["size"], int):
        return dict(value)
    raise WrongError("a base and a size are wanted", "write {base: 10.10.0.0/16, size: 24}")


def _map(key: Key, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongError(f"a mapping is wanted, not {_kind(value)}")
    if key.name == "engine-opt":
        return dict(value)
    found = {}
    for name, one in value.items():
        check_key(key.name, str(name))
        if isinstance(one, (list, dict)) and not key.option:
            raise WrongError(f"{name}: a text is wanted, not {_kind(one)}")
        if key.option:
            found[str(name)] = _option_entry(key.option, str(name), one)
        else:
            found[str(name)] = str(one).lower() if isinstance(one, bool) else "" if one is None else str(one)
    return found


def _kind(value: Any) -> str:
    """Of a value that may be a secret: proxies have passwords."""
    kinds: dict[type, str] = {list: "a list", dict: "a mapping", str: "a text", type(None): "nothing"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), type(value).__name__)


def _option_entry(option: Option, name: str, value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return parse_value(option, f"{name}={text}")[name]
    except OptionError as error:
        raise WrongError(error.what, error.hint) from error


def _network(_key: Key, value: Any) -> Any:
    return value if isinstance(value, dict) else _flag(_key, value)


def _volumes(_key: Key, value: Any) -> dict[str, dict[str, Any]]:
    """Name → driver, options, labels; a list of names is enough."""
    if isinstance(value, list):
        value = dict.fromkeys(value) if all(isinstance(one, (str, int)) for one in value) else None
    if not isinstance(value, dict):
        raise WrongError("a list of names or a mapping is wanted", "write volumes: [NAME, …]")
    return {str(name): check_volume(str(name), one) for name, one in value.items()}


_CHECKS: dict[str, Callable[[Key, Any], Any]] = {
    FLAG: _flag,
    NUMBER: _number,
    TEXT: _text,
    LIST: _list,
    MAP: _map,
    "network": _network,
    "volumes": _volumes,
}

OWN = (
    Key(
        "ip",
        TEXT,
        "address that clients use to reach dockerd (default: `ansible_host`, else the host's name)",
    ),
    Key("engine-version", TEXT, "pin this version of Docker Engine"),
    Key("engine-mirror", TEXT, "install Docker's own packages from this copy of download.docker.com"),
    Key("engine-package", LIST, "upload and install these .deb or .rpm files"),
    Key("engine-port", NUMBER, "TCP port of dockerd (default 2376)"),
    Key("engine-env", MAP, "environment of dockerd, such as proxies"),
    Key("engine-opt", MAP, "any other option of dockerd, as daemon.json has it"),
    Key("adopt", FLAG, "never install or upgrade: take the engine that is there"),
    Key("tls-san", LIST, "further names and addresses in the certificate"),
    Key("os", TEXT, "take the host for debian, redhat, suse or arch"),
    Key("set-hostname", FLAG, "set the host's name to the machine's name"),
    Key("sysctl", MAP, "kernel settings"),
    Key(
        "registry-cas",
        MAP,
        "CAs of registries: HOST:PORT → a PEM file, or a machine of ours that the registry is on",
    ),
    Key("packages", LIST, "packages of the distribution"),
    Key(
        "files",
        LIST,
        "files on the host: dest, src or content or template, mode, owner, group, restart, secret",
    ),
    Key(
        "images",
        LIST,
        "images that the engine has: a name (pulled), or name and file (a tar file's) or from (a machine's)",
    ),
    Key(
        "network", "network", "a member of machinectl's networks: true, or {advertise: ADDRESS or INTERFACE}"
    ),
    Key(
        "volumes",
        "volumes",
        "volumes that are there: a list of names, or NAME → {driver, options, labels}; none is ever removed",
    ),
    Key("etcd", FLAG, "a member of the etcd cluster (default: is the host in a group `etcd`?)"),
    Key("context", FLAG, "keep a `docker context` entry for it"),
)


def _of_option(option: Option) -> Key:
    also = tuple(
        dict.fromkeys(one for one in (option.flag, option.create.removeprefix("--")) if one != option.key)
    )
    return Key(option.key, option.kind, option.help, option, tuple(one for one in also if one))


_TAKEN = {key.name for key in OWN}
"""dockerd has an `ip`, too: that of published ports. It is in `engine-opt`."""
KEYS = (
    *OWN,
    *(_of_option(option) for option in TABLE if option.key not in OURS and option.key not in _TAKEN),
)
_BY_NAME = {name: key for key in reversed(KEYS) for name in (key.name, *key.also)}


def find_key(written: Any, place: str) -> Key:
    """By any of its names, `_` for `-` too. Raises `InventoryError` with the nearest one."""
    name = str(written).replace("_", "-")
    if name in OURS:
        raise InventoryError(f"{place}: {written} can't be set", hint=OURS[name])
    key = _BY_NAME.get(name)
    if key is None:
        near = difflib.get_close_matches(name, _BY_NAME, 1, 0.6)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else "docs/inventory.md lists them; `engine-opt` takes any option"
        )
        raise InventoryError(f"{place}: there is no setting {str(written)!r}", hint=hint)
    return key
