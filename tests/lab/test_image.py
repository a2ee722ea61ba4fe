"""image push, save, load, rm on three engines (20.10, 26, 28): only missing layers travel, and nothing half is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab.image_hosts import open_shop

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def shop(make_host, new_controller, busybox):
    hosts = [make_host(f"img-{suite}", suite, engine=True) for suite in ("trixie", "bookworm", "sid")]
    return open_shop(new_controller(), hosts, busybox)


@pytest.fixture(scope="module")
def app(shop):
    """app:1 on the first machine; all others have nothing."""
    return shop.build(shop.names[0], "app:1", "one")


def test_an_image_for_two_machines_then_nothing_then_one_layer(shop, app):
    first, old, new = shop.names
    told = shop.push("--from", first, "app:1", "all")
    assert set(told) == {old, new}
    for name in (old, new):
        assert (told[name]["way"], told[name]["layers"], told[name]["error"]) == ("direct", 4, None)
        assert 8_000_000 < told[name]["bytes"] < 9_000_000
        assert shop.id(name, "app:1") == app
        assert shop.docker(name, "run --rm app:1") == "one"
    again = shop.push("--from", first, "app:1", old, new)
    assert [(one["bytes"], one["unchanged"]) for one in again.values()] == [(0, ["app:1"])] * 2
    second = shop.build(first, "app:2", "two")
    told = shop.push("--from", first, "app:2", old, new)
    for name in (old, new):
        assert (told[name]["layers"], told[name]["spared"]) == (1, 3)
        assert 0 < told[name]["bytes"] < 64_000
        assert shop.id(name, "app:2") == second
        assert shop.docker(name, "run --rm app:2") == "two"


def test_from_an_old_engine_only_what_is_missing_travels_too(shop, app):
    """Docker before 25 writes another archive; through this computer, as --relay wants it."""
    first, old, new = shop.names
    shop.push("--from", first, "app:1", old)
    third = shop.build(old, "app:3", "three", parent="app:1", size=1_000_000)
    told = shop.push("--relay", "--from", old, "app:3,app:1", first, new)
    for name in (first, new):
        assert (told[name]["way"], told[name]["layers"], told[name]["spared"]) == ("relay", 3, 4)
        assert told[name]["unchanged"] == ["app:1"]
        assert told[name]["bytes"] < 1_100_000
        assert shop.id(name, "app:3") == third


def test_odd_files_and_a_layer_that_only_dockerd_can_read(shop, app):
    """The layers are read from dockerd's own folder: on an old engine, on a new one."""
    first, old, new = shop.names
    shop.push("--from", first, "app:1", old)
    made = shop.build_odd(old, "odd:1")
    told = shop.push("--from", old, "odd:1", new)[new]
    assert (told["error"], shop.id(new, "odd:1")) == (None, made)
    assert shop.docker(new, "run --rm --entrypoint cat odd:1 /root/it /tmp") == "new\nfile"
    linked = shop.import_linked(first, "linked:1")
    done = shop.controller.run("image", "push", "--from", first, "linked:1", old)
    assert f"asking {first}'s dockerd for its own archive" in done.stderr
    assert shop.id(old, "linked:1") == linked


def test_where_machines_do_not_reach_each_other_all_goes_through_this_computer(shop, app):
    first, old, _ = shop.names
    shop.build(first, "app:relayed", "relayed")
    peer = shop.hosts[old].ip
    for side, other in ((shop.hosts[first], peer), (shop.hosts[old], shop.hosts[first].ip)):
        side.run(f"iptables -I OUTPUT -d {other} -p tcp -j DROP; iptables -I INPUT -s {other} -p tcp -j DROP")
    try:
        done = shop.controller.run("image", "push", "--from", first, "app:relayed", old)
    finally:
        for side in (shop.hosts[first], shop.hosts[old]):
            side.run("iptables -D OUTPUT 1; iptables -D INPUT 1")
    assert f"{first} and {old} do not reach each other: all goes through this computer" in done.stderr
    assert shop.id(old, "app:relayed") == shop.id(first, "app:relayed")


def test_a_name_of_another_image_is_replaced_and_told(shop, app):
    first, old, _ = shop.names
    shop.build(first, "web:latest", "new web")
    shop.push("--from", first, "busybox", old)
    before = shop.build(old, "web:latest", "old web")
    done = shop.controller.run("image", "push", "--from", first, "web", old)
    assert f"web:latest was another image, which has no name now: {before[7:19]}" in done.stderr
    assert shop.id(old, "web") == shop.id(first, "web")
    assert shop.id(old, before) == before
    shop.docker(first, "tag web:latest web:same")
    assert shop.push("--from", first, "web:same", old)[old]["named"] == ["web:same"]
    assert shop.id(old, "web:same") == shop.id(first, "web")


