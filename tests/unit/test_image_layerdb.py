"""Layers read from dockerd's folder, which is made here as dockerd makes it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from machinectl_agent.images.archive import read_archive
from machinectl_agent.images.chains import chain_ids
from machinectl_agent.images.layerdb import LayerDb, find_layers, send_layers
from machinectl_agent.problems import Problem

FILES = {"etc/motd": b"hello\n" * 300, "naïve\nname": b"n" * 5000, "empty": b"", "x" * 150: b"long"}


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer_tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def recipe(tar, files):
    """What tar-split keeps: everything but the files' contents."""
    lines, position = [], 0
    for name, content in files.items():
        if content:
            start = tar.index(content, position)
            lines.append({"type": 2, "payload": base64.b64encode(tar[position:start]).decode()})
            key = {"name_raw": base64.b64encode(name.encode()).decode()} if "\n" in name else {"name": name}
            lines.append({"type": 1, **key, "size": len(content), "payload": "AAAAAAAAAAA="})
            position = start + len(content)
        else:
            lines.append({"type": 1, "name": name, "payload": None})
    lines.append({"type": 2, "payload": base64.b64encode(tar[position:]).decode()})
    lines.append({"type": 2, "payload": ""})
    return gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode())


class Engine:
    """A root folder of dockerd with layers on top of each other and images of them."""

    def __init__(self, root, stack):
        self.root = root
        tars = [layer_tar(files) for files in stack]
        self.diffs = [digest(one) for one in tars]
        for number, chain in enumerate(chain_ids(self.diffs)):
            entry = root / "image/overlay2/layerdb/sha256" / chain[7:]
            entry.mkdir(parents=True)
            (entry / "cache-id").write_text(f"cache{number}")
            (entry / "tar-split.json.gz").write_bytes(recipe(tars[number], stack[number]))
            for name, content in stack[number].items():
                path = root / f"overlay2/cache{number}/diff" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        text = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": self.diffs}}).encode()
        content = root / "image/overlay2/imagedb/content/sha256"
        content.mkdir(parents=True)
        (content / digest(text)[7:]).write_bytes(text)
        self.image = {"Id": digest(text), "RootFS": {"Layers": self.diffs}}
        self.db = LayerDb(str(root))

    def send(self, *names, there=()):
        sink = io.BytesIO()
        result = send_layers(self.db, [(one, self.image) for one in names], set(there), sink)
        assert result["bytes"] == len(sink.getvalue())
        return result, sink.getvalue()


@pytest.fixture
def engine(tmp_path):
    return Engine(tmp_path, [FILES, {"top": b"t" * 10}])


def test_the_tars_are_those_that_were_loaded(engine):
    result, content = engine.send("app:1", "app:same", "")
    assert (result["layers"], result["spared"]) == (2, 0)
    found = read_archive(io.BytesIO(content), verify=True)  # compares every layer with its diff id
    assert [(one.id, one.tags, one.layers) for one in found.images] == [
        (engine.image["Id"], ("app:1", "app:same"), tuple(engine.diffs))
    ]


def test_only_what_is_missing_is_read(engine):
    (engine.root / "overlay2/cache0/diff/etc/motd").unlink()
    result, content = engine.send("app:1", there=chain_ids(engine.diffs)[:1])
    assert (result["layers"], result["spared"]) == (1, 1)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == [
            f"blobs/sha256/{one[7:]}" for one in (engine.diffs[1], engine.image["Id"])
        ] + ["manifest.json"]


def missing(diff):
    (diff / "etc/motd").unlink()


def shorter(diff):
    (diff / "etc/motd").write_bytes(b"short")


def a_link_instead(diff):
    (diff / "etc/motd").rename(diff / "elsewhere")
    (diff / "etc/motd").symlink_to(diff / "elsewhere")


def a_folder_that_is_a_link(diff):
    (diff / "etc").rename(diff / "real")
    (diff / "etc").symlink_to("real")


def a_pipe(diff):
    (diff / "etc/motd").unlink()
    os.mkfifo(diff / "etc/motd")


def torn(diff):
    for one in diff.parents[2].glob("image/overlay2/layerdb/sha256/*/tar-split.json.gz"):
        one.write_bytes(one.read_bytes()[:-30])


def no_recipe(diff):
    for one in diff.parents[2].glob("image/overlay2/layerdb/sha256/*/tar-split.json.gz"):
        one.unlink()


def leading_out(diff):
    for one in diff.parents[2].glob("image/overlay2/layerdb/sha256/*/tar-split.json.gz"):
        text = gzip.decompress(one.read_bytes()).replace(b'"etc/motd"', b'"../../../secret"')
        one.write_bytes(gzip.compress(text))
    (diff.parents[2] / "secret").write_bytes(FILES["etc/motd"])


@pytest.mark.parametrize(
    "change",
    [missing, shorter, a_link_instead, a_folder_that_is_a_link, a_pipe, torn, no_recipe, leading_out],
)
def test_what_is_not_as_expected_is_said(engine, change):
    change(engine.root / "overlay2/cache0/diff")
    with pytest.raises(Problem) as caught:
        engine.send("app:1")
    assert caught.value.code == "layers-unreadable"


def test_whose_folder_is_read(tmp_path):
    info = {
        "Driver": "overlay2",
        "DockerRootDir": str(tmp_path),
        "DriverStatus": [["Backing Filesystem", "extfs"]],
    }
    assert find_layers(info) is not None
    assert find_layers({**info, "Driver": "btrfs"}) is None
    assert find_layers({**info, "DockerRootDir": str(tmp_path / "gone")}) is None
    assert find_layers({**info, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}) is None
