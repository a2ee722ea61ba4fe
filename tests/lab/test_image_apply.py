"""Images that an inventory wants, images that machines pull, and what is left when a push breaks off."""

from __future__ import annotations

import signal
import textwrap

import pytest

from tests.lab.image_hosts import open_shop
from tests.lab.inventories import Repository
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

SPOOL = "ls -d /var/lib/docker/tmp/docker-import-* 2>/dev/null"
"""Where dockerd keeps what it is sent until it has all of it."""
AGENTS = "pgrep -f 'machinectl/agent/[0-9a-f]* carry'"


@pytest.fixture(scope="module")
def shop(make_host, new_controller, busybox):
    """img1 (trixie) has app:1 and slow:1, img2 (bookworm) nothing."""
    hosts = [make_host("img1", "trixie", engine=True), make_host("img2", "bookworm", engine=True)]
    shop = open_shop(new_controller(), hosts, busybox)
    shop.app = shop.build("img1", "app:1", "one")
    shop.build("img1", "slow:1", "slow", size=7_000_000)
    return shop


@pytest.fixture(scope="module")
def repository(tmp_path_factory, shop):
    """What img2 has: app:1 of a tar file, and img1's busybox."""
    repository = Repository(tmp_path_factory.mktemp("git") / "inventory")
    repository.hosts(shop.hosts.values())
    (repository.folder / "images").mkdir()
    shop.controller.run("image", "save", "img1:app:1", repository.folder / "images/app.tar")
    wish = """
    machinectl:
      images:
        - {file: app.tar}
        - {name: busybox, from: img1}
    """
    repository.write("host_vars/img2.yml", textwrap.dedent(wish))
    return repository


def run(shop, repository, command, *words, **more):
    return shop.controller.run(command, "-i", repository.folder, *words, **more)


def test_images_of_an_inventory_are_planned_loaded_and_then_there(shop, repository):
    planned = run(shop, repository, "plan", "img2").stdout
    assert (
        "  + load image app:1 (8.1 MB, from app.tar)\n  + load image busybox:latest (from img1)\n" in planned
    )
    applied = run(shop, repository, "apply", "--yes", "img2")
    assert "got busybox:latest: " in applied.stderr
    assert "(0 of 1 layers, directly)" in applied.stderr
    assert shop.id("img2", "app:1") == shop.app
    assert shop.id("img2", "busybox") == shop.id("img1", "busybox")
    again = run(shop, repository, "apply", "--yes")
    assert again.stdout.startswith("2 machines: 0 changed")
    assert "0 to change" in run(shop, repository, "plan").stdout


def test_a_changed_image_is_seen_and_brought_again_also_without_the_inventory(shop, repository):
    shop.docker("img2", "tag busybox app:1")
    assert "  ~ load image app:1 (8.1 MB, from app.tar)" in run(shop, repository, "plan").stdout
    assert "load image app:1" in shop.controller.run("drift", "img2", check=False).stdout
    shop.controller.run("provision", "img2")
    assert shop.id("img2", "app:1") == shop.app
    shop.docker("img2", "rmi -f app:1")
    path = repository.folder / "images/app.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3_000_000])
    refused = run(shop, repository, "plan", check=False)
    assert (refused.returncode, "app.tar is no whole archive of images" in refused.stderr) == (2, True)
    assert "host_vars/img2.yml:" in refused.stderr
    path.write_bytes(whole)
    assert run(shop, repository, "apply", "--yes").stdout.startswith("2 machines: 1 changed")


def test_the_source_is_a_machine_that_lacks_it(shop, repository):
    text = (repository.folder / "host_vars/img2.yml").read_text()
    repository.write("host_vars/img2.yml", text.replace("name: busybox", "name: nosuch"))
    refused = run(shop, repository, "apply", "--yes", check=False)
    assert refused.returncode == 3
    assert "img1: there is no image nosuch:latest" in refused.stderr
    repository.write("host_vars/img2.yml", text)
    assert run(shop, repository, "apply", "--yes").stdout.startswith("2 machines: 0 changed")


