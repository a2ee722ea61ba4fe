"""Every dockerd option in one table: flag, daemon.json key, type, whether a reload is enough.

Sources: dockerd(8) of Engine 20.10 to 28 and Docker's "dockerd" reference, section "Daemon configuration
file"; what a SIGHUP takes over is the list in its part "Configuration reload behavior".

A new option touches this file only: create's flags, the inventory's keys, parsing, merging and the
choice between reload and restart all read the table.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Optional, Tuple

FLAG, TEXT, NUMBER, LIST, MAP = "flag", "text", "number", "list", "map"
"""Kinds: a JSON boolean, string, number, array of strings, object of strings."""


@dataclass(frozen=True)
class Option:
    """One dockerd option."""

    flag: str
    """As dockerd spells it, without the dashes: `registry-mirror`."""
    key: str
    """As daemon.json spells it: `registry-mirrors`."""
    kind: str
    reloads: bool = False
    """SIGHUP is enough; every other option needs a restart."""
    create: str = ""
    """create's own flag for it, where there is one: `--engine-registry-mirror`."""
    help: str = ""
    until: int = 0
    """The first major version of Docker Engine that does not have it any more; 0: all of them have it."""
    instead: str = ""
    """What to use on those."""


_OUR_NETWORKS = (
    "`machinectl network join NAME` without --driver: machinectl's own networks need no cluster-store"
)


def _cluster(flag: str, key: str, kind: str) -> Option:
    # a reload takes a cluster-store over where there was none, refuses another one, and never ends it: restart
    return Option(flag, key, kind, until=23, instead=_OUR_NETWORKS)


def _reload(flag: str, key: str, kind: str, create: str = "", text: str = "") -> Option:
    return Option(flag, key, kind, True, create, text)


