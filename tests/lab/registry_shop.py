"""Two machines of two Debian releases, each with busybox: one's registry is used by the other."""

from __future__ import annotations

import json
from contextlib import contextmanager


def both_ways(names):
    """The registry's machine, and the one that uses it."""
    return [tuple(names), tuple(reversed(names))]


@contextmanager
def opened_shop(lab, make_host, new_controller, busybox, names):
    """`names`: two that no other module has, as a host belongs to one store."""
    controller = new_controller()
    controller.gateway = lab.settings.gateway
    suites = zip(names, ("bookworm", "trixie"), strict=True)
    controller.hosts = {name: make_host(name, suite) for name, suite in suites}
    runs = [
        controller.start("create", "--ip", host.ip, "--ssh-key", host.key, name)
        for name, host in controller.hosts.items()
    ]
    for run in runs:
        out, err = run.communicate(timeout=200)
        assert run.returncode == 0, out + err
    for name in controller.hosts:
        controller.docker(name, "import", "-", "busybox:latest", stdin=busybox)
    yield controller
    for name in controller.hosts:
        controller.run("rm", "-f", name)


def clear(shop):
    """No registries, and nobody told of one."""
    for row in json.loads(shop.run("registry", "ls", "--output", "json", check=False).stdout):
        shop.run("registry", "undeploy", "--purge-storage", f"{row['machine']}:{row['port']}")
    for name in shop.hosts:
        record = json.loads((shop.store / "machines" / name / "config.json").read_text())
        known = record["host"].get("registry_cas", {})
        if known:
            shop.run("provision", name, *(f"--registry-ca={place}=" for place in known))
    shop.run("config", "unset", "all", "insecure-registries", "registry-mirrors")


def push(shop, client, image, of="busybox", check=True):
    shop.docker(client, "tag", of, image)
    said = shop.docker(client, "push", image, check=check)
    shop.docker(client, "rmi", image)
    return said


def fresh_image(shop, client, name, size):
    """An image with a layer that nobody else has: `size` random bytes."""
    host = shop.hosts[client]
    host.run(
        f"mkdir -p /root/layer && head -c {size} /dev/urandom > /root/layer/data && "
        f"tar -C /root/layer -c . | docker import - {name} && rm -r /root/layer"
    )
    return name
