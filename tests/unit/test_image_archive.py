"""Archives of images: what is in them, whether they are whole, and what of them travels. Both of Docker's formats and a
bare OCI layout, made here as dockerd 20.10 and 26 make them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machinectl.actions.image.packing import packed
from machinectl.errors import UsageError
from machinectl_agent.images.archive import read_archive, send_archive
from machinectl_agent.images.chains import chain_ids, spared
from machinectl_agent.images.compressed import unpacked
from machinectl_agent.images.saved import send_saved, which_chain
from machinectl_agent.images.tarfiles import BrokenArchive


def sha(content):
    return hashlib.sha256(content).hexdigest()


def pack(files, links=()):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return packed.getvalue()


def names(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getnames()


LAYERS = [bytes([number]) * (3000 * (number + 1)) for number in range(4)]
DIFFS = [f"sha256:{sha(one)}" for one in LAYERS]


def config(count, note=""):
    return json.dumps(
        {"architecture": "amd64", "note": note, "rootfs": {"type": "layers", "diff_ids": DIFFS[:count]}}
    ).encode()


def oci(images, *, bare=False, zipped=False):
    """`images`: tag → how many of the layers."""
    files, rows, manifests = {}, [], []
    for tag, count in images.items():
        text = config(count, tag)
        blobs = [gzip.compress(one, mtime=0) if zipped else one for one in LAYERS[:count]]
        for one in (text, *blobs):
            files[f"blobs/sha256/{sha(one)}"] = one
        rows.append(
            {
                "Config": f"blobs/sha256/{sha(text)}",
                "RepoTags": [tag],
                "Layers": [f"blobs/sha256/{sha(one)}" for one in blobs],
            }
        )
        manifest = json.dumps(
            {
                "config": {"digest": f"sha256:{sha(text)}"},
                "layers": [{"digest": f"sha256:{sha(one)}"} for one in blobs],
            }
        ).encode()
        files[f"blobs/sha256/{sha(manifest)}"] = manifest
        manifests.append(
            {
                "digest": f"sha256:{sha(manifest)}",
                "annotations": {"io.containerd.image.name": f"docker.io/library/{tag}"},
            }
        )
    files["index.json"] = json.dumps({"manifests": manifests}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    if not bare:
        files["manifest.json"] = json.dumps(rows).encode()
    return pack(files)


def old_folder(chain, parent):
    """As CreateID of docker's image/v1 names it, and the file `json` in it."""
    document = {"created": "1970-01-01T00:00:00Z", "container_config": {"Cmd": None, "Hostname": "<&>"}}
    if parent:
        document["parent"] = f"sha256:{parent}"
    ordered = dict(sorted({**document, "layer_id": chain}.items()))
    text = json.dumps(ordered, separators=(",", ":"))
    for sign, code in (("<", "003c"), (">", "003e"), ("&", "0026")):
        text = text.replace(sign, f"\\u{code}")
    folder = sha(text.encode())
    shown = {"id": folder, **document, "os": "linux"}
    if parent:
        shown["parent"] = parent
    return folder, json.dumps(shown).encode()


def old(images):
    files, rows = {}, []
    for tag, count in images.items():
        text = config(count, tag)
        files[f"{sha(text)}.json"] = text
        parent, paths = "", []
        for layer, chain in zip(LAYERS, chain_ids(DIFFS[:count]), strict=False):
            folder, shown = old_folder(chain, parent)
            files.update({f"{folder}/VERSION": b"1.0", f"{folder}/json": shown, f"{folder}/layer.tar": layer})
            paths.append(f"{folder}/layer.tar")
            parent = folder
        rows.append({"Config": f"{sha(text)}.json", "RepoTags": [tag], "Layers": paths})
    files["manifest.json"] = json.dumps(rows).encode()
    return pack(files)


FORMATS = pytest.mark.parametrize("archive", [oci, old], ids=["oci", "old"])


def test_chain_ids_are_those_of_the_specification():
    first, second = DIFFS[:2]
    assert chain_ids([]) == []
    assert chain_ids([first, second]) == [first, f"sha256:{sha(f'{first} {second}'.encode())}"]


def test_a_content_is_spared_only_where_every_layer_that_has_it_is_there():
    """The same bytes on top of another layer are another layer."""
    one, other = DIFFS[:2]
    assert spared([[one, other]], set(chain_ids([one, other]))) == {one, other}
    assert spared([[one, other], [other]], set(chain_ids([one, other]))) == {one}


