"""Lab hosts that are members of one etcd and share networks, for the tests of networks."""

from __future__ import annotations

import json
import re
import subprocess

from tests.waiting import until


class Cluster:
    """Members by name, and Docker's command line on each host."""

    def __init__(self, controller, hosts):
        self.controller = controller
        self.hosts = {host.name: host for host in hosts}
        self.names = list(self.hosts)

    def docker(self, name, words, check=True, deadline=120.0):
        """`docker WORDS` on the host itself: no TLS and no ssh between us and the answer. stdout, or with check=False
        the whole outcome."""
        done = self.hosts[name].run(f"docker {words}", check=False, deadline=deadline)
        assert not check or done.returncode == 0, (
            f"{name}: docker {words}: {done.stdout}{done.stderr}\n{self.journal(name)}"
        )
        return done.stdout.strip() if check else done

    def works(self, name, words):
        return self.docker(name, words, check=False).returncode == 0

    def networks(self, name):
        return self.docker(name, "network ls --format '{{.Name}}'").split()

    def address(self, name, container, network):
        found = json.loads(self.docker(name, f"inspect {container}"))[0]
        return found["NetworkSettings"]["Networks"][network]["IPAddress"]

    def journal(self, name):
        return (
            self.hosts[name]
            .run("journalctl -u machinectl-network -o cat --no-pager -n 60", check=False)
            .stdout
        )

    def ask(self, name, verb, /, **args):
        """The network service's own answer on the host."""
        request = json.dumps({"verb": verb, "wire": 1, "args": args})
        script = (
            'tree=/opt/machinectl/agent/current; exec "$(cat $tree/interpreter)" -I $tree dial-stdio network'
        )
        done = self.hosts[name].run(script, stdin=request + "\n")
        last = json.loads(done.stdout.splitlines()[-1])
        assert last["event"] == "done", last
        return last["result"]


class Pings:
    """A packet each `every` seconds from a container to an address or a name, from its first answer on until `end`."""

    def __init__(self, cluster, name, container, address, every=0.2):
        self._ask = lambda words, check=True: cluster.docker(name, f"exec {container} {words}", check=check)
        self._file = f"/pings-{address}"
        self._ask(f"rm -f {self._file}")
        words = f"sh -c 'ping -i {every} -W 1 {address} > {self._file} 2>&1'"
        cluster.docker(name, f"exec -d {container} {words}")
        until(self.answers)

    def answers(self):
        """The numbers of the packets that were answered, in the order of the answers."""
        shown = self._ask(f"cat {self._file}", check=False).stdout
        return [int(one) for one in re.findall(r"seq=(\d+)", shown)]

    def end(self):
        """How many were sent, and the numbers of those that were answered.

        The last one's answer may be on its way when ping is ended: such a packet counts as not sent."""
        self._ask("killall -INT ping", check=False)
        ended = r"(\d+) packets transmitted"
        shown = until(lambda: re.findall(ended, self._ask(f"cat {self._file}", check=False).stdout))
        answers, sent = self.answers(), int(shown[0])
        return (sent if sent - 1 in answers else sent - 1), answers


def import_image(host, image):
    """`busybox:latest` on the host."""
    words = ["nsenter", "-t", str(host.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
    command = [*words, "docker", "import", "-", "busybox:latest"]
    subprocess.run(command, input=image, check=True, capture_output=True, timeout=120)


def make_cluster(controller, hosts, image):
    """Creates the machines, puts an etcd on three of them, or on the first, joins them."""
    creates = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    names = [one.name for one in hosts]
    controller.run("etcd", "deploy", *(names[:3] if len(names) > 2 else names[:1]), timeout=400)
    controller.run("network", "join", *names, timeout=400)
    for one in hosts:
        import_image(one, image)
    return Cluster(controller, hosts)
