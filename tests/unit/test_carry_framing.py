"""Frames: what was written is read, and an end is an end only with its mark."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.files.addresses import ipv4_addresses, ipv6_addresses
from machinectl_agent.files.framing import LARGEST, Sink, Source
from machinectl_agent.problems import Problem


class Pipe:
    """A transport in memory that gives at most `most` bytes at once."""

    def __init__(self, content: bytes = b"", most: int = 1 << 30) -> None:
        self.content = bytearray(content)
        self._most = most
        self._position = 0

    def send(self, view):
        self.content += view

    def receive_into(self, view):
        part = self.content[self._position :][: min(len(view), self._most)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)


@given(
    st.lists(st.integers(0, 3 * LARGEST // 2), max_size=5), st.booleans(), st.integers(1, 70_000), st.data()
)
def test_what_is_written_is_read(sizes, compress, at_once, data):
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    pipe = Pipe(most=max(at_once, 4096))
    sink = Sink(pipe, compress=compress)
    for part in parts:
        assert sink.write(part) == len(part)
    sink.finish()
    whole = b"".join(parts)
    assert sink.bytes == len(whole)
    source = Source(pipe)
    read = b""
    while part := source.read(data.draw(st.sampled_from([at_once, LARGEST]))):
        read += part
    assert read == whole
    assert (source.read(), source.bytes) == (b"", len(whole))


def test_a_tar_passes_through():
    pipe = Pipe(most=1000)
    sink: Any = Sink(pipe)
    with tarfile.open(fileobj=sink, mode="w|") as tar:
        member = tarfile.TarInfo("a")
        member.size = 300_000
        tar.addfile(member, io.BytesIO(b"x" * 300_000))
    sink.finish()
    source: Any = Source(pipe)
    with tarfile.open(fileobj=source, mode="r|") as tar:
        found = [(one.name, tar.extractfile(one)) for one in [tar.next()] if one]
        assert [(name, file and file.read()) for name, file in found] == [("a", b"x" * 300_000)]


def broken(content: bytes) -> str:
    with pytest.raises(Problem) as caught:
        Source(Pipe(content)).read()
    assert caught.value.code == "stream-broken"
    return caught.value.why


def test_an_end_without_its_mark_is_no_end():
    pipe = Pipe()
    sink = Sink(pipe)
    sink.write(b"x" * 200_000)
    sink.finish()
    whole = bytes(pipe.content)
    for cut in (0, 1, 3, 4, 5, len(whole) - 4, len(whole) - 1):
        assert broken(whole[:cut]) == "it ended too early"
    sink = Sink(pipe := Pipe())
    sink.write(b"x")
    sink.flush()
    sink.abandon()
    assert broken(bytes(pipe.content)) == "the other end gave up"


@pytest.mark.parametrize(
    "content",
    [
        struct.pack(">I", LARGEST + 1) + b"x" * 10,
        struct.pack(">I", 0x80000000 | 5) + b"hello",
        struct.pack(">I", 0x80000000) + b"hello",
        struct.pack(">I", 0xFFFFFFFF) + b"hello",
        b"SSH-2.0-hello\n",
    ],
)
def test_what_is_no_frame_is_refused(content):
    assert broken(content)


def test_a_compressed_frame_can_not_fill_the_memory():
    packed = zlib.compress(bytes(64 * LARGEST))
    assert broken(struct.pack(">I", 0x80000000 | len(packed)) + packed) == "what came is no frame"


class Clock:
    """Time that passes when somebody sleeps, or says so."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_a_rate_is_kept_after_a_stall(monkeypatch):
    """What waited, for a network or to read a file again, is no credit."""
    clock = Clock()
    monkeypatch.setattr("machinectl_agent.files.framing.time", clock)
    sink = Sink(Pipe(), limit_rate=LARGEST)

    def seconds(frames):
        began = clock.now
        for _ in range(frames):
            sink.write(b"x" * LARGEST)
        return clock.now - began

    assert seconds(5) == pytest.approx(5)
    clock.now += 0.5
    assert seconds(5) == pytest.approx(4.5)  # made up for: the rate is an average over a moment
    clock.now += 3600
    assert seconds(10) == pytest.approx(9, abs=1)
    assert seconds(10) == pytest.approx(10)


def test_own_addresses_are_read_from_proc():
    trie = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.2.0/24 2 0 2
        |-- 10.1.2.0
           /24 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.2.255
           /32 link BROADCAST
"""
    assert ipv4_addresses(trie) == ["10.1.2.3"]
    table = "20010db8000000000000000000000001 02 40 00 80     eth0\n"
    assert ipv6_addresses(table) == ["2001:db8::1"]
