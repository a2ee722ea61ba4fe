"""Which certificates a machine of several stores gets: the agent's rule, and what the controller knows."""

from __future__ import annotations

import datetime

import pytest

from machinectl.pki import certificates
from machinectl.pki.certificates import SERVER
from machinectl.pki.shared import (
    Shared,
    blocks,
    describe,
    identity,
    names_kept,
    read_shared,
    remember,
    seen,
    served_problem,
)
from machinectl_agent.engine import certificates as agent
from machinectl_agent.engine.wishes import identity as identity_of
from machinectl_agent.engine.wishes import own_wishes, put_together
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, Spec, TlsSpec

NOW = datetime.datetime.now(datetime.timezone.utc)


def store(name, *names):
    """CA, its key, a server certificate for the names, its key."""
    ca_key, key = certificates.new_key(), certificates.new_key()
    ca = certificates.make_authority(ca_key, name, NOW)
    leaf = certificates.make_leaf(ca, ca_key, key, common_name="n", usage=SERVER, names=names, now=NOW)
    return ca, ca_key, leaf, key


A, B, C = (store(name, "10.0.0.1", f"{name}.example.com") for name in "abc")


def wish(whose, *, take_over=False, share=False, **more):
    tls = TlsSpec(whose[0].decode(), whose[2].decode(), whose[3].decode(), **more)
    return Spec("n", EngineSpec(), tls, take_over=take_over, share=share)


def present(cas=(), server=None, pair=True):
    ca = b"".join(one[0] for one in cas).decode() if cas else None
    leaf, key = (server[2].decode(), server[3].decode()) if server else (None, None)
    return agent.Present(ca, leaf, key, pair)


def ours(wanted, whose):
    return (wanted.server, wanted.key) == (whose[2].decode(), whose[3].decode())


def refused(*arguments):
    with pytest.raises(Problem) as caught:
        agent.wanted(*arguments)
    return caught.value.code


def text(one):
    return one[0].decode()


def test_one_store_alone_gets_what_it_wants():
    for there in (present(), present([A], A), present([A], B)):
        wanted = agent.wanted(there, wish(A))
        assert ours(wanted, A)
        assert wanted.ca == text(A)


def test_a_second_store_needs_a_word():
    assert refused(present([A], A), wish(B)) == "tls-owned"
    assert refused(present([A], A), wish(B, share=True)) == "tls-shared"  # it has not looked yet
    joined = agent.wanted(
        present([A], A), wish(B, share=True, others=(text(A),), served=A[2].decode(), keep=True)
    )
    assert ours(joined, A)
    assert joined.ca == text(A) + text(B)
    over = agent.wanted(present([A], A), wish(B, take_over=True))
    assert ours(over, B)
    assert over.ca == text(B)


def test_what_has_been_applied_stays():
    """The law: after apply nothing is left, for both stores."""
    b = wish(B, share=True, others=(text(A),), served=A[2].decode(), keep=True)
    first = agent.wanted(present([A], A), b)
    now = agent.Present(first.ca, first.server, first.key, pair=True)
    assert agent.wanted(now, b) == first
    a = wish(A, others=(text(B),))
    assert agent.wanted(now, a) == first


def test_what_a_controller_does_not_know_is_told():
    both = present([A, B], A)
    assert refused(both, wish(A)) == "tls-shared"
    assert refused(both, wish(A, others=(text(C),))) == "tls-shared"
    assert refused(both, wish(A, others=(text(B), text(C)))) == "tls-shared"
    # another one's server certificate than the one that was there
    assert refused(present([A, B], B), wish(A, others=(text(B),))) == "tls-shared"
    assert refused(present([A, B, C], A), wish(B, others=(text(A),), served=A[2].decode())) == "tls-shared"


def test_a_key_that_does_not_fit_is_replaced_with_its_certificate():
    torn = present([A, B], A, pair=False)
    wanted = agent.wanted(torn, wish(B, others=(text(A),), served=A[2].decode(), keep=True))
    assert ours(wanted, B)


def test_a_store_is_taken_out():
    left = agent.wanted(present([A, B, C], A), wish(A, others=(text(C),), removed=(text(B),)))
    assert left.ca == text(A) + text(C)
    again = agent.wanted(agent.Present(left.ca, left.server, left.key, pair=True), wish(A, others=(text(C),)))
    assert again == left


