"""machinectl-etcd.service: its text (pure), and what systemd and the process itself say of it."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import time
from typing import Dict

from machinectl_agent import marked
from machinectl_agent.etcd import programs
from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.host import Host
from machinectl_agent.marked import Running
from machinectl_agent.problems import Problem
from machinectl_agent.templates import render

UNIT = "machinectl-etcd.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FOLDER = "/etc/machinectl-etcd"
FOUNDING = f"{FOLDER}/founding.env"
"""How a member without data begins; of no meaning for one that has data."""
MARK = "MACHINECTL_CONFIGURATION"
USER = "machinectl-etcd"
READY_DEADLINE = 60.0
"""Seconds until a member takes part in a majority; the others may still be on their way."""
RESTARTS = 4
"""systemd's own, after which we don't expect that the next one helps."""


def render_unit(spec: EtcdSpec, folder: str, version: str, *, bindable: bool) -> str:
    """`folder` and `version`: of the programs; `bindable`: the address is one of this host's own."""
    text = _text(spec, folder, version, mark="-", bindable=bindable)
    digest = hashlib.sha256("\0".join((text, spec.ca, spec.cert)).encode()).hexdigest()[:32]
    return text.replace(f"{MARK}=-", f"{MARK}={digest}")


def mark_in(text: str) -> str:
    """Of a unit's text or of a process's environment."""
    return marked.mark_in(text, MARK)


def options(spec: EtcdSpec, version: str, *, bindable: bool) -> Dict[str, str]:
    """etcd's flags. Raises `Problem` for a wish that this version can't fulfil."""
    host = bracketed(spec.address)
    everywhere = "[::]" if ":" in spec.address else "0.0.0.0"  # noqa: S104 - by TLS, and only where it must
    listen = host if bindable else everywhere
    loopback = "http" if spec.insecure_loopback else "https"
    found = {
        "name": spec.name,
        "data-dir": DATA,
        "listen-client-urls": f"https://{listen}:{spec.client_port}",
        "advertise-client-urls": f"https://{host}:{spec.client_port}",
        "listen-peer-urls": f"https://{listen}:{spec.peer_port}",
        "initial-advertise-peer-urls": f"https://{host}:{spec.peer_port}",
        "client-cert-auth": "true",
        "trusted-ca-file": f"{FOLDER}/ca.pem",
        "cert-file": f"{FOLDER}/server.pem",
        "key-file": f"{FOLDER}/server-key.pem",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{FOLDER}/ca.pem",
        "peer-cert-file": f"{FOLDER}/server.pem",
        "peer-key-file": f"{FOLDER}/server-key.pem",
        "quota-backend-bytes": str(spec.quota),
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": spec.retention,
    }
    if bindable and spec.address != "127.0.0.1":
        found["listen-client-urls"] += f",{loopback}://127.0.0.1:{spec.client_port}"
    elif spec.insecure_loopback:
        raise Problem(
            "etcd-loopback-taken",
            "there is no plain HTTP on loopback for this member",
            why=f"{spec.address} is no address of this host: etcd listens on all, by TLS",
            hint="leave --insecure-loopback away, or name an address of the host with --advertise",
        )
    minor = programs.numbers(version)[:2]
    if spec.v2 and minor >= (3, 6):
        raise Problem(
            "etcd-without-v2",
            f"etcd {version} has no v2 API",
            why="it was removed in etcd 3.6",
            hint="leave --v2 away, or give an older etcd with --binaries",
        )
    # 3.3 has it on by default, 3.6 does not know the flag any more
    if spec.v2 or minor < (3, 4):
        found["enable-v2"] = "true" if spec.v2 else "false"
    return found


def founding(spec: EtcdSpec) -> str:
    cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.cluster.items()))
    state = "existing" if spec.joining else spec.state
    return (
        f"ETCD_INITIAL_CLUSTER={cluster}\nETCD_INITIAL_CLUSTER_TOKEN={spec.token}\n"
        f"ETCD_INITIAL_CLUSTER_STATE={state}\n"
    )


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def is_bindable(address: str) -> bool:
    """It is an address of this host: not a name, and not one that a router translates."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def program_of(host: Host) -> str:
    """The program that our unit starts; empty where there is no unit."""
    found = re.search(r"^ExecStart=(\S+)", host.read(UNIT_FILE) or "", re.MULTILINE)
    return found[1] if found else ""


def running(host: Host) -> Running:
    """`active` is a member that takes part (Type=notify)."""
    return marked.running(host, UNIT, MARK)


def wait_ready(host: Host, wanted: str, deadline: float = READY_DEADLINE) -> None:
    """Until the process with the wanted mark takes part in a majority. Raises `Problem` with its last words."""
    end = time.monotonic() + deadline
    before = running(host).restarts
    while True:
        now = running(host)
        if now.active == "active" and now.mark == wanted:
            return
        if now.restarts - before >= RESTARTS or time.monotonic() >= end:
            break
        time.sleep(0.1)
    raise not_ready(host, deadline, ends=now.restarts - before >= RESTARTS)


def not_ready(host: Host, deadline: float, *, ends: bool) -> Problem:
    """With the server's last words; `ends`: its process ends again and again."""
    written = host.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager", "-n", "40", deadline=20)
    return Problem(
        "etcd-start-failed" if ends else "etcd-not-ready",
        "etcd does not start" if ends else f"etcd takes part in no majority after {deadline:.0f} s",
        why=last_words(written.stdout),
        hint=f"look at `journalctl -u {UNIT}` on the host"
        + ("" if ends else "; is the port for members (2380) open between them, and do they run?"),
    )


def last_words(text: str, lines: int = 4) -> str:
    """The lines of a log that say what is wrong: capnslog's and zap's, the same thing once."""
    pattern = re.compile(
        r'"level":"(?:error|fatal|panic|warn)"|\b[EC] \||error|fail|refused|mismatch|panic|expired',
        re.IGNORECASE,
    )
    found = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in found if pattern.search(line)] or found
    messages = (
        re.sub(r'.*"msg":"(.*?)".*?(?:"error":"(.*?)".*)?$', r"\1 \2", line).strip() for line in telling
    )
    return "\n".join(list(dict.fromkeys(one[:300] for one in messages))[-lines:])


def _text(spec: EtcdSpec, folder: str, version: str, *, mark: str, bindable: bool) -> str:
    return render(
        UNIT,
        program=f"{folder}/etcd",
        options=options(spec, version, bindable=bindable),
        founding=FOUNDING,
        data=DATA,
        user=USER,
        mark=f"{MARK}={mark}",
        unsupported=programs.unsupported(),
    )
