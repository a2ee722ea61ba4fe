"""Phase `tls`: the certificates that dockerd shows and checks, /etc/docker/{ca,server,server-key}.pem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Optional

from machinectl_agent.engine import certificates, daemon_json, known_good
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work


@dataclass(frozen=True)
class Seen:
    """The three files, and their permission bits (path → bits, None where there is no file)."""

    present: certificates.Present
    modes: Mapping[str, Optional[int]]


class TlsPhase:
    """Key first, then the certificates: after a crash in between the next run sees that they do not fit."""

    name = "tls"

    def observe(self, host: Host, context: Context) -> Seen:
        names = (daemon_json.CA, daemon_json.CERT, daemon_json.KEY)
        return Seen(certificates.observe(host), {name: host.mode(name) for name in names})

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        present = seen.present
        wanted = certificates.wanted(present, context.spec)
        steps = []
        for name, before, text, mode in (
            (daemon_json.KEY, present.key, wanted.key, 0o600),
            (daemon_json.CERT, present.server, wanted.server, 0o644),
            (daemon_json.CA, present.ca, wanted.ca, 0o644),
        ):
            if before == text and seen.modes[name] == mode:
                continue
            sign = "+" if before is None else "~"
            stores = len(certificates.blocks(wanted.ca))
            note = f" ({stores} stores are trusted)" if name == daemon_json.CA and stores > 1 else ""
            steps.append(Step(f"tls/write {name}", f"{sign} write {name}{note}", _writer(name, text, mode)))
        return steps


class _writer:  # noqa: N801 - a closure with a repr that shows no key
    def __init__(self, name: str, text: str, mode: int) -> None:
        self._arguments = (name, text, mode)

    def __call__(self, work: Work) -> None:
        known_good.keep(work.host)
        work.host.make_folder("/etc/docker", 0o755)
        work.host.write(*self._arguments)
