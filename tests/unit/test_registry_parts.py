"""Registries: what is decided without a host."""

from __future__ import annotations

import argparse
import io
import ssl

import bcrypt
import pytest

from machinectl.actions.registry.access import parse_place
from machinectl.actions.registry.contents import parse_reference
from machinectl.actions.registry.deploy import wanted, with_password
from machinectl.cli.registry_flags import add_deploy_flags, secret_reader
from machinectl.errors import UsageError
from machinectl.store.registries import Registry
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.registry import places, probe, storage
from machinectl_agent.registry.listeners import inodes
from machinectl_agent.registry.spec import RegistrySpec
from machinectl_agent.registry.unit import Way, mark_in, render_units, via_in
from machinectl_agent.spec import SpecError

PACKAGE = Way("package", "/usr/bin/docker-registry")
CONTAINER = Way("container", docker="/usr/bin/docker", image="registry:2", account="990:990")


def units(spec, way):
    texts = render_units(spec, way, places.files(spec))
    return texts["/etc/systemd/system/machinectl-registry-5000.service"], texts[
        "/etc/systemd/system/machinectl-registry-5000-gc.service"
    ]


def test_both_ways_have_one_configuration_and_tell_which_they_are():
    spec = RegistrySpec(5000, storage="/srv/images", cert="C", key="K", htpasswd="ops:x\n")
    served, collected = units(spec, PACKAGE)
    assert "ExecStart=/usr/bin/docker-registry serve /etc/machinectl-registry/5000/config.yml\n" in served
    assert "ExecStopPost=+/bin/systemctl --no-block start machinectl-registry-5000.service" in collected
    assert via_in(served) == "package"
    contained, _ = units(spec, CONTAINER)
    assert "--volume /srv/images:/srv/images --publish 5000:5000 registry:2 serve" in contained
    assert "--user 990:990" in contained and "User=" not in contained
    # a collector that outlived its docker client never runs beside the registry
    assert "ExecStartPre=-/usr/bin/docker rm -f machinectl-registry-5000-gc\n" in contained
    assert "docker" not in served.replace("docker-registry", "")
    assert via_in(contained) == "container" and via_in("") == ""


def test_everything_that_takes_a_restart_is_in_the_mark():
    spec = RegistrySpec(5000, cert="C", key="K")
    marks = {
        mark_in(units(one, PACKAGE)[0])
        for one in (
            spec,
            RegistrySpec(5000, cert="C", key="L"),
            RegistrySpec(5000, cert="D", key="K"),
            RegistrySpec(5000, cert="C", key="K", htpasswd="ops:x"),
            RegistrySpec(5000, cert="C", key="K", storage="/srv/images"),
            RegistrySpec(5000),
        )
    }
    assert len(marks) == 6 and "" not in marks
    assert mark_in(units(spec, PACKAGE)[0]) == mark_in(units(spec, PACKAGE)[0])


def test_the_collectors_check_is_asked_once_the_registry_is_stopped():
    spec = RegistrySpec(5000, storage="/srv/images")
    lines = units(spec, PACKAGE)[1].splitlines()
    check = next(
        one for one in lines if one.endswith("-I /opt/machinectl/registry/platforms.py /srv/images $OPTIONS")
    )
    assert lines.index(check) < next(
        number for number, one in enumerate(lines) if one.startswith("ExecStart=")
    )
    files = {**places.files(spec), places.CHECKER: "one"}
    more = {**files, places.CHECKER: "another"}
    assert render_units(spec, PACKAGE, files) == render_units(spec, PACKAGE, more)


def test_a_mirror_deletes_nothing_and_has_a_configuration_without_its_upstream():
    spec = RegistrySpec(5001, upstream="https://hub", upstream_user="u", upstream_password="p", ca="CA")
    files = places.files(spec)
    assert '"password": "p"' in files[places.config_file(5001)]
    assert "proxy" not in files[places.offline_file(5001)] and '"p"' not in files[places.offline_file(5001)]
    assert '"readonly"' in files[places.offline_file(5001)]
    text = render_units(spec, PACKAGE, files)["/etc/systemd/system/machinectl-registry-5001.service"]
    assert "serve.py https://hub " in text and "p@" not in text


def test_signs_of_systemd_in_an_url_mean_themselves():
    spec = RegistrySpec(5000, upstream="https://hub/a%20b$c")
    assert "a%%20b$$c" in units(spec, PACKAGE)[0]


