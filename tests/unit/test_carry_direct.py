"""The connection between two agents: one peer, once, with exactly the certificates of its carry. Loopback only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

import pytest

from machinectl.pki.one_time import make_pair
from machinectl_agent.files.direct import Credential, Listener, Wire, dial
from machinectl_agent.files.tls import TlsPeer
from machinectl_agent.problems import Problem

SOON = 5.0


@pytest.fixture
def pair():
    """Two ends' credentials."""
    return [Credential(one.to_json()) for one in make_pair()]


def here(listener):
    return [("127.0.0.1", listener.port)]


def test_both_ends_meet_and_talk(pair):
    listener = Listener(pair[0], SOON)
    peer, why = dial(pair[1], here(listener), SOON)
    assert why == ""
    accepted = listener.take(SOON)
    assert peer
    assert accepted
    assert accepted.version() == "TLSv1.3"
    sender, receiver = Wire(peer), Wire(accepted)
    content = bytes(range(256)) * 4000

    def work():
        sender.send(memoryview(content))
        sender.finish(sent=True, seconds=SOON)

    thread = threading.Thread(target=work)
    thread.start()
    target = bytearray(len(content))
    view = memoryview(target)
    while view and (size := receiver.receive_into(view)):
        view = view[size:]
    assert bytes(target) == content
    assert receiver.receive_into(memoryview(bytearray(1))) == 0
    receiver.finish(sent=False, seconds=SOON)
    thread.join(SOON)
    assert not thread.is_alive()


def test_the_credential_is_refused_a_second_time(pair):
    listener = Listener(pair[0], SOON)
    peer, _ = dial(pair[1], here(listener), SOON)
    assert listener.take(SOON) is not None
    again, why = dial(pair[1], here(listener), SOON)
    assert again is None
    assert "refused" in why.lower()
    assert peer is not None


def test_of_two_that_come_at_once_one_is_taken(pair):
    listener = Listener(pair[0], SOON)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(dial(pair[1], here(listener), SOON)[0]))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(2 * SOON)
    assert sum(one is not None for one in found) == 1


def test_the_credential_is_refused_after_its_end(pair):
    listener = Listener(pair[0], 0.2)
    assert listener.take(0.5) is None
    end = time.monotonic() + SOON
    while dial(pair[1], here(listener), 0.5)[1].lower().find("refused") < 0:
        assert time.monotonic() < end
    assert listener.take(0) is None


def test_strangers_are_refused_and_keep_nobody_out(pair):
    """Another carry's credential, no certificate at all, and one who says nothing."""
    listener = Listener(pair[0], 20.0)
    other = [Credential(one.to_json()) for one in make_pair()]
    assert dial(other[0], here(listener), 1.0)[0] is None
    assert dial(pair[0], here(listener), 1.0)[0] is None  # the listener's own side of the pair
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(here(listener)[0], 5) as raw,
        plain.wrap_socket(raw) as naked,
        contextlib.suppress(ssl.SSLError, ConnectionError),
    ):
        assert naked.recv(1) == b""
    silent = [socket.create_connection(here(listener)[0], 5) for _ in range(3)]
    assert dial(pair[1], here(listener), SOON)[0] is not None
    for one in silent:
        one.close()


def test_a_false_listener_is_refused(pair):
    false = Listener(Credential(make_pair()[0].to_json()), SOON)
    assert dial(pair[1], here(false), 1.0)[0] is None
    false.close()


def test_the_first_that_answers_is_taken(pair):
    listener = Listener(pair[0], SOON)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        targets = [deaf.getsockname(), ("127.0.0.1", 1), *here(listener)]
        began = time.monotonic()
        assert dial(pair[1], targets, 40.0)[0] is not None
        assert time.monotonic() - began < 30


def test_nobody_there_is_said_in_time(pair):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began = time.monotonic()
        peer, why = dial(pair[1], [deaf.getsockname()], 0.5)
        assert (peer, bool(why)) == (None, True)
        assert time.monotonic() - began < 20
    assert dial(pair[1], [], 0.5)[0] is None


def test_an_abort_wakes_who_waits(pair):
    listener = Listener(pair[0], SOON)
    peer, _ = dial(pair[1], here(listener), SOON)
    assert peer is not None
    accepted = listener.take(SOON)
    assert accepted
    wire = Wire(accepted)
    ended: list[object] = []

    def wait():
        try:
            ended.append(wire.receive_into(memoryview(bytearray(10))))
        except Problem as problem:
            ended.append(problem.code)

    thread = threading.Thread(target=wait)
    thread.start()
    wire.abort()
    thread.join(SOON)
    assert ended in ([0], ["stream-broken"])


def meet(pair):
    """Two ends of one connection."""
    listener = Listener(pair[0], SOON)
    peer, why = dial(pair[1], here(listener), SOON)
    accepted = listener.take(SOON)
    assert peer, why
    assert accepted
    return peer, accepted


def test_pieces_of_any_size_come_as_they_were_sent(pair):
    peer, accepted = meet(pair)
    sender, receiver = Wire(peer), Wire(accepted)
    content = bytes(range(251)) * 9000
    sizes = (1, 4, 16384, 16385, 131072, 131073, 1_000_000)

    def work():
        left = memoryview(content)
        for size in sizes:
            sender.send(left[:size])
            left = left[size:]
        sender.send(left)
        sender.finish(sent=True, seconds=SOON)

    thread = threading.Thread(target=work)
    thread.start()
    came = bytearray()
    target = memoryview(bytearray(300_000))
    while True:
        view = target[: (1, 5, 16383, 300_000)[len(came) % 4]]
        size = receiver.receive_into(view)
        if not size:
            break
        came += view[:size]
    assert bytes(came) == content
    receiver.finish(sent=False, seconds=SOON)
    thread.join(SOON)


def test_what_was_changed_on_the_way_is_refused(pair):
    peer, accepted = meet(pair)
    receiver = Wire(accepted)
    peer.endless().sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(Problem) as caught:
        receiver.receive_into(memoryview(bytearray(10)))
    assert caught.value.code == "stream-broken"


def test_a_handshake_that_drips_ends_in_time(pair):
    """Each byte comes soon after the one before it."""
    theirs, ours = socket.socketpair()
    ended = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            theirs.sendall(b"\x16\x03\x01\x02\x00")
            while not ended.wait(0.05):
                theirs.sendall(b"\0")

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(OSError, match="timed out"):
        TlsPeer(ours, pair[0].listening, server_side=True, seconds=0.3)
    ended.set()
    ours.close()
    thread.join(SOON)
    theirs.close()


def test_a_peer_that_says_it_says_no_more_ends_the_stream(pair):
    """TLS's own end (close_notify, RFC 8446, 6.1), which our ends never send."""
    peer, accepted = meet(pair)
    receiver = Wire(accepted)
    peer.send(memoryview(b"last"))
    with contextlib.suppress(ssl.SSLError):
        peer._tls.unwrap()
    peer.endless().sendall(peer._out.read())
    target = memoryview(bytearray(10))
    assert receiver.receive_into(target) == 4
    assert receiver.receive_into(target) == 0
