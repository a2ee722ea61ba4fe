"""scp's words: places, machines, groups, rates; and what its progress shows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from machinectl.actions.copy import names_of
from machinectl.actions.copy_words import Spot, group_sources, one_machine, parse_rate, parse_spot
from machinectl.cli.copy_progress import CopyReport, copy_reports, make_bars, shorten
from machinectl.errors import MachineNotFound, UsageError

NAMES = ["db1", "web1", "web2"]


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("file", ("", "", "file")),
        ("/a:b", ("", "", "/a:b")),
        ("./a:b", ("", "", "./a:b")),
        ("a/b:c", ("", "", "a/b:c")),
        ("web1:", ("web1", "", "")),
        ("web1:/etc/x:y", ("web1", "", "/etc/x:y")),
        ("web1:-rf", ("web1", "", "-rf")),
        ("root@web1:x", ("web1", "root", "x")),
        ("DOM\\user@corp@web1:x", ("web1", "DOM\\user@corp", "x")),
        ("web*:/x", ("web*", "", "/x")),
        ("web[12]:/x", ("web[12]", "", "/x")),
        ("localhost:/x", ("", "", "/x")),
        ("a\nb:c d", ("a\nb", "", "c d")),
        (":x", ("", "", ":x")),
    ],
)
def test_places(text, spot):
    assert parse_spot(text, NAMES) == Spot(*spot)


def test_a_machine_may_be_called_localhost():
    assert parse_spot("localhost:x", ["localhost"]) == Spot("localhost", "", "x")


@pytest.mark.parametrize("text", ["@web1:x", "root@:x"])
def test_half_a_place(text):
    with pytest.raises(UsageError):
        parse_spot(text, NAMES)


def test_a_source_is_on_one_machine():
    assert one_machine(Spot("db*", "u", "x"), NAMES) == Spot("db1", "u", "x")
    assert one_machine(Spot("", "", "x"), NAMES) == Spot("", "", "x")
    with pytest.raises(UsageError, match="web\\* means 2 machines"):
        one_machine(Spot("web*", "", "x"), NAMES)
    with pytest.raises(MachineNotFound):
        one_machine(Spot("mail", "", "x"), NAMES)


def test_sources_of_one_place_go_together():
    spots = [Spot("web1", "", "a"), Spot("", "", "b"), Spot("web1", "", "c"), Spot("web1", "root", "d")]
    assert group_sources(spots) == [
        (Spot("web1", "", ""), ["a", "c"]),
        (Spot("", "", ""), ["b"]),
        (Spot("web1", "root", ""), ["d"]),
    ]


def test_what_roots_may_be_called():
    assert names_of(["/etc/hosts", "logs/*.log", "dir/", "", "dir/.", "a b"]) == [
        "hosts",
        "*.log",
        "dir",
        "",
        "",
        "a b",
    ]
    assert names_of(["x", ".."]) is None
    assert names_of(["~ops"]) is None
    assert names_of(["~ops/x"]) == ["x"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100", 100),
        ("500K", 512_000),
        ("1.5M", 1_572_864),
        ("2MiB/s", 2 << 20),
        ("1G", 1 << 30),
        ("10MB/s", 10 << 20),
    ],
)
def test_rates(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "fast", "-1", "1T", "0.1"])
def test_no_rates(text):
    with pytest.raises(UsageError):
        parse_rate(text)


def test_bars_show_the_file_and_all():
    out = io.StringIO()
    with make_bars(Console(file=out, force_terminal=True, width=120)) as progress:
        report = CopyReport("web1", progress)
        report.event({"event": "total", "files": 2, "bytes": 4_000_000})
        report.event(
            {
                "event": "at",
                "name": "x" * 60,
                "size": 3_000_000,
                "done": 1_500_000,
                "files": 1,
                "bytes": 1_500_000,
            }
        )
        progress.refresh()
        assert "web1" in out.getvalue()
        assert "…" + "x" * 39 in out.getvalue()
        assert "1.5/3.0 MB" in out.getvalue()
        assert "1.5/4.0 MB" in out.getvalue()
        report.event({"event": "log", "text": "fifo: left out\x1b[2J"})
        assert "web1: fifo: left out?[2J" in out.getvalue()
        report.finished()
        progress.refresh()
        assert "4.0/4.0 MB" not in out.getvalue()  # it may have failed
        report.event({"event": "whole"})
        progress.refresh()
        assert "4.0/4.0 MB" in out.getvalue()


def test_without_a_terminal_only_words_are_said(capsys):
    with copy_reports(quiet=False) as reporter:
        report = reporter("web1")
        report.event({"event": "at", "name": "x", "size": 1, "done": 1, "files": 1, "bytes": 1})
        report.event({"event": "log", "text": "left out"})
    assert capsys.readouterr().err == "web1: left out\n"
    with copy_reports(quiet=True) as reporter:
        reporter("web1").event({"event": "log", "text": "left out"})
    assert capsys.readouterr().err == ""


def test_names_are_shortened_at_their_front():
    assert shorten("a" * 40) == "a" * 40
    assert shorten("a" * 50 + "end").endswith("aend")
    assert len(shorten("a" * 50)) == 40