TABLE: Tuple[Option, ...] = (
    # what create names directly
    _reload(
        "registry-mirror",
        "registry-mirrors",
        LIST,
        "--engine-registry-mirror",
        "registry mirror, `https://HOST`; tried in this order, before Docker Hub",
    ),
    _reload(
        "insecure-registry",
        "insecure-registries",
        LIST,
        "--engine-insecure-registry",
        "registry (`HOST:PORT`) or network (CIDR) that speaks plain HTTP or has an unknown certificate",
    ),
    _reload("label", "labels", LIST, "--engine-label", "engine label, `KEY=VALUE`"),
    Option("storage-driver", "storage-driver", TEXT, False, "--engine-storage-driver", "storage driver"),
    Option("log-driver", "log-driver", TEXT, False, "--engine-log-driver", "log driver of new containers"),
    Option("log-opt", "log-opts", MAP, False, "--engine-log-opt", "option of the log driver, `KEY=VALUE`"),
    Option("dns", "dns", LIST, False, "--engine-dns", "DNS server of containers"),
    Option("dns-opt", "dns-opts", LIST),
    Option("dns-search", "dns-search", LIST),
    Option("bip", "bip", TEXT, False, "--engine-bip", "address of docker0, `172.30.0.1/16`"),
    Option("mtu", "mtu", NUMBER, False, "--engine-mtu", "MTU of docker0's network"),
    Option("data-root", "data-root", TEXT, False, "--engine-data-root", "folder of images and containers"),
    Option(
        "metrics-addr",
        "metrics-addr",
        TEXT,
        False,
        "--engine-metrics-addr",
        "address of the Prometheus metrics, `127.0.0.1:9323`",
    ),
    Option(
        "default-address-pool",
        "default-address-pools",
        LIST,
        False,
        "--engine-default-address-pool",
        "pool for new networks, `base=10.10.0.0/16,size=24`",
    ),
    _reload("live-restore", "live-restore", FLAG),
    # see OURS
    Option("http-proxy", "http-proxy", TEXT),
    Option("https-proxy", "https-proxy", TEXT),
    Option("no-proxy", "no-proxy", TEXT),
    # the rest, in dockerd's order
    Option("add-runtime", "runtimes", MAP, True),
    Option("allow-nondistributable-artifacts", "allow-nondistributable-artifacts", LIST, True),
    Option("api-cors-header", "api-cors-header", TEXT),
    Option("authorization-plugin", "authorization-plugins", LIST, True),
    Option("bridge", "bridge", TEXT),
    Option("bridge-accept-fwmark", "bridge-accept-fwmark", TEXT),
    Option("cdi-spec-dir", "cdi-spec-dirs", LIST),
    Option("cgroup-parent", "cgroup-parent", TEXT),
    _cluster("cluster-advertise", "cluster-advertise", TEXT),
    _cluster("cluster-store", "cluster-store", TEXT),
    _cluster("cluster-store-opt", "cluster-store-opts", MAP),
    Option("containerd", "containerd", TEXT),
    Option("containerd-namespace", "containerd-namespace", TEXT),
    Option("containerd-plugins-namespace", "containerd-plugin-namespace", TEXT),
    Option("cpu-rt-period", "cpu-rt-period", NUMBER),
    Option("cpu-rt-runtime", "cpu-rt-runtime", NUMBER),
    Option("cri-containerd", "cri-containerd", FLAG),
    Option("debug", "debug", FLAG, True),
    Option("default-cgroupns-mode", "default-cgroupns-mode", TEXT),
    Option("default-gateway", "default-gateway", TEXT),
    Option("default-gateway-v6", "default-gateway-v6", TEXT),
    Option("default-ipc-mode", "default-ipc-mode", TEXT),
    Option("default-network-opt", "default-network-opts", MAP),
    Option("default-runtime", "default-runtime", TEXT, True),
    Option("default-shm-size", "default-shm-size", TEXT),
    Option("default-ulimit", "default-ulimits", MAP),
    Option("exec-opt", "exec-opts", LIST),
    Option("exec-root", "exec-root", TEXT),
    Option("experimental", "experimental", FLAG),
    # dockerd's reload takes them, but containerd-snapshotter is looked at only when it starts
    Option("feature", "features", MAP),
    Option("firewall-backend", "firewall-backend", TEXT),
    Option("fixed-cidr", "fixed-cidr", TEXT),
    Option("fixed-cidr-v6", "fixed-cidr-v6", TEXT),
    Option("group", "group", TEXT),
    Option("host", "hosts", LIST),
    Option("host-gateway-ip", "host-gateway-ip", TEXT),
    Option("icc", "icc", FLAG),
    Option("init", "init", FLAG),
    Option("init-path", "init-path", TEXT),
    Option("ip", "ip", TEXT),
    Option("ip-forward", "ip-forward", FLAG),
    Option("ip-forward-no-drop", "ip-forward-no-drop", FLAG),
    Option("ip-masq", "ip-masq", FLAG),
    Option("ip6tables", "ip6tables", FLAG),
    Option("iptables", "iptables", FLAG),
    Option("ipv6", "ipv6", FLAG),
    Option("log-format", "log-format", TEXT),
    Option("log-level", "log-level", TEXT),
    Option("max-concurrent-downloads", "max-concurrent-downloads", NUMBER, True),
    Option("max-concurrent-uploads", "max-concurrent-uploads", NUMBER, True),
    Option("max-download-attempts", "max-download-attempts", NUMBER, True),
    Option("network-control-plane-mtu", "network-control-plane-mtu", NUMBER),
    Option("no-new-privileges", "no-new-privileges", FLAG),
    Option("node-generic-resource", "node-generic-resources", LIST),
    Option("oom-score-adjust", "oom-score-adjust", NUMBER),
    Option("pidfile", "pidfile", TEXT),
    Option("raw-logs", "raw-logs", FLAG),
    Option("seccomp-profile", "seccomp-profile", TEXT),
    Option("selinux-enabled", "selinux-enabled", FLAG),
    Option("shutdown-timeout", "shutdown-timeout", NUMBER, True),
    Option("storage-opt", "storage-opts", LIST),
    Option("swarm-default-advertise-addr", "swarm-default-advertise-addr", TEXT),
    Option("tls", "tls", FLAG),
    Option("tlscacert", "tlscacert", TEXT),
    Option("tlscert", "tlscert", TEXT),
    Option("tlskey", "tlskey", TEXT),
    Option("tlsverify", "tlsverify", FLAG),
    Option("userland-proxy", "userland-proxy", FLAG),
    Option("userland-proxy-path", "userland-proxy-path", TEXT),
    Option("userns-remap", "userns-remap", TEXT),
    Option("validate", "validate", FLAG),
)

BY_FLAG: Dict[str, Option] = {option.flag: option for option in TABLE}
BY_KEY: Dict[str, Option] = {option.key: option for option in TABLE}
CREATE_OPTIONS: Tuple[Option, ...] = tuple(option for option in TABLE if option.create)

OURS = {
    "hosts": "machinectl decides where dockerd listens (unix socket and TLS on --engine-port)",
    "tls": "machinectl sets up mutual TLS itself",
    "tlsverify": "machinectl sets up mutual TLS itself",
    "tlscacert": "machinectl sets up mutual TLS itself",
    "tlscert": "machinectl sets up mutual TLS itself",
    "tlskey": "machinectl sets up mutual TLS itself",
    "pidfile": "systemd and the agent find dockerd by its unit",
    "validate": "it is no setting; every new daemon.json is validated anyway",
    # daemon.json has them inside of `proxies`, since Engine 23 only, and ignores them outside without a word
    "http-proxy": "with every engine: --engine-env HTTP_PROXY=URL, or `config set NAME HTTP_PROXY=URL`",
    "https-proxy": "with every engine: --engine-env HTTPS_PROXY=URL, or `config set NAME HTTPS_PROXY=URL`",
    "no-proxy": "with every engine: --engine-env NO_PROXY=HOSTS, or `config set NAME NO_PROXY=HOSTS`",
}
"""Keys that a user can't set, and why."""


