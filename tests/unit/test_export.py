"""A machine in a file, and out of it into other stores."""

from __future__ import annotations

import base64
import json
import shutil
import stat

import pytest

from machinectl.actions.export import export_machine
from machinectl.actions.import_machine import import_machine
from machinectl.errors import CertificateError, HostKeyChanged, MachinectlError, MachineExists, UsageError
from machinectl.model import Machine, SshAddress
from machinectl.pki import sealed
from machinectl.pki.authority import ensure_authority
from machinectl.pki.foreign import ensure_machine
from machinectl.store.store import Store

NAMES = ("10.0.0.7", "node1")
BLOB = base64.b64encode(b"k" * 51).decode()


@pytest.fixture(autouse=True)
def cheap(monkeypatch, tmp_path):
    monkeypatch.setattr(sealed, "COST", 2**4)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def ours(tmp_path):
    store = Store(tmp_path / "ours")
    (tmp_path / "ssh_config").touch()
    machine = Machine(
        "node1", "10.0.0.7", SshAddress("10.0.0.7", 22, "root", "~/.ssh/id_x", config=str(tmp_path / "ssh_config")),
        engine={"options": {"mtu": 1400}}, network={"id": "x", "state": "member"}, inventory="/here/inv", state="ready",
    )  # fmt: skip
    ensure_machine(store.certs, store.folder("node1"), NAMES)
    (store.folder("node1") / "files").mkdir()
    (store.folder("node1") / "files" / ("0" * 64)).write_bytes(b"content")
    (store.folder("node1") / "etcd-client-key.pem").write_text("etcd")
    store.save(machine)
    store.known_hosts.write_text(f"10.0.0.7 ssh-ed25519 {BLOB}\n10.0.0.8 ssh-ed25519 {BLOB}\n")
    return store


@pytest.fixture
def exported(ours, tmp_path):
    def exported(*, with_ca=False):
        target = tmp_path / f"file{with_ca}"
        if not target.exists():
            export_machine(ours, "node1", target, "horse horse", with_ca=with_ca)
        return target

    return exported


def without_record(store):
    return {
        path.relative_to(store.path).as_posix()
        for path in store.path.rglob("*")
        if path.is_file() and path.parent.name != "locks"
    }


