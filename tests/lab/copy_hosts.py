"""Two hosts as machines of a store, without an engine: copying needs none; and what stands between them."""

from __future__ import annotations

import contextlib
import subprocess

from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store


def as_machine(controller, host, user="root", name=""):
    """The host as a machine of the controller's store."""
    store = Store(controller.store)
    name = name or host.name
    with store.machine_lock(name):
        store.save(Machine(name, host.ip, SshAddress(host.ip, user=user, key=str(host.key))))
    return name


@contextlib.contextmanager
def cut(host, *others):
    """Nothing comes from `others` to the host, nor goes there: dropped without a word."""
    addresses = ",".join(one.ip for one in others)
    rules = f"""table inet cut {{
        chain i {{ type filter hook input priority 0; ip saddr {{ {addresses} }} drop; }}
        chain o {{ type filter hook output priority 0; ip daddr {{ {addresses} }} drop; }}
    }}"""
    # the lab machine's own nft, in the host's network
    inside = ["nsenter", "-t", str(host.leader), "-n", "nft"]
    subprocess.run([*inside, "-f", "-"], input=rules.encode(), check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run([*inside, "delete", "table", "inet", "cut"], check=True, timeout=20)
