"""What every watch must do: nothing lost, nothing twice, whatever happens to etcd."""

from __future__ import annotations

import threading
import time

import pytest

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Change, KvError, Put, Trouble
from tests.etcd_cluster import EtcdCluster
from tests.kv_clients import KINDS, Reader, connect, tls_of
from tests.ports import free_ports

NOTICED = 60.0
"""Seconds in which a frozen etcd must be noticed."""


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def single(tmp_path):
    with EtcdCluster(tmp_path / "etcd") as started:
        yield started


@pytest.fixture
def trio(tmp_path):
    with EtcdCluster(tmp_path / "etcd", members=3, tls=True) as started:
        yield started


@pytest.fixture
def follow():
    """`follow(kind, cluster, prefixes)` → Reader"""
    readers = []

    def start(kind, cluster, *prefixes, endpoints=()):
        client = connect(kind, cluster, endpoints)
        reader = Reader(client.watch(prefixes))
        readers.append(reader)
        client.close()  # a watch lives on its own
        return reader

    yield start
    for one in readers:
        one.close()


@pytest.fixture
def writer_of():
    clients = []

    def make(cluster, endpoints=()):
        clients.append(Gateway(endpoints or cluster.endpoints, tls=tls_of(cluster.files)))
        return clients[-1]

    yield make
    for one in clients:
        one.close()


def put_surely(client, key, value, seconds=60.0):
    """A lost answer is asked again: the same value, so that a reader sees it once or twice, not never."""
    end = time.monotonic() + seconds
    while True:
        try:
            return client.put(key, value, deadline=2)
        except KvError:
            assert time.monotonic() < end
            time.sleep(0.05)


def keys_of(reader):
    """Of its changes, each once: what `put_surely` had to put twice is the same."""
    return list(dict.fromkeys(one.key for one in reader.changes()))


def test_snapshot_then_changes(kind, single, follow, writer_of):
    writer = writer_of(single)
    writer.put("/a/1", b"one")
    writer.put("/b/1", b"other")
    reader = follow(kind, single, "/a/")
    reader.wait(lambda: reader.snapshots("/a/"))
    first = reader.snapshots("/a/")[0]
    assert [(one.key, one.value) for one in first.items] == [("/a/1", b"one")]
    writer.put("/a/2", b"")
    writer.put("/b/2", b"")
    last = writer.txn([], [Put("/a/3", b"3"), Put("/a/4", b"4")]).revision
    writer.delete("/a/", is_prefix=True)
    reader.wait(lambda: len(reader.changes()) == 7)
    assert [(one.key, one.value) for one in reader.changes()] == [
        ("/a/2", b""),
        *(("/a/3", b"3"), ("/a/4", b"4")),
        *((f"/a/{n}", None) for n in (1, 2, 3, 4)),
    ]
    assert [one.revision for one in reader.changes()][1:] == [last, last] + [last + 1] * 4
    assert reader.troubles() == []


def test_prefixes_come_and_go(kind, single, follow, writer_of):
    writer = writer_of(single)
    reader = follow(kind, single)
    reader.watch.add("/a/")
    reader.watch.add("/a/")
    reader.wait(lambda: reader.snapshots("/a/"))
    writer.put("/a/1", b"")
    reader.watch.add("/b/")
    writer.put("/a/2", b"")
    reader.wait(lambda: len(reader.changes("/a/")) == 2 and reader.snapshots("/b/"))
    reader.watch.remove("/a/")
    writer.put("/a/3", b"")
    writer.put("/b/1", b"")
    reader.wait(lambda: reader.changes("/b/"))
    assert [one.key for one in reader.changes()] == ["/a/1", "/a/2", "/b/1"]
    reader.watch.add("/a/")  # what was known of it is void
    reader.wait(lambda: len(reader.snapshots("/a/")) == 2)
    assert [one.key for one in reader.snapshots("/a/")[1].items] == ["/a/1", "/a/2", "/a/3"]
    assert len(reader.snapshots("/b/")) == 1
    assert reader.close() < 4