def test_an_image_that_is_not_there(shop):
    first, old, new = shop.names
    done = shop.controller.run("image", "push", "--from", first, "app:77", old, new, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {first}: there is no image app:77" in done.stderr


def test_saved_here_compressed_loaded_there(shop, app, tmp_path):
    first, old, new = shop.names
    path = tmp_path / "images.tar.zst"
    shop.push("--from", first, "app:1", old)
    refused = shop.controller.run("image", "save", f"{old}:app:1", f"{old}:nosuch", path, check=False)
    assert (refused.returncode, "there is no image nosuch:latest" in refused.stderr) == (1, True)
    assert not list(tmp_path.iterdir())
    shop.docker(old, "tag app:1 app:again")
    done = shop.controller.run("image", "save", f"{old}:app:1", f"{old}:app:again", path)
    assert done.stdout.startswith(f"{path}: app:1, app:again (")
    assert [one.name for one in tmp_path.iterdir()] == ["images.tar.zst"]
    assert path.read_bytes()[:4] == bytes.fromhex("28b52ffd")
    shop.controller.run("image", "rm", "--force", "app:1,app:2,app:3", new, check=False)
    shop.docker(new, "image prune -f")
    loaded = shop.controller.run("image", "load", path, new, first)
    assert f"{first}: everything is there; named app:again" in loaded.stdout
    assert shop.id(new, "app:1") == shop.id(new, "app:again") == app
    one = shop.controller.run("image", "push", "--file", path, "app:again", old)
    assert one.stdout == f"{old}: everything is there\n"
    refused = shop.controller.run("image", "push", "--file", path, "app:5", old, check=False)
    assert (refused.returncode, f"{path} has no image app:5" in refused.stderr) == (2, True)


def test_a_broken_file_is_refused_before_anything_is_sent(shop, app, tmp_path):
    first, old, new = shop.names
    path = tmp_path / "broken.tar"
    shop.build(first, "fresh:1", "fresh")
    shop.controller.run("image", "save", f"{first}:fresh:1", path)
    whole = path.read_bytes()
    for content in (whole[:5_000_000], whole[:4_000_000] + b"?" + whole[4_000_001:], b"no tar"):
        path.write_bytes(content)
        done = shop.controller.run("image", "load", path, old, new, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: {path} is no whole archive of images\n  why: " in done.stderr
        assert "connecting" not in done.stderr
    assert not shop.id(old, "fresh:1")


def test_from_this_computers_own_docker(shop, app):
    """Whichever its client is pointed at; here it is one of the machines."""
    first, old, _ = shop.names
    newest = shop.build(first, "mine:1", "mine")
    host = {"DOCKER_HOST": f"ssh://{first}", "DOCKER_CONTEXT": ""}
    for line in shop.controller.run("env", "--shell", "bash", first).stdout.splitlines():
        if line.startswith("export "):
            key, _, value = line.removeprefix("export ").partition("=")
            host[key] = value.strip('"')
    done = shop.controller.run("image", "push", "mine:1", old, **host)
    assert done.stdout.startswith(f"{old}: mine:1 (")
    assert shop.id(old, "mine:1") == newest
    lacking = shop.controller.run("image", "push", "mine:2", old, check=False, **host)
    assert "error: this computer's docker has no image mine:2" in lacking.stderr
    nothing = shop.controller.run(
        "image", "push", "mine:1", old, check=False, PATH=str(Path(sys.executable).parent)
    )
    assert "error: this computer has no docker to take the images from" in nothing.stderr


def test_ls_and_rm(shop, app):
    first, old, _ = shop.names
    shop.push("--from", first, "app:1", old)
    shop.docker(old, "tag app:1 gone:1")
    rows = json.loads(shop.controller.run("image", "ls", "--output", "json", "--name", "gone:1").stdout)
    assert [(one["machine"], one["id"]) for one in rows] == [(old, app)]
    done = shop.controller.run("image", "rm", "gone:1", "all")
    assert done.stdout == f"{old}: gone:1 is removed (the image has other names)\n"
    refused = shop.controller.run("image", "rm", "gone:1", "all", check=False)
    assert (refused.returncode, "no machine of these has gone:1" in refused.stderr) == (1, True)
    shop.docker(old, "rmi app:again", check=False)  # the last name of an image in use is kept
    shop.docker(old, "run -d --name user app:1 sleep 60")
    try:
        refused = shop.controller.run("image", "rm", "app:1", old, check=False)
        assert (refused.returncode, "app:1 is in use" in refused.stderr) == (1, True)
    finally:
        shop.docker(old, "rm -f user")


def test_an_engine_with_containerds_store_gets_all_and_gives_back(shop, app):
    """Docker 29's default. Its ids are others; the layers are compared."""
    first, old, new = shop.names
    host = shop.hosts[new]
    host.run("cp /etc/docker/daemon.json /root/daemon.json")
    change = "d['features'] = {'containerd-snapshotter': True}; json.dump(d, open(p, 'w'))"
    host.run(f"python3 -c \"import json; p='/etc/docker/daemon.json'; d=json.load(open(p)); {change}\"")
    host.run("systemctl restart docker")
    try:
        assert "containerd" in shop.docker(new, "info -f '{{.DriverStatus}}'")
        done = shop.controller.run("image", "push", "--from", first, "app:1", new)
        assert f"{new}: this machine keeps images in containerd's store: all layers are sent" in done.stderr
        assert shop.docker(new, "run --rm app:1") == "one"
        assert shop.id(new, "app:1") not in ("", app)
        again = shop.controller.run("image", "push", "--from", first, "app:1", new)
        assert again.stdout == f"{new}: everything is there\n"
        for words in ("one", "another"):  # the same layers, another command
            recipe = f'printf \'FROM app:1\\nCMD ["echo","{words}"]\\n\''
            shop.hosts[first].run(f"{recipe} | DOCKER_BUILDKIT=0 docker build -q -t said:1 - 2>/dev/null")
            told = shop.push("--from", first, "said:1", new, old)
            assert [one["error"] for one in told.values()] == [None, None]
            assert [shop.docker(name, "run --rm said:1") for name in (new, old)] == [words] * 2
        shop.build(new, "back:1", "back", parent="app:1", size=500_000)
        told = shop.push("--from", new, "back:1,app:1", first, old)
        assert [(one["error"], one["unchanged"]) for one in told.values()] == [(None, ["app:1"])] * 2
        for name in (first, old):
            assert told[name]["bytes"] < 600_000
            assert shop.docker(name, "run --rm back:1") == "back"
    finally:
        host.run("cp /root/daemon.json /etc/docker/daemon.json && systemctl restart docker")
