"""exec and logs on real hosts: sudo, a dead host, the journals of our services, Ctrl-C."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def shop(make_host, new_controller):
    """A machine with an engine, and one that is only a record of a host that nobody answers for."""
    controller = new_controller()
    controller.host = make_host("shop1", engine=True)
    controller.create(controller.host)
    record = controller.store / "machines/shop1/config.json"
    gone = json.loads(record.read_text())
    gone["ip"] = gone["ssh"]["host"] = "198.18.255.254"
    (controller.store / "machines/shop2").mkdir(mode=0o700)
    (controller.store / "machines/shop2/config.json").write_text(json.dumps(gone))
    return controller


def running(host, words):
    return host.run(f"pgrep -fx '{words}'", check=False).stdout.split()


def test_a_dead_host_costs_one_deadline_and_hides_nobody(shop):
    began = time.monotonic()
    shop.run("exec", "shop1", "--", "hostname")
    usual = time.monotonic() - began
    began = time.monotonic()
    done = shop.run("exec", "shop*", "--", "docker ps -q && hostname", check=False)
    assert time.monotonic() - began - usual < 29.5
    assert (done.returncode, done.stdout) == (3, "shop1 | shop1\n")
    assert "1 of 2 machines failed\nshop2: " in done.stderr


def test_as_root_by_sudo(shop):
    host = shop.host
    record = shop.store / "machines/shop1/config.json"
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, "ssh": {**document["ssh"], "user": "ops"}}))
    try:
        assert shop.run("exec", "shop1", "--", "whoami").stdout == "shop1 | ops\n"
        assert shop.run("exec", "shop1", "-b", "--", "whoami; echo e >&2").stdout == "shop1 | root\n"
        process = shop.start("exec", "-b", "shop1", "--", "sleep 7001")
        until(lambda: running(host, "sleep 7001"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        until(lambda: not running(host, "sleep 7001"))
        assert "Starting" in shop.run("logs", "shop1", "journal", "-n", "all").stdout
    finally:
        record.write_text(json.dumps(document))


def test_the_journals(shop):
    assert "API listen on" in shop.run("logs", "shop1").stdout
    assert len(shop.run("logs", "shop1", "-n", "2").stdout.splitlines()) == 2
    assert "serves /run/machinectl/agent.sock" in shop.run("logs", "shop1", "agent").stdout
    nothing = shop.run("logs", "shop1", "etcd")
    assert (nothing.stdout, nothing.stderr) == (
        "", "shop1: its journal has nothing of machinectl-etcd.service\n",
    )  # fmt: skip
    shop.host.run("logger -t bell ding")
    assert "bell" in shop.run("logs", "shop1", "journal", "--since", "5m").stdout
    assert shop.run("logs", "shop1", "journal", "--since", "2037-01-01T00:00:00Z").stdout == ""
    refused = shop.run("logs", "shop1", "--since", "lunch", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "lunch" in refused.stderr


@pytest.mark.parametrize("words", [("logs", "-f"), ("agent", "logs", "-f")])
def test_following_ends_on_the_host_too(shop, words):
    process = shop.start(*words, "shop1")
    assert process.stdout.readline()
    unit = "machinectl-agent.service" if words[0] == "agent" else "docker.service"
    follower = f"journalctl -q -o short-iso --no-pager -n 100 -u {unit} -f"
    until(lambda: running(shop.host, follower))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "interrupted\n")
    until(lambda: not running(shop.host, follower))
