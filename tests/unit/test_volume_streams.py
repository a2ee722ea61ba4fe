"""A backup's stream: what is counted in it, how it is framed, compressed and found to be damaged."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.problems import Problem
from machinectl_agent.volumes import receive
from machinectl_agent.volumes.compress import Expander, Squeezer, kind_of
from machinectl_agent.volumes.frame import (
    TRAILER_SIZE,
    parse_head,
    parse_trailer,
    render_head,
    render_trailer,
)
from machinectl_agent.volumes.receive import unpack
from machinectl_agent.volumes.stored import store_stream
from machinectl_agent.volumes.tarball import Digest, Meter, NotTar, pax_records
from machinectl_agent.volumes.tree import digest_tree, extracting, write_tree

needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed here")


@pytest.fixture
def tree(tmp_path):
    """Names, links, holes, and a file larger than a piece."""
    folder = tmp_path / "tree"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "a\nb").write_text("x")
    (folder / ("n" * 200)).write_text("long")
    (folder / "-dash").write_text("")
    os.link(folder / "a\nb", folder / "sub folder/hard")
    (folder / "link").symlink_to("nowhere")
    (folder / "large").write_bytes(os.urandom(700_000))
    with (folder / "holes").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    return folder


def stream_of(folder):
    out = io.BytesIO()
    digest = write_tree(str(folder), out.write, live=False, beat=lambda: None, log=print)
    return out.getvalue(), digest


def backup_of(folder, kind="none"):
    out = io.BytesIO()
    squeezer = Squeezer(kind, out)
    head = render_head({"Name": "db", "Labels": {"a": "b"}})
    squeezer.write(head)
    digest = write_tree(str(folder), squeezer.write, live=False, beat=lambda: None, log=print)
    squeezer.write(render_trailer(digest, head))
    squeezer.close()
    return out.getvalue()


def restore(content, folder):
    folder.mkdir()
    head, arrived = unpack(io.BytesIO(content), print)
    with arrived:
        return head, arrived.extract(str(folder))


def test_the_same_tree_gives_the_same_stream(tree, tmp_path):
    content, digest = stream_of(tree)
    assert digest == digest_tree(str(tree))
    assert digest.entries == 9  # the folder itself among them
    assert digest.bytes < 1_000_000  # without the holes
    other = tmp_path / "other"
    other.mkdir()
    with extracting(str(other), print) as write:
        write(memoryview(content))
    assert digest_tree(str(other)) == digest
    assert (other / "a\nb").stat().st_nlink == 2
    assert (other / "holes").stat().st_blocks * 512 < 100_000
    (other / "-dash").chmod(0o600)
    assert digest_tree(str(other)).sha256 != digest.sha256


def test_a_file_that_changes_meanwhile_is_found(tree, monkeypatch):
    # more than all buffers on the way hold: tar is still at it when the first part has come
    (tree / "large").write_bytes(os.urandom(16_000_000))

    def write(part: Any) -> None:
        with (tree / "large").open("ab") as file:
            file.write(b"more" * 100_000)

    with pytest.raises(Problem) as raised:
        write_tree(str(tree), write, live=False, beat=lambda: None, log=print)
    assert raised.value.code == "volume-changed"
    told: list[str] = []
    write_tree(str(tree), write, live=True, beat=lambda: None, log=told.append)
    assert "changed" in told[0]


@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(1, 4096))
def test_members_are_counted_however_the_stream_is_cut(sizes, cut):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, size in enumerate(sizes):
            about = tarfile.TarInfo(f"{number}-é" + "x" * (number * 60))
            about.size = size
            about.pax_headers = {"comment": "c" * (number * 300)}
            tar.addfile(about, io.BytesIO(b"\1" * size))
    content, meter = out.getvalue(), Meter()
    for at in range(0, len(content), cut):
        meter.feed(content[at : at + cut])
    assert (meter.digest().entries, meter.digest().bytes) == (len(sizes), sum(sizes))


def test_what_can_be_synced_file_by_file_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("x")

    def few(target):
        head, arrived = unpack(io.BytesIO(backup_of(folder)), print)
        assert head["Name"] == "db"
        (tmp_path / target).mkdir()
        with arrived:
            seen = []
            arrived.extract(str(tmp_path / target), wrote=lambda _: seen.append(arrived.few))
        assert seen[-1] == arrived.few
        return arrived.few

    assert few("one")
    monkeypatch.setattr(receive, "FEW", 2)
    assert not few("two")
    monkeypatch.undo()
    (folder / "link").symlink_to("nowhere")
    assert not few("three")


def test_sizes_beyond_8_gib_are_in_the_pax_header():
    path, size = b"26 path=\nsize=1 in a name\n", b"20 size=12345678901\n"
    assert (len(path), len(size)) == (26, 20)
    assert pax_records(path + size) == [b"path=\nsize=1 in a name", b"size=12345678901"]
    for wrong in (b"x size=1\n", b"0 size=1\n", b"7size=1\n", b"99 size=1\n"):
        with pytest.raises(NotTar):
            pax_records(wrong)


def test_the_digest_is_the_trees_not_the_bytes():
    """Two tars that say the same in different ways: unused fields, records in another order."""

    def stream(records: list[bytes], device: bytes, mode: int) -> bytes:
        about = tarfile.TarInfo("a")
        about.size, about.mode = 3, mode
        header = bytearray(about.tobuf(tarfile.USTAR_FORMAT))
        header[329:345] = device
        body = b"".join(records)
        pax = tarfile.TarInfo("PaxHeaders/a")
        pax.type, pax.size = b"x", len(body)
        parts = (
            pax.tobuf(tarfile.USTAR_FORMAT),
            body.ljust(512, b"\0"),
            bytes(header),
            b"abc".ljust(512, b"\0"),
        )
        return b"".join(parts) + b"\0" * 1024

    def digest(*args: Any) -> str:
        meter = Meter()
        meter.feed(stream(*args))
        return meter.digest().sha256

    one, other = b"16 mtime=1234.5\n", b"25 SCHILY.xattr.user.a=b\n"
    assert digest([one, other], b"\0" * 16, 0o644) == digest([other, one], b"0000000\0" * 2, 0o644)
    assert digest([one], b"\0" * 16, 0o644) != digest([other], b"\0" * 16, 0o644)
    assert digest([one], b"\0" * 16, 0o644) != digest([one], b"\0" * 16, 0o600)
    with pytest.raises(NotTar):
        Meter().digest()


def test_frames():
    digest = Digest("0" * 64, 3, 10)
    head = render_head({"Name": "db", "Options": {"o": "ü"}})
    trailer = render_trailer(digest, head)
    assert len(trailer) == TRAILER_SIZE
    assert parse_head(head)["Options"] == {"o": "ü"}
    assert parse_trailer(trailer, head) == digest
    with pytest.raises(Problem):
        parse_trailer(trailer, render_head({"Name": "other"}))


@pytest.mark.parametrize("kind", ["none", "gzip", pytest.param("zstd", marks=needs_zstd)])
def test_there_and_back(tree, tmp_path, kind):
    content = backup_of(tree, kind)
    assert kind_of(content) == kind
    head, digest = restore(content, tmp_path / "back")
    assert head["Labels"] == {"a": "b"}
    assert digest_tree(str(tmp_path / "back")) == digest == digest_tree(str(tree))


@pytest.mark.parametrize("kind", ["none", "gzip", pytest.param("zstd", marks=needs_zstd)])
def test_every_damage_is_found(tree, tmp_path, kind):
    content = backup_of(tree, kind)
    places = [len(content) * number // 12 for number in range(12)] + [len(content) - 1]
    for number, place in enumerate(places):
        broken = bytearray(content)
        broken[place] ^= 0x55
        if not content[place - 512 : place + 512].strip(b"\0"):
            continue  # padding says nothing
        with pytest.raises(Problem) as raised:
            restore(bytes(broken), tmp_path / f"broken{number}")
        assert raised.value.code in ("backup-damaged", "no-backup", "tar-failed"), place
    for number, place in enumerate(places):
        with pytest.raises(Problem) as raised:
            restore(content[:place], tmp_path / f"cut{number}")
        assert raised.value.code in ("backup-damaged", "no-backup", "tar-failed"), place


def test_people_can_unpack_it_with_tar(tree, tmp_path):
    (tmp_path / "b.tar.gz").write_bytes(backup_of(tree, "gzip"))
    (tmp_path / "by hand").mkdir()
    subprocess.run(["tar", "-xzf", "../b.tar.gz"], cwd=tmp_path / "by hand", check=True)
    assert (tmp_path / "by hand/machinectl-volume.json").is_file()
    (tmp_path / "by hand/machinectl-volume.json").unlink()
    assert (tmp_path / "by hand/a\nb").read_text() == "x"


def test_what_comes_plain_is_compressed_where_it_is_stored(tree):
    plain, packed = backup_of(tree), backup_of(tree, "gzip")
    for content, wanted, kind in ((packed, "", "gzip"), (plain, "none", "none"), (packed, "zstd", "gzip")):
        out = io.BytesIO()
        assert store_stream(io.BytesIO(content), out, wanted)[1] == len(content)
        assert kind_of(out.getvalue()) == kind
    if shutil.which("zstd"):
        out = io.BytesIO()
        store_stream(io.BytesIO(plain), out, "")
        assert kind_of(out.getvalue()) == "zstd"


@needs_zstd
def test_a_sink_that_fails_ends_the_compressor():
    class Full(io.RawIOBase):
        def write(self, part: Any) -> int:
            raise OSError(28, "No space left on device")

    squeezer = Squeezer("zstd", Full())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        for _ in range(400):
            squeezer.write(os.urandom(100_000))
        squeezer.close()
    squeezer.abandon()


@needs_zstd
def test_a_source_that_breaks_off_is_what_is_told(tree):
    content = backup_of(tree, "zstd")

    class Broken(io.BytesIO):
        def read(self, size: Any = -1) -> bytes:
            part = super().read(size)
            if not part:
                raise Problem("stream-broken", "the stream broke off")
            return part

    expander = Expander(Broken(content[: len(content) // 2]))
    with pytest.raises(Problem) as raised:
        while expander.read():
            pass
    expander.close()
    assert raised.value.code == "stream-broken"
