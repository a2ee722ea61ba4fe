"""A carry between real hosts: directly, through this computer where a firewall is between them, and cut off."""

from __future__ import annotations

import functools
import threading

import pytest

from machinectl.actions.carry import MachineEnd, carry
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError
from machinectl.remote import streams
from machinectl.remote.become import Become
from machinectl.store.store import Store
from tests import carry_ends
from tests.carry_ends import sha256_of
from tests.lab.copy_hosts import as_machine, cut
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

SIZE = 100_000_000


class Told(Report):
    """Keeps what was said."""

    def __init__(self):
        super().__init__("")
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def hosts(make_host):
    return make_host("carry1", engine=True), make_host("carry2", "trixie", engine=True)


@pytest.fixture
def go(hosts, new_controller, monkeypatch):
    monkeypatch.setattr(streams, "build_bundle", carry_ends.bundle_with_bytes)
    controller = new_controller()
    as_machine(controller, hosts[0], user="ops")
    as_machine(controller, hosts[1])
    return functools.partial(carry, Store(controller.store), become=Become(), within=120.0)


def end(name, user="root", **args):
    return MachineEnd(name, "bytes", args, user=user)


def test_directly_and_nothing_is_left(go, hosts):
    told = Told()
    for user, number in (
        ("root", 0),
        ("ops", hosts[0].run("id -u ops").stdout),
        ("", int(hosts[0].run("id -u ops").stdout)),
    ):
        done = go(end("carry2", size=SIZE), end("carry1", user=user), report=told)
        assert (done.way, done.bytes, done.destination["sha256"]) == ("direct", SIZE, sha256_of(SIZE))
        assert done.destination["user"] == int(number)
    done = go(end("carry1", user="", size=SIZE), end("carry2"), report=told)
    assert (done.way, done.destination["sha256"]) == ("direct", sha256_of(SIZE))
    assert told.lines == ["poured"] * 4
    for host in hosts:
        until(lambda host=host: host.run("pgrep -f ' carry$'", check=False).stdout == "")
        listening = host.run("cat /proc/net/tcp /proc/net/tcp6").stdout.splitlines()
        # an agent listens for other hosts; what listens on 127.0.0.1 is containerd
        places = [line.split()[1] for line in listening if line.split()[3] == "0A"]
        ports = {int(one.rpartition(":")[2], 16) for one in places if not one.startswith("0100007F:")}
        assert not {port for port in ports if port >= 32768}, ports


def test_through_this_computer_where_a_firewall_drops(go, hosts):
    told = Told()
    with cut(hosts[0], hosts[1]):
        done = go(end("carry1", size=SIZE), end("carry2"), report=told)
    assert (done.way, done.destination["sha256"]) == ("relay", sha256_of(SIZE))
    assert told.lines[0] == "carry1 and carry2 do not reach each other: all goes through this computer"
    assert [line.split(":")[0] for line in told.lines[1:3]] == ["  carry1 → carry2", "  carry2 → carry1"]


def test_a_cut_in_the_middle_ends_both(go, hosts, tmp_path):
    moving = threading.Event()
    with pytest.raises(MachinectlError) as caught, cut_when(moving, *hosts):
        go(
            end("carry1", size=1 << 50),
            end("carry2", path="/root/target"),
            progress=lambda size: moving.set() if size > SIZE else None,
        )
    assert (caught.value.machine, caught.value.problem) == ("carry2", "stream-broken")
    assert hosts[1].run("ls /root").stdout == ""
    for host in hosts:
        until(lambda host=host: host.run("pgrep -f ' carry$'", check=False).stdout == "")


class cut_when:  # noqa: N801 - reads as a function
    """The cut between two hosts, once something has happened; it is mended at the end."""

    def __init__(self, event, one, other):
        self._event = event
        self._cut = cut(one, other)
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        if self._event.wait(60):
            self._cut.__enter__()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *error):
        self._thread.join()
        if self._event.is_set():
            self._cut.__exit__(None, None, None)
