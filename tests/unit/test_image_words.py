"""image: what its words mean, and what it says of a pull that failed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from machinectl.actions.image.sending import batches
from machinectl.actions.image.sources import Image
from machinectl.cli.image import _save_words
from machinectl.errors import UsageError
from machinectl_agent.images.engine import is_containerd
from machinectl_agent.images.likeness import likeness, likeness_of
from machinectl_agent.images.names import full, split
from machinectl_agent.images.pull import Place, credentials, failure, places, registry_of
from machinectl_agent.registry.probe import Target


@pytest.mark.parametrize(
    ("name", "parts", "whole"),
    [
        ("app", ("app", ":", "latest"), "app:latest"),
        ("app:1", ("app", ":", "1"), "app:1"),
        ("host:5000/app", ("host:5000/app", ":", "latest"), "host:5000/app:latest"),
        ("docker.io/library/app:1", ("docker.io/library/app", ":", "1"), "app:1"),
        ("docker.io/me/app:1", ("docker.io/me/app", ":", "1"), "me/app:1"),
        ("app@sha256:ab", ("app", "@", "sha256:ab"), "app@sha256:ab"),
        ("sha256:ab", ("sha256", ":", "ab"), "sha256:ab"),
    ],
)
def test_names(name, parts, whole):
    assert (split(name), full(name)) == (parts, whole)


def test_what_is_saved_where():
    assert _save_words(["web1:app:1", "web1:h:5000/b", "f.tar"]) == (
        "web1",
        ["app:1", "h:5000/b"],
        Path("f.tar"),
    )
    assert _save_words([":app", "f.tar"]) == ("", ["app"], Path("f.tar"))


@pytest.mark.parametrize("words", [["f.tar"], ["app", "f.tar"], ["web1:", "f"], ["web1:a", "web2:a", "f"]])
def test_what_can_not_be_saved(words):
    with pytest.raises(UsageError):
        _save_words(words)


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("busybox", "registry-1.docker.io"),
        ("me/app:1", "registry-1.docker.io"),
        ("docker.io/library/busybox", "registry-1.docker.io"),
        ("localhost/app", "localhost"),
        ("10.0.0.1:5000/a/b", "10.0.0.1:5000"),
    ],
)
def test_whose_image_it_is(name, registry):
    assert registry_of(name) == registry


KNOWN = [
    Target("registry-mirrors", "http://m1:5000/", ("http://m1:5000",)),
    Target("registry-mirrors", "https://m2", ("https://m2",)),
    Target("insecure-registries", "h:5000", ("https://h:5000", "http://h:5000"), verify=False),
]


def test_where_dockerd_looks():
    hub = Target("", "registry-1.docker.io", ("https://registry-1.docker.io",))
    assert places(KNOWN, "busybox:1") == [
        Place(KNOWN[0], mirror=True),
        Place(KNOWN[1], mirror=True),
        Place(hub, mirror=False),
    ]
    assert places(KNOWN, "h:5000/app:1") == [Place(KNOWN[2], mirror=False)]
    assert places([], "h:6000/app:1") == [Place(Target("", "h:6000", ("https://h:6000",)), mirror=False)]


def test_the_first_that_is_to_blame_heads_the_error():
    first, second, hub = places(KNOWN, "busybox")
    found = failure(
        "busybox:latest",
        "dial tcp: lookup registry-1.docker.io: no such host",
        [(first, "it does not have it"), (second, ""), (hub, "connection refused")],
    )
    assert found.what == "busybox:latest can't be pulled: mirror http://m1:5000/: it does not have it"
    assert found.why.splitlines() == [
        "mirror https://m2: has it",
        "registry registry-1.docker.io: connection refused",
        "dockerd says: dial tcp: lookup registry-1.docker.io: no such host",
    ]
    nobody = failure("a:1", "toomanyrequests", [(hub, "")])
    assert nobody.what == "a:1 can't be pulled"
    assert nobody.why == "registry registry-1.docker.io: has it\ndockerd says: toomanyrequests"


def test_images_of_different_stores_are_compared_by_what_containers_notice():
    first: dict[str, object] = {"Cmd": ["a"], "Env": None, "Hostname": "", "Labels": {}}
    like = likeness("2026-11-21T14:58:11.173Z", first, ["x"])
    assert like == likeness("2026-11-21T14:58:11.17Z", {"Cmd": ["a"], "Env": []}, ["x"])
    told = {"Created": "2026-11-21T14:58:11Z", "Config": first, "RootFS": {"Layers": ["x"]}}
    assert likeness_of(told) == like
    for other in ({**told, "Config": {"Cmd": ["b"]}}, {**told, "Created": "2026-11-21T14:58:12Z"}, {}):
        assert likeness_of(other) != like


def test_small_images_go_together_large_ones_alone():
    images = [Image(f"i{size}", f"sha256:{size}", (), size) for size in (30, 60, 200, 20, 80, 1)]
    assert [[one.size for one in batch] for batch in batches(images, 100)] == [[30, 60], [200], [20, 80], [1]]
    assert list(batches([], 100)) == []


def test_the_login_of_the_machine_is_used():
    auth = base64.b64encode(b"ann:p:w").decode()
    logins = json.dumps({"auths": {"h:5000": {"auth": auth}, "https://index.docker.io/v1/": {"auth": auth}}})
    for name in ("h:5000/app:1", "busybox"):
        sent = json.loads(base64.urlsafe_b64decode(credentials(logins, name)))
        assert (sent["username"], sent["password"]) == ("ann", "p:w")
    assert credentials(logins, "other:5000/app") == ""
    assert credentials("", "busybox") == credentials("{torn", "busybox") == ""


def test_which_store_dockerd_has():
    assert is_containerd({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    assert not is_containerd({"DriverStatus": [["Backing Filesystem", "extfs"]]})
    assert not is_containerd({"DriverStatus": None})
