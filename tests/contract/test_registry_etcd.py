"""The registry over a real etcd."""

from __future__ import annotations

import itertools

import pytest

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.network.records import Layout
from machinectl_agent.network.registry.registry import Registry
from tests.etcd_cluster import EtcdCluster
from tests.registry_suite import RegistrySuite

_numbers = itertools.count()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as started:
        yield started


@pytest.fixture
def layout() -> Layout:
    """Each test has keys of its own."""
    return Layout(f"/t{next(_numbers)}/")


@pytest.fixture
def kv(cluster):
    client = Gateway(cluster.endpoints)
    yield client
    client.close()


@pytest.fixture
def machine(cluster, layout: Layout, clock: Clock):
    clients = []

    def join(name: str, **options) -> Registry:
        clients.append(Gateway(cluster.endpoints))
        return Registry(clients[-1], layout, name, clock=clock, **options)

    yield join
    for one in clients:
        one.close()


@pytest.fixture
def leftovers(kv: Gateway, layout: Layout):
    return lambda: [one.key for one in kv.range(layout.prefix).items]


@pytest.fixture
def save(cluster, tmp_path, kv: Gateway, layout: Layout):
    def save():
        # a snapshot without any key would not say that the revision went back
        kv.put(f"{layout.prefix}before", b"")
        cluster.save(tmp_path / "backup")
        kv.delete(f"{layout.prefix}before")
        return tmp_path / "backup"

    return save


@pytest.fixture
def restore(cluster, kv: Gateway, layout: Layout):
    def restore(path) -> None:
        cluster.restore(path)
        kv.delete(f"{layout.prefix}before")

    return restore


class TestRegistry(RegistrySuite):
    pass
