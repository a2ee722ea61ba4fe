"""What peers say about MACs, addresses and VTEPs, one by one and all at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.network.drivers.forwarding import ADDRESS, MAC, VTEP, Forwarding
from machinectl_agent.network.drivers.interface import Peer

PEERS = st.builds(
    Peer,
    st.sampled_from(["m1", "m2", "m3"]),
    st.lists(st.sampled_from(["i1", "i2", "i3"]), max_size=3).map(tuple),
    st.sampled_from(["v1", "v2", "v3"]),
)
ENDPOINTS = st.sampled_from(["e1", "e2", "e3", "e4"])
STEPS = st.lists(st.tuples(ENDPOINTS, st.none() | PEERS), max_size=30)


def facts(forwarding: Forwarding) -> dict[tuple[str, str], str]:
    found = {(MAC, name): value for name, value in forwarding.remote().items()}
    found.update({(ADDRESS, name): value for name, value in forwarding.neighbours().items()})
    found.update({(VTEP, name): name for name in forwarding.vteps()})
    return found


@given(STEPS)
def test_the_changes_of_all_steps_lead_to_the_whole(steps):
    """A kernel that does what each step says ends with what the remaining peers say."""
    forwarding = Forwarding()
    left: dict[str, Peer] = {}
    forwarding.replace({})
    kernel: dict[tuple[str, str], str] = {}
    for endpoint, peer in steps:
        if peer is None:
            changes = forwarding.drop(endpoint, left.pop(endpoint, Peer("m1", ("i1",), "v1")))
        else:
            changes = forwarding.put(endpoint, peer)
            left.pop(endpoint, None)
            left[endpoint] = peer
        for fact, (_, after) in changes.items():
            if after is None:
                kernel.pop(fact, None)
            else:
                kernel[fact] = after
        assert kernel == facts(forwarding)
    whole = Forwarding()
    whole.replace(left)
    assert facts(whole) == kernel


def test_the_later_word_counts():
    forwarding = Forwarding()
    forwarding.replace({"old": Peer("m", ("i",), "v1")})
    forwarding.put("new", Peer("m", ("i",), "v2"))
    assert forwarding.remote() == {"m": "v2"}
    assert forwarding.drop("old", Peer("m", ("i",), "v1")) == {(VTEP, "v1"): ("v1", None)}
    assert forwarding.remote() == {"m": "v2"}


def test_before_the_whole_is_known_no_flood_entry_goes():
    """Others behind the same VTEP may have it from an earlier run."""
    forwarding = Forwarding()
    changes = forwarding.drop("one", Peer("m", ("i",), "v"))
    assert changes == {(MAC, "m"): ("v", None), (ADDRESS, "i"): ("m", None)}


def test_a_peer_that_is_told_again_is_programmed_again():
    """The kernel may have lost it: a repeated word costs four requests, a lost one the traffic."""
    forwarding = Forwarding()
    forwarding.put("one", Peer("m", ("i",), "v"))
    assert set(forwarding.put("one", Peer("m", ("i",), "v"))) == {(MAC, "m"), (ADDRESS, "i"), (VTEP, "v")}
