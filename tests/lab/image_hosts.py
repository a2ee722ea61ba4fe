"""Machines with engines, and images of several layers without a registry."""

from __future__ import annotations

import json
import shlex

from tests.lab.network_cluster import import_image

BUILD = """
set -eu
mkdir -p /root/build && cd /root/build
[ -f base-{size} ] || head -c {size} /dev/urandom > base-{size}
cp -p base-{size} base
echo {top} > top
printf 'FROM {parent}\\nCOPY base /base\\nRUN echo middle > /middle\\nCOPY top /top\\nCMD ["cat","/top"]\\n' > Dockerfile
DOCKER_BUILDKIT=0 docker build -q -t {name} . 2>/dev/null
"""


class Shop:
    """The controller's command line, and Docker on each host without it."""

    def __init__(self, controller, hosts):
        self.controller = controller
        self.hosts = {host.name: host for host in hosts}
        self.names = list(self.hosts)

    def docker(self, name, words, check=True):
        done = self.hosts[name].run(f"docker {words}", check=False, deadline=180)
        assert not check or done.returncode == 0, f"{name}: docker {words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def build(self, name, image, top, *, size=6_000_000, parent="busybox:latest"):
        """Four layers: the parent's, random bytes (the same for this host and size), two small ones. Its id."""
        script = BUILD.format(size=size, top=shlex.quote(top), parent=parent, name=image)
        return self.hosts[name].run(script, deadline=180).stdout.strip()

    def build_odd(self, name, image):
        """Whiteouts, a folder in the place of another, hard and symbolic links, names that are no ASCII."""
        steps = (
            "rm -r /root /bin/ls && mkdir /root && echo new > /root/it && ln /bin/busybox /hard && ln -s bin /s",
            "echo x > '/naïve name' && : > /empty && chmod 4755 /hard && rm /tmp -r && echo file > /tmp",
        )
        lines = "\n".join(["FROM app:1", *(f"RUN {one}" for one in steps)])
        script = (
            "mkdir -p /root/odd && cd /root/odd && cat > Dockerfile && DOCKER_BUILDKIT=0 docker build -q -t "
        )
        return self.hosts[name].run(f"{script}{image} . 2>/dev/null", stdin=lines + "\n").stdout.strip()

    def import_linked(self, name, image):
        """A file that lies in its layer behind a link of the same layer."""
        script = (
            "rm -rf /root/linked && mkdir -p /root/linked/real && cd /root/linked && ln -s real lib && "
            "tar -cf /root/linked.tar real lib && rm lib && mkdir lib && echo through > lib/file && "
            "tar -rf /root/linked.tar lib/file && docker import /root/linked.tar "
        )
        return self.hosts[name].run(script + image).stdout.strip()

    def id(self, name, image):
        """Empty: the host has no such image."""
        return self.docker(name, f"image inspect -f '{{{{.Id}}}}' {image}", check=False)

    def push(self, *words):
        """`image push`: machine → what it tells as JSON."""
        done = self.controller.run("image", "push", "--output", "json", *words, check=False)
        return {one["name"]: one for one in json.loads(done.stdout)}


def open_shop(controller, hosts, image):
    """Creates the machines at the same time; each has busybox, the same one."""
    creates = [controller.start("create", "--ip", one.ip, "--ssh-key", one.key, one.name) for one in hosts]
    for one in creates:
        out, err = one.communicate(timeout=400)
        assert one.returncode == 0, out + err
    import_image(hosts[0], image)
    return Shop(controller, hosts)
