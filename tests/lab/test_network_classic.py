"""Classic mode on two bookworm machines (Engine 20.10): the guides' story with Docker's own overlay, and the way from
there to machinectl's networks."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest

from tests.lab.network_cluster import Cluster, import_image
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts(make_host):
    return [make_host("classic-1", engine=True), make_host("classic-2", engine=True)]


@pytest.fixture(scope="module")
def modern(make_host):
    return make_host("classic-new", "trixie", engine=True)


@pytest.fixture(scope="module")
def cluster(hosts, modern, new_controller, busybox):
    """etcd with the v2 API on two machines, both in classic mode; a third one with Engine 26."""
    controller = new_controller()
    creates = [
        controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in (*hosts, modern)
    ]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    names = [one.name for one in hosts]
    controller.run("etcd", "deploy", "--v2", *names, timeout=400)
    controller.run("network", "join", "--driver", "overlay", *names, timeout=400)
    for one in hosts:
        import_image(one, busybox)
    return Cluster(controller, hosts)


@pytest.fixture(scope="module")
def demo(cluster):
    cluster.controller.run("network", "create", "--driver", "overlay", "--machine", "classic-1", "demo")
    first, second = cluster.names
    cluster.docker(first, "run -d --name c1 --network demo --network-alias db busybox sleep infinity")
    cluster.docker(
        second,
        "run -d --name c2 --network demo -p 8080:80 busybox sh -c 'echo hello >/i; httpd -f -p 80 -h /'",
    )
    # one that was stopped knows the network by its id, one that was never started only by its name
    cluster.docker(second, "run -d --name stopped --network demo busybox sleep infinity")
    cluster.docker(second, "stop -t 0 stopped")
    cluster.docker(second, "create --name later --network demo busybox sleep infinity")
    return "demo"


def page(host):
    try:
        with urllib.request.urlopen(f"http://{host.ip}:8080/i", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def settings(cluster, name, container):
    found = json.loads(cluster.docker(name, f"inspect {container}"))[0]
    return found["NetworkSettings"]["Networks"]["demo"]


def daemon_json(host):
    return json.loads(host.run("cat /etc/docker/daemon.json").stdout)


def test_an_engine_without_it_is_refused_before_anything_changes(cluster, modern):
    before = modern.run("sha256sum /etc/docker/daemon.json; pidof dockerd").stdout
    done = cluster.controller.run("network", "join", "--driver", "overlay", modern.name, check=False)
    assert done.returncode == 1
    assert "Docker removed cluster-store in Engine 23" in done.stderr
    assert "without --driver" in done.stderr
    # the agent itself refuses it as well, before any step
    done = cluster.controller.run(
        "provision", "--engine-opt", "cluster-store=etcd://10.0.0.1:2379", modern.name, check=False
    )
    assert "has no cluster-store any more" in done.stderr
    assert modern.run("sha256sum /etc/docker/daemon.json; pidof dockerd").stdout == before


def test_dockerd_has_mutual_tls_with_etcd(cluster, hosts):
    for host in hosts:
        document = daemon_json(host)
        assert document["cluster-store"].startswith("etcd://")
        assert document["cluster-advertise"] == f"{host.ip}:2376"
        assert set(document["cluster-store-opts"]) == {"kv.cacertfile", "kv.certfile", "kv.keyfile"}
        mode = host.run("stat -c %a /etc/docker/cluster-store/key.pem").stdout.strip()
        assert mode == "600"


def test_a_second_join_changes_nothing(cluster, hosts):
    pids = [host.run("pidof dockerd").stdout for host in hosts]
    cluster.controller.run("network", "join", "--driver", "overlay", *cluster.names)
    assert [host.run("pidof dockerd").stdout for host in hosts] == pids


def test_the_guides_story(cluster, demo, hosts):
    """Made on one machine, seen on the other; names both ways; a published port reached from outside."""
    first, second = cluster.names
    assert demo in cluster.networks(second)
    until(lambda: cluster.works(first, "exec c1 ping -c 1 -W 2 c2"))
    until(lambda: cluster.works(second, "exec c2 ping -c 1 -W 2 c1"))
    assert cluster.works(second, "exec c2 ping -c 1 -W 2 db")
    assert until(lambda: page(hosts[1])) == "hello\n"
    listed = json.loads(cluster.controller.run("network", "ls", "--output", "json").stdout)
    assert [(one["name"], one["driver"]) for one in listed] == [(demo, "overlay")]


def test_containers_outlive_a_restart_of_dockerd(cluster, demo, hosts):
    hosts[0].run("systemctl restart docker")
    until(lambda: cluster.works(cluster.names[0], "exec c1 ping -c 1 -W 2 c2"))


def test_a_machine_with_containers_on_it_does_not_leave(cluster, demo):
    done = cluster.controller.run("network", "leave", "--driver", "overlay", "classic-1", check=False)
    assert done.returncode == 1
    assert "network migrate demo" in done.stderr


def test_a_machine_that_is_not_named_is_noticed(cluster, demo):
    done = cluster.controller.run("network", "migrate", demo, "classic-1", check=False)
    assert done.returncode == 1
    assert "containers on other machines: c2" in done.stderr


def test_the_migration_survives_a_kill(cluster, demo, hosts):
    """SIGKILL when Docker no longer knows what was connected; the next run finishes it."""
    first, second = cluster.names
    before = [settings(cluster, name, c)["IPAddress"] for name, c in ((first, "c1"), (second, "c2"))]
    started = [
        cluster.docker(name, f"inspect -f '{{{{.State.Pid}}}}' {c}")
        for name, c in ((first, "c1"), (second, "c2"))
    ]
    cluster.controller.run("network", "join", *cluster.names, timeout=300)
    plan = cluster.controller.run("network", "migrate", "--dry-run", demo).stdout
    assert "+ create the machinectl network demo" in plan
    until(lambda: cluster.works(first, "exec c1 ping -c 1 -W 2 c2"))
    run = cluster.controller.start("network", "migrate", demo)
    for line in run.stderr:
        if "is removed" in line:
            run.send_signal(signal.SIGKILL)
            break
    run.wait(timeout=30)
    said = cluster.controller.run("network", "migrate", demo, timeout=300).stderr
    assert "going on with 3 containers" in said
    after = [settings(cluster, name, c) for name, c in ((first, "c1"), (second, "c2"))]
    assert [one["IPAddress"] for one in after] == before
    assert "db" in after[0]["Aliases"]
    for name, c, pid in ((first, "c1", started[0]), (second, "c2", started[1])):
        assert cluster.docker(name, f"inspect -f '{{{{.State.Pid}}}}' {c}") == pid
    until(lambda: cluster.works(first, f"exec c1 ping -c 1 -W 2 {before[1]}"))
    assert until(lambda: page(hosts[1])) == "hello\n"


def test_names_work_after_a_restart(cluster, demo):
    first, second = cluster.names
    cluster.docker(first, "restart -t 1 c1")
    cluster.docker(second, "restart -t 1 c2")
    cluster.docker(second, "start later stopped")
    until(lambda: cluster.works(first, "exec c1 ping -c 1 -W 2 c2"))
    until(lambda: cluster.works(second, "exec c2 ping -c 1 -W 2 db"))
    for name in ("later", "stopped"):
        until(lambda name=name: cluster.works(first, f"exec c1 ping -c 1 -W 2 {name}"))


def test_classic_mode_is_left_and_nothing_of_it_stays(cluster, demo, hosts):
    cluster.controller.run("network", "leave", "--driver", "overlay", *cluster.names, timeout=300)
    for host in hosts:
        assert not [key for key in daemon_json(host) if key.startswith("cluster")]
        assert host.run("ls /etc/docker/cluster-store").stdout == ""
    first, _ = cluster.names
    until(lambda: cluster.works(first, "exec c1 ping -c 1 -W 2 c2"))


def test_etcd_without_v2_is_told_before_anything_changes(cluster, hosts):
    """The agent asks etcd first: dockerd would start and fail at the first network."""
    host = hosts[0]
    host.run(
        "systemd-run --unit plain-etcd etcd --data-dir /var/lib/plain-etcd --enable-v2=false "
        "--listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 "
        "--listen-peer-urls http://127.0.0.1:12380"
    )
    try:
        host.run(
            'timeout 20 sh -c \'until python3 -c "import urllib.request as u; u.urlopen(\\"http://127.0.0.1:12379/version\\")"; do sleep 0.1; done\''
        )
        script = (
            "import sys; sys.path.insert(0, '/opt/machinectl/agent/current');"
            "from machinectl_agent.engine.etcd_v2 import check; from machinectl_agent.spec import ClusterStoreSpec;"
            "check(ClusterStoreSpec(('http://127.0.0.1:12379',), '10.0.0.1:2376'))"
        )
        done = host.run(f'python3 -c "{script}"', check=False)
        assert "has no v2 API" in done.stderr
    finally:
        host.run("systemctl stop plain-etcd", check=False)
