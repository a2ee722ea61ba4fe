"""list: what the store knows of every machine, and what every engine says, all within one deadline."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from machinectl.actions.filters import Filters
from machinectl.errors import CertificateError, EngineUnreachable, MachinectlError
from machinectl.model import DRIVER, Machine
from machinectl.pki.expiry import expiry
from machinectl.store.store import Store

RUNNING, STOPPED, ERROR, TIMEOUT = "Running", "Stopped", "Error", "Timeout"
"""docker-machine's words."""

WARN_BEFORE = datetime.timedelta(days=30)
"""The same 30 days in which `provision` issues a certificate again."""

_STATES = {"engine-refused": STOPPED, "engine-timeout": TIMEOUT}


@dataclass(frozen=True)
class Row:
    """One machine in the list. Empty strings: not known."""

    name: str
    machine: Machine | None
    """None where the record is damaged: `error` says how."""
    state: str = ""
    version: str = ""
    """As dockerd says it: `28.5.2`."""
    error: str = ""
    """One line."""
    seconds: float = 0.0
    """Until the answer, or until we gave up."""
    expires: datetime.datetime | None = None
    """Of the certificate that ends first, the server's or the client's."""

    @property
    def driver(self) -> str:
        """docker-machine's column."""
        return DRIVER if self.machine else "not found"


def list_rows(store: Store, filters: Filters) -> list[Row]:
    """The machines that the filters leave, state aside, in natural order. Contacts nobody."""
    rows = []
    for name in store.names():
        try:
            row = Row(name, store.load(name))
        except MachinectlError as error:
            row = Row(name, None, state=ERROR, error=one_line(error))
        if filters.match(name, row.machine):
            rows.append(row)
    return rows


def ask_engines(store: Store, rows: Sequence[Row], within: float) -> list[Row]:
    """The rows with what the engines answered in `within` seconds, all asked at the same time.

    Who has not answered by then has the state Timeout. Raises nothing for a machine that can't be asked.
    """
    answers: dict[str, Row] = {}
    until = time.monotonic() + within

    def ask(row: Row) -> None:
        answers[row.name] = ask_engine(store, row, within)

    # daemon threads: one that hangs in the name service must not keep the program from ending
    threads = [threading.Thread(target=ask, args=(row,), daemon=True) for row in rows if row.machine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = EngineUnreachable("no answer", why=f"nothing came within {within:g} s")
    return [
        answers.get(row.name) or replace(row, state=TIMEOUT, error=one_line(late), seconds=within)
        if row.machine
        else row
        for row in rows
    ]


def ask_engine(store: Store, row: Row, within: float) -> Row:
    """One row with its engine's answer and its certificates' expiry."""
    machine = row.machine
    if machine is None:
        return row
    from machinectl.remote.engine_client import engine_version  # noqa: PLC0415 - 20 ms that `ls -q` does without

    folder = store.path / "machines" / row.name
    row = replace(row, expires=machine_expiry(folder))
    started = time.monotonic()
    try:
        answer = engine_version(machine.ip, machine.engine_port, folder, within)
        row = replace(row, state=RUNNING, version=str(answer["Version"]), error=_warning(row.expires))
    except EngineUnreachable as error:
        row = replace(row, state=_STATES.get(error.problem, ERROR), error=one_line(error))
    if machine.state == "new":
        row = replace(row, error="its create has not finished: run it again")
    return replace(row, seconds=time.monotonic() - started)


def one_line(error: MachinectlError) -> str:
    """What and why, for a table's column."""
    text = f"{error.what}: {error.why}" if error.why else error.what
    return " ".join(text.split())


def machine_expiry(folder: Path) -> datetime.datetime | None:
    """When the first of a machine's certificates ends: the one that its host shows, its registries', the client's."""
    found = []
    # where another store's certificate is what the host shows, ours is of no matter
    server = "served.pem" if (folder / "served.pem").is_file() else "server.pem"
    for name in (server, "registry.pem", "cert.pem"):
        try:
            found.append(expiry(folder / name))
        except CertificateError:
            continue
    return min(found, default=None)


def _warning(expires: datetime.datetime | None) -> str:
    if expires is None:
        return ""
    left = expires - datetime.datetime.now(datetime.timezone.utc)
    if left > WARN_BEFORE:
        return ""
    return (
        f"certificate expires on {expires:%Y-%m-%d}, in {left.days} days: run `machinectl regenerate-certs`"
    )
