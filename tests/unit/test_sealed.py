"""Bytes under a passphrase."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machinectl.errors import MachinectlError
from machinectl.pki import sealed
from machinectl.pki.sealed import SealBroken, seal, unseal


@pytest.fixture(autouse=True, scope="module")
def cheap():
    """The tests are about everything but the price of a guess."""
    before = sealed.COST
    sealed.COST = 2**4
    yield
    sealed.COST = before


@given(st.binary(max_size=500), st.text(min_size=1))
@settings(max_examples=50)
def test_there_and_back(content, passphrase):
    one, other = seal(content, passphrase), seal(content, passphrase)
    assert one != other
    assert unseal(one, passphrase) == unseal(other, passphrase) == content
    assert len(content) < 8 or content not in one.split(b"\n", 2)[2]  # the head is there for all to read


def test_a_wrong_passphrase_and_any_damage_are_one_error():
    good = seal(b"secret" * 20, "right horse")
    for wrong in ("", "Right horse", "right horse "):
        with pytest.raises(SealBroken):
            unseal(good, wrong)
    for position in range(len(good)):
        broken = bytearray(good)
        broken[position] ^= 1
        with pytest.raises(MachinectlError):
            unseal(bytes(broken), "right horse")
    for length in (0, 5, 30, 100, len(good) - 1):
        with pytest.raises(MachinectlError):
            unseal(good[:length], "right horse")
    with pytest.raises(SealBroken):
        unseal(good + b"x", "right horse")


def test_a_made_up_head_costs_no_memory():
    first, second, rest = seal(b"x", "p").split(b"\n", 2)
    for greedy in ({"n": 2**40}, {"r": 2**30}, {"p": 10**9}, {"n": 3}, {"n": 0}, {"n": -4}, {"salt": 7}):
        head = json.dumps({**json.loads(second), **greedy}).encode()
        began = time.monotonic()
        with pytest.raises(SealBroken):
            unseal(b"\n".join((first, head, rest)), "p")
        assert time.monotonic() - began < 30


def test_what_it_is_not():
    with pytest.raises(MachinectlError, match="no file that"):
        unseal(b"PK\x03\x04", "p")
    with pytest.raises(MachinectlError, match="newer machinectl"):
        unseal(b"machinectl sealed 2\n{}\n", "p")
