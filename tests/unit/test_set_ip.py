"""set-ip's pure parts: the record at its new address, and pins that follow a host's key."""

from __future__ import annotations

from machinectl.actions.set_ip import moved
from machinectl.model import Machine, SshAddress
from machinectl.remote.pins import copy_pins, drop_pins, undo

KEY, OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIA==", "AAAAC3NzaC1lZDI1NTE5AAAAIQ=="
A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def machine(**more):
    return Machine(name="n", ip=A, **{"ssh": SshAddress(A, port=2222), **more})


def test_everything_that_was_the_old_address_is_the_new_one():
    found = moved(machine(network={"id": "x", "vtep": A}, engine={"cluster": {"advertise": A}}), B, "")
    assert (found.ip, found.ssh, found.moved_from) == (B, SshAddress(B, port=2222), A)
    assert found.network == {"id": "x", "vtep": B}
    assert found.engine == {"cluster": {"advertise": B}}


def test_what_was_another_address_stays():
    found = moved(machine(ssh=SshAddress("node.lan"), network={"vtep": "eth1"}), B, "")
    assert (found.ssh.host, found.network) == ("node.lan", {"vtep": "eth1"})
    assert moved(machine(), B, "node.lan").ssh.host == "node.lan"


def test_a_move_that_was_cut_off_keeps_where_it_began():
    first = moved(machine(), B, "")
    assert moved(first, B, "") == first
    assert moved(first, C, "").moved_from == A
    # back again: what has gone along must come back from there
    assert moved(first, A, "").moved_from == B


def test_pins_follow_and_come_back(tmp_path):
    file = tmp_path / "known_hosts"
    before = [
        "# mine\n",
        f"{A} ssh-ed25519 {KEY}\n",
        f"{B} ssh-ed25519 {OTHER}\n",
        f"{C} ssh-ed25519 {OTHER}\n",
    ]
    file.write_text("".join(before))
    done = copy_pins(file, A, B)
    assert file.read_text().splitlines()[-1] == f"{B} ssh-ed25519 {KEY}"
    assert file.read_text().count(OTHER) == 1
    assert copy_pins(file, A, B).added == ()
    undo(file, done)
    assert sorted(file.read_text().splitlines(keepends=True)) == sorted(before)
    drop_pins(file, A)
    assert A not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_pins_nothing_is_written(tmp_path):
    file = tmp_path / "known_hosts"
    assert copy_pins(file, A, B).added == ()
    assert copy_pins(file, A, A).added == ()
    drop_pins(file, A)
    assert not file.exists()
