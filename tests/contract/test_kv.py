"""What every client of etcd must do while etcd is well."""

from __future__ import annotations

import threading
import time

import pytest

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Compare, Delete, Get, KvRefused, LeaseGone, Put
from tests.etcd_cluster import EtcdCluster
from tests.kv_clients import KINDS, connect

MANY = 30_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as started:
        yield started


@pytest.fixture(params=KINDS)
def kv(request, cluster):
    client = connect(request.param, cluster)
    client.delete("/t/", is_prefix=True)
    yield client
    client.close()


def test_a_key_is_written_read_and_deleted(kv):
    assert kv.get("/t/a") is None
    first = kv.put("/t/a", b"one")
    second = kv.put("/t/a", b"two\0\xff")
    assert second == first + 1
    found = kv.get("/t/a")
    assert (found.key, found.value, found.version, found.lease) == ("/t/a", b"two\0\xff", 2, 0)
    assert (found.create_revision, found.mod_revision) == (first, second)
    assert kv.delete("/t/a") == 1
    assert kv.delete("/t/a") == 0
    assert kv.get("/t/a") is None


def test_empty_values_and_foreign_letters(kv):
    kv.put("/t/größe/名", b"")
    assert kv.get("/t/größe/名").value == b""
    assert [one.key for one in kv.range("/t/grö").items] == ["/t/größe/名"]


def test_a_range_is_its_prefix_and_no_more(kv):
    for key in ("/t/a/1", "/t/a/2", "/t/a0", "/t/b/1"):
        kv.put(key, key.encode())
    page = kv.range("/t/a/")
    assert [(one.key, one.value) for one in page.items] == [("/t/a/1", b"/t/a/1"), ("/t/a/2", b"/t/a/2")]
    assert page.revision == kv.get("/t/b/1").mod_revision
    assert [one.value for one in kv.range("/t/a/", keys_only=True).items] == [b"", b""]
    assert kv.range("/t/none/").items == ()
    assert len(kv.range("").items) >= 4
    assert kv.delete("/t/a/", is_prefix=True) == 2
    assert [one.key for one in kv.range("/t/").items] == ["/t/a0", "/t/b/1"]


@pytest.fixture(scope="module")
def many(cluster):
    client = Gateway(cluster.endpoints)
    for start in range(0, MANY, 120):
        client.txn(
            [], [Put(f"/many/{n:06d}", b"x" * 100) for n in range(start, min(start + 120, MANY))], deadline=30
        )
    client.close()


def test_many_keys_come_whole_and_sorted(kv, many):
    page = kv.range("/many/", deadline=60)
    assert [one.key for one in page.items] == [f"/many/{n:06d}" for n in range(MANY)]
    assert {one.value for one in page.items} == {b"x" * 100}


