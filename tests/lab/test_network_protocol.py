"""The plugin protocol against dockerd itself, 20.10, 26 and 28: every call that it makes is written down on its way
to the network service, and its answer held against what libnetwork decodes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.lab.network_cluster import Pings, make_cluster
from tests.libnetwork_protocol import CALLS, is_error, violations
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ENGINES = {"ct20": ("bookworm", "20.10."), "ct26": ("trixie", "26."), "ct28": ("sid", "28.")}
FRONT, BEHIND, FILE = "/run/docker/plugins/machinectl.sock", "/run/machinectl-behind.sock", "/run/calls.jsonl"
OURS = "-d machinectl --ipam-driver machinectl"
DROP_IN = f"""mkdir -p /etc/systemd/system/machinectl-network.socket.d
printf '[Socket]\\nListenStream=\\nListenStream={BEHIND}\\n' >/etc/systemd/system/machinectl-network.socket.d/behind.conf
systemctl daemon-reload
systemctl stop machinectl-network.service
systemctl restart machinectl-network.socket
systemctl start machinectl-network.service
cat >/root/recorder.py
systemd-run -q --unit=recorder python3 /root/recorder.py {FRONT} {BEHIND} {FILE}
timeout 20 sh -c 'until test -S {FRONT}; do sleep 0.05; done'
"""
"""The service listens behind the recorder."""


@pytest.fixture(scope="module")
def cluster(make_host, new_controller, busybox, lab):
    hosts = [make_host(name, suite, engine=True) for name, (suite, _) in ENGINES.items()]
    cluster = make_cluster(new_controller(), hosts, busybox)
    recorder = (Path(__file__).parent / "plugin_recorder.py").read_text()
    for host in hosts:
        host.run(DROP_IN, stdin=recorder)
    for name in cluster.names:
        until(lambda name=name: cluster.ask(name, "status")["engine"]["up"])
    yield cluster
    lab.down([host.name for host in hosts])


@pytest.fixture(params=ENGINES)
def engine(request, cluster):
    # what an earlier test has removed is going everywhere first; what a failed one has left goes, too
    for name in cluster.names:
        try:
            until(lambda name=name: not cluster.docker(name, "network ls -q -f driver=machinectl"), 20.0)
        except AssertionError:
            cluster.hosts[name].run("docker rm -f $(docker ps -aq)", check=False)
            cluster.hosts[name].run(
                "docker network rm $(docker network ls -q -f driver=machinectl)", check=False
            )
    return Engine(cluster, request.param)


class Engine:
    """One host's, with what was called since the last look."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.host = cluster.hosts[name]
        self.docker = lambda words, **more: cluster.docker(name, words, **more)
        self.before = len(self.lines())

    def lines(self):
        text = self.host.run(f"cat {FILE}", check=False).stdout
        return [json.loads(line) for line in text.splitlines()]

    def calls(self, *names):
        """Those of these names, or all, since this object was made."""
        found = self.lines()[self.before :]
        return [one for one in found if not names or one["call"].partition(".")[2] in names]

    def order(self):
        return [one["call"].partition(".")[2] for one in self.calls()]

    def is_up(self):
        return self.cluster.works(self.name, "ps") and self.cluster.ask(self.name, "status")["engine"]["up"]


def check(engine):
    """Every answer since then; errors only where the test wants them."""
    found = engine.calls()
    assert {one["call"] for one in found} <= CALLS
    assert [text for one in found for text in violations(one["call"], one["request"], one["answer"])] == []
    assert {one["status"] for one in found} <= {200}
    # a replica of a network that is being removed meanwhile is none
    texts = [is_error(one["answer"]) for one in found if "machinectl.id" not in str(one["request"])]
    return [text for text in texts if text]


def record(engine):
    """`MACHINECTL_RECORD=tests/contract/libnetwork` writes anew what the contract tests replay."""
    folder = os.environ.get("MACHINECTL_RECORD")
    if folder:
        path = Path(folder, f"{ENGINES[engine.name][1].rstrip('.')}.jsonl")
        calls = [one for one in engine.calls() if "machinectl.id" not in str(one["request"])]
        with path.open("a") as file:
            for one in calls:
                kept = {key: one[key] for key in ("call", "request", "answer")}
                file.write(json.dumps(kept, sort_keys=True) + "\n")


