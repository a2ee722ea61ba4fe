"""Pull-through mirrors, dead mirrors, gc and what goes wrong with registries, on real hosts."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest

from tests.lab.inventories import Repository
from tests.lab.registry_shop import both_ways, clear, fresh_image, opened_shop, push
from tests.waiting import until

NAMES = ("shelf3", "shelf4")

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

CALM = "everything is as it should be"


@pytest.fixture(scope="module")
def shop(lab, make_host, new_controller, busybox):
    with opened_shop(lab, make_host, new_controller, busybox, NAMES) as shop:
        yield shop


@pytest.fixture(params=both_ways(NAMES), ids=["bookworm", "trixie"])
def pair(request, shop):
    yield request.param
    clear(shop)


@pytest.fixture
def one(shop):
    yield both_ways(NAMES)[0]
    clear(shop)


def pull(shop, client, image):
    shop.docker(client, "rmi", image, check=False)
    return shop.docker(client, "pull", "-q", image, check=False)


def test_a_mirror_serves_what_it_has_while_its_upstream_is_away(shop, pair):
    server, client = pair
    host = shop.hosts[server]
    url = f"https://{host.ip}:5001"
    mirror = ("registry", "deploy", "--port", "5001", "--mirror-of", f"https://{host.ip}:5000", server)
    early = shop.run(*mirror, check=False)
    assert early.returncode == 1 and "connection refused" in early.stderr
    assert host.run("ls /etc/machinectl-registry/5001", check=False).stdout == ""
    assert shop.run("registry", "ls").stdout.splitlines()[1:] == []
    environment = {"MACHINECTL_REGISTRY_PASSWORD": "up", "MACHINECTL_MIRROR_PASSWORD": "up"}
    shop.run("registry", "deploy", "--user", "ops", server, "--use-on", client, **environment)
    place = f"{host.ip}:5000"
    shop.docker(client, "login", "-u", "ops", "--password-stdin", place, stdin=b"up")
    for tag in ("1", "2"):
        # layers that the client has are not fetched
        push(shop, client, f"{place}/library/shelf:{tag}", of=fresh_image(shop, client, "fresh", 1000))
        shop.docker(client, "rmi", "fresh")
    shop.docker(client, "logout", place)
    wrong = {"MACHINECTL_MIRROR_PASSWORD": "down"}
    refused = shop.run(*mirror, "--mirror-user", "ops", check=False, **wrong)
    assert refused.returncode == 1 and "another user or password" in refused.stderr
    shop.run(*mirror, "--mirror-user", "ops", "--use-on", client, **environment)
    assert CALM in shop.run(*mirror).stderr
    assert pull(shop, client, "shelf:1") == "docker.io/library/shelf:1"
    # the layer is kept a moment after it has been passed on
    until(lambda: "library/shelf" in shop.run("registry", "tags", f"{server}:5001").stdout, 90)
    shop.run("registry", "undeploy", f"{server}:5000")
    assert pull(shop, client, "shelf:1") == "docker.io/library/shelf:1"
    # by itself the program ends where its upstream is away
    host.run("systemctl restart machinectl-registry-5001")
    until(lambda: pull(shop, client, "shelf:1") == "docker.io/library/shelf:1", 90)
    assert "docker.io" in pull(shop, client, "shelf:2")
    assert shop.run("registry", "tags", f"{server}:5001").stdout.split()[2:] == ["library/shelf", "1"]
    for words in (("gc", f"{server}:5001"), ("rm", f"{server}:5001", "library/shelf:1")):
        refused = shop.run("registry", *words, check=False)
        assert refused.returncode == 1 and "mirror" in refused.stderr
    shop.run("registry", "deploy", "--user", "ops", server, **environment)
    until(lambda: pull(shop, client, "shelf:2") == "docker.io/library/shelf:2", 90)
    assert shop.run("registry", "check", client).stdout.count(" ok") == 3
    kind = shop.run("registry", "deploy", "--port", "5000", "--mirror-of", url, server, check=False)
    assert kind.returncode == 1 and "no mirror" in kind.stderr


def test_dead_mirrors_are_named_with_the_reason(shop, one):
    server, client = one
    host = shop.hosts[server]
    shop.run("registry", "deploy", "--plain", server)
    shop.run("registry", "deploy", "--port", "5001", server)
    host.run("systemd-run -u pages python3 -m http.server 5003")
    host.run(
        "systemd-run -u silence python3 -c \"import socket, time; s = socket.create_server(('', 5004)); s.listen(); time.sleep(600)\""
    )
    until(lambda: host.run("ss -ltn | grep -c ':500[34] '", check=False).stdout == "2\n")
    reasons = {
        f"http://{host.ip}:5000": "",
        f"http://{host.ip}:5002": "connection refused",
        f"https://{host.ip}:5001": "its certificate is of a CA that this machine does not know",
        f"http://{host.ip}:5001": "it speaks https",
        f"https://{host.ip}:5000": "it speaks plain http",
        f"http://{host.ip}:5003": "it is no registry",
        f"http://{host.ip}:5004": "no answer within 3 s",
        "http://no.such.mirror.invalid": "the name no.such.mirror.invalid is not known",
    }  # fmt: skip
    flags = [word for url in reasons for word in ("--engine-registry-mirror", url)]
    said = shop.run("provision", client, *flags).stderr
    for url, reason in reasons.items():
        assert (f"warning: registry-mirrors {url}: {reason}" in said) == bool(reason), said
    # create does the same
    shop.run("rm", "-f", client)
    again = shop.create(shop.hosts[client], "--engine-registry-mirror", f"http://{host.ip}:5007").stderr
    assert f"warning: registry-mirrors http://{host.ip}:5007: connection refused" in again
    shop.run("provision", client, *flags)
    # a run that changes nothing asks nobody
    assert "warning" not in shop.run("provision", client).stderr
    checked = shop.run("registry", "check", client, "--output", "json", check=False)
    assert checked.returncode == 3
    found = {row["address"]: row["problem"] for row in json.loads(checked.stdout)}
    for url, reason in reasons.items():
        assert found[url].startswith(reason) and bool(found[url]) == bool(reason), found
    # with the CA known one more is well
    shop.run("provision", client, "--registry-ca", f"{host.ip}:5001={server}")
    found = json.loads(shop.run("registry", "check", client, "--output", "json", check=False).stdout)
    assert [row["problem"] for row in found if row["address"] == f"https://{host.ip}:5001"] == [""]
    host.run("systemctl stop pages silence", check=False)


def test_gc_frees_space_and_a_killed_one_leaves_the_registry_running(shop, pair):
    server, client = pair
    host = shop.hosts[server]
    shop.run("registry", "deploy", "--plain", server, "--use-on", client)
    place = f"{host.ip}:5000"
    assert "freed 0.0 MB" in shop.run("registry", "gc", server).stdout
    big = fresh_image(shop, client, "big", 20_000_000)
    push(shop, client, f"{place}/box:1")
    shop.docker(client, "tag", big, f"{place}/big:1")
    push(shop, client, f"{place}/big:2", of=big)
    shop.docker(client, "push", f"{place}/big:1")
    refused = shop.run("registry", "rm", server, "big:1", check=False)
    assert refused.returncode == 1 and "big:2 would go, too" in refused.stderr
    assert "big:1, big:2" in shop.run("registry", "rm", "--all-tags", server, "big:1").stdout
    gone = shop.run("registry", "rm", server, "big:1", check=False)
    assert gone.returncode == 1 and "no big/manifests/1" in gone.stderr
    # it is held in the middle: a collection of a small registry is over at once
    folder = "/run/systemd/system/machinectl-registry-5000-gc.service.d"
    host.run(f"mkdir -p {folder} && printf '[Service]\\nExecStartPre=/bin/sleep 300\\n' > {folder}/slow.conf")
    for victim in ("collector", "agent"):
        run = shop.start("registry", "gc", server)
        until(lambda: host.run("pgrep -fx '/bin/sleep 300'", check=False).stdout)
        assert (
            host.run("systemctl is-active machinectl-registry-5000", check=False).stdout.strip() == "inactive"
        )
        if victim == "collector":
            host.run("systemctl kill -s KILL machinectl-registry-5000-gc")
            said = run.communicate(timeout=60)[1]
            assert run.returncode == 1 and "the collection failed" in said, said
        else:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            host.run("pkill -9 -f 'machinectl/agent/.* [r]egistry'")
            host.run("pkill -x sleep")
        until(lambda: "Running" in shop.run("registry", "ls", check=False).stdout, 90)
    host.run(f"rm -r {folder} && systemctl daemon-reload")
    said = shop.run("registry", "gc", server).stdout
    assert "freed " in said
    assert int(host.run("du -sm /var/lib/machinectl-registry/5000").stdout.split()[0]) < 10
    pull(shop, client, f"{place}/box:1")
    assert shop.docker(client, "run", "--rm", f"{place}/box:1", "echo", "kept") == "kept"
    shop.docker(client, "rmi", f"{place}/big:1", f"{place}/box:1", "big", check=False)


IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def digests(shop, server):
    """Of app, by its tags."""
    found = json.loads(shop.run("registry", "tags", server, "app", "--digests", "--output", "json").stdout)
    return {row["tag"]: row["digest"] for row in found}


def put_list(place, tag, parts, kind=IMAGE):
    """app:`tag` for several platforms; `parts`: architecture → digest."""
    manifests = [
        {"mediaType": kind, "digest": one, "size": 1, "platform": {"architecture": name, "os": "linux"}}
        for name, one in parts.items()
    ]
    text = json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": manifests}).encode()
    request = urllib.request.Request(
        f"http://{place}/v2/app/manifests/{tag}", text, {"Content-Type": LIST}, method="PUT"
    )
    assert urllib.request.urlopen(request, timeout=20).status == 201  # noqa: S310 - a registry of the test's own
    return text


def test_rm_of_a_part_names_the_lists_that_it_is_in(shop, one):
    server, client = one
    shop.run("registry", "deploy", "--plain", server, "--use-on", client)
    place = f"{shop.hosts[server].ip}:5000"
    for name in ("1.0-amd64", "1.0-arm64", "2.0"):
        push(shop, client, f"{place}/app:{name}", of=fresh_image(shop, client, "fresh", 1000))
        shop.docker(client, "rmi", "fresh")
    known = digests(shop, server)
    put_list(place, "1.0", {"amd64": known["1.0-amd64"], "arm64": known["1.0-arm64"]})
    put_list(place, "all", {"amd64": digests(shop, server)["1.0"]}, kind=LIST)
    for what in ("app:1.0-amd64", f"app@{known['1.0-arm64']}"):
        refused = shop.run("registry", "rm", server, what, check=False)
        assert refused.returncode == 1, refused.stdout
        assert "app:1.0, app:all would go, too" in refused.stderr, refused.stderr
        assert "is a part of app:1.0, app:all" in refused.stderr and "--all-tags" in refused.stderr
    assert len(digests(shop, server)) == 5
    shop.run("registry", "rm", server, "app:2.0")
    assert pull(shop, client, f"{place}/app:1.0") == f"{place}/app:1.0"
    shop.docker(client, "rmi", f"{place}/app:1.0")
    done = shop.run("registry", "rm", "--all-tags", server, "app:1.0-amd64").stdout
    assert "(app:1.0-amd64, app:1.0, app:all)" in done
    assert set(digests(shop, server)) == {"1.0-arm64"}
    # without lists it is an image like any other
    shop.run("registry", "rm", server, "app:1.0-arm64")


def test_gc_of_images_that_lost_their_tag_spares_those_for_several_platforms(shop, one):
    server, client = one
    host = shop.hosts[server]
    shop.run("registry", "deploy", "--plain", server, "--use-on", client)
    place = f"{host.ip}:5000"
    for size in (5_000_000, 1000):
        push(shop, client, f"{place}/app:latest", of=fresh_image(shop, client, "fresh", size))
        shop.docker(client, "rmi", "fresh")
    assert "freed 0.0 MB" in shop.run("registry", "gc", server).stdout
    text = put_list(place, "both", {"arm64": digests(shop, server)["latest"]})
    refused = shop.run("registry", "gc", "--untagged", server, check=False)
    said = "images for several platforms would be broken: app"
    assert refused.returncode == 1 and said in refused.stderr
    shop.run("registry", "rm", server, "app:both")
    # one that is pushed at the last moment, as the registry ends
    host.run(
        "cat > /root/push.py",
        stdin="import urllib.request as r\n"
        f"r.urlopen(r.Request('http://127.0.0.1:5000/v2/app/manifests/both', {text!r}, {{'Content-Type': '{LIST}'}}, method='PUT'))\n",
    )
    folder = "/run/systemd/system/machinectl-registry-5000.service.d"
    host.run(
        f"mkdir -p {folder} && cat > {folder}/push.conf",
        stdin="[Service]\nExecStop=+/usr/bin/python3 /root/push.py\n",
    )
    host.run("systemctl daemon-reload")
    refused = shop.run("registry", "gc", "--untagged", server, check=False)
    host.run(f"rm -r {folder} /root/push.py && systemctl daemon-reload")
    assert refused.returncode == 1 and said in refused.stderr, refused.stderr
    assert "Running" in shop.run("registry", "ls").stdout
    assert set(digests(shop, server)) == {"latest", "both"}
    shop.run("registry", "rm", server, "app:both")
    freed = shop.run("registry", "gc", "--untagged", server).stdout
    assert float(freed.removeprefix("freed ").partition(" ")[0]) > 4
    assert pull(shop, client, f"{place}/app:latest") == f"{place}/app:latest"
    shop.docker(client, "rmi", f"{place}/app:latest")


def test_a_taken_port_is_one_clear_error_before_anything_changes(shop, one, new_controller):
    server, _ = one
    host = shop.hosts[server]
    host.run("systemd-run -u squatter python3 -m http.server 5000")
    until(lambda: host.run("ss -ltn | grep ':5000 '", check=False).stdout)
    before = host.run("ls -R /etc/machinectl-registry /var/lib/machinectl-registry", check=False).stdout
    said = shop.run("registry", "deploy", "--plain", server, check=False)
    assert said.returncode == 1
    assert "port 5000 is taken by python3 (pid " in said.stderr and "squatter.service" in said.stderr
    assert (
        host.run("ls -R /etc/machinectl-registry /var/lib/machinectl-registry", check=False).stdout == before
    )
    assert shop.run("registry", "ls").stdout.splitlines()[1:] == []
    host.run("systemctl stop squatter", check=False)
    shop.run("registry", "deploy", "--plain", server)
    # another store's is taken, too
    other = new_controller()
    other.create(host, "--share")
    refused = other.run("registry", "deploy", "--tls", server, check=False)
    assert refused.returncode == 1 and "was deployed from another store" in refused.stderr
    assert other.run("registry", "ls").stdout.splitlines()[1:] == []
    assert CALM in shop.run("registry", "deploy", "--plain", server).stderr
    nested = shop.run(
        "registry",
        "deploy",
        "--port",
        "5001",
        "--storage",
        "/var/lib/machinectl-registry/5000/x",
        server,
        check=False,
    )
    assert nested.returncode == 1 and "is the storage of the registry on port 5000" in nested.stderr
    system = shop.run("registry", "deploy", "--port", "5001", "--storage", "/etc/images", server, check=False)
    assert system.returncode == 1 and "below /etc" in system.stderr


def test_a_folder_with_other_peoples_files_stays_theirs(shop, one):
    server, _ = one
    host = shop.hosts[server]
    host.run("mkdir -p /mnt/data/docker/volumes /mnt/data/db && echo rows > /mnt/data/db/table")
    for place, why in (
        ("/mnt/data", "/mnt/data/d"),
        ("/var/lib", "belongs to the host's system"),
        ("/var/lib/docker", "belongs to the host's system"),
        ("/var/lib/docker/images", "where Docker has its own data"),
    ):
        refused = shop.run("registry", "deploy", "--plain", "--storage", place, server, check=False)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
    owners = host.run("stat -c %U /mnt/data /mnt/data/* /mnt/data/*/* /var/lib /var/lib/docker").stdout
    assert set(owners.split()) == {"root"}
    assert not host.run("ls /etc/machinectl-registry/5000", check=False).stdout
    # a folder of its own; what others put there later stays through an undeploy
    place = "/mnt/data/images"
    deploy = ("registry", "deploy", "--plain", "--storage", place, server)
    shop.run(*deploy)
    push(shop, server, "127.0.0.1:5000/box:1")
    host.run(f"mkdir -p {place}/docker/volumes && touch {place}/notes")
    shop.run("registry", "undeploy", server)
    host.run(f"rm -r {place}/docker/volumes {place}/notes && chown -R root: {place}")
    shop.run(*deploy)
    assert CALM in shop.run(*deploy).stderr
    push(shop, server, "127.0.0.1:5000/box:2")
    host.run(f"mkdir -p {place}/docker/volumes && touch {place}/notes")
    shop.run("registry", "undeploy", "--purge-storage", server)
    assert host.run(f"cd {place} && find . | sort").stdout.split() == [
        ".",
        "./docker",
        "./docker/volumes",
        "./notes",
    ]
    host.run("rm -r /mnt/data")


def test_a_deploy_killed_after_any_step_is_finished_by_the_next(lab, shop, one):
    server, _ = one
    host = shop.hosts[server]
    deploy = ("registry", "deploy", "--port", "5443", "--storage", "/srv/images/5443", server)
    steps = [
        line.removeprefix(f"{server}: ").rpartition(" (")[0]
        for line in shop.run(*deploy).stderr.splitlines()
        if line.startswith((f"{server}: + ", f"{server}: ~ ", f"{server}: ! "))
    ]
    assert len(steps) >= 6
    for step in steps[2::4]:
        shop.run("registry", "undeploy", "--purge-storage", f"{server}:5443")
        run = shop.start(*deploy)
        for line in run.stderr:
            if line.startswith(f"{server}: {step} ("):
                break
        os.kill(run.pid, signal.SIGKILL)
        host.run("pkill -9 -f 'machinectl/agent/.* [r]egistry'", check=False)
        run.communicate()
        shop.run(*deploy)
        assert CALM in shop.run(*deploy).stderr, step
    lab.power_cut(server)
    lab.start(server)
    until(lambda: "Running" in shop.run("registry", "ls", check=False).stdout, 90)


def test_a_container_where_its_image_is_on_the_machine(shop, one):
    server, client = one
    host = shop.hosts[server]
    missing = shop.run("registry", "deploy", "--plain", "--via", "container", server, check=False)
    assert missing.returncode == 1 and "the image registry:2 is not on this machine" in missing.stderr
    shop.run("registry", "deploy", "--plain", server)
    push(shop, server, "127.0.0.1:5000/box:1")
    host.run(
        "set -e; root=/root/registry-image; rm -rf $root; mkdir -p $root/bin $root/etc $root/tmp; "
        "cp /usr/bin/docker-registry $root/bin/registry; "
        "for one in $(ldd /usr/bin/docker-registry | grep -o '/[^ ]*'); do mkdir -p $root$(dirname $one); cp -L $one $root$one; done; "
        "tar -C $root -c . | docker import -c 'ENTRYPOINT [\"/bin/registry\"]' - registry:2"
    )
    # what runs stays as it is
    assert CALM in shop.run("registry", "deploy", "--plain", server).stderr
    shop.run("registry", "deploy", "--via", "container", server, "--use-on", client)
    assert "registry:2" in host.run("docker ps --format '{{.Image}} {{.Names}}'").stdout
    assert CALM in shop.run("registry", "deploy", "--plain", server).stderr
    place = f"{host.ip}:5000"
    assert shop.docker(client, "run", "--rm", f"{place}/box:1", "echo", "same storage") == "same storage"
    push(shop, client, f"{place}/box:2")
    assert "freed" in shop.run("registry", "gc", server).stdout
    assert shop.run("registry", "tags", server, "box").stdout.split()[2:] == ["box", "1", "box", "2"]
    host.run("docker kill machinectl-registry-5000")
    until(lambda: "Running" in shop.run("registry", "ls", check=False).stdout, 90)
    # a collector that outlived its docker client
    folder = "/etc/machinectl-registry/5000"
    orphan = f"docker run -d --name machinectl-registry-5000-gc -v {folder}:{folder}:ro registry:2 serve {folder}/config.yml"
    host.run(orphan)
    host.run("systemctl restart machinectl-registry-5000")
    until(lambda: "Running" in shop.run("registry", "ls", check=False).stdout, 90)
    assert host.run("docker ps -a --format '{{.Names}}'").stdout == "machinectl-registry-5000\n"
    host.run(orphan)
    shop.run("registry", "undeploy", server)
    assert host.run("docker ps -aq").stdout == ""
    host.run("docker rmi registry:2")
    shop.docker(client, "rmi", f"{place}/box:1", check=False)


def test_an_inventory_brings_a_registrys_ca_and_takes_it_back(shop, one, tmp_path):
    server, client = one
    host, user = shop.hosts[server], shop.hosts[client]
    place = f"{host.ip}:5443"
    file = f"/etc/docker/certs.d/{place}/ca.crt"
    shop.run("registry", "deploy", "--port", "5443", server)
    repository = Repository(tmp_path / "inventory")
    repository.hosts(shop.hosts.values())

    def apply(settings, command="apply", **more):
        repository.write(f"host_vars/{client}.yml", f"machinectl: {settings}\n")
        words = ("--yes",) if command == "apply" else ()
        return shop.run(command, "-i", repository.folder, client, *words, **more)

    user.run(f"mkdir -p {file.rpartition('/')[0]} && echo mine > {file}")
    repository.write("files/broken.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for wrong, why in (
        ("broken.pem", "holds no certificate"),
        ("nowhere.pem", "there is no file nowhere.pem"),
        ("stranger", "neither a file nor a machine"),
    ):
        refused = apply({"labels": ["a=b"], "registry-cas": {place: wrong}}, check=False)
        assert refused.returncode == 2 and why in refused.stderr, refused.stderr
    assert user.run(f"cat {file}").stdout == "mine\n"
    dead = f"http://{host.ip}:5009"
    said = apply({"registry-cas": {place: server}, "registry-mirrors": [dead]}).stderr
    assert f"warning: registry-mirrors {dead}: connection refused; dockerd goes on to" in said
    assert user.run(f"cat {file}").stdout == (shop.store / "certs/ca.pem").read_text()
    push(shop, client, f"{place}/box:1")
    assert (
        " 0 to change" in apply({"registry-cas": {place: server}, "registry-mirrors": [dead]}, "plan").stdout
    )
    repository.write("files/ca.pem", (shop.store / "certs/ca.pem").read_text())
    assert (
        " 0 to change"
        in apply({"registry-cas": {place: "ca.pem"}, "registry-mirrors": [dead]}, "plan").stdout
    )
    apply({})
    assert user.run(f"cat {file}").stdout == "mine\n"
    user.run(f"rm -r {file.rpartition('/')[0]}")
