"""Phase `tls`: the certificates that dockerd shows and checks, /etc/docker/{ca,server,server-key}.pem."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from machinectl_agent.engine import daemon_json, known_good
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem

Seen = Dict[str, Tuple[Optional[str], Optional[int]]]
"""Path → text and permission bits; both None where there is no file."""


class TlsPhase:
    """Key first, then the certificates: after a crash in between the next run sees that they do not fit."""

    name = "tls"

    def observe(self, host: Host, context: Context) -> Seen:
        names = (daemon_json.CA, daemon_json.CERT, daemon_json.KEY)
        return {name: (host.read(name), host.mode(name)) for name in names}

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        tls = context.spec.tls
        present = seen[daemon_json.CA][0]
        if present is not None and present != tls.ca and not context.spec.take_over:
            raise Problem(
                "tls-owned",
                "this host's engine belongs to another store",
                why=f"{daemon_json.CA} is of another CA; replacing it locks that CA's clients out",
                hint="use that store (`machinectl -s DIR`, a copy of it will do), or take the host over: --take-over",
            )
        steps = []
        for name, text, mode in (
            (daemon_json.KEY, tls.server_key, 0o600),
            (daemon_json.CERT, tls.server, 0o644),
            (daemon_json.CA, tls.ca, 0o644),
        ):
            before, before_mode = seen[name]
            if before == text and before_mode == mode:
                continue
            sign = "+" if before is None else "~"
            steps.append(Step(f"tls/write {name}", f"{sign} write {name}", _writer(name, text, mode)))
        return steps


class _writer:  # noqa: N801 - a closure with a repr that shows no key
    def __init__(self, name: str, text: str, mode: int) -> None:
        self._arguments = (name, text, mode)

    def __call__(self, work: Work) -> None:
        known_good.keep(work.host)
        work.host.make_folder("/etc/docker", 0o755)
        work.host.write(*self._arguments)
