"""Eight agents as processes and three etcd members; agents are killed and frozen,
members are killed and cut off.

Each agent writes into a journal of its own, before and after each call, what it was told: the journal is what its
dockerd knows. Afterwards the journals are read: at no time two of them may have had the same address, and after a
collect etcd has what the journals end with, and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import KvUnavailable
from machinectl_agent.network.records import AddressRecord, EndpointRecord, Layout, Pool, decode
from machinectl_agent.network.registry.errors import Busy, PoolFull
from machinectl_agent.network.registry.registry import Registry
from tests.etcd_cluster import EtcdCluster

AGENTS = 8
CALLS = 2000
"""Allocations and releases of all agents together, at least."""
SECONDS = 240.0
"""After that it has to be enough."""
NETWORK = "a1" * 32
SUBNET = "10.5.1.0/24"
LAYOUT = Layout()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path / "etcd", members=3) as started:
        yield started


@dataclass
class Held:
    """What a journal's reader knows of one machine."""

    addresses: dict[str, str] = field(default_factory=dict)
    """Address → endpoint, empty where none is bound."""
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """Address, from when to when (CLOCK_MONOTONIC) its dockerd believed to have it."""
    calls: int = 0


def agent(number: int, endpoints: list[str], path: str, end: float) -> None:
    """Until it is killed, or the time is over: dockerd's calls, in a random order."""
    chance = random.Random(os.getpid())  # noqa: S311
    machine = f"m{number}"
    # each prefers another member
    registry = Registry(
        Gateway(endpoints[number % 3 :] + endpoints[: number % 3]),
        LAYOUT,
        machine,
        patience=chance.choice([1.0, 3.0, 10.0]),
    )
    held = read(Path(path)).addresses
    with open(path, "a", buffering=1) as journal:

        def say(*words: object) -> None:
            journal.write(json.dumps([time.monotonic(), *words]) + "\n")

        while time.monotonic() < end:
            try:
                if held and chance.random() < (0.3 if len(held) < 20 else 0.7):
                    ip = chance.choice(sorted(held))
                    bound = held.pop(ip)
                    say("over", ip)
                    if bound:
                        registry.delete_endpoint(NETWORK, bound)
                    registry.release_address(SUBNET, ip)
                    say("freed", ip)
                    continue
                ip = registry.request_address(SUBNET).partition("/")[0]
                say("has", ip)
                held[ip] = ""
                if chance.random() < 0.8:
                    endpoint = f"{machine}-{os.urandom(6).hex()}"
                    # as the driver: first the ledger
                    say("binds", ip, endpoint)
                    held[ip] = endpoint
                    registry.put_endpoint(EndpointRecord(endpoint, NETWORK, machine, ip, "", "02:42"))
            except (KvUnavailable, PoolFull, Busy):
                time.sleep(0.01)  # as dockerd, which tells a person and goes on with others' calls


