"""Where a machine's engine is, by its record, and whether something listens there. Light: see records.py."""

from __future__ import annotations

from machinectl.errors import EngineUnreachable

TYPE_CHECKING = False  # see records.py
if TYPE_CHECKING:
    from typing import Any

DIAL = 1.5
"""Seconds for one TCP connection: a person waits for it."""


def engine_url(record: dict[str, Any]) -> str:
    """DOCKER_HOST over TLS, as model.Machine.url: `tcp://198.18.0.11:2376`, IPv6 in brackets."""
    return f"tcp://{_bracketed(record['ip'])}:{engine_port(record)}"


def engine_port(record: dict[str, Any]) -> int:
    """The TCP port of dockerd."""
    return int(record.get("engine_port") or 2376)


def ssh_url(record: dict[str, Any]) -> str:
    """DOCKER_HOST over SSH, `ssh://[USER@]HOST[:PORT]`; what is left out is for ~/.ssh/config to say."""
    ssh = record["ssh"]
    login = ssh.get("user") or record.get("login")
    user = f"{login}@" if login else ""
    port = f":{ssh['port']}" if ssh.get("port") else ""
    return f"ssh://{user}{_bracketed(ssh.get('host') or record['ip'])}{port}"


def require_listening(record: dict[str, Any], within: float = DIAL) -> None:
    """Raises EngineUnreachable with docker-machine's words if no TCP connection comes about in that time."""
    why = dial(record["ip"], engine_port(record), within)
    if why:
        raise EngineUnreachable(
            "Host is not running",
            why=f"{record['ip']} port {engine_port(record)}: {why}",
            hint=f"machinectl ssh {record['name']} -- systemctl status docker",
            machine=record["name"],
        )


def dial(host: str, port: int, within: float) -> str:
    """Connects and hangs up. Why that failed; empty: it did not. `timed out` is one of the answers."""
    import threading  # noqa: PLC0415 - with socket 5 ms, and `ip`, `env --no-check` do without
    from socket import create_connection  # noqa: PLC0415

    outcome = ["timed out"]

    def connect() -> None:
        try:
            create_connection((host, port), timeout=within).close()
            outcome[0] = ""
        except TimeoutError:
            pass
        except OSError as error:
            outcome[0] = (error.strerror or str(error)).lower()

    # a thread, for the name service: getaddrinfo takes no deadline
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(within)
    return outcome[0]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
