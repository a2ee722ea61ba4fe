"""The controller's frozen data: what a machine is, in the words of the design. No I/O here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONFIG_VERSION = 1
"""Version of config.json; store/migrations.py brings older ones up to it."""

DRIVER = "generic"
"""docker-machine's word for 'a host that is already there'; scripts filter on it."""


@dataclass(frozen=True)
class SshAddress:
    """How to reach a host by SSH. Empty strings mean: as ~/.ssh/config and SSH's own defaults say."""

    host: str
    port: int = 0
    user: str = ""
    key: str = ""
    """Path of a private key, `~` allowed; relative paths are relative to the store's folder."""
    jump: str = ""
    """ProxyJump in OpenSSH's form, `[user@]host[:port][,…]`; empty: as ~/.ssh/config says."""
    config: str = ""
    """An OpenSSH client configuration file instead of ~/.ssh/config."""


@dataclass(frozen=True)
class Machine:
    """One managed machine as the store remembers it (machines/NAME/config.json)."""

    name: str
    ip: str
    """Address that clients use to reach dockerd: IPv4, IPv6 or a host name."""
    ssh: SshAddress
    engine_port: int = 2376
    engine: Mapping[str, Any] = field(default_factory=dict)
    """The wanted engine as create's flags gave it: options, env, version, mirror, adopt."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """The wanted host: os, hostname, sysctl, packages, registry_cas (HOST:PORT → PEM)."""
    tls_san: tuple[str, ...] = ()
    network: Mapping[str, Any] = field(default_factory=dict)
    """Membership in machinectl's networks: `id` (minted once), `vtep` (as --advertise gave it), `pools` and
    `pool_size` (where subnets are chosen from), `state` (`joining`, `member`, `leaving`, `out`); empty: it never
    joined."""
    files: tuple[Mapping[str, Any], ...] = ()
    """Files of the user's own on the host: path, sha256, size, mode, owner, group, restart, secret. What is in them
    is in the machine's folder (store/contents.py)."""
    images: tuple[Mapping[str, Any], ...] = ()
    """Images that the engine has: name, id, likeness, size, and file (as `portable_path` writes it) or machine."""
    inventory: str = ""
    """The inventory that the machine is in, as `apply` was told it; empty: it was made by `create`."""
    pending: Mapping[str, Any] = field(default_factory=dict)
    """`engine`, `host`, `tls_san`, `files`, `images` of a run under way; found by the next one when that
    was killed."""
    moved_from: str = ""
    """The address before, while a set-ip is under way."""
    state: str = "new"
    """`new` until an apply has succeeded once (a killed create leaves it), then `ready`."""
    login: str = ""
    """The user that SSH logged in as last: by flag, by ~/.ssh/config, or root. `env --ssh` names it."""
    engine_version: str = ""
    """As dockerd said it last."""
    os: str = ""
    """PRETTY_NAME of the host's os-release, as the agent said it last."""
    created: str = ""
    """RFC 3339, UTC."""

    @property
    def url(self) -> str:
        """What DOCKER_HOST is set to; IPv6 addresses in brackets (RFC 3986, 3.2.2)."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"tcp://{host}:{self.engine_port}"

    def to_json(self) -> dict[str, Any]:
        """config.json's content; holds no secret and no absolute path of the controller's store."""
        return {"config_version": CONFIG_VERSION, "driver": DRIVER, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Machine:
        """The reverse of `to_json`; keys that this version does not know are ignored, not lost by a save."""
        known = {one.name for one in dataclasses.fields(cls)}
        values = {key: value for key, value in document.items() if key in known}
        inner = {one.name for one in dataclasses.fields(SshAddress)}
        values["ssh"] = SshAddress(**{key: value for key, value in values["ssh"].items() if key in inner})
        values["tls_san"] = tuple(values.get("tls_san", ()))
        values["files"] = tuple(values.get("files", ()))
        values["images"] = tuple(values.get("images", ()))
        return cls(**values)