def test_a_pull_names_the_dead_mirror(shop):
    shop.controller.run("config", "set", "img2", "registry-mirrors=http://127.0.0.1:5999")
    refused = shop.controller.run("image", "pull", "nothing:1", "img2", check=False)
    assert refused.returncode == 1
    head, why = refused.stderr.partition("error: ")[2].splitlines()[:2]
    assert head == "img2: nothing:1 can't be pulled: mirror http://127.0.0.1:5999: connection refused"
    assert "registry registry-1.docker.io: " in why
    both = shop.controller.run("image", "pull", "nothing:1", "all", check=False)
    assert (both.returncode, "2 of 2 machines failed" in both.stderr) == (3, True)
    shop.controller.run("config", "unset", "img2", "registry-mirrors")


def test_a_machine_pulls_what_a_registry_has_and_is_told_what_it_has_not(shop):
    place = f"{shop.hosts['img1'].ip}:5000"
    shop.controller.run(
        "registry", "deploy", "--plain", "--via", "package", "img1", "--use-on", "all", timeout=300
    )
    shop.docker("img1", f"tag app:1 {place}/shop/app:1")
    shop.docker("img1", f"push {place}/shop/app:1")
    shop.docker("img2", "rmi -f app:1")
    name = f"{place}/shop/app:1"
    pulled = shop.controller.run("image", "pull", name, "all").stdout
    assert pulled == f"img1: {name} {shop.app[7:19]} (as before)\nimg2: {name} {shop.app[7:19]}\n"
    assert shop.docker("img2", f"run --rm {name}") == "one"
    refused = shop.controller.run("image", "pull", f"{place}/shop/app:2", "img2", check=False)
    assert f"{place}/shop/app:2 can't be pulled: registry {place}: it does not have it" in refused.stderr


def start_slowly(shop):
    """A push that takes 23 s, with dockerd in the middle of it."""
    words = ("image", "push", "--limit-rate", "300k", "--from", "img1", "slow:1", "img2")
    process = shop.controller.start(*words, start_new_session=True)
    until(lambda: shop.hosts["img2"].run(SPOOL, check=False).stdout)
    return process


def nothing_is_left(shop):
    for name in shop.names:
        until(lambda name=name: not shop.hosts[name].run(AGENTS, check=False).stdout, 60)
    until(lambda: not shop.hosts["img2"].run(SPOOL, check=False).stdout, 60)
    assert not shop.id("img2", "slow:1")
    assert shop.docker("img2", "images -q -f dangling=true") == ""


def test_a_push_that_breaks_off_leaves_nothing_and_the_next_one_does_it(shop):
    shop.push("--from", "img1", "busybox", "img2")
    shop.docker("img2", "image prune -f")
    process = start_slowly(shop)
    shop.hosts["img1"].run("kill -9 $(" + AGENTS + ")")  # the source's end of the line
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (1, "")
    assert "error: img2: " in err
    nothing_is_left(shop)
    for number, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):  # of the controller
        process = start_slowly(shop)
        process.send_signal(number)
        process.communicate(timeout=18)  # all of it would take 23 s
        assert process.returncode == status
        nothing_is_left(shop)
    told = shop.push("--from", "img1", "slow:1", "img2")["img2"]
    assert (told["error"], shop.id("img2", "slow:1")) == (None, shop.id("img1", "slow:1"))
    shop.docker("img2", "rmi slow:1")


def test_a_full_disk_is_said_and_leaves_nothing(shop):
    host = shop.hosts["img2"]
    host.run("mount -t tmpfs -o size=2m none /var/lib/docker/tmp")
    try:
        told = shop.push("--from", "img1", "slow:1", "img2")["img2"]
        assert (told["error"]["problem"], told["error"]["what"]) == (
            "disk-full", "dockerd does not load the images",
        )  # fmt: skip
        assert "no space left on device" in told["error"]["why"]
    finally:
        until(lambda: host.run("umount /var/lib/docker/tmp", check=False).returncode == 0)
    nothing_is_left(shop)
