"""inventory export: the machines of the store, written as an inventory. No secret is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from machinectl.actions.context import contexts_of
from machinectl.inventory.keys import KEYS
from machinectl.inventory.located import Unsafe
from machinectl.model import Machine
from machinectl.store.etcd import load_etcd
from machinectl.store.store import Store
from machinectl_agent.spec import redact_document


def export_inventory(store: Store) -> str:
    """YAML. What is secret (values of the engine's environment, tokens in options, contents of files) is left to the
    reader: a comment says where."""
    etcd = load_etcd(store)
    members = set(etcd.members) if etcd else set()
    contexts = {one.machine for one in contexts_of(store) if one.name == one.machine}
    hosts: dict[str, Any] = {}
    notes: list[str] = []
    for name in store.names():
        machine = store.load(name)
        settings, left_out = _settings(machine)
        settings.update({"etcd": True} if name in members else {})
        settings.update({"context": True} if name in contexts else {})
        hosts[name] = _connection(machine, store) | ({"machinectl": settings} if settings else {})
        notes.extend(f"{name}: {one}" for one in left_out)
    return "".join(f"# {note}\n" for note in notes) + _yaml({"all": {"hosts": _unsafe(hosts)}})


def _connection(machine: Machine, store: Store) -> dict[str, Any]:
    ssh = machine.ssh
    # in the record it may be relative to the store
    key = ssh.key if not ssh.key or ssh.key.startswith("~") else str(store.path / ssh.key)
    found = {
        "ansible_host": ssh.host,
        "ansible_port": ssh.port,
        "ansible_user": ssh.user,
        "ansible_ssh_private_key_file": key,
        "ansible_ssh_common_args": f"-o ProxyJump={ssh.jump}" if ssh.jump else "",
    }
    return {name: value for name, value in found.items() if value}


def _settings(machine: Machine) -> tuple[dict[str, Any], list[str]]:
    """And what is left out."""
    engine = machine.engine
    settings, notes = _without_secrets(dict(engine.get("options") or {}))
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
    if machine.images:
        settings["images"] = [_image(one) for one in machine.images]
    settings.update(_host(machine))
    volumes, hidden = _volumes(machine)
    if volumes:
        settings["volumes"] = volumes
    notes.extend(hidden)
    if machine.network.get("state") in ("joining", "member"):
        advertise = machine.network.get("vtep")
        settings["network"] = {"advertise": advertise} if advertise else True
    if engine.get("env"):
        names = ", ".join(sorted(engine["env"]))
        notes.append(f"engine-env has {names}; their values may be secrets and are not written here")
    if machine.files:
        paths = ", ".join(str(one["path"]) for one in machine.files)
        notes.append(f"files has {paths}; their contents are not written here")
    return settings, notes


def _host(machine: Machine) -> dict[str, Any]:
    found = {name: machine.host[name] for name in ("os", "sysctl", "packages") if machine.host.get(name)}
    if machine.host.get("registry_cas"):
        found["registry-cas"] = dict(machine.host["registry_cas"])
    return {**found, "set-hostname": True} if machine.host.get("hostname") else found


def _image(entry: Mapping[str, Any]) -> Any:
    found = {"name": entry["name"], "file": entry["file"], "from": entry["machine"]}
    written = {key: value for key, value in found.items() if value}
    return written["name"] if set(written) == {"name"} else written


def _volumes(machine: Machine) -> tuple[dict[str, Any], list[str]]:
    """One whose options have a password is left out whole: it would be another volume without."""
    wanted = machine.host.get("volumes") or {}
    secret = [name for name, one in wanted.items() if "pass" in str(one.get("options", "")).lower()]
    notes = [f"volumes has {name}; its options may be secret and are not written here" for name in secret]
    shown = {name: one for name, one in wanted.items() if name not in secret}
    return {name: {key: part for key, part in one.items() if part} for name, one in shown.items()}, notes


def _without_secrets(options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options whose values may be shown, whole: half of a secret would be taken for all of it."""
    shown: dict[str, Any] = {}
    notes = []
    for name, value in options.items():
        if isinstance(value, dict):
            shown[name] = {
                key: one for key, one in value.items() if redact_document({key: one}) == {key: one}
            }
            hidden = ", ".join(f"{name}.{key}" for key in value if key not in shown[name])
        elif redact_document({name: value}) == {name: value}:
            shown[name], hidden = value, ""
        else:
            hidden = name
        if hidden:
            notes.append(f"{hidden} may be secret and is not written here")
    known = {key.name for key in KEYS if key.option}
    settings = {name: value for name, value in shown.items() if value != {} and name in known}
    further = {name: value for name, value in shown.items() if value != {} and name not in known}
    return {**settings, "engine-opt": further} if further else settings, notes


def _unsafe(value: Any) -> Any:
    """What looks like a template is none: docker has `{{.Name}}`, too."""
    if isinstance(value, dict):
        return {key: _unsafe(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsafe(one) for one in value]
    is_template = isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)
    return Unsafe(value) if is_template else value


def _yaml(document: Any) -> str:
    import yaml  # noqa: PLC0415 - only here

    class Dumper(yaml.SafeDumper):
        """Knows `!unsafe`."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), "'"))
    return str(yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110))
