"""What belongs to the registry of one port on this machine, and its configuration's text. Pure."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Tuple
from urllib.parse import quote

from machinectl_agent.host import Host
from machinectl_agent.registry.spec import RegistrySpec

FOLDER = "/etc/machinectl-registry"
USER = "machinectl-registry"
"""Whose are the files and, by `docker run --user`, the container: the two ways can take turns on one storage."""
RUNNER = "/opt/machinectl/registry/serve.py"
CHECKER = "/opt/machinectl/registry/platforms.py"
PROGRAMS = (RUNNER, CHECKER)
"""Ours, of all ports."""


def folder(port: int) -> str:
    return f"{FOLDER}/{port}"


def config_file(port: int) -> str:
    return f"{folder(port)}/config.yml"


def offline_file(port: int) -> str:
    """A mirror's configuration for as long as its upstream does not answer."""
    return f"{folder(port)}/offline.yml"


def owner_file(port: int) -> str:
    """Which controller deployed it."""
    return f"{folder(port)}/controller"


def unit(port: int) -> str:
    return f"machinectl-registry-{port}.service"


def collector(port: int) -> str:
    return f"machinectl-registry-{port}-gc.service"


def unit_file(name: str) -> str:
    return f"/etc/systemd/system/{name}"


def ports(host: Host) -> Tuple[int, ...]:
    """Of all registries of ours."""
    return tuple(int(name) for name in host.names(FOLDER) if name.isdigit())


def read_config(host: Host, port: int) -> Dict[str, Any]:
    """Empty where there is none; YAML that we write is JSON, too."""
    try:
        found = json.loads(host.read(config_file(port)) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def storage_of(config: Mapping[str, Any]) -> str:
    return str(config.get("storage", {}).get("filesystem", {}).get("rootdirectory", ""))


def files(spec: RegistrySpec) -> Dict[str, str]:
    """Path → text; all of them are the registry's user's to read."""
    here = folder(spec.port)
    found = {owner_file(spec.port): f"{spec.controller}\n", config_file(spec.port): _config(spec)}
    if spec.cert:
        found[f"{here}/server-key.pem"] = spec.key
        found[f"{here}/server.pem"] = spec.cert
    if spec.htpasswd:
        found[f"{here}/htpasswd"] = spec.htpasswd
    if spec.upstream:
        found[offline_file(spec.port)] = _config(spec, offline=True)
        found[f"{here}/trust/ca.pem"] = spec.ca
    return found


def _config(spec: RegistrySpec, *, offline: bool = False) -> str:
    here = folder(spec.port)
    http: Dict[str, Any] = {
        "addr": f":{spec.port}",
        "headers": {"X-Content-Type-Options": ["nosniff"]},
    }
    if spec.cert:
        http["tls"] = {"certificate": f"{here}/server.pem", "key": f"{here}/server-key.pem"}
    storage: Dict[str, Any] = {
        "filesystem": {"rootdirectory": spec.place},
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": not spec.upstream},
    }
    if offline:
        storage["maintenance"] = {"readonly": {"enabled": True}}
    config: Dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": True}},
        "storage": storage,
        "http": http,
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
    if spec.htpasswd:
        config["auth"] = {"htpasswd": {"realm": "machinectl", "path": f"{here}/htpasswd"}}
    if spec.upstream and not offline:
        config["proxy"] = {"remoteurl": spec.upstream}
        if spec.upstream_user:
            # the two keys are used for upstreams that hand out tokens only; one that wants a password itself gets it
            # from the URL, which the program writes into its log at the level `info`
            config["proxy"]["username"] = spec.upstream_user
            config["proxy"]["password"] = spec.upstream_password
            config["proxy"]["remoteurl"] = _with_login(spec)
            config["log"]["level"] = "warn"
    return json.dumps(config, indent=1, sort_keys=True) + "\n"


def _with_login(spec: RegistrySpec) -> str:
    scheme, between, rest = spec.upstream.partition("://")
    return f"{scheme}{between}{quote(spec.upstream_user, safe='')}:{quote(spec.upstream_password, safe='')}@{rest}"
