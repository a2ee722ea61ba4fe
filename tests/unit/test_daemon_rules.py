"""The daemon's rules as a table: what is seen, for how long, and what is done about it."""

from __future__ import annotations

import io
import itertools
import socket

import pytest

from machinectl_agent.daemon import notify, rules
from machinectl_agent.daemon.engine_socket import Ping, listening, parse_answer
from machinectl_agent.daemon.journal import KEPT, Journal
from machinectl_agent.daemon.rules import Memory, Seen
from machinectl_agent.daemon.systemd import Systemd, UnitState, parse_show

WELL = Ping("", 0.001, "26.1.5")
SILENT = Ping("no answer to a ping within 5 s")


def unit(active="active", *, pid=10, load="loaded", result="success", restart="always"):
    return UnitState(load, active, "", result, restart, pid if active == "active" else 0, "/usr/bin/dockerd")


def see(active="active", ping=None, *, installed=True, listens=None, **more):
    return Seen(unit(active, **more), installed, listens if listens is not None else ping is not None, ping)


class Watch:
    """Judges once a step and counts actions, as the supervisor does."""

    def __init__(self):
        self.memory = Memory()
        self.now = 1000.0
        self.actions: list[tuple[float, str]] = []

    def look(self, seen, *, after=5.0, times=1):
        for _ in range(times):
            self.now += after
            verdict, self.memory = rules.judge(seen, self.memory, self.now)
            if verdict.action:
                self.actions.append((self.now, verdict.action))
                self.memory = rules.acted(self.memory, self.now)
        return verdict


@pytest.fixture
def watch():
    return Watch()


def test_silence_is_reported_after_three_checks_and_ended_after_three_minutes(watch):
    watch.look(see(ping=WELL))
    began = watch.now + 5
    assert watch.look(see(ping=SILENT), times=2).state == "running"
    verdict = watch.look(see(ping=SILENT))
    assert (verdict.state, verdict.action) == ("silent", "")
    assert "does not answer: no answer to a ping" in verdict.problem
    watch.look(see(ping=SILENT), times=33)
    assert watch.actions == []
    verdict = watch.look(see(ping=SILENT))
    assert watch.actions == [(began + rules.RESTART_AFTER, "restart")]
    assert "has not answered for 180 s" in verdict.why


def test_an_answer_in_between_starts_the_silence_anew(watch):
    for _ in range(20):
        watch.look(see(ping=SILENT), times=30)
        watch.look(see(ping=WELL))
    assert watch.actions == []


def test_a_new_process_starts_the_silence_anew(watch):
    watch.look(see(ping=WELL))
    watch.look(see(ping=SILENT), times=30)
    assert watch.look(see(ping=SILENT, pid=11)).state == "running"
    assert watch.actions == []


def test_failed_is_started_with_longer_and_longer_pauses(watch):
    failed = see("failed", result="exit-code")
    watch.look(failed, after=1, times=1500)
    times = [when for when, _ in watch.actions]
    assert {action for _, action in watch.actions} == {"start"}
    assert times[0] == 1011
    assert [round(after - before) for before, after in itertools.pairwise(times)] == [
        20,
        40,
        80,
        160,
        300,
        300,
        300,
    ]


def test_pauses_grow_over_starts_that_fail_again_and_shrink_after_ten_good_minutes(watch):
    for _ in range(3):
        watch.look(see("failed", result="exit-code"), after=1, times=200)
        watch.look(see("activating"))
    assert len(watch.actions) == 5  # at 10, 30, 70, 150; then 160 s each
    watch.look(see(ping=WELL), times=100)
    assert watch.memory.attempts == 5
    watch.look(see(ping=WELL), times=30)
    assert watch.memory.attempts == 0


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (see("inactive"), "stopped"),
        (see("failed", result="timeout"), "stopped"),
        (see("activating"), "starting"),
        (see("deactivating"), "deactivating"),
        (see("reloading"), "reloading"),
        (see("failed", load="masked", result="exit-code"), "masked"),
        (see("inactive", load="not-found"), "missing"),
        (see("failed", installed=False, result="exit-code"), "missing"),
        (see(ping=SILENT, installed=False), "missing"),
        (see(listens=False), "mute"),
        (Seen(UnitState()), "unknown"),
    ],
)
def test_left_alone_for_ever(watch, seen, state):
    assert watch.look(seen, times=1000).state == state
    assert watch.actions == []


def test_failed_by_timeout_is_no_stop_where_systemd_does_not_restart(watch):
    watch.look(see("failed", result="timeout", restart="no"), times=5)
    assert watch.actions


