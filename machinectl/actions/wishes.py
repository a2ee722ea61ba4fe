"""What the user asked for → what the store remembers → the document that the agent gets."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from machinectl.actions.once import Once
from machinectl.errors import MachinectlError, MachineExists, UsageError
from machinectl.model import Machine, SshAddress
from machinectl_agent.spec import (
    ClusterStoreSpec,
    EngineSpec,
    FileSpec,
    HostSpec,
    ImageSpec,
    NetworkSpec,
    PackageFile,
    Spec,
    TlsSpec,
    collect,
)

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-.]*")
"""docker-machine's rule."""


def new_machine(
    *,
    name: str,
    ip: str,
    ssh: Mapping[str, Any],
    engine_port: int,
    engine: Mapping[str, Any],
    host: Mapping[str, Any],
    tls_san: tuple[str, ...],
) -> Machine:
    """A machine as create's flags describe it. Raises `UsageError` for a name or address that can't be."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"Invalid hostname specified: {name!r}",
            why="allowed are letters, digits, - and ., the first one a letter or digit",
        )
    ip = canonical_address(ip)
    return Machine(
        name=name,
        ip=ip,
        ssh=SshAddress(host=ip, **ssh),
        engine_port=engine_port,
        engine=dict(engine),
        host={key: value for key, value in host.items() if value},
        tls_san=tls_san,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def canonical_address(text: str) -> str:
    """One spelling for one host: IPv6 as in RFC 5952, no brackets; names in lower case. Raises `UsageError`."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in bare:
        raise UsageError(
            f"--ip {text}: an address with a zone is good on this machine only",
            why="no certificate and no DOCKER_HOST can hold one",
            hint="give the host's global or unique local address",
        )
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", bare):
        raise UsageError(f"--ip {text!r}: neither an address nor a host name", hint="write --ip 192.168.1.10")
    return bare.lower()


def admit(present: Machine | None, wanted: Machine, others: Iterable[Machine]) -> Machine:
    """The machine that a create is about: the new one, or the one of that name if it is the same host.

    A machine that was never finished takes the new settings; a ready one must have been asked for with the
    same ones. Raises `MachineExists`.
    """
    for other in others:
        if other.name != wanted.name and other.ip == wanted.ip:
            raise MachineExists(
                f'the host {wanted.ip} is already the machine "{other.name}"',
                why="two machines on one host would take turns in reconfiguring it",
                hint=f"use {other.name}, or `machinectl rm {other.name}` first",
            )
    if present is None:
        return wanted
    if present.state == "new":
        return dataclasses.replace(wanted, created=present.created)
    differing = [what for what, before, after in _settings(present, wanted) if not _includes(before, after)]
    if present.ip != wanted.ip:
        differing.insert(0, f"address (it is {present.ip})")
    if differing:
        way = (
            f"set-ip {wanted.name} {wanted.ip}"
            if present.ip != wanted.ip
            else f"provision {wanted.name} [flags]"
        )
        raise MachineExists(
            f'Docker machine "{wanted.name}" already exists',
            why=f"with another {', '.join(differing)}",
            hint=f"change it with `machinectl {way}`, or choose another name",
        )
    # how to get there may change: a new port, user or key is taken over once it has worked
    given = {key: value for key, value in dataclasses.asdict(wanted.ssh).items() if value}
    return dataclasses.replace(resumed(present), ssh=dataclasses.replace(present.ssh, **given))


def _settings(present: Machine, wanted: Machine) -> list[tuple[str, Any, Any]]:
    """What create's flags set: name, as it is, as it is asked for (None: not asked for)."""
    present = resumed(present)
    port = None if wanted.engine_port == 2376 else wanted.engine_port
    engine = [(f"engine {key}", present.engine.get(key), value) for key, value in wanted.engine.items()]
    return [
        *engine,
        ("engine port", present.engine_port, port),
        ("host settings", dict(present.host), dict(wanted.host)),
        ("TLS names", list(present.tls_san), list(wanted.tls_san)),
    ]