@pytest.mark.parametrize(
    "document", [{"port": 0}, {"port": 70000}, {"port": 1, "via": "magic"}, {"port": 1, "new": 1}, {}]
)
def test_a_spec_that_can_not_be_is_refused(document):
    with pytest.raises(SpecError):
        RegistrySpec.from_json(document)


def folder_of(tmp_path, *names, uid=None):
    """What is seen of /mnt/data with these names in it; `uid`: of the registry's user."""
    place = tmp_path / "mnt/data"
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).mkdir(parents=True)
    return storage.look(Host(str(tmp_path)), "/mnt/data", "" if uid is None else f"{uid}:{uid}")


def test_a_folder_with_other_things_in_it_is_nobodys_to_take(tmp_path):
    storage.check("/mnt/data", folder_of(tmp_path), ())
    images = folder_of(tmp_path, "docker/registry/v2", "scheduler-state.json", "lost+found")
    storage.check("/mnt/data", images, ())
    assert (images.real, images.owned, images.has_images) == ("/mnt/data", False, True)
    for name, said in (("docker/volumes", "docker/volumes"), ("database", "database")):
        foreign = folder_of(tmp_path, name)
        with pytest.raises(Problem) as caught:
            storage.check("/mnt/data", foreign, ())
        assert caught.value.why.startswith(f"/mnt/data/{said} is in it")
        (tmp_path / "mnt/data" / name).rmdir()
    # one that is the registry's already may have more in it
    ours = folder_of(tmp_path, "database", uid=(tmp_path / "mnt").stat().st_uid)
    assert ours.owned
    storage.check("/mnt/data", ours, ())
    (tmp_path / "mnt/data/database").rmdir()
    (tmp_path / "mnt/data/docker/registry/v2").rmdir()
    (tmp_path / "mnt/data/docker/registry").rmdir()
    (tmp_path / "mnt/data/docker").rmdir()
    (tmp_path / "mnt/data/docker").symlink_to("/var/lib/docker")
    assert folder_of(tmp_path).foreign == "/mnt/data/docker"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/var/lib", "/var/lib belongs to the host's system"),
        ("/var/lib/docker", "/var/lib/docker belongs to the host's system"),
        ("/etc/images", "it is below /etc"),
        ("/mnt/data", "/mnt/data/docker, where Docker has its own data, is in it"),
        ("/mnt/data/docker/images", "/mnt/data/docker, where Docker has its own data, contains it"),
        ("/srv/images", ""),
        ("/mnt/data/dockers", ""),
    ],
)
def test_no_images_in_the_systems_folders_nor_with_dockers_data(place, why):
    # by its own name, and by a link to it
    for named in (place, "/srv/link"):
        if not why:
            storage.check(named, storage.Folder(place), ("/mnt/data/docker",))
            continue
        with pytest.raises(Problem) as caught:
            storage.check(named, storage.Folder(place, owned=True), ("/mnt/data/docker",))
        assert caught.value.why == why


def test_a_purge_takes_what_a_registry_makes(tmp_path):
    folder_of(tmp_path, "docker/registry/v2", "docker/volumes/db", "database")
    storage.purge(Host(str(tmp_path)), "/mnt/data")
    assert sorted(one.name for one in (tmp_path / "mnt/data").rglob("*")) == [
        "database", "db", "docker", "volumes",
    ]  # fmt: skip
    assert not folder_of(tmp_path).has_images


