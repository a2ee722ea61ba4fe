"""set-ip: a host gets another address; certificate, pins, context, etcd and networks follow, nothing is lost."""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
import ssl

import pytest

from tests.lab.network_cluster import Cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAMES = ("ip1", "ip2")

MOVE = """sed -i 's/{old}/{new}/g' /etc/systemd/system/lab-address.service && systemctl daemon-reload
ip addr flush dev host0 scope global && ip addr add {new}/24 dev host0 && ip route replace default via {gateway}"""


@pytest.fixture(scope="module")
def controller(new_controller):
    return new_controller()


@pytest.fixture(scope="module")
def hosts(make_host, controller, busybox, lab):
    """Two members of the networks; etcd is on the first."""
    made = [make_host(name, engine=True) for name in NAMES]
    for host in made:
        controller.create(host)
        controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
    yield made
    lab.down(list(NAMES))


def free(host, number):
    """An address of the lab that no host has."""
    return str(ipaddress.ip_network(f"{host.ip}/24", strict=False)[number])


def move(host, old, new):
    gateway = str(host.settings.gateway)
    host.run(MOVE.format(old=old, new=new, gateway=gateway))


def started(controller, name, container):
    form = "{{.State.StartedAt}} {{.State.Running}}"
    return controller.docker(name, "inspect", "-f", form, container)


def state(controller, name):
    return controller.run("ls", "--filter", f"name={name}", "-f", "{{.State}}[{{.Error}}]").stdout.strip()


def registry_is(controller, address):
    """Whether the certificate of the registry at the new address is good for this one."""
    context = ssl.create_default_context(cafile=controller.store / "certs/ca.pem")
    place = controller.run("ip", "ip2").stdout.strip(), 5000
    try:
        with socket.create_connection(place, 10) as raw, context.wrap_socket(raw, server_hostname=address):
            return True
    except ssl.SSLCertVerificationError:
        return False


def pins(controller):
    lines = (controller.store / "known_hosts").read_text().splitlines()
    return {line.split()[0]: line.split()[2] for line in lines}


def test_a_wrong_address_changes_nothing(hosts, controller):
    before = (controller.store / "machines/ip1/config.json").read_bytes(), pins(controller)
    nobody = controller.run("set-ip", "ip1", free(hosts[0], 250), check=False)
    assert nobody.returncode == 1
    other = controller.run("set-ip", "ip1", hosts[1].ip, check=False)
    assert 'is already the machine "ip2"' in other.stderr
    controller.run("rm", "-y", "ip2")
    stranger = controller.run("set-ip", "ip1", hosts[1].ip, check=False)
    assert stranger.returncode == 1
    assert "another host key" in stranger.stderr
    assert ((controller.store / "machines/ip1/config.json").read_bytes(), pins(controller)) == before
    controller.create(hosts[1])


def test_everything_follows_a_plain_machine(hosts, controller):
    host, old, new = hosts[1], hosts[1].ip, free(hosts[1], 201)
    controller.docker(
        "ip2", "run", "-d", "--name", "on", "--restart", "always", "busybox", "sleep", "infinity"
    )
    began, key = started(controller, "ip2", "on"), pins(controller)[old]
    host.run("apt-get -qq update")
    controller.run("registry", "deploy", "ip2", "--use-on", "ip1")
    move(host, old, new)
    said = controller.run("set-ip", "ip2", new)
    assert said.stdout.strip() == f"tcp://{new}:2376"
    assert f"ip1: told to use the registry at {old}:5000, which is the old address" in said.stderr
    assert [registry_is(controller, one) for one in (new, old)] == [True, False]
    controller.run("registry", "deploy", "ip2", "--use-on", "ip1")
    controller.run("provision", "ip1", "--registry-ca", f"{old}:5000=")
    assert f"{new}:5000" in controller.run("registry", "check", "ip1").stdout
    assert "ip1 use it" in controller.run("rm", "-y", "ip2").stderr
    controller.run("create", "--ip", new, "--ssh-key", host.key, "ip2")
    assert controller.run("ip", "ip2").stdout.strip() == new
    assert state(controller, "ip2") == "Running[]"
    assert started(controller, "ip2", "on") == began
    assert pins(controller)[new] == key
    assert old not in pins(controller)
    assert controller.run("ssh", "ip2", "--", "hostname").stdout.strip() == "ip2"
    assert "everything is as it should be" in controller.run("set-ip", "ip2", new).stderr
    names = host.run("openssl x509 -in /etc/docker/server.pem -noout -ext subjectAltName").stdout
    assert new in names
    assert old not in names


def test_etcd_and_networks_follow(hosts, controller, busybox):
    cluster = Cluster(controller, hosts)
    first = hosts[0]
    old, new = first.ip, free(first, 202)
    controller.run("etcd", "deploy", "ip1")
    controller.run("network", "join", *NAMES)
    controller.run("network", "create", "net")
    until(lambda: all("net" in cluster.networks(name) for name in NAMES))
    for name in NAMES:
        cluster.docker(name, f"run -d --name c-{name} --net net busybox sleep infinity")
    peer = cluster.address("ip1", "c-ip1", "net")
    until(lambda: cluster.works("ip2", f"exec c-ip2 ping -c1 -W1 {peer}"))
    began = [started(controller, name, f"c-{name}") for name in NAMES]
    move(first, old, new)
    # killed in the middle: the next run finishes it
    run = controller.start("set-ip", "ip1", new, start_new_session=True)
    for line in run.stderr:
        if "restart machinectl-etcd" in line:
            break
    run.send_signal(signal.SIGKILL)
    run.communicate()
    controller.run("set-ip", "ip1", new)
    [row] = json.loads(controller.run("etcd", "status", "--output", "json").stdout)
    assert row["health"] == "ok"
    assert new in json.dumps(row)
    assert old not in json.dumps(json.loads((controller.store / "etcd.json").read_text()))
    assert json.loads((controller.store / "machines/ip1/config.json").read_text())["moved_from"] == ""
    # both directions, with the containers that ran all the time
    until(lambda: cluster.works("ip2", f"exec c-ip2 ping -c1 -W1 {peer}"), deadline=60)
    until(lambda: cluster.works("ip1", "exec c-ip1 ping -c1 -W1 c-ip2"), deadline=60)
    assert [started(controller, name, f"c-{name}") for name in NAMES] == began
    # new containers get addresses and names again
    until(lambda: cluster.works("ip2", "run --rm --net net busybox ping -c1 -W2 c-ip1"))
    for name in NAMES:
        assert "everything is as it should be" in controller.run("provision", name).stderr
    until(lambda: controller.run("network", "doctor", check=False).returncode == 0, pause=1.0)
