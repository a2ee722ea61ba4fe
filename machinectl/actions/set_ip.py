"""set-ip: a machine has another address, and everything that knows the old one follows.

key pins ─► does the same host answer there? ─► record ─► etcd membership ─► certificate, networks, registries ─►
old pins go

The record keeps the old address (`moved_from`) until all is done: a run that is killed is finished by the next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from machinectl.actions.converge import bring, connect
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.network.membership import members
from machinectl.actions.registry.follow import follow
from machinectl.actions.registry.told import told_of
from machinectl.actions.report import Report
from machinectl.actions.wishes import canonical_address, resumed
from machinectl.errors import MachinectlError, MachineExists, StoreError
from machinectl.model import Machine, SshAddress
from machinectl.remote.become import Become
from machinectl.remote.deadline import Deadline
from machinectl.remote.pins import copy_pins, drop_pins, undo
from machinectl.store.store import Store

RESOLVE_DEADLINE = 15.0
"""Seconds for what ~/.ssh/config says of an address."""


def set_ip(
    store: Store,
    name: str,
    address: str,
    *,
    ssh_host: str = "",
    become: Become,
    quiet: bool = False,
    replace_host_key: bool = False,
) -> Machine:
    """The machine at its new address. Nothing is changed where no host with its key answers there.

    `ssh_host`: what SSH connects to, where that is not the address itself. Raises any `MachinectlError`."""
    report = Report(name, quiet=quiet)
    with store.machine_lock(name):
        present = store.load(name)
        machine = moved(resumed(present), canonical_address(address), ssh_host)
        _check_free(store, machine)
        pins = copy_pins(store.known_hosts, _known_as(store, present.ssh), _known_as(store, machine.ssh))
        try:
            with connect(store, machine, become, report, replace_host_key=replace_host_key):
                pass
        except MachinectlError:
            undo(store.known_hosts, pins)
            raise
        store.save(dataclasses.replace(machine, pending=present.pending))
    old = machine.moved_from
    if old:
        _etcd(store, machine, {old, present.ip}, become=become, quiet=quiet)
        follow(store, name, become=become, quiet=quiet)
        _tell(report, told_of(store, dataclasses.replace(machine, ip=old)), machine)
    with store.machine_lock(name):
        machine = dataclasses.replace(resumed(store.load(name)), moved_from="")
        machine = bring(store, machine, become=become, report=report).machine
        if present.ssh != machine.ssh or old:
            _forget(store, machine, dataclasses.replace(machine.ssh, host=old or present.ssh.host))
    return machine


def moved(machine: Machine, address: str, ssh_host: str) -> Machine:
    """Pure: the record at its new address; again for the same address it stays what it is."""
    old = machine.ip
    if old == address and not ssh_host:
        return machine
    ssh = machine.ssh
    if ssh_host or ssh.host == old:
        ssh = dataclasses.replace(ssh, host=ssh_host or address)
    network = dict(machine.network)
    if network.get("vtep") == old:
        network["vtep"] = address
    engine = dict(machine.engine)
    cluster = engine.get("cluster")
    if isinstance(cluster, dict) and cluster.get("advertise") == old:
        engine["cluster"] = {**cluster, "advertise": address}
    before = machine.moved_from or old
    moved_from = old if before == address else before  # back again: etcd may have gone along already
    return dataclasses.replace(
        machine, ip=address, ssh=ssh, network=network, engine=engine, moved_from=moved_from
    )


def _etcd(store: Store, machine: Machine, olds: set[str], *, become: Become, quiet: bool) -> None:
    """Its membership. The networks' other machines hear of it from etcd; from the only member that they know they
    can't, and are told over SSH. Raises `SomeMachinesFailed`."""
    if not (store.path / "etcd.json").is_file():
        return
    from machinectl.actions.etcd.access import require_etcd  # noqa: PLC0415 - only where there is an etcd
    from machinectl.actions.etcd.move import move_member  # noqa: PLC0415

    name = machine.name
    moved_along = move_member(store, name, olds - {machine.ip}, machine.ip, become=become, quiet=quiet)
    if not moved_along or len(require_etcd(store).members) > 1:
        return

    def one(other: str) -> None:
        with store.machine_lock(other, wait=60.0):
            bring(store, resumed(store.load(other)), become=become, report=Report(other, quiet=quiet))

    raise_failures(on_each([other for other in members(store) if other != name], one))


def _tell(report: Report, told: Mapping[str, list[str]], machine: Machine) -> None:
    """Which machines' settings name a registry by the old address: those are people's own."""
    for place, names in told.items():
        if names:
            now = f"{machine.name} --port {place.rpartition(':')[2]}"
            report.line(
                f"{', '.join(names)}: told to use the registry at {place}, which is the old address; "
                f"`machinectl registry deploy {now} --use-on …` or the inventory tells the new one"
            )


def _check_free(store: Store, machine: Machine) -> None:
    for other in store.names():
        if other == machine.name:
            continue
        try:
            taken = store.load(other).ip == machine.ip
        except StoreError:
            continue
        if taken:
            raise MachineExists(
                f'the host {machine.ip} is already the machine "{other}"',
                hint=f"give {other} its new address first, by way of a free one where the two change places",
                machine=machine.name,
            )


def _known_as(store: Store, ssh: SshAddress) -> str:
    from machinectl.remote.sshconfig import plan_hops  # noqa: PLC0415 - may start ssh

    return plan_hops(ssh, Deadline(RESOLVE_DEADLINE), base=store.path)[-1].known_as


def _forget(store: Store, machine: Machine, former: SshAddress) -> None:
    """The old address' pin, unless another machine goes by it."""
    name = _known_as(store, former)
    if name == _known_as(store, machine.ssh):
        return
    for other in store.names():
        try:
            ssh = store.load(other).ssh
        except StoreError:
            continue
        if other != machine.name and ssh.host == former.host:
            return
    drop_pins(store.known_hosts, name)
