"""Which processes are containers', and which of them hear a SIGTERM: from /proc as a folder."""

from __future__ import annotations

import pytest

from machinectl_agent.engine.end_containers import catches_sigterm, container_processes, shims
from machinectl_agent.host import Host

PROCESSES = {
    1: ("systemd", "S", 0),
    100: ("containerd", "S", 1),
    200: ("containerd-shim", "S", 1),
    201: ("containerd-shim", "S", 200),
    210: ("sleep", "S", 200),
    211: ("(sd-pam) x)", "S", 201),
    212: ("gone", "Z", 200),
    213: ("child of sleep", "S", 210),
    300: ("dockerd", "S", 1),
}


@pytest.fixture
def host(tmp_path):
    for pid, (command, state, parent) in PROCESSES.items():
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({command}) {state} {parent} 1 1 0 -1 0 0 0 0 0\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    return Host(str(tmp_path))


def test_children_of_shims_are_containers_whatever_their_name(host):
    assert container_processes(host) == [210, 211]
    assert shims(host) == [200, 201]


@pytest.mark.parametrize(
    ("mask", "caught"), [("0000000000000000", False), ("0000000000004000", True), ("fffffffffffbbfff", False)]
)
def test_the_mask_of_caught_signals_is_read(mask, caught):
    assert catches_sigterm(f"Name:\tx\nSigIgn:\t0000000000004000\nSigCgt:\t{mask}\n") is caught


def test_a_process_that_is_gone_catches_nothing():
    assert catches_sigterm("") is False