def _includes(before: Any, asked: Any) -> bool:
    """All that is asked for is there already; there may be more (`provision` added it)."""
    if asked is None:
        return True
    if isinstance(before, dict) and isinstance(asked, dict):
        return all(key in before and _includes(before[key], one) for key, one in asked.items())
    if isinstance(before, list) and isinstance(asked, list):
        return all(one in before for one in asked)
    return bool(before == asked) or (before is None and asked in ({}, []))


WISHES = ("engine", "host", "tls_san", "files", "images")
"""What a run brings to the host, of all that is remembered of a machine."""


def resumed(machine: Machine) -> Machine:
    """With the wishes of a run that was killed: its host may have them already."""
    if not machine.pending:
        return machine
    found = {name: machine.pending[name] for name in WISHES if name in machine.pending}
    for name in ("tls_san", "files", "images"):
        if name in found:
            found[name] = tuple(found[name])
    return dataclasses.replace(machine, pending={}, **found)


def pending(machine: Machine, wanted: Machine) -> Machine:
    """The machine as it is remembered while new wishes are on their way to its host."""
    return dataclasses.replace(machine, pending={name: getattr(wanted, name) for name in WISHES})


def changed(machine: Machine, engine: Mapping[str, Any], tls_san: Sequence[str]) -> Machine:
    """The machine with further wishes (`provision NAME --engine-…`): lists and maps of options grow."""
    merged = dict(machine.engine)
    for key, value in engine.items():
        if key in ("options", "env"):
            merged[key] = collect([*merged.get(key, {}).items(), *value.items()])
        else:
            merged[key] = value
    sans = tuple(dict.fromkeys((*machine.tls_san, *tls_san)))
    return dataclasses.replace(machine, engine=merged, tls_san=sans)


def package_files(paths: Iterable[str]) -> list[dict[str, Any]]:
    """--engine-package's files: name, SHA-256, size in bytes, path. Raises `UsageError`."""
    found = []
    for text in paths:
        path = Path(text).expanduser()
        if path.suffix not in (".deb", ".rpm", ".zst", ".xz"):
            raise UsageError(
                f"--engine-package {text}: no package", why="its name ends neither in .deb nor .rpm"
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"--engine-package {text}: can't be read", why=str(error.strerror)) from error
        found.append(
            {
                "name": path.name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "path": str(path.absolute()),
            }
        )
    return found


def package_path(machine: Machine, sha256: str) -> Path:
    """The local file that the agent asks for. Raises `MachinectlError` where it is gone or has changed."""
    for one in machine.engine.get("packages", ()):
        if one["sha256"] != sha256:
            continue
        path = Path(one["path"])
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        raise MachinectlError(
            f"the package file {path} is gone or has changed since it was chosen",
            hint=f"machinectl provision {machine.name} --engine-package FILE …",
            machine=machine.name,
        )
    raise MachinectlError("the agent asks for a file that nobody chose", why=sha256, machine=machine.name)


def image_spec(entry: Mapping[str, Any]) -> ImageSpec:
    """`entry` as in `Machine.images`."""
    source = str(entry.get("file") or entry.get("machine") or "")
    return ImageSpec(entry["name"], entry["id"], entry["likeness"], int(entry["size"]), source)


def build_spec(
    machine: Machine,
    tls: TlsSpec,
    *,
    files: Sequence[FileSpec] = (),
    cluster: ClusterStoreSpec | None = None,
    network: NetworkSpec | None = None,
    take_over: bool = False,
    once: Once | None = None,
) -> Spec:
    """The whole wanted state, as it goes to the agent."""
    engine = {**machine.engine, "cluster": cluster, "upgrade": bool(once and once.upgrade)}
    packages = tuple(
        PackageFile(one["name"], one["sha256"], one["size"]) for one in engine.pop("packages", ())
    )
    listen = "[::]" if ":" in machine.ip else "0.0.0.0"  # noqa: S104 - mutual TLS guards it
    return Spec(
        name=machine.name,
        engine=EngineSpec(**engine, packages=packages, port=machine.engine_port, listen=listen),
        tls=tls,
        host=HostSpec(**{**machine.host, "packages": tuple(machine.host.get("packages", ()))}),
        take_over=take_over,
        share=bool(once and once.share),
        network=network,
        files=tuple(files),
        images=tuple(image_spec(one) for one in machine.images),
        controller=hashlib.sha256(tls.ca.encode()).hexdigest()[:16],
    )