def test_prefixes_change_while_changes_come(kind, single, follow, writer_of):
    """A stream that is opened again and again loses nothing."""
    writer = writer_of(single)
    reader = follow(kind, single, "/a/")
    reader.wait(reader.snapshots)
    stop = threading.Event()

    def churn():
        number = 0
        while not stop.is_set():
            number += 1
            reader.watch.add(f"/x/{number % 7}/")
            reader.watch.remove(f"/x/{(number + 3) % 7}/")
            time.sleep(0.001)

    thread = threading.Thread(target=churn)
    thread.start()
    keys = [f"/a/{number:04d}" for number in range(500)]
    for key in keys:
        writer.put(key, b"")
    reader.wait(lambda: len(reader.changes("/a/")) >= len(keys))  # while it goes on
    stop.set()
    thread.join()
    assert [one.key for one in reader.changes("/a/")] == keys
    assert len(reader.snapshots("/a/")) == 1


def test_a_thousand_prefixes_on_one_connection(kind, single, follow, writer_of):
    """More than the gateway's HTTP server reads of a request before it answers."""
    writer = writer_of(single)
    prefixes = [f"/net/{number:04d}/" for number in range(1000)]
    reader = follow(kind, single, *prefixes)
    reader.wait(lambda: len(reader.snapshots()) == 1000, 60)
    for start in range(0, 1000, 100):
        writer.txn([], [Put(f"{prefix}x", b"") for prefix in prefixes[start : start + 100]])
    reader.wait(lambda: len(reader.changes()) == 1000, 60)
    assert {one.prefix for one in reader.changes()} == set(prefixes)
    assert all(one.key == f"{one.prefix}x" for one in reader.changes())
    assert reader.troubles() == []


def test_killed_and_restarted_again_and_again(kind, single, follow, writer_of):
    writer = writer_of(single)
    reader = follow(kind, single, "/a/", "/b/")
    reader.wait(lambda: len(reader.snapshots()) == 2)
    stop = threading.Event()
    written: list[str] = []

    def write():
        while not stop.is_set():
            key = f"/{'ab'[len(written) % 2]}/{len(written):05d}"
            put_surely(writer, key, b"")
            written.append(key)
            time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(3):
        before = len(written)
        reader.wait(lambda before=before: len(reader.changes()) > before + 20)
        single.kill()
        single.start()
    stop.set()
    thread.join()
    for prefix in ("/a/", "/b/"):
        keys = [key for key in written if key.startswith(prefix)]
        reader.wait(
            lambda keys=keys: keys[-1] in [one.key for one in reader.items if isinstance(one, Change)]
        )
        history = writer.range(prefix)
        versions = sum(one.version for one in history.items)
        reader.wait(lambda versions=versions, prefix=prefix: len(reader.changes(prefix)) >= versions)
        seen = reader.changes(prefix)
        # a put whose answer was lost may have been done twice: two revisions of one key, next to each other
        assert list(dict.fromkeys(one.key for one in seen)) == keys
        assert versions == len(seen)
        revisions = [one.revision for one in seen]
        assert revisions == sorted(set(revisions))
    assert len(reader.snapshots()) == 2
    troubles = reader.troubles()
    assert troubles[-1] == "" if troubles else True


def test_etcd_may_be_away_at_first_and_for_long(kind, single, follow, writer_of):
    single.stop()
    reader = follow(kind, single, "/a/")
    reader.wait(reader.troubles)
    assert reader.items == [Trouble(reader.troubles()[0])]
    assert "127.0.0.1" in reader.troubles()[0]
    spent = time.process_time()
    reader.watch.add("/b/")
    threading.Event().wait(3)  # what is measured is what goes on while nothing can
    assert time.process_time() - spent < 1.5
    single.start()
    reader.wait(lambda: len(reader.snapshots()) == 2)
    writer_of(single).put("/b/1", b"")
    reader.wait(lambda: reader.changes("/b/"))
    assert reader.troubles()[-1] == ""


def test_close_wakes_while_etcd_is_away(kind, single, follow):
    single.stop()
    reader = follow(kind, single, "/a/")
    reader.wait(reader.troubles)
    assert reader.close() < 4


def test_close_wakes_while_etcd_is_frozen(kind, single, follow):
    single.freeze()
    reader = follow(kind, single, "/a/")
    threading.Event().wait(0.5)  # it is in the middle of a call that nobody answers
    assert reader.close() < 4


def test_close_is_never_missed(kind, single, follow):
    """At any moment of the reader's life."""
    for number in range(60):
        reader = follow(kind, single, *["/a/"][: number % 2])
        threading.Event().wait(number % 10 * 0.001)
        assert reader.close() < 4


