"""Which machines a pattern means."""

from __future__ import annotations

import pytest

from machinectl.actions.patterns import choose_names
from machinectl.errors import MachineNotFound, UsageError

NAMES = ["db1", "web1", "web2", "web3", "web10"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["web1"], ["web1"]),
        (["web2", "db1", "web2"], ["db1", "web2"]),
        (["web2,db1"], ["db1", "web2"]),
        (["web2:db1"], ["db1", "web2"]),
        (["web*"], ["web1", "web2", "web3", "web10"]),
        (["web?"], ["web1", "web2", "web3"]),
        (["web[12]"], ["web1", "web2"]),
        (["all"], NAMES),
        (["*"], NAMES),
        (["!web*"], ["db1"]),
        (["all", "!web1", "!db1"], ["web2", "web3", "web10"]),
        (["!web1:web*"], ["web2", "web3", "web10"]),
        (["web*,&*1,!web1"], []),
        (["*1:&web*"], ["web1"]),
        (["~web[0-9]{2,3}"], ["web10"]),
        (["db1,~web(1|3)$"], ["db1", "web1", "web3"]),
        (["all:!~web.*"], ["db1"]),
        ([" web1 , web2 "], ["web1", "web2"]),
    ],
)
def test_patterns(patterns, chosen):
    if chosen:
        assert choose_names(patterns, NAMES) == chosen
    else:
        with pytest.raises(MachineNotFound, match="no machine is left"):
            choose_names(patterns, NAMES)


def test_a_word_that_matches_nothing_is_an_error_in_any_place():
    for patterns in (["wev1"], ["web*", "!wev1"], ["web*:&wev1"]):
        with pytest.raises(MachineNotFound, match='"wev1" does not exist') as caught:
            choose_names(patterns, NAMES)
        assert caught.value.hint == "did you mean 'web1'?"
    with pytest.raises(MachineNotFound, match=r"no machine's name matches 'x\*'"):
        choose_names(["x*"], NAMES)
    with pytest.raises(UsageError):
        choose_names(["~("], NAMES)


def test_an_empty_store():
    with pytest.raises(MachineNotFound, match="no machines yet"):
        choose_names(["all"], [])


def test_nothing_is_not_everything():
    for patterns in ([], [""], [" , "]):
        with pytest.raises(UsageError, match="no machine is named"):
            choose_names(patterns, NAMES)