def test_a_range_shows_one_revision(kv, many, cluster):
    """A writer changes the first and the last key together; no reader sees one without the other."""
    writer = Gateway(cluster.endpoints)
    stop = threading.Event()

    def write_pair(number):
        text = str(number).encode()
        writer.txn([], [Put("/many/", text), Put("/many/~", text)])

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            write_pair(number)

    write_pair(0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            items = kv.range("/many/", deadline=60).items
            assert (items[0].key, items[-1].key) == ("/many/", "/many/~")
            assert items[0].value == items[-1].value
    finally:
        stop.set()
        thread.join()
        writer.delete("/many/")
        writer.delete("/many/~")
        writer.close()


@pytest.mark.parametrize(
    ("target", "operator", "wanted", "holds"),
    [
        ("value", "=", b"v", True),
        ("value", "!=", b"v", False),
        ("value", "<", b"w", True),
        ("version", "=", 1, True),
        ("version", ">", 1, False),
        ("create", "=", 0, False),
        ("create", ">", 0, True),
        ("mod", "!=", 0, True),
        ("mod", "<", 1, False),
    ],
)
def test_a_transaction_compares(kv, target, operator, wanted, holds):
    kv.put("/t/a", b"v")
    done = kv.txn([Compare("/t/a", target, operator, wanted)], [Put("/t/then", b"")], [Put("/t/else", b"")])
    assert done.ok is holds
    assert (kv.get("/t/then") is not None) is holds
    assert (kv.get("/t/else") is None) is holds


def test_a_transaction_answers_in_order(kv):
    kv.put("/t/a/1", b"1")
    kv.put("/t/a/2", b"2")
    done = kv.txn([], [Get("/t/a/", is_prefix=True), Put("/t/a/3", b"3"), Delete("/t/a/1"), Get("/t/a/2")])
    assert done.ok
    assert [[one.key for one in answer] for answer in done.answers] == [
        ["/t/a/1", "/t/a/2"],
        [],
        [],
        ["/t/a/2"],
    ]
    assert done.revision == kv.get("/t/a/3").mod_revision
    assert [one.key for one in kv.range("/t/a/").items] == ["/t/a/2", "/t/a/3"]


def test_a_transaction_compares_a_whole_prefix(kv):
    empty = [Compare("/t/net/", "create", "=", 0, is_prefix=True)]
    assert kv.txn(empty, [Put("/t/done", b"")]).ok
    kv.put("/t/net/endpoint", b"")
    refused = kv.txn(empty, [Delete("/t/done")], [Get("/t/net/", is_prefix=True)])
    assert not refused.ok
    assert [one.key for one in refused.answers[0]] == ["/t/net/endpoint"]
    revision = kv.get("/t/net/endpoint").mod_revision
    unchanged = [Compare("/t/net/", "mod", "<", revision + 1, is_prefix=True)]
    assert kv.txn(unchanged, [Delete("/t/net/", is_prefix=True)]).ok
    assert kv.range("/t/net/").items == ()


def test_a_lease_ends_with_its_keys(kv):
    lease = kv.grant(2)
    kv.put("/t/alive", b"", lease=lease)
    assert kv.get("/t/alive").lease == lease
    assert kv.keep_alive(lease) == 2
    end = time.monotonic() + 15
    while kv.get("/t/alive"):
        assert time.monotonic() < end
        time.sleep(0.1)
    with pytest.raises(LeaseGone):
        kv.keep_alive(lease)
    with pytest.raises(LeaseGone):
        kv.put("/t/alive", b"", lease=lease)
    with pytest.raises(LeaseGone):
        kv.txn([], [Put("/t/alive", b"", lease=lease)])


def test_a_revoked_lease_takes_its_keys_at_once(kv):
    lease = kv.grant(60)
    kv.txn([], [Put("/t/alive", b"", lease=lease), Put("/t/stays", b"")])
    kv.revoke(lease)
    assert [one.key for one in kv.range("/t/").items] == ["/t/stays"]
    kv.revoke(lease)


def test_what_etcd_refuses_is_said(kv):
    with pytest.raises(KvRefused, match="too large"):
        kv.put("/t/a", b"x" * 1_700_000)
    with pytest.raises(KvRefused, match="too many operations"):
        kv.txn([], [Put(f"/t/{n}", b"") for n in range(500)])
    with pytest.raises(KvRefused, match="duplicate key"):
        kv.txn([], [Put("/t/a", b""), Put("/t/a", b"")])


def test_threads_share_a_client(kv):
    def work(number):
        for step in range(20):
            kv.put(f"/t/{number}", str(step).encode())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.value for one in kv.range("/t/").items} == {b"19"}
    assert {one.version for one in kv.range("/t/").items} == {20}


def test_a_member_tells_how_it_is(kv, cluster):
    status = kv.status()
    assert status.version.startswith("3.")
    assert status.leader == status.id > 0
    assert status.size > 0
    assert status.revision >= kv.put("/t/a", b"") - 1
    assert kv.status(cluster.endpoints[0]).id == status.id
    kv.health()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_endpoint_is_said_at_once(kind):
    for endpoints in ([], ["ftp://10.0.0.1"], ["https://"]):
        with pytest.raises(ValueError, match="etcd"):
            KINDS[kind](endpoints)
