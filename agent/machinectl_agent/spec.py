"""The wanted state of one machine, as the controller sends it and the agent applies it.

Frozen data and its JSON form, nothing else. `from_json` refuses unknown keys and wrong types: a newer
controller must never have half of its wishes dropped silently by an older agent.
Nothing here knows how a wish is fulfilled. The table of engine options is passed on to the controller, which
makes create's flags of it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from machinectl_agent.engine.options import (
    CREATE_OPTIONS,
    OURS,
    TABLE,
    Option,
    OptionError,
    collect,
    entry_name,
    find,
    parse_assignment,
    parse_value,
)
from machinectl_agent.redact import redact_document

__all__ = [
    "CREATE_OPTIONS",
    "OURS",
    "TABLE",
    "ClusterStoreSpec",
    "EngineSpec",
    "FileSpec",
    "HostSpec",
    "ImageSpec",
    "NetworkSpec",
    "Option",
    "OptionError",
    "PackageFile",
    "Spec",
    "SpecError",
    "TlsSpec",
    "collect",
    "entry_name",
    "find",
    "parse_assignment",
    "parse_value",
    "redact_document",
]


class SpecError(ValueError):
    """A document that is no wanted state: an unknown key, a missing one or a wrong type."""


@dataclass(frozen=True)
class PackageFile:
    """A .deb or .rpm that the controller holds and uploads only when the agent asks (`need`)."""

    name: str
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class ClusterStoreSpec:
    """Docker's own overlay networks over etcd's v2 API (Engine before 23). PEM texts; `key` is a secret.

    All three are empty where etcd speaks plain http, which only its owner can have asked for.
    """

    endpoints: Tuple[str, ...]
    """etcd's client URLs, `https://10.0.0.1:2379`."""
    advertise: str
    """`IP:PORT` that the other engines find this one by; the address must be on the host."""
    prefix: str = ""
    """Path in etcd; empty: Docker's own keys are at the root, /docker/nodes and /docker/network."""
    ca: str = ""
    cert: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class EngineSpec:
    """How Docker Engine is installed and configured."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """daemon.json keys and values that are wanted; keys that are absent stay as the host has them."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of dockerd (proxies and the like), for the systemd drop-in."""
    version: str = ""
    """Pinned version as people write it (`20.10.6`, `26.1`); empty: what the sources offer."""
    mirror: str = ""
    """Base URL of a copy of download.docker.com (or that itself); empty: the distribution's own package."""
    packages: Tuple[PackageFile, ...] = ()
    """Package files to install instead of any source, for hosts without the Internet."""
    port: int = 2376
    """TCP port for TLS clients."""
    listen: str = "0.0.0.0"  # noqa: S104 - with client certificates only, see engine/daemon_json.py
    """Address that dockerd listens on, IPv6 in brackets; `[::]` is IPv4 and IPv6."""
    adopt: bool = False
    """Never install or upgrade: the engine that is there is taken as it is."""
    upgrade: bool = False
    """This run brings the newest version that its source offers and the pin, if any, allows."""
    cluster: Optional[ClusterStoreSpec] = None
    """Classic mode."""


@dataclass(frozen=True)
class TlsSpec:
    """PEM texts for /etc/docker/{ca,server,server-key}.pem. `server_key` is a secret: see `redacted`."""

    ca: str
    """The controller's own."""
    server: str
    server_key: str = field(repr=False)
    others: Tuple[str, ...] = ()
    """CAs of other controllers that the host trusts, as far as this one knows."""
    removed: Tuple[str, ...] = ()
    """CAs that it shall trust no longer."""
    served: str = ""
    """A server certificate that is not ours, as the host was seen to have it."""
    keep: bool = False
    """It stays, as it is good for this controller's clients, too."""


@dataclass(frozen=True)
class HostSpec:
    """What the host itself should be like."""

    os: str = ""
    """A provisioner's name (`debian`, `fedora`, …) that overrules /etc/os-release."""
    hostname: str = ""
    """Set only where the user asked for it; the host's own name is left alone otherwise."""
    sysctl: Mapping[str, str] = field(default_factory=dict)
    """Kernel settings by their dotted names (sysctl.d(5)); what was wished for earlier and is not any more goes
    back to what it was."""
    packages: Tuple[str, ...] = ()
    """Packages of the distribution that are there besides the engine's."""
    volumes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Name → driver, options, labels. None is ever removed. Options may have passwords (CIFS)."""
    registry_cas: Mapping[str, str] = field(default_factory=dict)
    """HOST:PORT of a registry → PEM of the CA that signs its certificate."""


@dataclass(frozen=True)
class FileSpec:
    """A file of the user's own on the machine. Its content comes with the spec or, a large one, on demand."""

    path: str
    """Absolute."""
    sha256: str
    size: int
    """Bytes."""
    content: Optional[str] = field(default=None, repr=False)
    """Base64 (RFC 4648, 4); None: the agent asks for the file where the host has another one."""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    """Names or numbers."""
    restart: str = ""
    """The systemd unit that is restarted once the file has changed."""
    secret: bool = False
    """No plan shows what is in it."""


@dataclass(frozen=True)
class ImageSpec:
    """An image that the engine has. Its layers come when the agent asks for them (`need`)."""

    name: str
    """With its tag; empty: it has none."""
    id: str = ""
    """Of its configuration; empty: whichever has the name will do."""
    likeness: str = ""
    """Where the id is known: engines with containerd's store number images otherwise (images/likeness.py)."""
    size: int = 0
    """Bytes; 0: not known."""
    source: str = ""
    """Where it comes from, for people; empty: the engine pulls it itself."""


