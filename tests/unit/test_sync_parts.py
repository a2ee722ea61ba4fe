"""sync without rsync, of trees whose names fill more than a message."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from machinectl.actions.sync.by_agent import Origin, sync_by_agent
from machinectl.actions.sync.ends import HereEnd
from machinectl.actions.sync.orders import AT_ONCE, LARGEST, in_parts
from machinectl.remote.become import Become
from machinectl.remote.rsync import Wish
from machinectl.store.store import Store
from machinectl_agent import wire

LONG = "é" * 120
"""A name of 240 bytes, and of 720 in a message."""


class Wired(HereEnd):
    """This computer, asked as a machine is: by lines that have an end."""

    def __init__(self):
        self.asked = []
        self.longest = 0

    def ask(self, op, args, within):
        line = wire.encode(wire.request("files", {"op": op, **args}))
        self.asked.append((op, len(line)))
        done, events = super().ask(op, wire.decode(line)["args"], within)
        said = [wire.encode(one) for one in (*events, wire.done(done))]
        self.longest = max(self.longest, *map(len, said))
        *heard, last = map(wire.decode, said)
        return last["result"], list(heard)


def count(top):
    return sum(len(names) for _, _, names in os.walk(top))


def test_names_that_fill_several_messages(tmp_path):
    """All that is asked, and all that is answered: folders, links, checksums, attributes, deletions."""
    source, target = tmp_path / "src", tmp_path / "t"
    inside = f"{LONG}1/{LONG}2/{LONG}3/{LONG}4"
    for top in (source, target):
        (top / inside).mkdir(parents=True)
    for number in range(4000):
        name = f"{inside}/{LONG}{number}"
        (source / f"{name}.link").symlink_to("x" * 1000)
        (target / f"{name}.old").touch()
        for top, time in ((source, 5), (target, 6)):
            (top / f"{name}.same").touch()
            os.utime(top / f"{name}.same", ns=(time, time))
    end = Wired()
    wish = Wish(delete=True)
    done = sync_by_agent(
        Store(tmp_path / "store"),
        Origin(end, [f"{source}/"], wish),
        end,
        str(target),
        wish,
        become=Become(),
        within=300,
        report=lambda _: None,
    )
    assert (done.files, done.sent, done.deleted, done.warning) == (4000, 0, 4000, "")
    assert count(target) == count(source) == 8000
    assert (target / f"{inside}/{LONG}7.same").stat().st_mtime_ns == 5
    for op in ("prepare", "settle", "digests"):
        sizes = [size for one, size in end.asked if one == op]
        assert sum(sizes) > 12_000_000
        assert max(sizes) < LARGEST * 1.1
    assert end.longest < wire.MAX_LINE // 2
    again = sync_by_agent(
        Store(tmp_path / "store"), Origin(end, [f"{source}/"], wish), end, str(target), wish,
        become=Become(), within=300, report=lambda _: None,
    )  # fmt: skip
    assert (again.sent, again.deleted) == (0, 0)
    assert end.asked[-1][0] == "listing"  # nothing was left to do


@given(st.lists(st.tuples(st.sampled_from("aé\udcff"), st.integers(1, LARGEST // 8)), max_size=12))
def test_parts_keep_their_order_and_fit(wanted):
    items = [f"{number}{sign * size}" for number, (sign, size) in enumerate(wanted)]
    parts = list(in_parts(items))
    assert [one for part in parts for one in part] == items
    assert all(len(wire.encode({"items": part})) < LARGEST + 1000 for part in parts)
    assert all(parts) or parts == [[]]


def test_short_names_are_counted_too():
    """A checksum is longer than they are."""
    parts = list(in_parts(["a"] * (2 * AT_ONCE + 1)))
    assert [len(part) for part in parts] == [AT_ONCE, AT_ONCE, 1]
    answer = {"digests": ["0" * 64] * AT_ONCE}
    assert len(wire.encode(wire.done(answer))) < wire.MAX_LINE // 2
