"""describe: one machine in the shape of docker-machine's `inspect` (libmachine/host.Host, version 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from machinectl.model import DRIVER, Machine
from machinectl.pki.pem_files import authority_folder
from machinectl.store.paths import resolved_path
from machinectl.store.store import Store
from machinectl_agent.spec import redact_document

_LIBMACHINE_VERSION = 3

_HIDDEN = "(hidden)"

_OPTIONS = {
    "Dns": ("dns", list),
    "GraphDir": ("data-root", str),
    "Ipv6": ("ipv6", bool),
    "InsecureRegistry": ("insecure-registries", list),
    "Labels": ("labels", list),
    "LogLevel": ("log-level", str),
    "StorageDriver": ("storage-driver", str),
    "SelinuxEnabled": ("selinux-enabled", bool),
    "RegistryMirror": ("registry-mirrors", list),
}
"""docker-machine's field: (daemon.json's key, its type)."""


def describe(store: Store, machine: Machine) -> dict[str, Any]:
    """The document; its paths are absolute, by where the store is now. Holds no secret."""
    document = machine.to_json()
    engine = {**machine.engine, "options": redact_document(machine.engine.get("options") or {})}
    document["engine"] = {**engine, "env": _hidden(machine.engine)}
    document.pop("pending", None)
    return {
        "ConfigVersion": _LIBMACHINE_VERSION,
        "Driver": {
            "IPAddress": machine.ip,
            "MachineName": machine.name,
            "SSHUser": machine.ssh.user or machine.login or "root",
            "SSHPort": machine.ssh.port or 22,
            "SSHKeyPath": resolved_path(machine.ssh.key, store.path),
            "StorePath": str(store.path),
            "SwarmMaster": False,
            "SwarmHost": "",
            "SwarmDiscovery": "",
            "EnginePort": machine.engine_port,
            "SSHKey": machine.ssh.key,
        },
        "DriverName": DRIVER,
        "HostOptions": {
            "Driver": "",
            "Memory": 0,
            "Disk": 0,
            "EngineOptions": _engine_options(engine),
            "SwarmOptions": {"IsSwarm": False, "Discovery": "", "Master": False, "Host": ""},
            "AuthOptions": _auth_options(store, machine),
        },
        "Name": machine.name,
        "Machinectl": document,
    }


def _engine_options(engine: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(engine.get("options") or {})
    fields = {field: options.pop(key, kind()) for field, (key, kind) in _OPTIONS.items()}
    return {
        "ArbitraryFlags": [f"{key}={_flag_value(value)}" for key, value in sorted(options.items())],
        **fields,
        "Env": [f"{key}={value}" for key, value in _hidden(engine).items()],
        "TlsVerify": True,
        "InstallURL": "",
    }


def _flag_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hidden(engine: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys(engine.get("env") or {}, _HIDDEN)


def _auth_options(store: Store, machine: Machine) -> dict[str, Any]:
    folder = store.path / "machines" / machine.name
    certs = authority_folder(store.path / "certs", folder)
    return {
        "CertDir": str(certs),
        "CaCertPath": str(certs / "ca.pem"),
        "CaPrivateKeyPath": str(certs / "ca-key.pem"),
        "CaCertRemotePath": "/etc/docker/ca.pem",
        "ServerCertPath": str(folder / "server.pem"),
        "ServerKeyPath": str(folder / "server-key.pem"),
        "ClientKeyPath": str(certs / "key.pem"),
        "ServerCertRemotePath": "/etc/docker/server.pem",
        "ServerKeyRemotePath": "/etc/docker/server-key.pem",
        "ClientCertPath": str(certs / "cert.pem"),
        "ServerCertSANs": list(machine.tls_san),
        "StorePath": str(folder),
    }
