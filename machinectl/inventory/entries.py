"""What single values of settings look like. The agent and `create` have the same rules; here an error has a line."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

MACHINE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-.]*")
"""As the store's rule for names."""
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""As `create --ip`."""
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:@-]*")
"""As the agent's phase host-packages."""
REGISTRY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:\d{1,5})?")
"""As the agent's phase files."""
SYSCTL = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_.:@-]+)+")
"""As the agent's phase sysctl."""

VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's rule."""
_OF_A_VOLUME = {"driver": "driver", "options": "options", "driver-opts": "options", "labels": "labels"}
"""What may be said of one; `driver_opts` is docker compose's word."""


class WrongError(ValueError):
    """What is wrong with a value; `hint` is what to write."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_host(text: str) -> None:
    """An address or a host's name."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not is_address(bare) and not HOST.fullmatch(bare):
        raise WrongError(f"{text!r} is neither an address nor a host's name")


def check_entry(setting: str, text: str) -> None:
    """One entry of the list `setting`. Raises `WrongError`."""
    if setting == "registry-mirrors" and not text.startswith(("http://", "https://")):
        raise WrongError(f"{text} is no URL", f"write https://{text}")
    if setting == "labels" and "=" not in text:
        raise WrongError(f"{text} is no label", "write KEY=VALUE")
    if setting == "dns" and not is_address(text):
        raise WrongError(f"{text} is no address")
    if setting == "packages" and not PACKAGE.fullmatch(text):
        raise WrongError(f"{text!r} is no name of a package")
    if setting == "tls-san":
        check_host(text.removeprefix("*."))


def check_key(setting: str, name: str) -> None:
    """One key of the map `setting`. Raises `WrongError`."""
    if setting == "sysctl" and (not SYSCTL.fullmatch(name) or ".." in name):
        raise WrongError(f"{name!r} is no kernel setting", "write it as sysctl prints it: net.core.somaxconn")
    if setting == "registry-cas" and not REGISTRY.fullmatch(name):
        raise WrongError(f"{name!r} is no registry", "write HOST:PORT, as in an image's name")
    if setting == "engine-env" and not name.isidentifier():
        # the value may be a password: only the name is shown
        raise WrongError(f"{name!r} is no name of a variable")


def check_volume(name: str, value: Any) -> dict[str, Any]:
    """One volume: driver, options, labels. Options may have passwords: no value is shown. Raises `WrongError`."""
    if not VOLUME.fullmatch(name):
        raise WrongError(f"{name!r} is no name of a volume", "folders need no setting, Docker makes them")
    if not isinstance(value, (dict, type(None))):
        raise WrongError(f"{name}: a mapping is wanted", f"write {name}: {{driver: local}}")
    found: dict[str, Any] = {"driver": "local", "options": {}, "labels": {}}
    for written, one in (value or {}).items():
        key = _OF_A_VOLUME.get(str(written).replace("_", "-"))
        if key is None:
            raise WrongError(
                f"{name}: a volume has no {str(written)!r}", "there are driver, options and labels"
            )
        if key == "driver":
            if not isinstance(one, str) or not one:
                raise WrongError(f"{name}: driver: a text is wanted")
            found[key] = one
            continue
        if not isinstance(one, (dict, type(None))):
            raise WrongError(f"{name}: {written}: a mapping is wanted")
        for entry, text in (one or {}).items():
            if isinstance(text, (dict, list)):
                raise WrongError(f"{name}: {written}: {entry}: a text is wanted")
            found[key][str(entry)] = (
                str(text).lower() if isinstance(text, bool) else "" if text is None else str(text)
            )
    return found
