from __future__ import annotations

import pytest

from machinectl_agent import memo
from machinectl_agent.bundle import own_hash


class Work:
    def __init__(self, says="a result"):
        self.times, self.says = 0, says

    def __call__(self):
        self.times += 1
        return self.says


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "run/memo")


def test_the_same_is_worked_out_once(folder):
    work = Work()
    assert [memo.once_per_boot("unit", [("a", 1)], work, folder) for _ in range(3)] == ["a result"] * 3
    assert work.times == 1


def test_what_it_depends_on_and_the_kind_make_another(folder):
    work = Work()
    for kind, value in (("unit", 1), ("unit", 2), ("version", 1)):
        memo.once_per_boot(kind, value, work, folder)
    assert work.times == 3


def test_another_bundle_works_it_out_anew(folder, monkeypatch):
    work = Work()
    for bundle in ("0" * 32, "1" * 32):
        monkeypatch.setattr(memo, "own_hash", lambda bundle=bundle: bundle)
        memo.once_per_boot("unit", 1, work, folder)
    assert work.times == 2


def test_nothing_is_no_result_to_keep(folder):
    work = Work("")
    for _ in range(2):
        assert memo.once_per_boot("version", 1, work, folder) == ""
    assert work.times == 2


def test_a_file_that_is_no_text_and_a_folder_that_cannot_be_are_no_faults(folder, tmp_path):
    work = Work()
    memo.once_per_boot("unit", 1, work, folder)
    (kept,) = (tmp_path / "run/memo").iterdir()
    kept.write_bytes(b"\xff\xfe")
    assert memo.once_per_boot("unit", 1, work, folder) == "a result"
    assert kept.read_text() == "a result"
    (tmp_path / "file").write_text("")
    assert memo.once_per_boot("unit", 1, work, str(tmp_path / "file/memo")) == "a result"


def test_a_checkout_keeps_nothing():
    assert own_hash() == ""
    work = Work()
    for _ in range(2):
        memo.once_per_boot("unit", 1, work)
    assert work.times == 2
