"""Docker, kernel and etcd brought together: at the start, when dockerd or etcd is back, and every minute.

What has containers is true: an endpoint that Docker has is put (back) into etcd and the kernel, one that Docker
no longer has is taken out of both. Nothing of another machine's is touched.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Dict, List, Optional, Set

from machinectl_agent.engine.api import ApiError
from machinectl_agent.kv.interface import KvError
from machinectl_agent.network import underlay
from machinectl_agent.network.core import Core
from machinectl_agent.network.engine import DockerNetwork
from machinectl_agent.network.names import Names, parse_container
from machinectl_agent.network.records import EndpointRecord, MachineRecord, NetworkRecord
from machinectl_agent.network.settling import Here
from machinectl_agent.problems import Problem
from machinectl_agent.version import __version__

RETRY = 1.0
"""Seconds between two reconciles while etcd does not know all again after a restore."""

AGAIN = 5.0
"""Seconds after which a reconcile that failed in part is done again, twice as long each time."""

GRACE = 30.0
"""Seconds that an endpoint may be on its way: dockerd lists it some time after CreateEndpoint."""


class Reconcile:
    """`work` is a Worker's."""

    def __init__(self, core: Core, names: Names) -> None:
        self._core = core
        self._names = names
        self._empty_since: Dict[str, float] = {}
        self._one_at_a_time = threading.Lock()
        self._pause = AGAIN / 2
        self._again: Optional[threading.Timer] = None
        self.last: Dict[str, object] = {}
        """What the last one did, for `status`."""

    def work(self, _item: str) -> None:
        """As a Worker's work."""
        self.run()

    def run(self) -> Dict[str, object]:
        """What it changed. Each part goes on where another fails."""
        with self._one_at_a_time:
            if self._core.leaving:
                return {}
            began = time.time()
            done: Dict[str, object] = {"time": began}
            failed = False
            for name, part in (
                ("machine", self._machine),
                ("docker", self._docker),
                ("kernel", self._kernel),
                ("etcd", self._etcd),
            ):
                try:
                    done[name] = part()
                except (ApiError, KvError, Problem, OSError) as error:
                    done[name] = f"{name}: {error}"
                    failed = True
                    self._core.journal.say("note", f"reconcile: {name}: {error}")
            self._core.wake("")
            self._core.follower.release_if_settled()
            self._pause = min(2 * self._pause, self._core.settings.interval) if failed else AGAIN / 2
            if self._again:
                self._again.cancel()  # else each event while something fails would begin a row of its own
                self._again = None
            if failed or self._core.view.is_holding:
                self._again = threading.Timer(self._pause if failed else RETRY, self._core.reconcile)
                self._again.daemon = True
                self._again.start()
            done["seconds"] = round(time.time() - began, 3)
            self.last = done
            return done

    def _machine(self) -> str:
        """Our own record, with the address that we have now: peers follow it."""
        core, settings = self._core, self._core.settings
        vtep = underlay.vtep_address(settings.vtep, core.whereabouts.endpoints)
        if not vtep:
            raise Problem("no-underlay", "this machine has no address towards etcd", hint="check its network")
        moved = vtep != core.fabric.vtep
        core.fabric.vtep = vtep
        record = MachineRecord(id=settings.id, name=settings.name, vtep=vtep, agent=__version__)
        # before that the first snapshot calls us again: nothing waits here for an etcd that is away
        if core.view.knows(core.layout.machines) and core.view.registered(settings.id) != record:
            core.registry.register(record)
        return f"moved to {vtep}" if moved else ""

    def _docker(self) -> int:
        """Ledger ⇄ Docker; how many endpoints were found or given up."""
        core = self._core
        if not core.engine_up:
            return 0
        changes = 0
        seen: Set[str] = set()
        for listed in core.engine.networks():
            network = core.engine.network(listed.docker_id)
            record = self._record(listed)
            if network is None or record is None:
                continue
            core.ledger.put_network(listed.docker_id, record)
            seen |= set(network.endpoints)
            for endpoint, found in network.endpoints.items():
                changes += self._take(record, endpoint, found)
        for local in core.ledger.endpoints():
            if local.record.id not in seen and time.time() - local.since > GRACE:
                core.journal.say("notice", f"endpoint {local.record.id[:12]} ({local.record.name}) has gone")
                core.fabric.detach(local.record.network, local.record.id)
                core.ledger.drop_endpoint(local.record.id)
                # where etcd is away, the registry's collect finds it later
                core.registry.delete_endpoint(local.record.network, local.record.id)
                changes += 1
        known = {listed.docker_id for listed in core.engine.networks()}
        for docker_id in core.ledger.docker_ids():
            if docker_id not in known:
                core.ledger.drop_network(docker_id)
        core.fabric.set_sandboxes(core.ledger.sandboxes())
        core.docker_asked = True
        return changes

    def _record(self, listed: DockerNetwork) -> Optional[NetworkRecord]:
        core = self._core
        known = core.view.network(listed.id) or core.ledger.networks().get(listed.id)
        return known or core.registry.network(listed.id)

    def _take(self, record: NetworkRecord, endpoint: str, found: Dict[str, str]) -> int:
        """An endpoint that Docker has: into the ledger where it is missing there, and its names."""
        core = self._core
        missing = core.ledger.endpoint(endpoint) is None
        if missing:
            core.ledger.put_endpoint(
                EndpointRecord(
                    id=endpoint,
                    network=record.id,
                    machine=core.settings.id,
                    ip=found["ip"],
                    ip6=found["ip6"],
                    mac=found["mac"],
                    name=found["name"],
                    container=found["container"],
                )
            )
        local = core.ledger.endpoint(endpoint)
        complete = local and local.sandbox and local.record.container and local.record.name == found["name"]
        if found["container"] and not complete:
            self._look(found["container"])
        return int(missing)

    def _look(self, container: str) -> None:
        """Sandbox and names of one container."""
        core = self._core
        inspected = core.engine.container(container, deadline=5.0)
        if not inspected:
            return
        sandbox = str((inspected.get("NetworkSettings") or {}).get("SandboxKey") or "")
        for endpoint, name, aliases in parse_container(inspected):
            if sandbox:
                core.ledger.set_sandbox(endpoint, sandbox)
            self._names.put(endpoint, name=name, container=container, aliases=aliases)

    def _kernel(self) -> int:
        """Networks with containers are there and whole, others go after a while."""
        core, changes = self._core, 0
        records = core.ledger.networks()
        wanted = {local.record.network for local in core.ledger.endpoints()}
        for network in wanted:
            record = core.view.network(network) or records.get(network)
            if record is None:
                continue
            core.fabric.ensure(record, force=True)
            if core.docker_asked:
                changes += core.fabric.repair(network, partial(self._endpoints, network))
            for local in core.ledger.endpoints(network):
                changes += bool(local.sandbox) and core.fabric.narrow(record, local.record, local.sandbox)
            changes += core.fabric.sync(network)
        if core.docker_asked:
            self._sweep(wanted)
        return changes

    def _endpoints(self, network: str) -> List[str]:
        return [local.record.id for local in self._core.ledger.endpoints(network)]

    def _has_endpoints(self, network: str) -> bool:
        return bool(self._endpoints(network))

    def _sweep(self, wanted: Set[str]) -> None:
        core, now = self._core, time.monotonic()
        for network in core.fabric.local() - wanted:
            since = self._empty_since.setdefault(network, now)
            if now - since >= core.settings.linger:
                core.fabric.remove(network, partial(self._has_endpoints, network))
                self._empty_since.pop(network, None)
        for network in wanted:
            self._empty_since.pop(network, None)
        core.fabric.remove_strangers()

    def _etcd(self) -> str:
        """What is ours in etcd and no longer here is freed, what is here and missing there is put back."""
        core = self._core
        if core.follower.trouble or not core.view.knows(core.layout.networks):
            return "etcd is away"
        if not core.engine_up:
            # Docker has the last word on what is ours, and it can't be asked now
            return "dockerd is away"
        view, machine = core.view, core.settings.id
        cluster, is_holding = view.cluster, view.is_holding
        # after a restore nothing is on its way: what is older than all of us is freed at once
        grace = {"grace": 0.0} if is_holding else {}
        collected = core.registry.collect(Here(core.ledger), networks=core.ledger.networks(), **grace)
        for conflict in collected.conflicts:
            core.journal.say("note" if is_holding else "error", f"reconcile: {conflict}")
        # what another machine has to free first is put back with the next one
        if not (is_holding and collected.conflicts) and cluster and not view.has_settled(machine):
            core.registry.settle(cluster)
        if core.refused and not view.is_holding:
            core.revive()
        return str(collected)