def test_one_that_closed_its_socket_after_it_answered_is_silent(watch):
    watch.look(see(ping=WELL))
    assert watch.look(see(listens=False), times=3).state == "silent"


def test_answers_while_dpkg_replaces_the_program(watch):
    assert watch.look(see(ping=WELL, installed=False)).state == "running"


def test_postponed_counts_from_the_beginning(watch):
    watch.look(see("failed", result="exit-code"), after=1, times=10)
    watch.memory = rules.postponed(watch.memory)
    watch.look(see("failed", result="exit-code"), after=1, times=10)
    assert watch.actions == []
    watch.look(see("failed", result="exit-code"), after=1)
    assert len(watch.actions) == 1


def test_the_same_memory_gives_the_same_verdict():
    memory = Memory(pid=10, answered=10, silent_checks=5, silent_since=1.0)
    first = rules.judge(see(ping=SILENT), memory, 500.0)
    assert first == rules.judge(see(ping=SILENT), memory, 500.0)


@pytest.mark.parametrize(
    ("answer", "trouble", "version"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: Docker/20.10.24+dfsg1 (linux)\r\n\r\nOK", "", "20.10.24+dfsg1"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "", ""),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "500 Internal", ""),
        (b"", "without an answer", ""),
        (b"\xff\xfe" * 9000, "no HTTP", ""),
    ],
)
def test_answers_to_a_ping(answer, trouble, version):
    ping = parse_answer(answer, 0.5)
    assert trouble in ping.trouble
    assert bool(trouble) == bool(ping.trouble)
    assert ping.version == version


def test_only_listening_sockets_of_the_path_count(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    table = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        f"0000000000000000: 00000002 00000000 00010000 0001 01 11 {tmp_path}/run/docker.sock\n"
        f"0000000000000000: 00000002 00000000 00010000 0001 01 12 {tmp_path}/var/docker.sock\n"
        f"0000000000000000: 00000003 00000000 00000000 0001 03 13 {tmp_path}/run/docker.sock\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 14 @/run/docker.sock\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 15\n"
        f"0000000000000000: 00000002 00000000 00010000 0001 01 16 {tmp_path}/run/a file\n"
    )
    assert listening(table, f"{tmp_path}/run/docker.sock") == {"11", "12"}
    assert listening(table, f"{tmp_path}/run/a file") == {"16"}


def test_systemctl_show_is_read():
    text = (
        "Restart=always\nResult=success\nMainPID=4711\nLoadState=loaded\nActiveState=active\nSubState=running\n"
        "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// ; pid=0 ; status=0/0 }\n"
    )
    assert parse_show(text) == UnitState(
        "loaded", "active", "running", "success", "always", 4711, "/usr/sbin/dockerd"
    )
    assert parse_show("MainPID=[not set]\n\x00garbage") == UnitState()


def test_systemctl_that_is_missing_or_fails_is_no_exception(tmp_path):
    assert Systemd("docker.service", ("/no/such/program",)).show() == UnitState()
    assert Systemd("docker.service", ("false",)).start() == ""  # it says nothing
    assert "No such file" in Systemd("docker.service", ("/no/such/program",)).restart()


def test_the_mark_follows_systemds_link(tmp_path):
    systemd = Systemd("docker.service", invocations=str(tmp_path / "units"))
    assert systemd.mark() is None
    (tmp_path / "units").mkdir()
    assert systemd.mark() == ""
    (tmp_path / "units" / "invocation:docker.service").symlink_to("3f0c")
    assert systemd.mark() == "3f0c"


def test_the_journal_keeps_the_last_events_and_marks_levels():
    stream = io.StringIO()
    journal = Journal(stream)
    for number in range(KEPT + 5):
        journal.say("warning", f"line\n{number}")
    assert len(journal.last(1000)) == KEPT
    assert [one["text"] for one in journal.last(2)] == [f"line {KEPT + 3}", f"line {KEPT + 4}"]
    assert journal.last(0) == journal.last(-3) == []
    assert stream.getvalue().startswith("<4>line 0\n<4>line 1\n")
    stream.close()
    journal.say("error", "nobody can read this, and nothing breaks")


def test_systemd_is_told(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(path))
        assert notify.notify("READY=1", "STATUS=well", environment={"NOTIFY_SOCKET": str(path)})
        assert one.recv(100) == b"READY=1\nSTATUS=well"
    assert not notify.notify("READY=1", environment={"NOTIFY_SOCKET": str(path)})
    assert not notify.notify("READY=1", environment={})
    assert notify.watchdog_seconds({"WATCHDOG_USEC": "90000000"}) == 90
    assert notify.watchdog_seconds({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}) == 0
    assert notify.watchdog_seconds({}) == 0
