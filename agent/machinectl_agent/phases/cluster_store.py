"""Phases `cluster-store` and `cluster-store-gone`: dockerd's certificates for etcd, in classic mode.

Two phases around `engine-config`: the files are there before daemon.json names them, and go after it no longer does,
so that a host that is rebooted in between has a dockerd that starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from machinectl_agent.engine import cluster_store, daemon_json, known_good
from machinectl_agent.engine.merge import parse_document
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem


@dataclass(frozen=True)
class Seen:
    """The files with their permission bits, and why classic mode can't be."""

    files: Mapping[str, Tuple[Optional[str], Optional[int]]]
    problem: Optional[Problem]


class ClusterStorePhase:
    """Before anything is written, etcd is asked whether it speaks what dockerd speaks."""

    name = "cluster-store"

    def observe(self, host: Host, context: Context) -> Seen:
        wanted = context.spec.engine.cluster
        files = {name: (host.read(name), host.mode(name)) for name in cluster_store.FILES}
        problem = None
        # only where something changes: a machine that has it all must not fail because etcd is away
        if wanted and not self._has(host, files, cluster_store.options(wanted), cluster_store.texts(wanted)):
            from machinectl_agent.engine import etcd_v2  # noqa: PLC0415 - seldom, with http.client

            try:
                etcd_v2.check(wanted)
            except Problem as error:
                problem = error
        return Seen(files, problem)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        wanted = context.spec.engine.cluster
        if wanted is None:
            return []
        if seen.problem:
            raise seen.problem
        steps = []
        # the key first: after a crash in between the next run sees that they do not fit
        for name in (cluster_store.KEY, cluster_store.CERT, cluster_store.CA):
            text = cluster_store.texts(wanted)[name]
            if text and seen.files[name] != (text, _mode(name)):
                sign = "+" if seen.files[name][0] is None else "~"
                steps.append(Step(f"{self.name}/write {name}", f"{sign} write {name}", _Writer(name, text)))
        return steps

    @staticmethod
    def _has(
        host: Host,
        files: Mapping[str, Tuple[Optional[str], Optional[int]]],
        options: Mapping[str, Any],
        texts: Mapping[str, str],
    ) -> bool:
        document = parse_document(daemon_json.FILE, host.read(daemon_json.FILE) or "")
        return all(document.get(key) == value for key, value in options.items()) and all(
            (files[name][0] or "") == text for name, text in texts.items()
        )


class ClusterStoreGonePhase:
    """A key that nobody needs any more does not stay on the host."""

    name = "cluster-store-gone"

    def observe(self, host: Host, context: Context) -> Dict[str, bool]:
        return {name: host.exists(name) for name in cluster_store.FILES}

    def plan(self, seen: Mapping[str, bool], context: Context) -> List[Step]:
        texts = cluster_store.texts(context.spec.engine.cluster)
        return [
            Step(f"{self.name}/remove {name}", f"- remove {name}", _Remover(name))
            for name in cluster_store.FILES
            if seen[name] and not texts[name]
        ]


def _mode(name: str) -> int:
    return 0o600 if name == cluster_store.KEY else 0o644


class _Writer:
    """A closure whose repr shows no key."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def __call__(self, work: Work) -> None:
        known_good.keep(work.host)
        work.host.make_folder(cluster_store.FOLDER, 0o700)
        work.host.write(self._name, self._text, _mode(self._name))


class _Remover:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, work: Work) -> None:
        known_good.keep(work.host)
        work.host.remove(self._name)