def test_another_member_takes_over_from_a_killed_one(kind, trio, follow, writer_of):
    victim = next(one for one in trio.members if one != trio.leader())
    others = [url for url in trio.endpoints if url != trio.client_url(victim)]
    reader = follow(kind, trio, "/a/", endpoints=[trio.client_url(victim), *others])
    reader.wait(reader.snapshots)
    writer = writer_of(trio, others)
    put_surely(writer, "/a/1", b"")
    reader.wait(lambda: len(keys_of(reader)) == 1)
    trio.kill(victim)
    put_surely(writer, "/a/2", b"")
    reader.wait(lambda: len(keys_of(reader)) == 2)
    assert keys_of(reader) == ["/a/1", "/a/2"]
    assert reader.troubles() == []


def test_another_member_takes_over_from_a_frozen_one(kind, trio, follow, writer_of):
    victim = next(one for one in trio.members if one != trio.leader())
    others = [url for url in trio.endpoints if url != trio.client_url(victim)]
    reader = follow(kind, trio, "/a/", endpoints=[trio.client_url(victim), *others])
    reader.wait(reader.snapshots)
    writer = writer_of(trio, others)
    put_surely(writer, "/a/1", b"")
    reader.wait(lambda: len(keys_of(reader)) == 1)
    trio.freeze(victim)
    put_surely(writer, "/a/2", b"")
    reader.wait(lambda: len(keys_of(reader)) == 2, NOTICED)
    trio.thaw(victim)
    put_surely(writer, "/a/3", b"")
    reader.wait(lambda: len(keys_of(reader)) == 3)
    assert keys_of(reader) == ["/a/1", "/a/2", "/a/3"]


def test_a_lost_majority_is_noticed(kind, trio, follow, writer_of):
    """The watched member is well, but nobody leads it any more."""
    survivor = next(one for one in trio.members if one != trio.leader())
    reader = follow(kind, trio, "/a/", endpoints=[trio.client_url(survivor)])
    reader.wait(reader.snapshots)
    for one in trio.members:
        if one != survivor:
            trio.kill(one)
    reader.wait(reader.troubles, NOTICED)
    trio.start()
    put_surely(writer_of(trio), "/a/1", b"")
    reader.wait(reader.changes)
    assert reader.troubles()[-1] == ""
    assert len(reader.snapshots()) == 1


def test_a_compaction_that_overtakes_makes_a_new_snapshot(kind, single, follow, writer_of):
    """etcd goes away from the watch, changes and forgets; another address leads to it meanwhile."""
    writer = writer_of(single)
    writer.put("/a/1", b"")
    writer.put("/a/2", b"")
    reader = follow(kind, single, "/a/", "/b/")
    reader.wait(lambda: len(reader.snapshots()) == 2)
    port = single.ports[0]
    single.kill()
    reader.wait(reader.troubles)
    (single.ports[0],) = free_ports(1)
    single.start()
    aside = writer_of(single)
    aside.delete("/a/1")
    aside.put("/a/3", b"")
    single.compact()
    aside.put("/a/4", b"")
    single.kill()
    single.ports[0] = port
    single.start()
    reader.wait(lambda: len(reader.snapshots("/a/")) == 2)
    reader.wait(lambda: reader.troubles()[-1] == "")
    put_surely(writer, "/a/5", b"")
    reader.wait(lambda: reader.changes("/a/"))
    assert [one.key for one in reader.snapshots("/a/")[1].items] == ["/a/2", "/a/3", "/a/4"]
    assert keys_of(reader) == ["/a/5"]


@pytest.mark.parametrize("members", [1, 3])
def test_a_restored_backup_makes_new_snapshots(kind, members, tmp_path, follow, writer_of):
    with EtcdCluster(tmp_path / "etcd", members=members) as cluster:
        writer = writer_of(cluster)
        put_surely(writer, "/a/old", b"")
        cluster.save(tmp_path / "backup")
        reader = follow(kind, cluster, "/a/", "/b/")
        reader.wait(lambda: len(reader.snapshots()) == 2)
        put_surely(writer, "/a/new", b"")
        reader.wait(reader.changes)
        cluster.restore(tmp_path / "backup")
        reader.wait(lambda: len(reader.snapshots()) == 4)
        assert [one.key for one in reader.snapshots("/a/")[1].items] == ["/a/old"]
        assert [one.restored for one in reader.snapshots("/a/")] == [False, True]
        assert all(one.cluster for one in reader.snapshots())
        put_surely(writer, "/a/newer", b"")
        reader.wait(lambda: keys_of(reader) == ["/a/new", "/a/newer"])
        newer = next(one for one in reader.changes() if one.key == "/a/newer")
        assert newer.revision <= reader.changes()[0].revision
