"""docker-machine's record of a machine (libmachine/host.Host, ConfigVersion 0 to 3) as ours. Pure.

What differs between its versions: 0 has the certificates' paths at the top and no engine options, 1 has no Name,
2 no StorePath in the driver. The driver's fields are libmachine/drivers.BaseDriver's, for every driver.
Light on purpose, like records.py: the fast path may come through here.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see records.py
if TYPE_CHECKING:
    from typing import Any

NEWEST = 3
"""The last ConfigVersion that docker-machine had."""

_LISTS = {
    "labels": "Labels",
    "insecure-registries": "InsecureRegistry",
    "registry-mirrors": "RegistryMirror",
    "dns": "Dns",
}
_TEXTS = {"storage-driver": "StorageDriver", "log-level": "LogLevel", "data-root": "GraphDir"}
_FLAGS = {"ipv6": "Ipv6", "selinux-enabled": "SelinuxEnabled"}

_FORWARDED = ("virtualbox",)
"""Drivers whose SSHPort is one of this computer's, forwarded to the virtual machine."""


def from_docker_machine(old: dict[str, Any], name: str = "") -> tuple[dict[str, Any], list[str]]:
    """The record (config_version 1), and what of the old one has no meaning here.

    `name`: the folder's; else the record's own. A key in docker-machine's store becomes `machines/NAME/FILE`.
    Raises KeyError, TypeError, ValueError for what is no such record.
    """
    driver = old["Driver"]
    name = name or str(old.get("Name") or driver["MachineName"])
    options = old.get("HostOptions") or {}
    engine, left = _engine(options.get("EngineOptions") or {})
    address = driver["IPAddress"]
    if not isinstance(address, str) or not address:
        raise ValueError("it has no address")
    forwarded = old.get("DriverName") in _FORWARDED
    if (options.get("SwarmOptions") or {}).get("IsSwarm"):
        left.append("classic Swarm")
    record = {
        "config_version": 1,
        "driver": "generic",
        "name": name,
        "ip": address,
        "ssh": {
            "host": "127.0.0.1" if forwarded else address,
            "port": int(driver.get("SSHPort") or 0),
            "user": str(driver.get("SSHUser") or ""),
            "key": key_inside(str(driver.get("SSHKeyPath") or "")),
        },
        "engine_port": int(driver.get("EnginePort") or 2376),
        "engine": engine,
        "tls_san": list((options.get("AuthOptions") or {}).get("ServerCertSANs") or ()),
        "state": "ready",
    }
    return record, left


def key_inside(path: str) -> str:
    """`/home/u/.docker/machine/machines/node1/id_rsa` → `machines/node1/id_rsa`: a store's own place is not to be
    relied on. Any other path is left as it is."""
    parts = path.replace("\\", "/").split("/")
    if len(parts) > 3 and parts[-3] == "machines":
        return "/".join(parts[-3:])
    return path


def _engine(old: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    options: dict[str, Any] = {}
    for names, kind in ((_LISTS, list), (_TEXTS, str), (_FLAGS, bool)):
        options.update({key: kind(old[field]) for key, field in names.items() if old.get(field)})
    pairs: list[tuple[str, Any]] = list(options.items())
    left = []
    if old.get("ArbitraryFlags"):
        from machinectl_agent.spec import OptionError, collect, parse_assignment  # noqa: PLC0415 - rarely there

        for flag in old["ArbitraryFlags"]:
            try:
                pairs.append(parse_assignment(str(flag)))
            except OptionError as error:
                left.append(f"--engine-opt {str(flag).partition('=')[0]} ({error.what})")
        options = collect(pairs)
    env = dict(str(one).split("=", 1) for one in old.get("Env") or () if "=" in str(one))
    return {"options": options, "env": env}, left
