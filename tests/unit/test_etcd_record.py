"""The store's record of its etcd: what a deploy, an add and a restore make of it, and which wishes are refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from machinectl.actions.etcd.access import endpoints, machine_certificate, without
from machinectl.actions.etcd.binaries import digests, program
from machinectl.actions.etcd.deploy import wanted
from machinectl.actions.etcd.external import use
from machinectl.actions.etcd.membership import _joining as joining
from machinectl.actions.etcd.restore import renewed
from machinectl.cli.main import main
from machinectl.errors import MachinectlError, StoreError, UsageError
from machinectl.store.etcd import Etcd, load_etcd, save_etcd
from machinectl.store.store import Store

THREE = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
PRESENT = Etcd(members=THREE, token="t", state="existing")


@pytest.mark.parametrize(
    ("count", "allowed"), [(1, True), (2, True), (3, True), (4, False), (5, True), (7, False)]
)
def test_sizes(count, allowed):
    machines = {f"m{number}": f"10.0.0.{number}" for number in range(count)}
    if allowed:
        assert wanted(None, machines, {}, {}, any_size=False).members == machines
        return
    with pytest.raises(UsageError, match=f"etcd on {count} machines"):
        wanted(None, machines, {}, {}, any_size=False)
    assert len(wanted(None, machines, {}, {}, any_size=True).members) == count


def test_a_second_deploy_keeps_the_token_and_takes_the_wishes():
    again = wanted(PRESENT, THREE, {}, {"quota": 5}, any_size=False)
    assert (again.token, again.state, again.quota, again.members) == ("t", "existing", 5, THREE)


@pytest.mark.parametrize(
    ("machines", "addresses", "wishes", "said"),
    [
        ({"a": "10.0.0.1"}, {}, {}, "has an etcd on a, b, c"),
        (THREE, {"a": "10.9.9.9"}, {}, "known to the other members as 10.0.0.1"),
        (THREE, {}, {"peer_port": 1}, "by port 2380"),
        (THREE, {"x": "10.0.0.9"}, {}, "--advertise names x"),
    ],
)
def test_what_a_deploy_does_not_change(machines, addresses, wishes, said):
    with pytest.raises(UsageError, match=said):
        wanted(PRESENT, machines, addresses, wishes, any_size=False)


def test_two_members_with_one_address_are_refused():
    with pytest.raises(UsageError, match="same address"):
        wanted(None, {"a": "10.0.0.1", "b": "10.0.0.1"}, {}, {}, any_size=False)


def test_an_etcd_of_somebody_else_is_not_deployed_to():
    with pytest.raises(MachinectlError, match="not its own"):
        wanted(Etcd(endpoints=("https://x:2379",)), THREE, {}, {}, any_size=False)


def test_a_new_member_is_told_from_its_former_self():
    first = joining(PRESENT, "d", "10.0.0.4")
    assert (first.joining, first.members["d"]) == ("d", "10.0.0.4")
    assert joining(first, "d", "10.0.0.4") == first  # a killed add goes on as the same one
    second = joining(without(first, "d"), "d", "10.0.0.4")
    assert len({first.incarnation("d"), second.incarnation("d"), second.incarnation("a")}) == 3
    with pytest.raises(MachinectlError, match="not been finished"):
        joining(first, "e", "10.0.0.5")
    with pytest.raises(UsageError, match="member already"):
        joining(PRESENT, "a", "10.0.0.1")
    assert without(first, "d") == PRESENT


def test_a_restore_begins_a_new_cluster_and_a_cut_off_one_goes_on():
    first = renewed(PRESENT, {}, "digest")
    assert (first.state, first.restoring, first.members) == ("new", "digest", THREE)
    assert first.token != PRESENT.token
    assert renewed(first, {}, "digest") == first
    assert renewed(first, {}, "another").token != first.token
    fewer = renewed(PRESENT, {"a": "x", "z": "10.0.0.9"}, "digest")
    assert fewer.members == {"a": "10.0.0.1", "z": "10.0.0.9"}
    with pytest.raises(MachinectlError, match="cut off"):
        wanted(first, THREE, {}, {}, any_size=False)


def test_the_record_survives_and_a_damaged_one_is_told(tmp_path):
    store = Store(tmp_path)
    assert load_etcd(store) is None
    save_etcd(store, PRESENT)
    assert load_etcd(store) == PRESENT
    assert (tmp_path / "etcd.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "etcd.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        load_etcd(store)


def test_every_machine_has_a_key_of_its_own(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(MachinectlError, match="no etcd yet"):
        machine_certificate(store, "a")
    save_etcd(store, PRESENT)
    ca, certificate, key = machine_certificate(store, "a")
    assert (ca, certificate, key) == machine_certificate(store, "a")
    assert machine_certificate(store, "b")[2] != key
    assert (store.folder("a") / "etcd-client-key.pem").stat().st_mode & 0o777 == 0o600
    assert endpoints(store) == [f"https://{address}:2379" for address in THREE.values()]


def test_a_joining_member_is_no_endpoint_yet(tmp_path):
    store = Store(tmp_path)
    save_etcd(store, joining(PRESENT, "d", "10.0.0.4"))
    assert "https://10.0.0.4:2379" not in endpoints(store)


def elf(name):
    return b"\x7fELF" + name.encode()


def test_programs_come_from_a_folder_or_a_tar_file(tmp_path):
    inside = tmp_path / "bin" / "etcd-v3.5.16-linux-amd64"
    inside.mkdir(parents=True)
    with tarfile.open(tmp_path / "etcd.tar.gz", "w:gz") as archive:
        for name in ("etcd", "etcdctl", "README.md"):
            (inside / name).write_bytes(elf(name))
            entry = tarfile.TarInfo(f"etcd-v3.5.16-linux-amd64/{name}")
            entry.size = len(elf(name))
            archive.addfile(entry, io.BytesIO(elf(name)))
    found = digests(tmp_path / "etcd.tar.gz")
    assert found == digests(tmp_path / "bin") == digests(inside)
    assert set(found) == {"etcd", "etcdctl"}
    for place in (tmp_path / "etcd.tar.gz", inside):
        with program(place, found["etcd"]) as path:
            assert path.read_bytes() == elf("etcd")
        with pytest.raises(MachinectlError, match="can't be taken from"), program(place, "0" * 64):
            pass


def test_what_is_no_etcd_is_refused(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        digests(tmp_path / "missing.tar.gz")
    (tmp_path / "etcd").write_bytes(elf("etcd"))
    with pytest.raises(UsageError, match="no etcdctl in"):
        digests(tmp_path)
    (tmp_path / "etcdctl").write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="no program for Linux"):
        digests(tmp_path)


def test_an_endpoint_that_is_none_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"10\.0\.0\.1"):
        use(Store(tmp_path), ["10.0.0.1"], ca="", cert="", key="")
    with pytest.raises(UsageError, match="belong together"):
        use(Store(tmp_path), ["https://10.0.0.1:2379"], ca="", cert="x", key="")
    with pytest.raises(UsageError, match="is no file"):
        use(Store(tmp_path), ["https://10.0.0.1:2379"], ca="/nonexistent", cert="", key="")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["status"], 1, "there is no etcd yet"),
        (["backup", "x.db"], 1, "there is no etcd yet"),
        (["restore", "x.db"], 2, "then add --yes"),
        (["restore", "--yes", "/nonexistent"], 2, "can't be read"),
        (["deploy", "nobody"], 1, "nobody"),
        (["deploy", "--binaries", "/nonexistent", "nobody"], 2, "can't be read"),
        (["add", "nobody"], 1, "nobody"),
    ],
)
def test_errors_of_the_command_line(tmp_path, capsys, words, status, said):
    assert main(["-s", str(tmp_path), "etcd", *words]) == status
    assert said in capsys.readouterr().err
