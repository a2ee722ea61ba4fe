"""The disk gets to work before a copy is whole, and what it says meanwhile is not lost."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from machinectl_agent.files.tree import consumer, durable, settling
from machinectl_agent.files.tree.settling import FEW, Settling
from tests.tree_copies import copy, look


@pytest.fixture
def folder(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def syncs(monkeypatch):
    """What each sync does, one after the other; nothing for those beyond the list. The names of who asked."""
    work: list[OSError] = []
    asked: list[str] = []

    def sync(_descriptor):
        asked.append(threading.current_thread().name)
        if work:
            raise work.pop(0)

    monkeypatch.setattr(settling, "sync_file_system", sync)
    return work, asked


def test_each_part_is_settled_while_more_comes(folder, syncs):
    one = Settling(folder, 100)
    one.wrote(99)
    assert syncs[1] == []
    one.wrote(1)
    one.settle()
    assert syncs[1] == ["settling", "MainThread"]
    one.finish()


def test_an_error_that_the_kernel_told_meanwhile_is_told_at_the_end(folder, syncs):
    syncs[0].append(OSError(errno.EIO, "Input/output error"))
    one = Settling(folder, 1)
    one.wrote(1)
    with pytest.raises(OSError, match="Input/output"):
        one.settle()
    one.finish()


def test_it_needs_nobody_elses_descriptor(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    one = Settling(descriptor, 1)
    os.close(descriptor)
    one.wrote(1)
    one.settle()
    one.finish()


def test_many_small_files_reach_the_disk_while_they_come(tmp_path, monkeypatch, syncs):
    monkeypatch.setattr(consumer, "PART", 10 * 4096)
    (tmp_path / "tree").mkdir()
    for number in range(FEW + 30):
        (tmp_path / f"tree/{number}").write_bytes(b"small")
    copy(tmp_path / "tree", tmp_path / "new", archive=True, recursive=True)
    assert look(tmp_path / "new") == look(tmp_path / "tree")
    assert len(syncs[1]) > 1
    assert syncs[1][0] == "settling"
    assert syncs[1][-1] == "MainThread"


def test_few_files_wait_for_nobody_else(tmp_path, monkeypatch, syncs):
    monkeypatch.setattr(consumer, "PART", 1)
    (tmp_path / "tree").mkdir()
    for number in range(FEW):
        (tmp_path / f"tree/{number}").write_bytes(b"small")
    copy(tmp_path / "tree", tmp_path / "new", recursive=True)
    assert syncs[1] == []


def test_few_are_started_and_synced_one_by_one(tmp_path, folder, syncs, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("nowhere")
    started: list[str] = []
    synced: list[str] = []
    monkeypatch.setattr(durable, "start_writing", lambda one, _offset, _size: started.append(name_of(one)))
    monkeypatch.setattr(os, "fsync", lambda one: synced.append(name_of(one)))
    one = Settling(folder, 1)
    one.wrote(1, few=True)
    one.settle(few=True)
    one.finish()
    assert started == synced == [str(tmp_path), str(tmp_path / "sub/file"), str(tmp_path / "sub")]
    assert syncs[1] == []


def name_of(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a string is wanted


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """`refused(error)`: the folder in it can't be opened."""
    (tmp_path / "sub").mkdir()
    original = os.open

    def refuse(error):
        def opened(path, *words, **more):
            if path == b"sub":
                raise error
            return original(path, *words, **more)

        monkeypatch.setattr(os, "open", opened)

    return refuse


def test_what_can_not_be_looked_at_is_not_taken_for_synced(folder, refused):
    refused(OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(OSError, match="Too many open files"):
        durable.sync_files(folder)


def test_what_a_mode_forbids_is_synced_with_the_whole(folder, refused, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(durable, "sync_file_system", asked.append)
    refused(PermissionError(errno.EACCES, "Permission denied"))
    durable.sync_files(folder)
    assert asked == [folder]
