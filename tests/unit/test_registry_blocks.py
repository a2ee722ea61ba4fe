"""Arithmetic of subnets, and which address comes next."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.network.registry.blocks import block, choose, networks
from machinectl_agent.network.registry.stock import COOLING, Stock

small = st.builds(
    lambda number, length: ipaddress.ip_network((0x0A4D0000 + number, length), strict=False),
    st.integers(0, 0xFFFF),
    st.integers(14, 28),
)


@given(taken=st.lists(small, max_size=12), length=st.integers(18, 24))
def test_the_lowest_free_subnet_is_chosen(taken: list[ipaddress.IPv4Network], length: int):
    candidates = ipaddress.ip_network("10.77.0.0/16").subnets(new_prefix=length)
    free = [one for one in candidates if not any(one.overlaps(other) for other in taken)]
    assert choose(["10.77.0.0/16"], length, taken, v6=False) == (free[0] if free else None)


def test_what_is_no_subnet_is_no_obstacle():
    assert [str(one) for one in networks(["default", "10.1.0.5/24", "::/0", "fd00::/8"])] == [
        "10.1.0.0/24",
        "fd00::/8",
    ]


def test_a_wide_ipv6_pool_is_not_enumerated():
    taken = networks([f"fd77:6d63:746c:{number:x}::/64" for number in range(300)])
    assert str(choose(["fd77:6d63:746c::/48"], 24, taken, v6=True)) == "fd77:6d63:746c:12c::/64"


@given(
    steps=st.lists(st.tuples(st.sampled_from("prfw"), st.integers(0, 13), st.integers(0, 4)), max_size=60),
    inner=st.sampled_from(["", "10.5.1.8/29"]),
)
def test_a_stock_gives_what_is_free_and_not_what_was_just_released(
    steps: list[tuple[str, int, int]], inner: str
):
    where = block("10.5.1.0/28", inner)
    now = [0.0]
    stock = Stock(where, lambda: now[0])
    used: set[int] = set()
    released: dict[int, float] = {}
    for kind, number, conflicts in steps:
        if kind == "p":
            free = {one for one in range(where.first, where.last + 1) if one not in used}
            rested = {one for one in free if now[0] - released.get(one, -COOLING) >= COOLING}
            found = stock.pick(conflicts)
            assert (found is None) == (not free)
            if found is not None:
                assert found in (rested or free)
                stock.settle(found, used=True)
                used.add(found)
        elif kind == "r" and used:
            gone = sorted(used)[number % len(used)]
            used.remove(gone)
            stock.release(where.text(gone))
            released[gone] = now[0]
        elif kind == "f":
            stock.refresh(used)
        else:
            now[0] += 25.0


def test_a_pick_that_is_on_its_way_is_nobody_elses():
    stock = Stock(block("10.5.1.0/29"), lambda: 0.0)
    first = stock.pick()
    stock.refresh([])
    assert stock.pick() != first
