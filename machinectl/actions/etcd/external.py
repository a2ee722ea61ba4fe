"""etcd use: an etcd that somebody else looks after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from machinectl.errors import MachinectlError, UsageError
from machinectl.kv.client import Etcd3
from machinectl.store.etcd import Etcd, load_etcd, remove_etcd, save_etcd
from machinectl.store.paths import portable_path
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls


def use(store: Store, urls: Sequence[str], *, ca: str, cert: str, key: str) -> None:
    """From now on this one; asked first whether it answers. `ca`, `cert`, `key`: paths of PEM files."""
    if bool(cert) != bool(key):
        raise UsageError("--cert and --key belong together")
    for one in urls:
        if not one.startswith(("https://", "http://")):
            raise UsageError(f"{one} is no endpoint", hint="an endpoint is as https://10.0.0.1:2379")
    for one in (ca, cert, key):
        if one and not Path(one).expanduser().is_file():
            raise UsageError(f"{one} is no file")
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        if present and present.members:
            raise _own(present)
        files = [str(Path(one).expanduser().absolute()) if one else "" for one in (ca, cert, key)]
        try:
            client = Etcd3(list(urls), tls=Tls(*files) if ca else None)
        except ValueError as error:
            raise UsageError(
                f"{','.join(urls)}: {error}", hint="an endpoint is as https://10.0.0.1:2379"
            ) from error
        try:
            client.health()
        except KvError as error:
            raise MachinectlError(
                "this etcd can't be used",
                why=str(error),
                hint="check the endpoints, and --ca, --cert and --key",
            ) from error
        finally:
            client.close()
        paths = [portable_path(one, store.path) for one in files]
        save_etcd(
            store, Etcd(endpoints=tuple(urls), ca=paths[0], cert=paths[1], key=paths[2], state="existing")
        )


def use_none(store: Store) -> None:
    """The store forgets it; nothing in it changes."""
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        if present and present.members:
            raise _own(present)
        remove_etcd(store)


def _own(present: Etcd) -> MachinectlError:
    return MachinectlError(
        f"this store has an etcd of its own on {', '.join(present.members)}",
        hint="use another store (-s) for another etcd",
    )