@FORMATS
def test_what_is_in_it(archive):
    found = read_archive(io.BytesIO(archive({"app:1": 2, "app:2": 3})), verify=True)
    assert [(one.tags, one.layers, one.architecture) for one in found.images] == [
        (("app:1",), tuple(DIFFS[:2]), "amd64"),
        (("app:2",), tuple(DIFFS[:3]), "amd64"),
    ]
    assert found.images[0].id == f"sha256:{sha(config(2, 'app:1'))}"
    assert found.missing_bytes(found.images, set()) == sum(map(len, LAYERS[:3]))
    assert found.missing_bytes(found.images, set(chain_ids(DIFFS[:2]))) == len(LAYERS[2])


@FORMATS
def test_only_the_missing_layers_travel_from_a_file(archive):
    content = archive({"app:1": 2, "app:2": 4})
    found = read_archive(io.BytesIO(content))
    sent = io.BytesIO()
    there = set(chain_ids(DIFFS[:3]))
    result = send_archive(io.BytesIO(content), sent, found, found.images, there)
    assert result == {"bytes": len(sent.getvalue()), "layers": 1, "spared": 3}
    left = set(names(content)) - set(names(sent.getvalue()))
    assert left == set(found.images[1].files[:3])


@FORMATS
def test_only_the_missing_layers_travel_while_dockerd_writes(archive):
    content = archive({"app:1": 2, "app:2": 4})
    sent = io.BytesIO()
    result = send_saved(io.BytesIO(content), sent, [DIFFS[:2], DIFFS], set(chain_ids(DIFFS[:3])))
    assert result == {"bytes": len(sent.getvalue()), "layers": 1, "spared": 3}
    files = set(read_archive(io.BytesIO(content)).images[1].files)
    assert files & set(names(sent.getvalue())) == {read_archive(io.BytesIO(content)).images[1].files[3]}
    whole = io.BytesIO()
    assert send_saved(io.BytesIO(content), whole, [DIFFS[:2], DIFFS], set())["spared"] == 0
    assert (
        read_archive(io.BytesIO(whole.getvalue()), verify=True).images
        == read_archive(io.BytesIO(content)).images
    )


def test_a_folder_whose_name_proves_nothing_is_sent():
    chain = chain_ids(DIFFS)[2]
    folder, text = old_folder(chain, "ab" * 32)
    assert which_chain(folder, text, {chain_ids(DIFFS)[0]: "", chain: ""}) == chain
    assert which_chain("cd" * 32, text, {chain: ""}) is None
    assert which_chain(folder, b"[1]", {chain: ""}) is None
    assert which_chain(folder, b"no json", {chain: ""}) is None


@FORMATS
def test_one_image_of_several(archive):
    content = archive({"app:1": 2, "app:2": 4})
    found = read_archive(io.BytesIO(content))
    sent = io.BytesIO()
    send_archive(io.BytesIO(content), sent, found, found.images[:1], set())
    again = read_archive(io.BytesIO(sent.getvalue()), verify=True)
    assert [one.tags for one in again.images] == [("app:1",)]
    assert not set(found.images[1].files[2:]) & set(names(sent.getvalue()))


def test_a_bare_layout_gets_the_manifest_that_docker_reads():
    content = oci({"app:1": 2}, bare=True, zipped=True)
    found = read_archive(io.BytesIO(content), verify=True)
    assert found.images[0].tags == ("app:1",)
    sent = io.BytesIO()
    send_archive(io.BytesIO(content), sent, found, found.images, set())
    assert "manifest.json" in names(sent.getvalue())
    assert read_archive(io.BytesIO(sent.getvalue()), verify=True).images == found.images


def test_old_archives_have_a_layer_once_and_links_to_it():
    text = config(1)
    rows = [{"Config": f"{sha(text)}.json", "RepoTags": ["a:1"], "Layers": ["two/layer.tar"]}]
    files = {
        f"{sha(text)}.json": text,
        "one/layer.tar": LAYERS[0],
        "manifest.json": json.dumps(rows).encode(),
    }
    content = pack(files, [("two/layer.tar", "../one/layer.tar")])
    found = read_archive(io.BytesIO(content), verify=True)
    assert found.left_out(found.images, set()) == set()
    assert found.left_out(found.images, set(chain_ids(DIFFS[:1]))) == {"two/layer.tar"}
    del files["one/layer.tar"]
    with pytest.raises(BrokenArchive, match=r"two/layer\.tar is missing"):
        read_archive(io.BytesIO(pack(files, [("two/layer.tar", "../one/layer.tar")])))


