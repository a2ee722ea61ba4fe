"""systemd reads its files again (`systemctl daemon-reload`) only where that is needed: it costs a host 100 ms."""

from __future__ import annotations

from machinectl_agent.host import Host


def reload_for(host: Host, unit: str) -> None:
    """Where systemd has an older `unit` than its files say; one that it has not loaded yet it reads by itself.

    Asking costs 4 ms: NeedDaemonReload of org.freedesktop.systemd1(5)."""
    if (
        host.must("systemctl", "show", "--property=NeedDaemonReload", unit, deadline=20).strip()
        != "NeedDaemonReload=no"
    ):
        host.must("systemctl", "daemon-reload", deadline=60)
