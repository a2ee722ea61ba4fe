"""`machinectl adopt`: an engine with an owner, a configuration and a container."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

OWNERS = {"debug": True, "labels": ["owner=ann"], "max-concurrent-downloads": 2}


@pytest.fixture(scope="module")
def host(make_host, busybox):
    host = make_host("adopt", "bookworm")
    host.run("apt-get update -q && apt-get install -q -y --no-install-recommends docker.io", deadline=300)
    host.run("cat > /etc/docker/daemon.json && systemctl restart docker", stdin=json.dumps(OWNERS))
    words = (
        "nsenter",
        "-t",
        str(host.leader),
        "-m",
        "-n",
        "-p",
        "-r",
        "-w",
        "docker",
        "import",
        "-",
        "busybox",
    )
    subprocess.run(words, input=busybox, capture_output=True, check=True, timeout=60)
    host.run("docker run -d --name precious busybox sleep infinity")
    return host


def test_only_what_was_asked_for_changes(host, controller):
    words = ("adopt", "--ip", host.ip, "--ssh-key", host.key, "--engine-label", "zone=a", host.name)
    look = "dpkg -l | grep -c ^ii; docker version -f '{{.Server.Version}}'; docker inspect -f '{{.State.StartedAt}}' precious"
    before = host.run(look).stdout
    files = host.run("cat /etc/docker/daemon.json; ls /etc/docker").stdout
    plan = controller.run(*words, "--dry-run").stdout
    assert '+        "zone=a"' in plan
    assert "install docker" not in plan
    assert host.run("cat /etc/docker/daemon.json; ls /etc/docker").stdout == files

    assert "is ready at tcp://" in controller.run(*words).stderr
    assert host.run(look).stdout == before
    now = json.loads(host.run("cat /etc/docker/daemon.json").stdout)
    assert (now["debug"], now["max-concurrent-downloads"]) == (True, 2)
    assert sorted(now["labels"]) == ["owner=ann", "zone=a"]
    assert controller.docker(host.name, "ps", "--format", "{{.Names}}") == "precious"
    pid = host.run("pidof dockerd").stdout
    assert "is ready at tcp://" in controller.run(*words).stderr
    assert host.run("pidof dockerd").stdout == pid


def test_there_must_be_an_engine(make_host, controller):
    bare = make_host("bare")
    done = controller.run("adopt", "--ip", bare.ip, "--ssh-key", bare.key, bare.name, check=False)
    assert done.returncode == 1
    assert "no dockerd was found" in done.stderr
    assert bare.run("command -v dockerd", check=False).returncode != 0
    refused = controller.run("adopt", "--ip", bare.ip, "--engine-version", "26", bare.name, check=False)
    assert (refused.returncode, "takes the engine as it is" in refused.stderr) == (2, True)
