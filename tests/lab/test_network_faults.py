"""What containers see when something breaks: etcd, agents, dockerd, hosts, links. Three machines, each an etcd member."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from machinectl.errors import LabError
from tests.lab.network_cluster import Pings, make_cluster
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox):
    hosts = [
        make_host(f"f{number}", "bookworm" if number < 2 else "trixie", engine=True) for number in range(3)
    ]
    cluster = make_cluster(new_controller(), hosts, busybox)
    cluster.controller.run("network", "create", "demo")
    for number, name in enumerate(cluster.names):
        until(lambda name=name: "demo" in cluster.networks(name))
        cluster.docker(
            name, f"run -d --name c{number} --restart always --network demo busybox sleep infinity"
        )
    return cluster


@pytest.fixture(autouse=True)
def healthy(cluster):
    """Each test begins with names and packets going all ways."""
    until(lambda: all(reaches(cluster, one, other) for one in range(3) for other in range(3)), 120.0)


def reaches(cluster, one, other):
    """Whether container c<one> gets an answer of c<other>, by name."""
    return cluster.works(cluster.names[one], f"exec c{one} ping -c 1 -W 1 c{other}")


def keeps_pinging(cluster, one, other, work, every=0.2):
    """A packet each `every` seconds from c<one> to c<other> while `work` is done; all are answered, in order."""
    address = cluster.address(cluster.names[other], f"c{other}", "demo")
    pings = Pings(cluster, cluster.names[one], f"c{one}", address, every)
    try:
        work()
    finally:
        sent, answers = pings.end()
    assert answers == list(range(sent))


def kill(host, unit):
    # not `kill -9 0`, which is this test itself
    pid = until(lambda: int(host.run(f"systemctl show -p MainPID --value {unit}").stdout))
    host.run(f"kill -9 {pid}")


def is_active(host, unit):
    return host.run(f"systemctl is-active {unit}", check=False).stdout.strip() == "active"


def follows_etcd(cluster, name):
    try:
        return cluster.ask(name, "status")["etcd"]["stale_since"] == 0
    except LabError:  # it is on its way up
        return False


def test_an_agent_that_is_killed_interrupts_nothing(cluster):
    host = cluster.hosts[cluster.names[0]]

    def work():
        kill(host, "machinectl-network")
        # what comes while it is down waits for it
        assert cluster.works(cluster.names[0], "run --rm --network demo busybox ping -c 3 -W 2 c1")
        # what a process that has not lived for long knew of others is not on the disk yet
        for _ in range(3):
            kill(host, "machinectl-network")
            until(lambda: follows_etcd(cluster, cluster.names[0]))
            cluster.ask(cluster.names[0], "reconcile")

    keeps_pinging(cluster, 0, 1, work, every=0.02)


def test_dockerd_killed(cluster):
    host = cluster.hosts[cluster.names[0]]

    def work():
        kill(host, "docker")
        until(lambda: cluster.works(cluster.names[0], "ps"), 60.0)
        until(lambda: cluster.ask(cluster.names[0], "status")["engine"]["up"])

    keeps_pinging(cluster, 0, 1, work)
    assert cluster.works(cluster.names[0], "run --rm --network demo busybox ping -c 3 -W 2 c1")


def test_one_etcd_member_killed_and_frozen(cluster):
    host = cluster.hosts[cluster.names[2]]

    def work():
        host.run("systemctl kill -s STOP machinectl-etcd")
        try:
            assert cluster.works(cluster.names[0], "run --rm --network demo busybox ping -c 3 -W 2 c1")
        finally:
            host.run("systemctl kill -s CONT machinectl-etcd")
        kill(host, "machinectl-etcd")
        until(lambda: cluster.works(cluster.names[1], "run --rm --network demo busybox ping -c 1 -W 2 c0"))

    keeps_pinging(cluster, 0, 1, work)
    until(lambda: is_active(host, "machinectl-etcd"))


def test_the_majority_of_etcd_lost_and_back(cluster):
    """Packets and known names go on; a new container is refused with the reason, and runs when etcd is back."""
    lost = [cluster.hosts[name] for name in cluster.names[1:]]

    def work():
        for host in lost:
            host.run("systemctl stop machinectl-etcd")
        try:
            assert reaches(cluster, 0, 1)
            done = cluster.docker(cluster.names[0], "run --rm --network demo busybox true", check=False)
            assert done.returncode != 0
            assert "etcd does not answer" in done.stderr
        finally:
            for host in lost:
                host.run("systemctl start --no-block machinectl-etcd")
        until(
            lambda: cluster.works(cluster.names[0], "run --rm --network demo busybox ping -c 3 -W 2 c1"), 60.0
        )

    keeps_pinging(cluster, 0, 1, work)


def test_a_partition_of_two_machines(cluster, lab):
    """They lose each other and nobody else; afterwards all is as it was."""
    links = {name: host_link(cluster.hosts[name]) for name in cluster.names}
    drop(links[cluster.names[0]], links[cluster.names[1]])
    try:
        assert not reaches(cluster, 0, 1)
        assert reaches(cluster, 0, 2)
        assert cluster.works(cluster.names[0], "run -d --name new --network demo busybox sleep infinity")
    finally:
        heal()
    until(lambda: cluster.works(cluster.names[1], "exec c1 ping -c 1 -W 1 new"))
    cluster.docker(cluster.names[0], "rm -f new")


def host_link(host):
    """The link of a lab host on the lab's bridge."""
    index = host.run("cat /sys/class/net/host0/iflink").stdout.strip()
    for one in json.loads(
        subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    ):
        if str(one["ifindex"]) == index:
            return one["ifname"]
    raise AssertionError(f"{host.name} has no link on the bridge")