def read(path: Path) -> Held:
    """A line that the kill has cut short says nothing."""
    found, since = Held(), {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            at, word, ip, *more = json.loads(line)
        except ValueError:
            continue
        if word == "has":
            found.addresses[ip], since[ip] = "", at
            found.calls += 1
        elif word == "binds":
            found.addresses[ip] = more[0]
        elif word == "over":
            found.addresses.pop(ip)
            found.spans.append((ip, since.pop(ip), at))
        else:
            found.calls += 1
    found.spans += [(ip, at, float("inf")) for ip, at in since.items()]
    return found


class Agents:
    """Their processes."""

    def __init__(self, cluster: EtcdCluster, folder: Path, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self._context = multiprocessing.get_context("spawn")
        self._endpoints = cluster.endpoints
        self._folder = folder
        self.processes: dict[int, BaseProcess] = {}

    def journal(self, number: int) -> Path:
        return self._folder / f"journal{number}"

    def start(self, number: int) -> None:
        arguments = (number, self._endpoints, str(self.journal(number)), self.end)
        self.processes[number] = self._context.Process(target=agent, args=arguments, daemon=True)
        self.processes[number].start()

    def kill(self, number: int) -> None:
        assert self.processes[number].exitcode is None, "it has died by itself"
        self.processes[number].kill()
        self.processes[number].join(10)
        self.start(number)

    def freeze(self, number: int, sign: signal.Signals) -> None:
        pid = self.processes[number].pid
        assert pid
        os.kill(pid, sign)

    def calls(self) -> int:
        return sum(read(self.journal(one)).calls for one in range(AGENTS))

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.join(10)


def trouble(cluster: EtcdCluster, agents: Agents, chance: random.Random) -> None:
    """One fault, and its end. Waiting is what is tested here: the cluster has to live with it for a while."""
    kind = chance.choice(["agent", "agent", "agent", "paused agent", "kill", "freeze", "two frozen"])
    member, number = chance.randrange(3), chance.randrange(AGENTS)
    if kind == "agent":
        agents.kill(number)
        time.sleep(0.3)
    elif kind == "paused agent":
        agents.freeze(number, signal.SIGSTOP)
        time.sleep(1.0)
        agents.freeze(number, signal.SIGCONT)
    elif kind == "kill":
        cluster.kill(member)
        time.sleep(1.0)
        cluster.launch(member)
        cluster.wait(member)
    else:
        # a frozen member is a partition: its clients wait, and what it had taken it sends on when it thaws
        frozen = [member] if kind == "freeze" else [member, (member + 1) % 3]
        for one in frozen:
            cluster.freeze(one)
        time.sleep(3.0)
        for one in frozen:
            cluster.thaw(one)
        cluster.wait(member)


def test_never_two_owners_and_none_lost(cluster: EtcdCluster, tmp_path: Path):
    kv = Gateway(cluster.endpoints)
    maker = Registry(kv, LAYOUT, "maker")
    pool = maker.request_pool(SUBNET)
    maker.create_network(network=NETWORK, name="demo", pools=[Pool(pool.subnet, gateway="10.5.1.1")])
    agents = Agents(cluster, tmp_path, SECONDS)
    seed = time.time_ns() % 1_000_000
    chance = random.Random(seed)  # noqa: S311
    try:
        for number in range(AGENTS):
            agents.start(number)
        began = time.monotonic()
        faults = 0
        while time.monotonic() < agents.end - 5 and (agents.calls() < CALLS or faults < 15):
            trouble(cluster, agents, chance)
            faults += 1
    finally:
        agents.stop()
    cluster.start()
    journals = {f"m{one}": read(agents.journal(one)) for one in range(AGENTS)}
    calls = sum(one.calls for one in journals.values())
    print(f"seed {seed}: {calls} calls and {faults} faults in {time.monotonic() - began:.0f} s")
    assert calls >= CALLS

    never_two_at_once(journals)
    reconciled(kv, journals)
    kv.close()


def never_two_at_once(journals: dict[str, Held]) -> None:
    spans = sorted(
        (ip, begin, end, machine) for machine, found in journals.items() for ip, begin, end in found.spans
    )
    for (ip, _, end, machine), (other, begin, _, rival) in itertools.pairwise(spans):
        assert ip != other or end <= begin, f"{ip} is {machine}'s until {end} and {rival}'s since {begin}"


def reconciled(kv: Gateway, journals: dict[str, Held]) -> None:
    """Every agent's next process collects: what its dockerd has is in etcd, and nothing else is."""
    wanted: dict[str, tuple[str, str]] = {}
    for machine, found in journals.items():
        local = {
            endpoint: EndpointRecord(endpoint, NETWORK, machine, ip, "", "02:42")
            for ip, endpoint in found.addresses.items()
            if endpoint
        }
        wanted.update((one.ip, (machine, one.id)) for one in local.values())
        done = Registry(kv, LAYOUT, machine).collect(local, grace=0.0)
        assert done.conflicts == [], machine
    addresses = {}
    for one in kv.range(LAYOUT.addresses(SUBNET)).items:
        record = decode(AddressRecord, one.value)
        addresses[one.key.rpartition("/")[2]] = (record.machine, record.endpoint)
    assert addresses.pop("10.5.1.1") == ("maker", "")
    assert addresses == wanted
    endpoints = {one.id: one.ip for one in Registry(kv, LAYOUT, "maker").endpoints(NETWORK)}
    assert endpoints == {endpoint: ip for ip, (_, endpoint) in wanted.items()}
    marks = [one.key for one in kv.range(f"{LAYOUT.prefix}owned/", keys_only=True).items]
    assert len(marks) == 2 * len(wanted)
    with contextlib.suppress(KvUnavailable):
        kv.delete(LAYOUT.prefix, is_prefix=True)
