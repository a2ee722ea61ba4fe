"""registry deploy: a registry on a machine, or the one that is there brought to new wishes.

record it as wanted ─► agent: observe, plan, apply, wait for its answer ─► remember ─► machines that are to use it
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from machinectl.actions.converge import server_names
from machinectl.actions.provision import UNKNOWN_OUTCOMES
from machinectl.actions.registry.access import url_of
from machinectl.actions.registry.asking import ask
from machinectl.actions.report import Report, render_plan
from machinectl.errors import AgentFailed, UsageError
from machinectl.model import Machine
from machinectl.pki.authority import Authority, ensure_authority
from machinectl.pki.leaves import ensure_registry
from machinectl.remote.become import Become
from machinectl.store.registries import PORT, Registry, forget_registry, load_registries, save_registry
from machinectl.store.store import Store

COST = 8
"""bcrypt's work factor, 2^8 rounds: docker logs in anew with each of its many requests, 15 ms each here. The password
itself is in this store anyhow."""
LONGEST = 72
"""Bytes of a password; bcrypt ignores what follows."""
URL = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True)
class Deployed:
    """What a deploy has done."""

    machine: Machine
    registry: Registry
    url: str
    via: str
    storage: str
    changed: int
    plan: str = ""
    """With a dry run."""


def deploy(
    store: Store,
    name: str,
    wishes: Mapping[str, Any],
    *,
    password: Callable[[Registry | None], str] | None = None,
    upstream_password: Callable[[Registry | None], str] | None = None,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
    take_over: bool = False,
) -> Deployed:
    """`wishes`: fields of `Registry` that are asked for; the others stay. `password`: asked with what is remembered,
    where there is to be a login. Raises before anything changes where a wish is not possible."""
    store.load(name)
    with store.machine_lock(name, wait=30.0):
        machine = store.load(name)
        present = load_registries(store, name).get(int(wishes.get("port", PORT)))
        registry = wanted(present, wishes)
        if registry.user and password:
            registry = with_password(registry, present, password(present))
        if registry.upstream_user and upstream_password:
            registry = dataclasses.replace(registry, upstream_password=upstream_password(present))
        report = Report(name, quiet=quiet)
        spec = {**_spec(store, machine, registry), "take_over": take_over}
        if dry_run:
            return _preview(store, machine, registry, spec, become, report)
        save_registry(store, name, dataclasses.replace(registry, state="new"))
        result = _apply(store, machine, present, registry, spec, become, report)
        registry = dataclasses.replace(registry, state="ready")
        save_registry(store, name, registry)
    url, storage = url_of(machine, registry), str(result["storage"])
    return Deployed(machine, registry, url, str(result["via"]), storage, int(result["changed"]))


def wanted(present: Registry | None, wishes: Mapping[str, Any]) -> Registry:
    """Pure: the record as it shall be, but for passwords. Raises `UsageError`."""
    registry = dataclasses.replace(present or Registry(), **wishes)
    if registry.plain and registry.user:
        raise UsageError(
            "a login by plain HTTP",
            why="everybody on the way could read the password",
            hint="leave --plain away (TLS with this store's CA), or --user",
        )
    if not registry.user:
        registry = dataclasses.replace(registry, password="", htpasswd="")
    if ":" in registry.user or any(not sign.isprintable() for sign in registry.user):
        raise UsageError(f"--user {registry.user!r}: no colon and no control characters")
    if registry.upstream and not URL.fullmatch(registry.upstream):
        raise UsageError(
            "--mirror-of wants a registry's URL",
            why="https://HOST[:PORT], without user and password",
            hint="credentials go into --mirror-user and what asks for its password",
        )
    if registry.upstream_user and not registry.upstream:
        raise UsageError("--mirror-user is of no meaning without --mirror-of")
    return registry


def with_password(registry: Registry, present: Registry | None, password: str) -> Registry:
    """With the hash that there is, where user and password are the same. Raises `UsageError`."""
    if present and present.htpasswd and (present.user, present.password) == (registry.user, password):
        return dataclasses.replace(registry, password=password, htpasswd=present.htpasswd)
    import bcrypt  # noqa: PLC0415 - paramiko brings it; only a new password needs it

    encoded = password.encode()
    if not encoded or len(encoded) > LONGEST or b"\0" in encoded:
        raise UsageError(
            "the password can't be used", why=f"a registry's has 1 to {LONGEST} bytes, and no zero byte"
        )
    line = f"{registry.user}:{bcrypt.hashpw(encoded, bcrypt.gensalt(COST)).decode()}\n"
    return dataclasses.replace(registry, password=password, htpasswd=line)


def _spec(store: Store, machine: Machine, registry: Registry) -> dict[str, Any]:
    """What the agent's deploy takes (machinectl_agent/registry/spec.py)."""
    spec: dict[str, Any] = {
        "port": registry.port,
        "storage": registry.storage,
        "via": registry.via,
        "image": registry.image,
        "htpasswd": registry.htpasswd,
        "upstream": registry.upstream,
        "upstream_user": registry.upstream_user,
        "upstream_password": registry.upstream_password,
    }
    with store.lock():
        authority = ensure_authority(store.certs)
        spec.update(ca=authority.certificate.decode(), controller=controller_of(authority))
        if not registry.plain:
            certificate, key = ensure_registry(authority, store.folder(machine.name), server_names(machine))
            spec.update(cert=certificate.read_text(), key=key.read_text())
    return spec


def controller_of(authority: Authority) -> str:
    """As in a machine's spec: this store's name on hosts."""
    return hashlib.sha256(authority.certificate).hexdigest()[:16]


def _preview(
    store: Store, machine: Machine, registry: Registry, spec: dict[str, Any], become: Become, report: Report
) -> Deployed:
    steps: list[Mapping[str, Any]] = []

    def on_event(message: Mapping[str, Any]) -> None:
        if message.get("event") == "plan":
            steps.extend(message["steps"])
        else:
            report.event(message)

    args = {"registry": spec, "dry_run": True}
    result = ask(store, machine, "deploy", args, become=become, report=report, on_event=on_event)
    url, plan = url_of(machine, registry), render_plan(machine.name, steps)
    return Deployed(machine, registry, url, str(result["via"]), str(result["storage"]), 0, plan)


def _apply(
    store: Store,
    machine: Machine,
    present: Registry | None,
    registry: Registry,
    spec: dict[str, Any],
    become: Become,
    report: Report,
) -> dict[str, Any]:
    begun = False

    def on_event(message: Mapping[str, Any]) -> None:
        nonlocal begun
        begun = begun or message.get("event") == "step"
        report.event(message)

    try:
        return ask(
            store, machine, "deploy", {"registry": spec}, become=become, report=report, on_event=on_event
        )
    except AgentFailed as error:
        if not begun and error.problem not in UNKNOWN_OUTCOMES:
            # the agent said no before it did anything: what was there is what is there
            if present:
                save_registry(store, machine.name, present)
            else:
                forget_registry(store, machine.name, registry.port)
        raise