class OptionError(ValueError):
    """An option that can't be: `what` says which, `hint` what to write instead."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def find(name: str) -> Optional[Option]:
    """By dockerd's flag or by daemon.json's key."""
    return BY_FLAG.get(name) or BY_KEY.get(name)


def parse_assignment(text: str) -> Tuple[str, Any]:
    """`FLAG=VALUE` of `--engine-opt` → (daemon.json key, JSON value). A flag alone means true.

    An option that this table does not have is passed on (a newer engine may know it), its value read as
    JSON where it is JSON; a near miss of a known name is an error.
    """
    name, equals, value = text.partition("=")
    name = name.strip().lstrip("-")
    if not name:
        raise OptionError(
            f"no option in {text!r}", "write --engine-opt FLAG=VALUE, e.g. --engine-opt icc=false"
        )
    option = find(name)
    if option is None:
        near = difflib.get_close_matches(name, [*BY_FLAG, *BY_KEY], 1, 0.85)
        if near:
            raise OptionError(f"dockerd has no option {name!r}", f"did you mean {near[0]!r}?")
        return name, _json_or_text(value) if equals else True
    if option.key in OURS:
        raise OptionError(f"the option {name!r} can't be set here", OURS[option.key])
    if not equals:
        if option.kind != FLAG:
            raise OptionError(f"the option {name!r} needs a value", f"write {name}=VALUE")
        return option.key, True
    whole = _json_or_text(value) if value[:1] in ("[", "{") else None
    if name == option.key and isinstance(whole, {LIST: list, MAP: dict}.get(option.kind, ())):
        return option.key, whole  # the key of daemon.json with its JSON, as its owner would write it there
    return option.key, parse_value(option, value)


def parse_value(option: Option, text: str) -> Any:
    """One command-line value → the JSON value of the option's kind (lists and maps get one entry)."""
    if option.kind == FLAG:
        return _truth(option, text)
    if option.kind == NUMBER:
        return _number(option, text)
    if option.kind == LIST:
        return [_pool(text) if option.key == "default-address-pools" else text]
    if option.kind == MAP:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise OptionError(f"{option.flag}={text}: KEY=VALUE is wanted", f"write {option.flag}=KEY=VALUE")
        return {key: _map_value(option, key, value)}
    return text


def _truth(option: Option, text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise OptionError(f"{option.flag}={text}: true or false is wanted", f"write {option.flag}=true")


def _number(option: Option, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{option.flag}={text}: a whole number is wanted") from None


def collect(pairs: Iterable[Tuple[str, Any]]) -> Dict[str, Any]:
    """Many (key, value) → one document: lists are joined, maps united, the last scalar wins."""
    document: Dict[str, Any] = {}
    for key, value in pairs:
        before = document.get(key)
        if isinstance(before, list) and isinstance(value, list):
            again = {entry_name(key, one) for one in value}
            kept = [one for one in before if one in value or entry_name(key, one) not in again]
            document[key] = kept + [one for one in value if one not in kept]
        elif isinstance(before, dict) and isinstance(value, dict):
            document[key] = {**before, **value}
        else:
            document[key] = value
    return document


def entry_name(key: str, entry: Any) -> Any:
    """What a list's entry is about: dockerd refuses two labels (or exec or storage options) of one name.
    Elsewhere the entry itself: a list has it or has it not."""
    named = key in ("labels", "exec-opts", "storage-opts") and isinstance(entry, str)
    return entry.partition("=")[0] if named else json.dumps(entry)


def reloads(key: str) -> bool:
    """A SIGHUP makes dockerd take over a change of this key."""
    option = BY_KEY.get(key)
    return option is not None and option.reloads


def removed(keys: Iterable[str], version: str) -> Optional[Option]:
    """The first of these daemon.json keys that an engine of this version (`26.1.5`) no longer has."""
    major = version.lstrip("v").partition(".")[0]
    if not major.isdigit():
        return None
    found = (BY_KEY.get(key) for key in sorted(keys))
    return next((one for one in found if one and 0 < one.until <= int(major)), None)


def _map_value(option: Option, key: str, value: str) -> Any:
    if option.key == "features":
        return _truth(Option(key, key, FLAG), value)
    if option.key == "runtimes":
        return {"path": value}
    if option.key == "default-ulimits":
        soft, _, hard = value.partition(":")
        try:
            return {"Name": key, "Soft": int(soft), "Hard": int(hard or soft)}
        except ValueError:
            raise OptionError(f"default-ulimit={key}={value}: SOFT[:HARD] as numbers is wanted") from None
    return value


def _pool(text: str) -> Dict[str, Any]:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if set(parts) != {"base", "size"} or not parts["size"].isdigit():
        raise OptionError(
            f"default-address-pool={text}: a base and a size are wanted", "write base=10.10.0.0/16,size=24"
        )
    return {"base": parts["base"], "size": int(parts["size"])}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