def drop(one, other):
    rules = f"""table bridge machinectl_partition {{
        chain forward {{
            type filter hook forward priority 0
            iifname "{one}" oifname "{other}" drop
            iifname "{other}" oifname "{one}" drop
        }}
    }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def heal():
    subprocess.run(["nft", "delete", "table", "bridge", "machinectl_partition"], check=False)


def test_a_host_that_is_cut_off_its_power_comes_back_with_its_containers(cluster, lab):
    name = cluster.names[1]
    lab.host(name).power_cut()
    lab.start(name)
    until(lambda: reaches(cluster, 0, 1) and reaches(cluster, 1, 0), 240.0)


def test_a_reboot(cluster, lab):
    lab.reboot(cluster.names[0])
    until(lambda: reaches(cluster, 0, 1) and reaches(cluster, 2, 0), 240.0)


def test_a_removal_while_the_plugin_is_down_leaks_nothing(cluster):
    """dockerd gives the removal up; the reconcile finds what is left and frees it."""
    name = cluster.names[0]
    host = cluster.hosts[name]
    cluster.docker(name, "run -d --name gone --network demo busybox sleep infinity")
    address = cluster.address(name, "gone", "demo")
    host.run("systemctl stop machinectl-network.socket machinectl-network.service")
    try:
        cluster.docker(name, "rm -f gone", check=False)
    finally:
        host.run("systemctl start machinectl-network.socket machinectl-network.service")

    def is_free():
        cluster.ask(name, "reconcile")
        found = cluster.ask(cluster.names[1], "network", name="demo")["network"]["endpoints"]
        return address not in [one["ip"] for one in found]

    until(is_free, 100.0, 1.0)


def test_a_forward_policy_of_drop_touches_no_packet_of_ours(cluster):
    for name in cluster.names[:2]:
        cluster.hosts[name].run(
            "iptables -P FORWARD DROP; sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true"
        )
    try:
        assert reaches(cluster, 0, 1)
        assert reaches(cluster, 1, 0)
    finally:
        for name in cluster.names[:2]:
            cluster.hosts[name].run("iptables -P FORWARD ACCEPT")


def test_kill_at_every_moment_of_a_containers_start_and_end(cluster):
    """kill -9 of the agent again and again while containers come and go; nothing is left in etcd or in the kernel."""
    name = cluster.names[0]
    host = cluster.hosts[name]
    script = "for i in 1 2 3 4 5 6; do docker run --rm --network demo busybox true; done"
    host.run(f"systemd-run --unit=coming-and-going sh -c '{script}'")
    for pause in (0.15, 0.4, 0.25, 0.6):
        time.sleep(pause)  # at some moment of a start: that is the point
        kill(host, "machinectl-network")
        until(lambda: is_active(host, "machinectl-network"))
    until(lambda: not is_active(host, "coming-and-going"), 180.0)

    def is_clean():
        cluster.ask(name, "reconcile")
        found = cluster.ask(name, "network", name="demo")["network"]["endpoints"]
        return sorted(one["name"] for one in found) == ["c0", "c1", "c2"]

    until(is_clean, 100.0, 2.0)
    ports = host.run(
        "ip netns exec $(ip netns | grep -o 'mctl-[0-9a-f]*' | head -1) ip -o link | grep -c ': p'"
    )
    assert ports.stdout.strip() == "1"


def test_a_machine_that_comes_back_with_another_address(cluster, lab):
    """It registers anew and its peers follow: names and packets go on over the new one."""
    name = cluster.names[2]
    host = cluster.hosts[name]
    prefix = host.ip.rpartition(".")[0]
    # else the second address of a subnet goes with the first
    host.run("sysctl -qw net.ipv4.conf.all.promote_secondaries=1")
    host.run(
        f"ip addr add {prefix}.222/24 dev host0; ip addr del {host.ip}/24 dev host0; ip route replace default via {prefix}.1 src {prefix}.222"
    )
    try:
        cluster.ask(name, "reconcile")
        assert cluster.ask(name, "status")["machine"]["vtep"] == f"{prefix}.222"
        # who watched etcd there finds its dead link in 15 s
        until(lambda: reaches(cluster, 0, 2) and reaches(cluster, 2, 0), 240.0)
    finally:
        host.run(
            f"ip addr add {host.ip}/24 dev host0; ip addr del {prefix}.222/24 dev host0; ip route replace default via {prefix}.1"
        )
        cluster.ask(name, "reconcile")
    until(lambda: reaches(cluster, 0, 2), 240.0)