def in_order(wanted, found):
    """Whether the wanted come in this order, others between them."""
    rest = iter(found)
    return all(one in rest for one in wanted)


def test_the_engines_are_those(cluster):
    for name, (_, version) in ENGINES.items():
        assert cluster.docker(name, "version -f '{{.Server.Version}}'").startswith(version)


def test_a_networks_life(engine):
    net = f"life-{engine.name}"
    subnet = f"10.99.{engine.name[2:]}"
    engine.docker(
        f"network create {OURS} --subnet {subnet}.0/24 --ip-range {subnet}.128/25 --gateway {subnet}.1 "
        f"--aux-address a={subnet}.130 --label x=y -o com.docker.network.driver.mtu=1300 {net}"
    )
    # a replica of another machine's network may ask for its own meanwhile
    asked = engine.calls("RequestPool", "RequestAddress")
    pool, gateway, auxiliary = [one for one in asked if subnet in str(one["request"])]
    assert (pool["request"]["Pool"], pool["request"]["SubPool"]) == (f"{subnet}.0/24", f"{subnet}.128/25")
    assert gateway["request"]["Options"]["RequestAddressType"] == "com.docker.network.gateway"
    assert gateway["answer"]["Address"] == f"{subnet}.1/24"
    assert auxiliary["answer"]["Address"] == f"{subnet}.130/24"
    assert in_order(["RequestPool", "RequestAddress", "CreateNetwork"], engine.order())
    until(lambda: net in [one["name"] for one in engine.cluster.ask(engine.name, "networks")["networks"]])
    engine.docker(f"network rm {net}")
    assert in_order(["DeleteNetwork"], engine.order()) and "ReleasePool" in engine.order()
    assert check(engine) == []
    record(engine)


def test_a_containers_life(engine):
    net = f"run-{engine.name}"
    engine.docker(f"network create {OURS} --subnet 10.98.{engine.name[2:]}.0/24 {net}")
    wanted = f"10.98.{engine.name[2:]}.77"
    mac = "02:42:de:ad:be:ef"
    engine.docker(
        f"run -d --name box --network {net} --ip {wanted} --mac-address {mac} -p 9999:80 busybox sleep infinity"
    )
    assert in_order(["RequestAddress", "CreateEndpoint", "Join"], engine.order())
    assert mac in engine.docker("exec box ip link show eth0")
    assert wanted in engine.docker("exec box ip addr show eth0")
    assert "169.254.77.53" in engine.docker("exec box ip route")
    # the gateway is docker_gwbridge's, and so is the published port
    assert engine.docker("port box 80").splitlines()[0].endswith(":9999")
    engine.docker("restart -t 0 box")
    engine.docker("rm -f box")
    assert in_order(["Leave", "DeleteEndpoint", "ReleaseAddress", "RequestAddress", "Join"], engine.order())
    # the address at once again, many times: the kernel is behind
    for _ in range(5):
        engine.docker(f"run --rm --network {net} --ip {wanted} busybox ping -c 1 -W 1 {wanted}")
    engine.docker(f"network rm {net}")
    assert check(engine) == []
    record(engine)


