"""What the running dockerd has loaded, as opposed to what lies on the disk.

A crash between writing a file and restarting must not be forgotten: so `restart needed` is never a flag
that somebody sets, it is observed. After every start or reload of ours the files' digests and the process
(pid and start time, proc(5)) are recorded below /run. Where dockerd was started by somebody else since, it
has loaded whatever is older than itself; a file that is newer counts as not loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence

from machinectl_agent.engine import cluster_store, daemon_json, unit
from machinectl_agent.engine.merge import changed_keys, parse_document
from machinectl_agent.engine.options import reloads
from machinectl_agent.host import Host

RECORD = "/run/machinectl/engine-loaded.json"
FILES = (
    daemon_json.FILE,
    unit.DROP_IN,
    unit.ENVIRONMENT,
    daemon_json.CA,
    daemon_json.CERT,
    daemon_json.KEY,
    *cluster_store.FILES,
)


CLOCK_SLACK = 0.05
"""Seconds; process times come in ticks of 10 ms. A file as old as the process counts as newer: a restart too
many is harmless, one too few is not."""


@dataclass(frozen=True)
class Loaded:
    """`nothing`: dockerd has all of it. `reload`: a SIGHUP is enough. `restart`: it is not."""

    verdict: str
    reason: str
    """Which files or keys, for the plan's title."""


def compare(host: Host, pid: int, wanted: Mapping[str, str]) -> Loaded:
    """What dockerd (`pid`, 0: not running) needs in order to run with the wanted files (path → text).

    They are compared as wanted, not as they lie there: a plan says `restart` before anything is written.
    """
    if not pid:
        return Loaded("restart", "dockerd is not running")
    record = _read(host)
    after = parse_document(daemon_json.FILE, wanted[daemon_json.FILE])
    if record is None or record.get("process") != process_identity(host, pid):
        late = [name for name in FILES if newer(host, name, pid)]
        if late:
            return Loaded("restart", f"not loaded yet: {_names(late)}")
        # somebody else started it, with the files as they are
        disk = {name: host.read(name) or "" for name in FILES}
        changed = [name for name in FILES if wanted[name] != disk[name]]
        return judge(changed, parse_document(daemon_json.FILE, disk[daemon_json.FILE]), after)
    now = {name: digest(text) for name, text in wanted.items() if text}
    changed = [name for name in FILES if now.get(name) != record["files"].get(name)]
    return judge(changed, record["document"], after)


def judge(changed: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> Loaded:
    """Pure. Files that differ from what was loaded, daemon.json as loaded and as wanted → what is needed."""
    if not changed:
        return Loaded("nothing", "")
    if list(changed) != [daemon_json.FILE]:
        return Loaded("restart", f"changed: {_names(changed)}")
    keys = changed_keys(before, after)
    fixed = [key for key in keys if not reloads(key)]
    if fixed:
        return Loaded("restart", f"no reload for {', '.join(fixed)}")
    # a reload takes over what is set; that a key is gone it does not see. A list can be emptied first
    gone = [key for key in keys if key not in after and not isinstance(before[key], list)]
    if gone:
        return Loaded("restart", f"no reload without {', '.join(gone)}")
    return Loaded("reload" if keys else "nothing", ", ".join(keys))


def _names(paths: Sequence[str]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in paths)


def gone_lists(host: Host) -> Sequence[str]:
    """Keys with lists that dockerd has loaded, and that daemon.json has no more."""
    record = _read(host)
    before = record["document"] if record else {}
    after = parse_document(daemon_json.FILE, host.read(daemon_json.FILE) or "")
    return [
        key for key, value in before.items() if isinstance(value, list) and key not in after and reloads(key)
    ]


def settle(host: Host, pid: int) -> None:
    """Records what a dockerd that somebody else started has loaded: to be called before our first write, which
    makes a file newer than dockerd and its old text unknown."""
    record = _read(host)
    known = record is not None and record.get("process") == process_identity(host, pid)
    if not known and started_after(host, pid, FILES):
        remember(host, pid)


def started_after(host: Host, pid: int, names: Sequence[str]) -> bool:
    """dockerd has begun after the last change of every one of these files."""
    return not any(newer(host, name, pid) for name in names)


def remember(host: Host, pid: int) -> None:
    """To be called right after a start or reload that went well."""
    document = {
        "process": process_identity(host, pid),
        "files": digests(host),
        # no secret is in daemon.json except where its owner put one into a log option: hence 0600
        "document": parse_document(daemon_json.FILE, host.read(daemon_json.FILE) or ""),
    }
    host.make_folder(os.path.dirname(RECORD), 0o700)  # noqa: PTH120 - a name on the machine, not a local path
    host.write(RECORD, json.dumps(document) + "\n", 0o600)


def digests(host: Host) -> Dict[str, str]:
    """SHA-256 of every file that dockerd reads at start; files that are missing or empty are left out."""
    texts = {name: host.read(name) for name in FILES}
    return {name: digest(text) for name, text in texts.items() if text}


def digest(text: str) -> str:
    """SHA-256 of a file's text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def process_identity(host: Host, pid: int) -> str:
    """pid and start time in clock ticks since boot, and the boot: never the same for two processes."""
    boot = (host.read("/proc/sys/kernel/random/boot_id") or "").strip()
    return f"{boot} {pid} {start_ticks(host.read(f'/proc/{pid}/stat') or '')}"


def start_ticks(stat: str) -> int:
    """Field 22 of /proc/PID/stat; the second field may hold spaces and brackets, so count from its end."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _read(host: Host) -> Optional[Mapping[str, Any]]:
    try:
        document = json.loads(host.read(RECORD) or "")
    except ValueError:
        return None
    return (
        document if isinstance(document, dict) and {"process", "files", "document"} <= set(document) else None
    )


def newer(host: Host, name: str, pid: int) -> bool:
    """The file was written after the process began. Process times count from boot, suspended time included
    (proc(5)), so the boot's wall-clock time is what the two clocks differ by now."""
    try:
        written = host.path(name).stat().st_mtime
    except FileNotFoundError:
        return False
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = start_ticks(host.read(f"/proc/{pid}/stat") or "")
    return written > boot + ticks / os.sysconf("SC_CLK_TCK") - CLOCK_SLACK