def test_into_an_empty_store_with_the_ca(ours, exported, tmp_path):
    target = exported(with_ca=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert b"10.0.0.7" not in target.read_bytes()
    theirs = Store(tmp_path / "theirs")
    done = import_machine(theirs, target, "horse horse")
    assert (done.authority, len(done.left)) == ("store", 2)
    machine = theirs.load("node1")
    assert (machine.engine, machine.network, machine.inventory) == ({"options": {"mtu": 1400}}, {}, "")
    assert (machine.ssh.key, machine.ssh.config) == ("~/.ssh/id_x", "")
    for name in (
        "certs/ca-key.pem",
        "certs/cert.pem",
        "machines/node1/server-key.pem",
        "machines/node1/key.pem",
    ):
        assert (theirs.path / name).read_bytes() == (ours.path / name).read_bytes()
        assert stat.S_IMODE((theirs.path / name).stat().st_mode) == 0o600
    assert (theirs.folder("node1") / "files" / ("0" * 64)).read_bytes() == b"content"
    assert theirs.known_hosts.read_text() == f"10.0.0.7 ssh-ed25519 {BLOB}\n"
    assert not (theirs.folder("node1") / "etcd-client-key.pem").exists()
    assert ensure_machine(theirs.certs, theirs.folder("node1"), NAMES).reason == ""


def test_into_a_store_with_another_ca(exported, tmp_path):
    theirs = Store(tmp_path / "theirs")
    before = ensure_authority(theirs.certs).certificate
    assert import_machine(theirs, exported(), "horse horse").authority == "own, no key"
    folder = theirs.folder("node1")
    assert ensure_authority(theirs.certs).certificate == before != (folder / "ca.pem").read_bytes()
    made = ensure_machine(theirs.certs, folder, NAMES)
    assert (made.reason, made.ca.read_bytes()) == ("", (folder / "authority/ca.pem").read_bytes())
    with pytest.raises(CertificateError, match="key of its CA is not"):
        ensure_machine(theirs.certs, folder, (*NAMES, "more"))
    assert ensure_machine(theirs.certs, folder, NAMES, take_over=True).reason == "signed by another CA"
    assert (folder / "ca.pem").read_bytes().startswith(before)
    assert (folder / "authority-replaced/ca.pem").exists()


def test_into_a_store_with_another_ca_and_its_key(exported, tmp_path):
    theirs = Store(tmp_path / "theirs")
    ensure_authority(theirs.certs)
    assert import_machine(theirs, exported(with_ca=True), "horse horse").authority == "own"
    made = ensure_machine(theirs.certs, theirs.folder("node1"), (*NAMES, "more"))
    assert made.reason == "made for other names or addresses"
    assert made.ca.read_bytes() != (theirs.certs / "ca.pem").read_bytes()
    assert made.cert.read_bytes() == (theirs.folder("node1") / "authority/cert.pem").read_bytes()


def test_back_into_the_same_store(ours, exported):
    target = exported()
    with pytest.raises(MachineExists, match="already exists"):
        import_machine(ours, target, "horse horse")
    ours.remove("node1")
    assert import_machine(ours, target, "horse horse").authority == "same"
    assert not (ours.folder("node1") / "authority").exists()


def test_nothing_changes_where_it_fails(ours, exported, tmp_path):
    theirs = Store(tmp_path / "theirs")
    theirs.save(Machine("other", "10.0.0.7", SshAddress("10.0.0.7")))
    before = without_record(theirs)
    with pytest.raises(MachinectlError, match="passphrase is wrong"):
        import_machine(theirs, exported(), "horse house")
    broken = tmp_path / "broken"
    broken.write_bytes(exported().read_bytes()[:-3])
    with pytest.raises(MachinectlError, match="passphrase is wrong, or the file is damaged"):
        import_machine(theirs, broken, "horse horse")
    with pytest.raises(MachinectlError, match="can't be read"):
        import_machine(theirs, tmp_path / "nope", "horse horse")
    with pytest.raises(MachineExists, match='already the machine "other"'):
        import_machine(theirs, exported(), "horse horse")
    theirs.remove("other")
    theirs.known_hosts.write_text(f"10.0.0.7 ssh-ed25519 {base64.b64encode(b'other').decode()}\n")
    with pytest.raises(HostKeyChanged):
        import_machine(theirs, exported(), "horse horse")
    assert theirs.names() == []
    assert without_record(theirs) <= before | {"known_hosts", "known_hosts.lock"}
    with pytest.raises(UsageError, match="there already"):
        export_machine(ours, "node1", exported(), "horse horse", with_ca=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["files"].update({"../../x.pem": "aa=="}),
        lambda one: one["files"].update({"/etc/x.pem": "aa=="}),
        lambda one: one["files"].update({"config.json": "aa=="}),
        lambda one: one["files"].update({"x.pem": "?"}),
        lambda one: one["authority"].update({"ca-key2.pem": "aa=="}),
        lambda one: one["authority"].pop("key.pem"),
        lambda one: one.update(name="../x"),
        lambda one: one["record"].update(name="node2"),
        lambda one: one["record"].pop("ssh"),
        lambda one: one.update(format=2),
        lambda one: one["known_hosts"].append(["a\nb", "ssh-rsa", "aa=="]),
    ],
)
def test_whoever_made_the_file_is_not_believed(exported, tmp_path, change):
    document = json.loads(sealed.unseal(exported().read_bytes(), "horse horse"))
    change(document)
    forged = tmp_path / "forged"
    forged.write_bytes(sealed.seal(json.dumps(document).encode(), "horse horse"))
    theirs = Store(tmp_path / "theirs")
    with pytest.raises(MachinectlError):
        import_machine(theirs, forged, "horse horse")
    assert theirs.names() == []


def test_a_killed_import_is_repeated(exported, tmp_path):
    theirs = Store(tmp_path / "theirs")
    import_machine(theirs, exported(), "horse horse")
    (theirs.folder("node1") / "config.json").unlink()  # what a kill before the last step leaves
    shutil.copytree(theirs.folder("node1") / "files", theirs.folder("node1") / "rest")
    assert import_machine(theirs, exported(), "horse horse").authority == "own, no key"
    assert not (theirs.folder("node1") / "rest").exists()