def test_who_listens_is_read_from_the_kernels_table():
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
"""
    assert inodes(table, 5000) == ["4711"]
    assert inodes(table, 22) == ["4713"]
    assert inodes(table, 80) == []


REGISTRY = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASIC = {**REGISTRY, "Www-Authenticate": 'Basic realm="x"'}
TOKEN = {"WWW-Authenticate": 'Bearer realm="https://auth"'}


@pytest.mark.parametrize(
    ("status", "headers", "content", "mirror", "said"),
    [
        (200, REGISTRY, b"{}", True, ""),
        (200, {}, b"{}", True, ""),
        (200, {}, b"<html>", True, "it is no registry (HTTP status 200 for /v2/)"),
        (404, {}, b"", True, "it is no registry (HTTP status 404 for /v2/)"),
        (401, TOKEN, b"", True, ""),
        (401, BASIC, b"", True, "it wants a login, and dockerd has none for a mirror"),
        (401, BASIC, b"", False, ""),
        (503, REGISTRY, b"", True, "it answers with HTTP status 503"),
        (
            400,
            {},
            b"Client sent an HTTP request to an HTTPS server.\n",
            True,
            "it speaks https: write https:// instead of http://",
        ),
    ],
)
def test_what_an_answer_says(status, headers, content, mirror, said):
    assert probe.judge(status, headers, content, mirror) == said


def test_what_a_failed_connection_says():
    unknown = ssl.SSLCertVerificationError("unable to get local issuer certificate")
    unknown.verify_code = 20
    assert "CA that this machine does not know" in probe.explain(unknown, "https://m")
    unknown.verify_code = 64
    assert probe.explain(unknown, "https://m") == "its certificate is for another name or address"
    assert probe.explain(ConnectionRefusedError(111, "x"), "http://m") == "connection refused"
    assert probe.explain(OSError(113, "No route to host"), "http://m") == "no route to host"
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    assert "write http://" in probe.explain(plain, "https://m")


def test_a_proxy_is_asked_as_dockerd_does():
    proxy = {"http": "http://p:3128", "https": "http://p:3128", "no": "10.0.0.0/8,.example.com,localhost"}
    assert probe._for_url("http://10.1.2.3:5000", proxy) == {}
    assert probe._for_url("https://m.example.com", proxy) == {}
    assert probe._for_url("https://127.0.0.1:5000", proxy) == {}
    assert probe._for_url("https://m.example.org", proxy) == {
        "http": "http://p:3128",
        "https": "http://p:3128",
    }


def test_a_password_that_is_the_same_keeps_its_hash():
    first = with_password(Registry(user="ops"), None, "secret")
    assert bcrypt.checkpw(b"secret", first.htpasswd.partition(":")[2].strip().encode())
    assert with_password(Registry(user="ops"), first, "secret").htpasswd == first.htpasswd
    assert with_password(Registry(user="ops"), first, "other").htpasswd != first.htpasswd
    assert with_password(Registry(user="dev"), first, "secret").htpasswd.startswith("dev:")
    for wrong in ("", "x" * 73, "a\0b"):
        with pytest.raises(UsageError):
            with_password(Registry(user="ops"), None, wrong)
    assert "secret" not in repr(first)


def test_wishes_add_up_and_those_that_can_not_be_are_refused():
    present = Registry(plain=True, storage="/srv/images")
    assert wanted(present, {"plain": False}).storage == "/srv/images"
    kept = Registry(user="ops", password="p", htpasswd="ops:x")
    assert wanted(kept, {"user": ""}).htpasswd == ""
    for wishes in (
        {"plain": True, "user": "ops"},
        {"user": "a:b"},
        {"upstream": "hub"},
        {"upstream": "https://me:secret@hub"},
        {"upstream_user": "me"},
    ):
        with pytest.raises(UsageError) as caught:
            wanted(None, wishes)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--password-file", "{file}"], "of the file"),
        (["--password-stdin"], "of stdin"),
        (["--user", "ops"], "of the environment"),
    ],
)
def test_where_a_password_comes_from(tmp_path, monkeypatch, words, expected):
    file = tmp_path / "password"
    file.write_text("of the file\nsecond line\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("of stdin\n"))
    monkeypatch.setenv("MACHINECTL_REGISTRY_PASSWORD", "of the environment")
    parser = argparse.ArgumentParser()
    add_deploy_flags(parser)
    args = parser.parse_args(["node1", *(one.format(file=file) for one in words)])
    assert secret_reader(args, "password")(None) == expected


def test_a_remembered_password_is_not_asked_for_again_and_another_users_is(monkeypatch):
    monkeypatch.delenv("MACHINECTL_REGISTRY_PASSWORD", raising=False)
    parser = argparse.ArgumentParser()
    add_deploy_flags(parser)
    present = Registry(user="ops", password="kept")
    for words in ([], ["--user", "ops"]):
        assert secret_reader(parser.parse_args(["node1", *words]), "password")(present) == "kept"
    monkeypatch.setattr("machinectl.cli.registry_flags._ask", lambda user, _: f"asked {user}")
    assert secret_reader(parser.parse_args(["node1", "--user", "dev"]), "password")(present) == "asked dev"


def test_places_and_references():
    assert parse_place("node1") == ("node1", 0)
    assert parse_place("node1:5001") == ("node1", 5001)
    assert parse_reference("a/b:1.2") == ("a/b", "1.2", "")
    assert parse_reference("a/b@sha256:00") == ("a/b", "", "sha256:00")
    for wrong in ("a/b", "host:5000/a", ":1", "a@md5:0", "a:"):
        with pytest.raises(UsageError):
            parse_reference(wrong)