def test_the_controllers_view(tmp_path):
    folder = tmp_path / "n"
    folder.mkdir()
    (folder / "server.pem").write_bytes(B[2])
    known = seen(folder, B[0], A[0] + B[0], A[2])
    assert known == Shared((A[0],), A[2])
    remember(folder, B[0], known)
    assert (folder / "ca.pem").read_bytes() == B[0] + A[0]
    assert read_shared(folder, B[0]) == known
    assert set(names_kept(folder, ("10.0.0.9",))) == {
        "10.0.0.9",
        "10.0.0.1",
        "a.example.com",
        "b.example.com",
    }
    remember(folder, B[0], seen(folder, B[0], B[0], B[2]))
    assert not (folder / "served.pem").exists()
    assert (folder / "ca.pem").read_bytes() == B[0]
    assert names_kept(folder, ("10.0.0.9",)) == ("10.0.0.9",)


def test_when_another_stores_certificate_is_good_enough():
    known = Shared((A[0],), A[2])
    assert served_problem(known, ("10.0.0.1",), NOW) == ""
    assert "10.0.0.2" in served_problem(known, ("10.0.0.1", "10.0.0.2"), NOW)
    assert "expires" in served_problem(known, ("10.0.0.1",), NOW + datetime.timedelta(days=820))
    assert "signed" in served_problem(Shared((C[0],), A[2]), ("10.0.0.1",), NOW)
    assert served_problem(Shared((C[0],), b""), (), NOW) == "there is none"


def test_cas_for_people():
    listed = describe(A[0] + B[0] + A[0], A[2], B[0])
    assert [(one.own, one.signs) for one in listed] == [(False, True), (True, False)]
    assert listed[0].name == "machinectl CA a"
    assert listed[0].identity == identity(A[0])
    assert blocks(b"no certificate") == ()


def engine_wish(name, known=(), **engine):
    """What the agent makes of a controller's wish where others have asked for something before."""
    tls = TlsSpec("CA", "CERT", "KEY")
    return put_together(Spec("n", EngineSpec(**engine), tls, controller=name), dict(known))


def test_what_another_controller_asked_for_stays():
    a = engine_wish("a", options={"labels": ["rack=r1"], "debug": True}, env={"X": "1"}, version="20.10")
    assert a.engine == EngineSpec(
        options={"labels": ["rack=r1"], "debug": True}, env={"X": "1"}, version="20.10"
    )
    b = engine_wish("b", a.wishes, options={"labels": ["zone=z"], "registry-mirrors": ["m"]}, env={"Y": "2"})
    assert b.engine.options == {"labels": ["rack=r1", "zone=z"], "debug": True, "registry-mirrors": ["m"]}
    assert b.engine.env == {"X": "1", "Y": "2"}
    assert b.engine.version == "20.10"
    again = engine_wish(
        "a", b.wishes, options={"labels": ["rack=r1"], "debug": True}, env={"X": "1"}, version="20.10"
    )
    # in turn they want the same, in the same order: nothing changes
    assert (again.engine, again.wishes) == (b.engine, b.wishes)
    less = engine_wish("b", again.wishes)
    assert less.engine == a.engine


def test_who_asks_has_its_way_where_two_want_different_things():
    a = engine_wish("a", options={"labels": ["rack=r1"], "mtu": 1400}, listen="[::]")
    b = engine_wish("b", a.wishes, options={"labels": ["rack=r2"], "mtu": 1300})
    assert b.engine.options == {"labels": ["rack=r2"], "mtu": 1300}
    assert b.engine.listen == "[::]"
    assert (
        engine_wish("a", b.wishes, options={"labels": ["rack=r1"], "mtu": 1400}).engine.options["mtu"] == 1400
    )
    with pytest.raises(Problem) as caught:
        engine_wish("b", a.wishes, port=2377)
    assert caught.value.code == "port-shared"


def test_entries_that_are_mappings_are_put_together():
    first, second = ({"base": f"10.{number}.0.0/16", "size": 24} for number in (1, 2))
    a = engine_wish("a", options={"default-address-pools": [first]})
    b = engine_wish("b", a.wishes, options={"default-address-pools": [second, first]})
    assert b.engine.options == {"default-address-pools": [first, second]}


def test_a_take_over_and_a_removal_forget_the_wishes():
    gone = identity_of(text(B))
    known = {gone: own_wishes(EngineSpec(options={"debug": True}))}
    tls = TlsSpec(text(A), "CERT", "KEY", removed=(text(B),))
    assert put_together(Spec("n", EngineSpec(), tls, controller="a"), known).engine.options == {}
    over = Spec("n", EngineSpec(), TlsSpec("CA", "CERT", "KEY"), controller="a", take_over=True)
    assert list(put_together(over, known).wishes) == ["a"]
