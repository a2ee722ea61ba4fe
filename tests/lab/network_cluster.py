"""Lab hosts that are members of one etcd and share networks, for the tests of networks."""

from __future__ import annotations

import json
import subprocess


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
