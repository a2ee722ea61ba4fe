"""What every client of etcd must do while etcd, or the way to it, is not well."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import socket
import threading
import time

import pytest

from machinectl.pki import certificates
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_client
from machinectl_agent.kv.interface import Compare, KvError, KvRefused, KvUnavailable, Put
from machinectl_agent.kv.tls import Tls
from tests.etcd_cluster import EtcdCluster
from tests.kv_clients import KINDS, connect, succeeds


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def single(tmp_path):
    with EtcdCluster(tmp_path / "etcd") as started:
        yield started


@pytest.fixture
def trio(tmp_path):
    with EtcdCluster(tmp_path / "etcd", members=3, tls=True) as started:
        yield started


@contextlib.contextmanager
def client_of(kind, cluster, endpoints=()):
    client = connect(kind, cluster, endpoints)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def lasts(least, most):
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert least <= took <= most, took


def test_nobody_there_is_said_at_once(kind, single):
    single.stop()
    with client_of(kind, single) as kv:
        for call in (lambda: kv.get("a"), lambda: kv.put("a", b""), lambda: kv.grant(5)):
            with lasts(0, 60), pytest.raises(KvUnavailable, match=r"127\.0\.0\.1"):
                call()


def test_a_killed_member_is_passed_over(kind, trio):
    with client_of(kind, trio) as kv:
        kv.put("/a", b"1")
        victim = 0
        trio.kill(victim)
        with lasts(0, 60):
            assert succeeds(lambda: kv.get("/a")).value == b"1"
        succeeds(lambda: kv.put("/a", b"2"))
        with lasts(0, 15):
            for _ in range(10):
                assert kv.get("/a").value == b"2"


def test_a_restarted_etcd_is_found_again(kind, single):
    with client_of(kind, single) as kv:
        kv.put("/a", b"1")
        single.kill()
        with pytest.raises(KvUnavailable):
            kv.put("/a", b"2")
        single.start()
        with lasts(0, 60):
            assert succeeds(lambda: kv.get("/a")).value == b"1"


def test_a_frozen_etcd_costs_the_deadline_and_no_more(kind, single):
    with client_of(kind, single) as kv:
        kv.put("/a", b"1")
        single.freeze()
        with lasts(0.9, 20), pytest.raises(KvUnavailable):
            kv.get("/a", deadline=1)
        with lasts(0.9, 20), pytest.raises(KvUnavailable):
            kv.txn([], [Put("/a", b"2")], deadline=1)
        single.thaw()
        assert succeeds(lambda: kv.get("/a")).value in (b"1", b"2")


def test_a_frozen_member_is_passed_over(kind, trio):
    frozen = next(one for one in trio.members if one != trio.leader())
    others = [url for url in trio.endpoints if url != trio.client_url(frozen)]
    with client_of(kind, trio, [trio.client_url(frozen), *others]) as kv:
        kv.put("/a", b"1")
        trio.freeze(frozen)
        with lasts(0, 10):
            assert kv.get("/a", deadline=12).value == b"1"
        with lasts(0, 4.5):  # and it is known now
            kv.put("/a", b"2")
    with client_of(kind, trio, [trio.client_url(frozen), *others]) as kv, lasts(0, 10):
        kv.put("/a", b"3", deadline=12)  # a new client: its connection does not come about
    trio.thaw(frozen)


def test_a_lost_majority_is_unavailable_until_it_is_back(kind, trio):
    with client_of(kind, trio) as kv:
        kv.put("/a", b"1")
        trio.kill(1)
        trio.kill(2)
        with lasts(0, 30), pytest.raises(KvUnavailable):
            kv.get("/a", deadline=2)
        with lasts(0, 30), pytest.raises(KvUnavailable):
            kv.put("/a", b"2", deadline=2)
        with pytest.raises(KvUnavailable):
            kv.health(deadline=1)
        trio.start()
        assert succeeds(lambda: kv.get("/a")).value in (b"1", b"2")
        succeeds(lambda: kv.put("/a", b"3"))
        assert kv.get("/a").value == b"3"


def test_an_election_is_waited_out_by_reads(kind, trio):
    leader = trio.leader()
    others = [trio.client_url(one) for one in trio.members if one != leader]
    with client_of(kind, trio, others) as kv:
        kv.put("/a", b"1")
        trio.kill(leader)
        for _ in range(50):
            assert kv.get("/a", deadline=20).value == b"1"


def test_closing_ends_a_call_that_waits(kind, single):
    with client_of(kind, single) as kv:
        kv.put("/a", b"1")
        single.freeze()
        threading.Timer(0.5, kv.close).start()
        with lasts(0, 30), pytest.raises(KvUnavailable):
            kv.get("/a", deadline=20)


class Eavesdropper:
    """Passes bytes on to etcd; once `silent`, swallows what etcd says and hangs up after its first words."""

    def __init__(self, port):
        self.port = port
        self.silent = False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source, target, answers):
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                # gRPC says short things of its own (pings, acknowledged settings); an answer has its header
                if answers and self.silent and len(part) > 40:
                    break
                target.sendall(part)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def test_a_lost_answer_is_no_reason_to_do_it_twice(kind, single):
    between = Eavesdropper(single.ports[0])
    # the second endpoint is well: a blind repetition would go there
    with client_of(kind, single, [between.url, *single.endpoints]) as kv, client_of(kind, single) as direct:
        kv.put("/count", b"0")
        between.silent = True
        with pytest.raises(KvUnavailable):
            kv.txn([Compare("/count", "version", ">", 0)], [Put("/count", b"1"), Put("/token", b"mine")])
        found = direct.get("/count")
        assert (found.value, found.version) == (b"1", 2)
        assert direct.get("/token").version == 1
        assert kv.get("/count").value == b"1"  # a read goes on at the other endpoint
    between.server.close()


def test_without_its_certificate_nobody_gets_in(kind, trio, tmp_path):
    plain = [url.replace("https", "http") for url in trio.endpoints]
    without = Tls(trio.files.ca)
    for endpoints, tls in ((plain, None), (trio.endpoints, without)):
        client = KINDS[kind](endpoints, tls=tls)
        with lasts(0, 20), pytest.raises(KvError):
            client.get("/a", deadline=12)
        client.close()
    gateway = KINDS["gateway"](trio.endpoints, tls=without)
    with pytest.raises(KvRefused, match="certificate"):
        gateway.get("/a")
    gateway.close()


def make_certs(folder):
    folder.mkdir()
    authority = ensure_authority(folder)
    ensure_client(authority, folder)
    return Tls(str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))


def test_another_ca_is_refused(kind, trio, tmp_path):
    foreign = make_certs(tmp_path / "foreign")
    client = KINDS[kind](trio.endpoints, tls=foreign)
    with lasts(0, 20), pytest.raises(KvRefused, match=r"(?i)certificate"):
        client.get("/a", deadline=12)
    client.close()
    # our CA is theirs, but the client's certificate is foreign
    client = KINDS[kind](trio.endpoints, tls=Tls(trio.files.ca, foreign.cert, foreign.key))
    with lasts(0, 20), pytest.raises(KvError):
        client.put("/a", b"", deadline=12)
    client.close()


def test_missing_certificates_are_named(kind, trio, tmp_path):
    client = KINDS[kind](trio.endpoints, tls=Tls(str(tmp_path / "none.pem")))
    with pytest.raises(KvRefused, match="can't be used"):
        client.get("/a")
    client.close()


def test_a_renewed_certificate_needs_no_restart(kind, trio, tmp_path):
    """An expired certificate is replaced in place; the same client gets in."""
    authority = ensure_authority(trio.folder / "certs")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(trio.files.key, key)
    long_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2000)
    expired = certificates.make_leaf(
        authority.certificate,
        authority.key,
        key.read_bytes(),
        common_name="old",
        usage=certificates.CLIENT,
        now=long_ago,
    )
    cert.write_bytes(expired)
    client = KINDS[kind](trio.endpoints, tls=Tls(trio.files.ca, str(cert), str(key)))
    with pytest.raises(KvError):
        client.get("/a", deadline=3)
    shutil.copy(trio.files.cert, cert)
    assert client.get("/a") is None
    client.close()
