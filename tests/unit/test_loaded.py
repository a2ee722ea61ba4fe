"""What dockerd needs is judged from what it has loaded: nothing, a reload, a restart."""

from __future__ import annotations

import json
import os
import time

import pytest

from machinectl_agent.engine import daemon_json, known_good, loaded
from machinectl_agent.host import Host

PID = 700


@pytest.fixture
def host(tmp_path):
    """dockerd, process 700, began a minute ago; the files are older."""
    proc = tmp_path / "proc" / str(PID)
    proc.mkdir(parents=True)
    ticks = int((time.clock_gettime(time.CLOCK_BOOTTIME) - 60) * os.sysconf("SC_CLK_TCK"))
    (proc / "stat").write_text(f"{PID} (dockerd) S {' '.join(['1'] * 18)} {ticks} 1 1\n")
    host = Host(str(tmp_path))
    host.write("/proc/sys/kernel/random/boot_id", "b\n")
    host.write("/run/docker.pid", f"{PID}\n")
    for name in loaded.FILES:
        host.write(
            name,
            json.dumps({"mtu": 1400, "labels": ["a=1"]}) if name == daemon_json.FILE else f"text of {name}",
        )
        age(host, name, 3600)
    return host


def age(host, name, seconds):
    then = time.time() - seconds
    os.utime(host.path(name), (then, then))


def files(host, **daemon):
    texts = {name: host.read(name) for name in loaded.FILES}
    if daemon:
        texts[daemon_json.FILE] = json.dumps(daemon)
    return texts


@pytest.mark.parametrize("remembered", [True, False])
def test_the_verdict_is_the_same_whoever_started_dockerd(host, remembered):
    if remembered:
        loaded.remember(host, PID)
    assert loaded.compare(host, PID, files(host)).verdict == "nothing"
    assert loaded.compare(host, PID, files(host, mtu=1400, labels=["a=2"])) == loaded.Loaded(
        "reload", "labels"
    )
    assert loaded.compare(host, PID, files(host, mtu=1300, labels=["a=1"])).verdict == "restart"
    assert loaded.compare(host, PID, {**files(host), daemon_json.CERT: "new"}).verdict == "restart"
    assert loaded.compare(host, 0, files(host)).verdict == "restart"


def test_a_file_that_is_newer_than_dockerd_is_not_loaded(host):
    age(host, daemon_json.CERT, 10)
    found = loaded.compare(host, PID, files(host))
    assert found == loaded.Loaded("restart", "not loaded yet: server.pem")


def test_a_copy_of_unconfirmed_days_is_kept_until_dockerd_has_proved_the_new_files(host):
    known_good.keep(host)
    age(host, known_good.COPY, 1800)
    host.write(daemon_json.FILE, "{}")  # written, and dockerd not restarted
    known_good.keep(host)
    assert known_good.restore(host)
    assert json.loads(host.read(daemon_json.FILE))["mtu"] == 1400


def test_a_copy_that_dockerd_has_outlived_is_made_again(host):
    known_good.keep(host)
    age(host, known_good.COPY, 1800)
    host.write(daemon_json.FILE, '{"dns": ["9.9.9.9"]}')  # by hand, and dockerd restarted since
    age(host, daemon_json.FILE, 900)
    known_good.keep(host)
    host.write(daemon_json.FILE, "{}")
    assert known_good.restore(host)
    assert json.loads(host.read(daemon_json.FILE)) == {"dns": ["9.9.9.9"]}
    assert not known_good.restore(host)


def test_a_reload_stays_a_reload_after_the_file_has_been_written(host):
    """dockerd was started by the boot: the plan says reload, and writing the file must not make it a restart."""
    wanted = files(host, mtu=1400, labels=["a=2"])
    assert loaded.compare(host, PID, wanted).verdict == "reload"
    known_good.keep(host)
    host.write(daemon_json.FILE, wanted[daemon_json.FILE])
    assert loaded.compare(host, PID, wanted) == loaded.Loaded("reload", "labels")