def end_of_members(content):
    """Where a tar's end mark begins: members are whole blocks of 512 bytes."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return max(one.offset_data + -(-one.size // 512) * 512 for one in tar)


@FORMATS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_beginning_of_an_archive_passes_with_less_than_all(archive, data):
    """What is missing of one that passes is nothing that dockerd needs."""
    content = archive({"app:1": 3})
    cut = content[: data.draw(st.integers(0, len(content)))]
    sent = io.BytesIO()
    try:
        found = read_archive(io.BytesIO(cut), verify=True)
        send_saved(io.BytesIO(cut), sent, [DIFFS[:3]], set())
    except BrokenArchive:
        assert len(cut) < end_of_members(content)
        return
    assert found.images == read_archive(io.BytesIO(content)).images
    assert read_archive(io.BytesIO(sent.getvalue()), verify=True).images == found.images


@FORMATS
def test_a_changed_layer_and_a_changed_configuration_are_noticed(archive):
    content = bytearray(archive({"app:1": 3}))
    for wanted, words in ((LAYERS[2], "damaged"), (config(3, "app:1"), "damaged")):
        place = bytes(content).index(wanted) + len(wanted) // 2
        content[place] ^= 1
        with pytest.raises(BrokenArchive, match=words):
            read_archive(io.BytesIO(content), verify=True)
        content[place] ^= 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no tar file|empty"),
        (b"hello\n" * 500, "no tar file"),
        (pack({"etc/passwd": b"root"}), "no image's"),
        (pack({"manifest.json": b"[]"}), "holds no image"),
        (pack({"manifest.json": b"[7]"}), "makes no sense"),
        (pack({"manifest.json": b'[{"Config": "x", "Layers": []}]'}), "x is missing"),
        (pack({"index.json": b'{"manifests": [{"digest": "sha256:../../x"}]}'}), "no SHA-256 digest"),
        (pack({"index.json": b"{}"}), "makes no sense"),
    ],
)
def test_what_is_no_archive_of_images(content, words):
    with pytest.raises(BrokenArchive, match=words):
        read_archive(io.BytesIO(content))


@pytest.mark.parametrize("pack_it", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files(tmp_path, pack_it):
    path = tmp_path / "images"
    content = oci({"app:1": 2})
    path.write_bytes(pack_it(content))
    with unpacked(path) as stream:
        assert read_archive(stream, verify=True).images == read_archive(io.BytesIO(content)).images
    path.write_bytes(pack_it(content)[:-2000] if pack_it is bytes else pack_it(content)[:-20])
    with pytest.raises(BrokenArchive), unpacked(path) as stream:
        while stream.read(65536):
            pass
        read_archive(io.BytesIO(b""))


@pytest.mark.parametrize("name", ["i.tar", "i.tar.gz", "i.tgz", "i.tar.zst"])
def test_what_is_saved_is_compressed_as_its_name_says(tmp_path, name):
    if name.endswith("zst") and not shutil.which("zstd"):
        pytest.skip("needs zstd")
    path = tmp_path / name
    content = oci({"app:1": 3})
    with path.open("wb") as file, packed(path, file) as stream:
        for start in range(0, len(content), 1000):
            stream.write(content[start : start + 1000])
    assert (path.read_bytes() == content) == (name == "i.tar")
    assert path.stat().st_size < len(content) / 5 or name == "i.tar"
    with unpacked(path) as stream:
        assert read_archive(stream, verify=True).images[0].tags == ("app:1",)


def test_another_compression_is_not_written(tmp_path):
    with (
        (tmp_path / "f").open("wb") as file,
        pytest.raises(UsageError, match=r"no \.xz is written"),
        packed(tmp_path / "i.tar.xz", file),
    ):
        pass


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")
def test_compressed_by_zstd(tmp_path):
    path = tmp_path / "images"
    content = oci({"app:1": 2})
    packed = subprocess.run(["zstd", "-c"], input=content, capture_output=True, check=True).stdout
    path.write_bytes(packed)
    with unpacked(path) as stream:
        assert read_archive(stream, verify=True).images[0].tags == ("app:1",)
    path.write_bytes(packed[:-20])
    with pytest.raises(BrokenArchive, match="compression is damaged"), unpacked(path) as stream:
        read_archive(stream, verify=True)
