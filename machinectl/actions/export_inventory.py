"""inventory export: the machines of the store, written as an inventory. No secret is in it."""

from __future__ import annotations

from typing import Any

from machinectl.model import Machine
from machinectl.store.etcd import load_etcd
from machinectl.store.store import Store
from machinectl_agent.spec import redact_document


def export_inventory(store: Store) -> str:
    """YAML. What is secret (values of the engine's environment, contents of files) is left to the reader: a comment
    says where."""
    import yaml  # noqa: PLC0415 - only here

    etcd = load_etcd(store)
    members = set(etcd.members) if etcd else set()
    hosts: dict[str, Any] = {}
    notes: list[str] = []
    for name in store.names():
        machine = store.load(name)
        hosts[name] = _variables(machine, name in members)
        notes.extend(_left_out(machine))
    text = yaml.safe_dump({"all": {"hosts": hosts}}, sort_keys=False, allow_unicode=True, width=110)
    return "".join(f"# {note}\n" for note in notes) + text


def _variables(machine: Machine, member: bool) -> dict[str, Any]:
    ssh = machine.ssh
    found: dict[str, Any] = {"ansible_host": ssh.host}
    more = {
        "ansible_port": ssh.port,
        "ansible_user": ssh.user,
        "ansible_ssh_private_key_file": ssh.key,
        "ansible_ssh_common_args": f"-o ProxyJump={ssh.jump}" if ssh.jump else "",
    }
    found.update({name: value for name, value in more.items() if value})
    settings = _settings(machine, member)
    return {**found, "machinectl": settings} if settings else found


def _settings(machine: Machine, member: bool) -> dict[str, Any]:
    engine = machine.engine
    settings: dict[str, Any] = dict(redact_document(dict(engine.get("options") or {})))
    for key, name in (("version", "engine-version"), ("mirror", "engine-mirror")):
        if engine.get(key):
            settings[name] = engine[key]
    if engine.get("packages"):
        settings["engine-package"] = [one["path"] for one in engine["packages"]]
    if engine.get("adopt"):
        settings["adopt"] = True
    if machine.ip != machine.ssh.host:
        settings["ip"] = machine.ip
    if machine.engine_port != 2376:
        settings["engine-port"] = machine.engine_port
    if machine.tls_san:
        settings["tls-san"] = list(machine.tls_san)
    for name in ("os", "sysctl", "packages"):
        if machine.host.get(name):
            settings[name] = machine.host[name]
    if machine.host.get("hostname"):
        settings["set-hostname"] = True
    if machine.network.get("state") in ("joining", "member"):
        advertise = machine.network.get("vtep")
        settings["network"] = {"advertise": advertise} if advertise else True
    if member:
        settings["etcd"] = True
    return settings


def _left_out(machine: Machine) -> list[str]:
    notes = []
    if machine.engine.get("env"):
        names = ", ".join(sorted(machine.engine["env"]))
        notes.append(
            f"{machine.name}: engine-env has {names}; their values may be secrets and are not written here"
        )
    if machine.files:
        paths = ", ".join(str(one["path"]) for one in machine.files)
        notes.append(f"{machine.name}: files has {paths}; their contents are not written here")
    return notes
