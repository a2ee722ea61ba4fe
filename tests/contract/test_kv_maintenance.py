"""What the controller asks of a cluster beside its keys."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys

import pytest

from machinectl.errors import StoreError
from machinectl.kv.client import Etcd3
from machinectl_agent.kv.interface import KvError, KvRefused, KvUnavailable
from tests.etcd_cluster import EtcdCluster
from tests.kv_clients import connect, succeeds
from tests.waiting import until


@pytest.fixture
def single(tmp_path):
    with EtcdCluster(tmp_path / "etcd") as started:
        yield started


@pytest.fixture
def kv(single):
    client = connect("etcd3", single)
    yield client
    client.close()


def remove(kv, member):
    """Which may be done already: an answer may be lost with the leader."""
    if any(one.id == member for one in kv.members()):
        kv.remove_member(member)


def add(kv, url):
    there = next((one for one in kv.members() if one.peer_urls == (url,)), None)
    return there or kv.add_member([url], learner=True)


def test_members_come_and_go(tmp_path):
    with EtcdCluster(tmp_path / "etcd", members=3, tls=True) as cluster:
        kv = connect("etcd3", cluster)
        until(lambda: {one.name for one in kv.members()} == {"m0", "m1", "m2"})
        found = {one.name: one for one in kv.members()}
        assert found["m1"].peer_urls == (cluster.peer_url(1),)
        assert found["m1"].client_urls == (cluster.client_url(1),)
        assert {kv.status(url).id for url in cluster.endpoints} == {one.id for one in found.values()}
        assert {kv.status(url).leader for url in cluster.endpoints} == {found[f"m{cluster.leader()}"].id}
        assert len({kv.hash(url) for url in cluster.endpoints}) == 1

        # one is replaced: removed, and added as a learner that starts empty
        cluster.kill(2)
        succeeds(lambda: remove(kv, found["m2"].id), KvError)
        with pytest.raises(KvRefused, match="not found"):
            kv.remove_member(found["m2"].id)
        assert {one.name for one in kv.members()} == {"m0", "m1"}
        added = succeeds(lambda: add(kv, cluster.peer_url(2)), KvError)
        assert added.is_learner and added.name == ""
        cluster.forget(2)
        cluster.launch(2, state="existing")
        succeeds(lambda: kv.promote_member(added.id), KvError)
        cluster.wait(2)
        assert not any(one.is_learner for one in kv.members())
        until(lambda: {one.name for one in kv.members()} == {"m0", "m1", "m2"})  # it says its name itself

        kv.update_member(added.id, [cluster.peer_url(2).replace("127.0.0.1", "localhost")])
        urls = next(one.peer_urls for one in kv.members() if one.id == added.id)
        assert urls[0].startswith("https://localhost:")
        kv.close()


def test_a_snapshot_is_whole_private_and_can_be_restored(single, kv, tmp_path):
    for number in range(200):
        kv.put(f"/a/{number}", b"x" * 1000)
    path = tmp_path / "backup.db"
    path.write_text("an older one")
    saved = kv.snapshot(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert saved.size == path.stat().st_size > 200_000
    assert saved.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".tmp")] == []
    kv.delete("/a/", is_prefix=True)
    single.restore(path)
    assert len(succeeds(lambda: kv.range("/a/")).items) == 200


def test_a_snapshot_that_fails_leaves_the_old_file(single, kv, tmp_path, monkeypatch):
    path = tmp_path / "backup.db"
    path.write_text("an older one")
    with pytest.raises(StoreError, match="can't be written"):
        kv.snapshot(tmp_path / "none" / "backup.db")
    single.stop()
    with pytest.raises(KvUnavailable):
        kv.snapshot(path)
    assert path.read_text() == "an older one"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.db", "etcd"]


def test_a_damaged_snapshot_is_seen(single, kv, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "machinectl.kv.snapshot._DIGEST", 31
    )  # the checksum that came is no longer what we expect
    with pytest.raises(StoreError, match="was not written"):
        kv.snapshot(tmp_path / "backup.db")
    assert [one.name for one in tmp_path.iterdir()] == ["etcd"]


def test_a_full_etcd_is_named_emptied_and_freed(tmp_path):
    with EtcdCluster(tmp_path / "etcd", arguments=("--quota-backend-bytes=2000000",)) as cluster:
        kv = connect("etcd3", cluster)
        with pytest.raises(KvRefused, match="space exceeded"):
            for number in range(500):
                kv.put(f"/a/{number}", b"x" * 100_000)
        (alarm,) = kv.alarms()
        assert (alarm.kind, alarm.member) == ("NOSPACE", kv.status().id)
        gateway = connect("gateway", cluster)
        with pytest.raises(KvRefused, match="space exceeded"):
            gateway.put("/b", b"")
        gateway.close()
        kv.delete("/a/", is_prefix=True)
        cluster.compact(physical=True)
        before = kv.status().size
        kv.defragment(cluster.endpoints[0])
        assert kv.status().size < before / 4
        kv.disarm(alarm)
        kv.disarm(alarm)
        assert kv.alarms() == []
        kv.put("/b", b"")
        kv.close()


def test_a_member_that_is_away_is_said(single, kv):
    single.stop()
    for call in (kv.members, kv.status, kv.alarms, kv.health, lambda: kv.hash(single.endpoints[0])):
        with pytest.raises(KvUnavailable, match="127"):
            call()


def test_etcd3_is_imported_by_the_first_call_only():
    script = (
        "import os, sys; import machinectl.kv.client as c; k = c.Etcd3(['http://127.0.0.1:1'])\n"
        "assert not {'etcd3', 'grpc', 'google.protobuf'} & set(sys.modules)\n"
        "before = dict(os.environ)\n"
        "from machinectl_agent.kv.interface import KvUnavailable\n"
        "try: k.get('a')\n"
        "except KvUnavailable: print('etcd3' in sys.modules, dict(os.environ) == before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_endpoints_are_checked():
    with pytest.raises(ValueError, match="etcd"):
        Etcd3([])
