"""Every example in inventories/ is applied: to the lab's hosts instead of those that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def apply(make_host, new_controller, tmp_path):
    """`apply(PATH, NAMES, **more)` → the command line and the hosts; a second source says where they are."""

    def run(path, names, *lines, suite="bookworm", short="x"):
        controller = new_controller()
        hosts = {name: make_host(f"{short}{number}", suite) for number, name in enumerate(names)}
        where = tmp_path / "where.ini"
        rows = [
            f"{name} ansible_host={one.ip} ansible_ssh_private_key_file={one.key}"
            for name, one in hosts.items()
        ]
        where.write_text("\n".join([*rows, *lines]) + "\n")
        words = ("-i", ROOT / "inventories" / path, "-i", where)
        controller.run("apply", *words, "--yes", timeout=900)
        assert (
            controller.run("plan", *words, "--exit-code").stdout.partition(": ")[2].startswith("0 to change")
        )
        return controller, hosts

    return run


def test_lab(apply):
    _, hosts = apply("lab", ["node1", "node2"], short="il")
    for name, host in hosts.items():
        assert host.run("cat /etc/motd").stdout == f"{name}, one of 2\n"
        assert "mirror.lab:5000" in host.run("docker info -f '{{.RegistryConfig.Mirrors}}'").stdout


def test_rack(apply, busybox):
    """Three etcd members, two machines in the networks, files, packages and settings."""
    controller, hosts = apply("rack", ["r1", "r2", "r3", "r4"], short="ir")
    status = controller.run("etcd", "status").stdout
    assert all(name in status for name in ("r1", "r2", "r3"))
    assert "r4" not in status
    controller.run("network", "create", "demo")
    for name in ("r3", "r4"):
        controller.docker(name, "import", "-", "busybox:latest", stdin=busybox)
    controller.docker("r3", "run", "-d", "--network", "demo", "--name", "here", "busybox", "sleep", "999")
    words = "docker run --rm --network demo busybox ping -c 1 -W 2 here"
    until(lambda: hosts["r4"].run(words, check=False).returncode == 0)
    assert hosts["r4"].run("stat -c %a /etc/app/environment; cat /etc/app/environment").stdout.split() == [
        "640", "RACK=1", "NAME=r4",
    ]  # fmt: skip
    assert "docker system prune" in hosts["r3"].run("cat /etc/cron.d/prune").stdout
    assert "role=web" in hosts["r4"].run("docker info -f '{{.Labels}}'").stdout
    assert hosts["r1"].run("ls /etc/cron.d/prune", check=False).returncode != 0


def test_edge(apply, make_host):
    """Through a jump host, as a user with sudo."""
    names = ["edge1.north.example.com", "edge2.north.example.com"]
    bastion = make_host("iej", "bookworm")
    jump = f"-o ProxyJump=ops@{bastion.ip}"
    lines = ["[all:vars]", f"ansible_ssh_common_args='{jump}'"]
    controller, hosts = apply("edge.yml", names, *lines, short="ie")
    for name, host in hosts.items():
        assert controller.inspect(name)["Driver"]["SSHUser"] == "ops"
        env = host.run("systemctl show docker -p EnvironmentFiles; cat /etc/docker/machinectl.env").stdout
        assert "http://proxy.example.com:3128" in env
        assert "site=north" in host.run("docker info -f '{{.Labels}}'").stdout
