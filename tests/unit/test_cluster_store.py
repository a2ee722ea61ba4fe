"""Classic mode: what dockerd is told, what it is refused, and that no key shows."""

from __future__ import annotations

import pytest

from machinectl_agent.engine import cluster_store
from machinectl_agent.engine.options import removed
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.cluster_store import ClusterStoreGonePhase, ClusterStorePhase, Seen
from machinectl_agent.phases.engine_config import EngineConfigPhase
from machinectl_agent.problems import Problem
from machinectl_agent.spec import ClusterStoreSpec, EngineSpec, Spec, TlsSpec

URLS = ("https://10.0.0.1:2379", "https://10.0.0.2:2379")
WANTED = ClusterStoreSpec(URLS, "10.0.0.5:2376", "", "CA", "CERT", "KEY-TEXT")


def spec(cluster=WANTED, version=""):
    return Spec("n", EngineSpec(cluster=cluster, version=version), TlsSpec("a", "b", "c"))


def context(*arguments):
    return Context(spec(*arguments), gather(Host("/nowhere")))


def test_daemon_json_names_every_endpoint_and_the_certificates():
    assert cluster_store.options(WANTED) == {
        "cluster-store": "etcd://10.0.0.1:2379,10.0.0.2:2379",
        "cluster-advertise": "10.0.0.5:2376",
        "cluster-store-opts": {
            "kv.cacertfile": cluster_store.CA,
            "kv.certfile": cluster_store.CERT,
            "kv.keyfile": cluster_store.KEY,
        },
    }


def test_plain_http_has_no_certificates_and_a_prefix_is_a_path():
    plain = ClusterStoreSpec(("http://10.0.0.1:2379",), "10.0.0.5:2376", "/old/")
    assert cluster_store.options(plain)["cluster-store"] == "etcd://10.0.0.1:2379/old"
    assert "cluster-store-opts" not in cluster_store.options(plain)


@pytest.mark.parametrize(
    ("version", "gone"),
    [("20.10.24+dfsg1", False), ("22.06", False), ("23.0.1", True), ("28.5.2", True), ("", False)],
)
def test_engines_from_23_on_have_none(version, gone):
    assert bool(removed(["mtu", "cluster-store"], version)) is gone
    assert removed(["mtu", "dns"], version) is None


def test_the_wish_travels_and_its_key_is_never_shown():
    assert Spec.from_json(spec().to_json()) == spec()
    assert "KEY-TEXT" not in str(spec().redacted()) + repr(spec())


def test_a_pin_to_an_engine_without_it_is_refused_by_the_plan(tmp_path):
    phase = EngineConfigPhase()
    wish = context(WANTED, "26.1")
    with pytest.raises(Problem, match=r"Docker Engine 26\.1 has no cluster-advertise") as caught:
        phase.plan(phase.observe(Host(str(tmp_path)), wish), wish)
    assert "network join" in caught.value.hint


def test_an_unreachable_etcd_is_told_before_anything_changes(tmp_path):
    away = context(ClusterStoreSpec(("http://127.0.0.1:1",), "10.0.0.5:2376"))
    phase = ClusterStorePhase()
    with pytest.raises(Problem) as caught:
        phase.plan(phase.observe(Host(str(tmp_path)), away), away)
    assert caught.value.code == "etcd-unreachable"


def test_the_files_come_with_the_wish_and_go_with_it(tmp_path):
    host = Host(str(tmp_path))
    work = Work(host, print, lambda _: None)
    phase, gone = ClusterStorePhase(), ClusterStoreGonePhase()
    there = context()
    for step in phase.plan(Seen(dict.fromkeys(cluster_store.FILES, (None, None)), None), there):
        step.apply(work)
    assert host.read(cluster_store.KEY) == "KEY-TEXT"
    assert host.mode(cluster_store.KEY) == 0o600
    assert gone.plan(gone.observe(host, there), there) == []
    nothing = context(None)
    for step in gone.plan(gone.observe(host, nothing), nothing):
        step.apply(work)
    assert gone.plan(gone.observe(host, nothing), nothing) == []
    assert not host.exists(cluster_store.KEY)