def test_hot_connects_internal_and_ipv6(engine):
    nets = [f"{kind}-{engine.name}" for kind in ("in", "six")]
    engine.docker(f"network create {OURS} --internal {nets[0]}")
    engine.docker(f"network create {OURS} --ipv6 --subnet fd00:{engine.name[2:]}::/64 {nets[1]}")
    engine.docker(f"run -d --name box --network {nets[0]} busybox sleep infinity")
    engine.docker(f"network connect {nets[1]} box")
    first, second = engine.calls("Join")
    assert first["answer"]["DisableGatewayService"] and "DisableGatewayService" not in second["answer"]
    # one way to the DNS in each container
    assert [len(one["answer"].get("StaticRoutes", ())) for one in (first, second)] == [1, 0]
    assert f"fd00:{engine.name[2:]}::" in engine.docker("exec box ip -6 addr")
    engine.docker(f"network disconnect {nets[0]} box")
    assert "169.254.77.53" in engine.docker("exec box ip route")
    engine.docker("rm -f box")
    for net in nets:
        engine.docker(f"network rm {net}")
    assert check(engine) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-d machinectl", "--ipam-driver machinectl"),
        (f"{OURS} -o encrypted=true", "no option 'encrypted'"),
        (f"{OURS} -o machinectl.vni=0", "a number from 1"),
        (f"{OURS} --subnet 198.18.0.0/15", "198.18.0.0/15"),
        (f"{OURS} --subnet 10.97.0.0/24 --gateway 10.97.1.1", ""),
    ],
)
def test_a_refused_network_is_said_and_leaves_nothing(engine, words, said):
    done = engine.docker(f"network create {words} wrong", check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "fault of the agent" not in done.stderr
    check(engine)
    pools = [one["answer"]["PoolID"] for one in engine.calls("RequestPool") if not is_error(one["answer"])]
    # an earlier network's may still come in
    assert set(pools) <= {one["request"]["PoolID"] for one in engine.calls("ReleasePool")}
    assert "wrong" not in engine.cluster.networks(engine.name)


def test_a_refused_container_is_said_and_leaves_nothing(engine):
    net = f"taken-{engine.name}"
    subnet = f"10.96.{engine.name[2:]}"
    engine.docker(f"network create {OURS} --subnet {subnet}.0/30 {net}")
    engine.docker(f"run -d --name box --network {net} busybox sleep infinity")
    for words, text in (
        ("", "no free address"),
        (f"--ip {subnet}.2", f"{subnet}.2"),
        (f"--ip {subnet}.1", "own"),
    ):
        done = engine.docker(f"run --rm --network {net} {words} busybox true", check=False)
        assert done.returncode != 0
        assert text in done.stderr
        assert "fault of the agent" not in done.stderr
    assert len(check(engine)) == 3
    engine.docker("rm -f box")
    engine.docker(f"run --rm --network {net} busybox true")
    engine.docker(f"network rm {net}")


def test_a_dockerd_that_is_killed_replays(engine):
    """Live-restore: pools and addresses are asked for again, the container's interface is not."""
    net = f"again-{engine.name}"
    engine.docker(f"network create {OURS} {net}")
    engine.docker(f"run -d --name box --network {net} busybox sleep infinity")
    address = engine.cluster.address(engine.name, "box", net)
    mark = len(engine.calls())
    engine.host.run("kill -9 $(systemctl show -p MainPID --value docker)")
    until(engine.is_up, 60.0)
    replayed = engine.calls()[mark:]
    assert {"GetCapabilities", "RequestPool"} <= {one["call"].partition(".")[2] for one in replayed}
    assert "Join" not in {one["call"].partition(".")[2] for one in replayed}
    assert check(engine) == []
    assert engine.docker(f"exec box ping -c 1 -W 1 {address}")
    engine.docker(f"run --rm --network {net} busybox ping -c 3 -W 1 {address}")
    engine.docker("rm -f box")
    engine.docker(f"network rm {net}")
    assert check(engine) == []


def test_a_service_that_knows_nothing_any_more(engine):
    """Its ledger is lost while dockerd goes on: containers that run are neither cut off nor forgotten."""
    net = f"lost-{engine.name}"
    engine.docker(f"network create {OURS} {net}")
    for name in ("box", "other"):
        engine.docker(f"run -d --name {name} --network {net} busybox sleep infinity")
    pings = Pings(engine.cluster, engine.name, "box", "other")
    engine.host.run(
        "systemctl kill -s KILL machinectl-network.service; rm -f /var/lib/machinectl/network*.json"
    )
    # while the service knows nothing yet
    tries = "for _ in 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 2 other && exit; sleep 1; done; exit 1"
    engine.docker(f"run --rm --network {net} busybox sh -c '{tries}'")
    until(engine.is_up)
    engine.cluster.ask(engine.name, "reconcile")
    engine.docker("exec box ping -c 1 -W 2 other")
    sent, answers = pings.end()
    assert answers == list(range(sent))
    for name in ("box", "other"):
        engine.docker(f"rm -f {name}")
    engine.docker(f"network rm {net}")
    until(lambda: net not in engine.cluster.networks(engine.name))
    assert not [text for text in check(engine) if "fault" in text]


UNKNOWN = "f" * 64
REQUESTS = {
    "NetworkDriver.DeleteNetwork": {"NetworkID": UNKNOWN},
    "NetworkDriver.DeleteEndpoint": {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
    "NetworkDriver.Leave": {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
    "NetworkDriver.EndpointOperInfo": {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
    "NetworkDriver.DiscoverNew": {"DiscoveryType": 1, "DiscoveryData": {}},
    "NetworkDriver.DiscoverDelete": {"DiscoveryType": 1, "DiscoveryData": {}},
    "NetworkDriver.ProgramExternalConnectivity": {
        "NetworkID": UNKNOWN,
        "EndpointID": UNKNOWN,
        "Options": None,
    },
    "NetworkDriver.RevokeExternalConnectivity": {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
    "IpamDriver.ReleasePool": {"PoolID": "10.250.0.0/24"},
    "IpamDriver.ReleaseAddress": {"PoolID": "10.250.0.0/24", "Address": "10.250.0.7"},
}
"""With ids that nobody knows: dockerd gives up what it has, and must not be kept from it."""

REFUSED = {
    "NetworkDriver.Join": {"NetworkID": UNKNOWN, "EndpointID": UNKNOWN, "SandboxKey": "/x", "Options": {}},
    "NetworkDriver.CreateEndpoint": {
        "NetworkID": UNKNOWN,
        "EndpointID": UNKNOWN,
        "Interface": {},
        "Options": {},
    },
    "IpamDriver.RequestAddress": {"PoolID": "10.250.0.0/24", "Address": "", "Options": None},
    "NetworkDriver.AllocateNetwork": {"NetworkID": UNKNOWN},
}


@pytest.mark.parametrize("name", ["ct26"])
def test_ids_that_nobody_knows(cluster, name):
    engine = Engine(cluster, name)
    for call, request in {**REQUESTS, **REFUSED}.items():
        words = f"curl -s --unix-socket {FRONT} -d @- http://plugin/{call}"
        answer = json.loads(engine.host.run(words, stdin=json.dumps(request)).stdout)
        text = is_error(answer)
        assert bool(text) == (call in REFUSED), (call, answer)
        assert "fault of the agent" not in text
        if call in CALLS:
            assert not list(violations(call, request, answer))


@pytest.mark.parametrize("name", ["ct28"])
def test_the_plugin_is_down_and_comes_back(cluster, name):
    """With dockerd's own retries: what it asks meanwhile waits or fails in words, and nothing has to be restarted."""
    engine = Engine(cluster, name)
    net = f"down-{engine.name}"
    engine.docker(f"network create {OURS} {net}")
    engine.docker(f"run -d --name box --network {net} busybox sleep infinity")
    engine.host.run("systemctl stop machinectl-network.socket machinectl-network.service")
    engine.host.run(
        "systemctl start --no-block machinectl-network.socket; (sleep 2; systemctl start machinectl-network.service) >/dev/null 2>&1 &"
    )
    # systemd's socket is there before the service
    engine.docker(f"run --rm --network {net} busybox true")
    until(lambda: engine.cluster.ask(engine.name, "status")["engine"]["up"])
    engine.host.run("systemctl stop recorder")
    done = engine.docker(f"run --rm --network {net} busybox true", check=False)
    assert done.returncode != 0
    assert "machinectl" in done.stderr
    engine.host.run(f"systemd-run -q --unit=recorder python3 /root/recorder.py {FRONT} {BEHIND} {FILE}")
    until(lambda: engine.host.run(f"test -S {FRONT}", check=False).returncode == 0)
    engine.docker(f"run --rm --network {net} busybox ping -c 1 -W 2 box")
    engine.docker("rm -f box")
    engine.docker(f"network rm {net}")
    assert check(engine) == []