@dataclass(frozen=True)
class NetworkSpec:
    """Membership in machinectl's own networks. PEM texts; `key` is a secret.

    The three are empty where etcd speaks plain http, which only its owner can have asked for.
    """

    id: str = ""
    """The machine's, random; minted once by the controller. Its name is `Spec.name`."""
    vtep: str = ""
    """Address or name of the interface that peers send to; empty: the address that leads to etcd."""
    endpoints: Tuple[str, ...] = ()
    """etcd's client URLs."""
    ca: str = ""
    cert: str = ""
    key: str = field(default="", repr=False)
    prefix: str = ""
    """Path in etcd; empty: the agent's own default."""
    pools: Tuple[str, ...] = ()
    """CIDRs that subnets are chosen from; empty: the agent's own default."""
    pool_size: int = 24
    upstreams: Tuple[str, ...] = ()
    """DNS servers for names that are not ours; empty: what the engine was given, else what the host uses."""
    absent: bool = False
    """The machine leaves: nothing of it stays on the host."""
    force: bool = False
    """It leaves even with containers in the networks, which are disconnected, and where etcd is away."""


@dataclass(frozen=True)
class Spec:
    """Everything that one `apply` wants."""

    name: str
    engine: EngineSpec
    tls: TlsSpec
    host: HostSpec = HostSpec()
    take_over: bool = False
    """Another store's CA may be replaced: its clients are locked out then."""
    share: bool = False
    """This store's CA may be added to another's."""
    network: Optional[NetworkSpec] = None
    """None: a membership that is there stays as it is; a machine leaves only when it is told to."""
    files: Tuple[FileSpec, ...] = ()
    """All that this controller wants; those that it placed earlier and are not among them go."""
    images: Tuple[ImageSpec, ...] = ()
    """Others stay as they are."""
    controller: str = ""
    """Who asks: each takes back only what it has brought itself."""
    wishes: Mapping[str, Any] = field(default_factory=dict)
    """Controller → what it wants of the engine; filled in by the agent (engine/wishes.py)."""

    def to_json(self) -> Dict[str, Any]:
        """The whole document, secrets included: for the wire, never for a log."""
        return dataclasses.asdict(self)

    def redacted(self) -> Dict[str, Any]:
        """The document without its secrets: for logs, plans and `inspect`."""
        document = self.to_json()
        document.pop("wishes")
        document["tls"]["server_key"] = "(secret)"
        document["engine"]["options"] = redact_document(dict(self.engine.options))
        document["engine"]["env"] = dict.fromkeys(self.engine.env, "(hidden)")
        if self.engine.cluster:
            document["engine"]["cluster"]["key"] = "(secret)"
        if self.network:
            document["network"]["key"] = "(secret)"
        for one in document["host"]["volumes"].values():
            one["options"] = dict.fromkeys(one["options"], "(hidden)")
        for one in document["files"]:
            one["content"] = None
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Spec:
        """The reverse of `to_json`. Raises `SpecError` naming the key."""
        top = _fields(cls, document, "spec")
        engine = _fields(EngineSpec, top.get("engine", {}), "engine")
        engine["packages"] = tuple(
            _typed(PackageFile, one, "engine.packages") for one in engine.get("packages", ())
        )
        if engine.get("cluster") is not None:
            cluster = _fields(ClusterStoreSpec, engine["cluster"], "engine.cluster")
            engine["cluster"] = ClusterStoreSpec(**{**cluster, "endpoints": tuple(cluster["endpoints"])})
        return cls(
            name=str(top["name"]),
            engine=EngineSpec(**engine),
            tls=_tls(top["tls"]),
            host=_host(top.get("host", {})),
            take_over=bool(top.get("take_over", False)),
            share=bool(top.get("share", False)),
            network=_network(top.get("network")),
            files=tuple(_typed(FileSpec, one, "files") for one in top.get("files", ())),
            images=tuple(_typed(ImageSpec, one, "images") for one in top.get("images", ())),
            controller=str(top.get("controller", "")),
        )


def _tls(document: Any) -> TlsSpec:
    values = _fields(TlsSpec, document, "tls")
    for name in ("others", "removed"):
        if name in values:
            values[name] = tuple(values[name])
    return TlsSpec(**values)


def _host(document: Any) -> HostSpec:
    values = _fields(HostSpec, document, "host")
    if "packages" in values:
        values["packages"] = tuple(values["packages"])
    return HostSpec(**values)


def _network(document: Any) -> Optional[NetworkSpec]:
    if document is None:
        return None
    values = _fields(NetworkSpec, document, "network")
    for name in ("endpoints", "pools", "upstreams"):
        if name in values:
            values[name] = tuple(values[name])
    return NetworkSpec(**values)


_SHAPES: Dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "Mapping[str, Any]": (dict,),
    "Mapping[str, str]": (dict,),
    "Tuple[PackageFile, ...]": (list, tuple),
    "Tuple[str, ...]": (list, tuple),
}


def _fields(shape: Any, document: Any, where: str) -> Dict[str, Any]:
    if not isinstance(document, dict):
        raise SpecError(f"{where}: an object is wanted, not {type(document).__name__}")
    known = {one.name: one for one in dataclasses.fields(shape)}
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise SpecError(f"{where}: unknown key {unknown[0]!r}; is the agent older than the controller?")
    for name, one in known.items():
        if name not in document:
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise SpecError(f"{where}: key {name!r} is missing")
            continue
        wanted = _SHAPES.get(str(one.type))
        value = document[name]
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            raise SpecError(f"{where}.{name}: {one.type} is wanted, not {type(value).__name__}")
    return dict(document)


def _typed(shape: Any, document: Any, where: str) -> Any:
    return shape(**_fields(shape, document, where))
