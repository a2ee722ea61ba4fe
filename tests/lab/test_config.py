"""config set, get, unset on a real engine: reloads, restarts, what its owner wrote, refusals, a kill in the middle."""

from __future__ import annotations

import json
import signal

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAME = "conf1"
MIRROR = "https://mirror.example.com"


@pytest.fixture(scope="module")
def lab_machine(make_host, new_controller, busybox):
    controller = new_controller()
    controller.host = make_host(NAME, engine=True)
    owners = json.dumps({"max-concurrent-downloads": 2, "registry-mirrors": ["https://owner.example.com"]})
    controller.host.run("mkdir -p /etc/docker && cat > /etc/docker/daemon.json", stdin=owners)
    controller.create(controller.host)
    controller.docker(NAME, "import", "-", "busybox:latest", stdin=busybox)
    controller.docker(NAME, "run", "-d", "--name", "precious", "busybox", "sleep", "infinity")
    return controller


def daemon(controller):
    return json.loads(controller.host.run("cat /etc/docker/daemon.json").stdout)


def pid(controller):
    return controller.host.run("pidof dockerd").stdout


def started(controller):
    return controller.docker(NAME, "inspect", "-f", "{{.State.StartedAt}}", "precious")


def test_a_list_grows_and_shrinks_by_reload(lab_machine):
    before = pid(lab_machine)
    done = lab_machine.run(
        "config", "set", "conf*", f"registry-mirrors+={MIRROR}", "max-concurrent-downloads=6"
    )
    assert "reload docker.service" in done.stderr
    mirrors = json.loads(lab_machine.docker(NAME, "info", "-f", "{{json .RegistryConfig.Mirrors}}"))
    assert mirrors == [f"{MIRROR}/", "https://owner.example.com/"]
    assert lab_machine.run("config", "get", NAME, "registry-mirrors").stdout == f"{MIRROR}\n"
    assert daemon(lab_machine)["max-concurrent-downloads"] == 6
    lab_machine.run("config", "set", NAME, f"registry-mirrors-={MIRROR}")
    lab_machine.run("config", "unset", NAME, "max-concurrent-downloads")
    now = daemon(lab_machine)
    assert (now["registry-mirrors"], now["max-concurrent-downloads"]) == (["https://owner.example.com"], 2)
    assert lab_machine.run("config", "get", NAME).stdout == ""
    assert pid(lab_machine) == before


def test_what_needs_a_restart_gets_one_and_containers_go_on(lab_machine):
    before, container = pid(lab_machine), started(lab_machine)
    plan = lab_machine.run("config", "set", "--dry-run", NAME, "log-driver=local")
    assert "restart docker.service" in plan.stdout
    assert pid(lab_machine) == before
    lab_machine.run(
        "config",
        "set",
        NAME,
        "log-driver=local",
        "log-opts+=max-size=5m",
        "HTTPS_PROXY=http://u:hunter2@p:3128",
    )
    assert (
        lab_machine.docker(NAME, "info", "-f", "{{.LoggingDriver}} {{.HTTPSProxy}}")
        == "local http://xxxxx:xxxxx@p:3128"
    )
    assert pid(lab_machine) != before
    assert "HTTPS_PROXY=(hidden)" in lab_machine.run("config", "get", NAME).stdout
    lab_machine.run("config", "unset", NAME, "log-driver", "log-opts", "https-proxy")
    assert lab_machine.docker(NAME, "info", "-f", "{{.LoggingDriver}} {{.HTTPSProxy}}") == "json-file"
    assert "log-driver" not in daemon(lab_machine)
    assert started(lab_machine) == container
    assert "everything is as it should be" in lab_machine.run("provision", NAME).stderr


def test_a_refused_value_changes_nothing(lab_machine):
    before, container = daemon(lab_machine), started(lab_machine)
    done = lab_machine.run("config", "set", NAME, "storage-driver=nonsense", check=False)
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert daemon(lab_machine) == before
    assert lab_machine.run("config", "get", NAME).stdout == ""
    assert "everything is as it should be" in lab_machine.run("provision", NAME).stderr
    assert started(lab_machine) == container


@pytest.mark.parametrize("words", [("set", "labels+=a=b"), ("unset", "labels")])
def test_a_kill_in_the_middle_is_finished_by_the_next_run(lab_machine, words):
    record = lab_machine.store / f"machines/{NAME}/config.json"
    process = lab_machine.start("config", words[0], NAME, words[1])
    until(lambda: json.loads(record.read_text())["pending"] or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # the agent on the host may still be at it: the next run waits for it
    lab_machine.run("provision", NAME)
    wanted = ["a=b"] if words[0] == "set" else None
    assert daemon(lab_machine).get("labels") == wanted
    document = json.loads(record.read_text())
    assert (document["engine"].get("options", {}).get("labels"), document["pending"]) == (wanted, {})
