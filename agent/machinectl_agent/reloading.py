"""systemd reads its files again (`systemctl daemon-reload`) only where that is needed: it costs a host 100 ms."""

from __future__ import annotations

from machinectl_agent.host import Host


def reload_for(host: Host, unit: str) -> None:
    """Where systemd has an older `unit` than its files say, or remembers that there was none.

    One that it does not know it loads when it is asked, which costs 4 ms: org.freedesktop.systemd1(5)."""
    names = "--property=LoadState,NeedDaemonReload"
    asked = host.must("systemctl", "show", names, unit, deadline=20)
    if set(asked.split()) != {"LoadState=loaded", "NeedDaemonReload=no"}:
        host.must("systemctl", "daemon-reload", deadline=60)
