"""`ls`, `status` and `version` against real TLS servers that play engines: good, stopped, hung, foreign, odd."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import socket
import ssl
import threading
import time

import pytest

from machinectl.actions.filters import parse_filters
from machinectl.actions.list_machines import ask_engines, list_rows
from machinectl.cli.main import main
from machinectl.errors import EngineUnreachable, UsageError
from machinectl.model import Machine, SshAddress
from machinectl.pki import certificates
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server
from machinectl.remote.engine_client import engine_version
from machinectl.store.store import Store

BODY = json.dumps({"Version": "28.5.2", "ApiVersion": "1.51"}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


class Engine:
    """A TLS server with dockerd's settings (client certificate required) that says `answer` to everybody."""

    def __init__(self, folder, answer=ANSWER, drip=0.0):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
        self.context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.answer, self.drip = answer, drip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests: list[bytes] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self.listener.accept()
                threading.Thread(target=self.speak, args=(plain,), daemon=True).start()

    def speak(self, plain):
        with (
            contextlib.suppress(OSError),
            plain,
            self.context.wrap_socket(plain, server_side=True) as wrapped,
        ):
            self.requests.append(wrapped.recv(65536))
            if not self.drip:
                wrapped.sendall(self.answer)
            for byte in self.answer if self.drip else b"":
                wrapped.sendall(bytes([byte]))
                time.sleep(self.drip)  # the peer under test is one that is slow


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def engines():
    with contextlib.ExitStack() as stack:

        def start(*args, **keys):
            engine = Engine(*args, **keys)
            stack.callback(engine.listener.close)
            return engine

        yield start


def add(store, name, port, **keys):
    """A machine with certificates as create leaves it."""
    with store.lock():
        files = ensure_server(ensure_authority(store.certs), store.folder(name), ["127.0.0.1"])
    machine = Machine(name, "127.0.0.1", SshAddress("127.0.0.1"), engine_port=port, state="ready", **keys)
    store.save(machine)
    return files.server.parent


@pytest.fixture
def fleet(store, engines, tmp_path):
    """One engine of each kind."""
    folder = add(store, "fine", 1)
    add(
        store, "fine", engines(folder).port, engine={"options": {"labels": ["zone=a", "x=Y"]}}, os="Debian 13"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        add(store, "refusing", free.getsockname()[1])
    silent = socket.create_server(("127.0.0.1", 0))  # accepts by the backlog, never speaks
    add(store, "hanging", silent.getsockname()[1])
    other = Store(tmp_path / "other")
    add(store, "foreign", engines(add(other, "foreign", 1)).port)
    add(store, "broken", 1)
    (store.folder("broken") / "config.json").write_text("{")
    yield store
    silent.close()


def test_one_deadline_for_all_and_every_row_is_there(fleet, monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", fleet.load("fine").url)
    started = time.monotonic()
    assert main(["-s", str(fleet.path), "ls", "-t", "3"]) == 0
    assert time.monotonic() - started < 8.9  # not one deadline for each
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "ACTIVE", "DRIVER", "STATE", "URL", "SWARM", "DOCKER", "ERRORS"]
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines}
    assert list(rows) == ["broken", "fine", "foreign", "hanging", "refusing"]
    assert rows["fine"] == ["fine", "*", "generic", "Running", fleet.load("fine").url, "v28.5.2", ""]
    assert rows["broken"][2:4] == ["not found", "Error"]
    assert "config.json is damaged" in rows["broken"][-1]
    assert rows["refusing"][3] == "Stopped"
    assert "connection refused" in rows["refusing"][-1]
    assert rows["hanging"][3] == "Timeout"
    assert "within 3 s" in rows["hanging"][-1]
    assert rows["foreign"][3] == "Error"
    assert "not signed by this store's CA" in rows["foreign"][-1]
    assert {rows[name][1] for name in rows} == {"-", "*"}
    assert "Unknown" in rows["hanging"]
    assert header.index("STATE") == lines[1].index("Running")


def test_json_templates_and_names(fleet, capsys):
    def ls(*words):
        assert main(["-s", str(fleet.path), "ls", *words]) == 0
        return capsys.readouterr().out

    documents = {one["Name"]: one for one in json.loads(ls("-t", "3", "--output", "json"))}
    assert documents["fine"]["State"] == "Running"
    assert documents["fine"]["Labels"] == ["zone=a", "x=Y"]
    assert documents["fine"]["CertExpires"].startswith(
        f"{datetime.datetime.now(datetime.timezone.utc) + certificates.LEAF_LIFETIME:%Y-%m-%d}"
    )
    assert ls("--filter", "name=^fine$", "-f", "{{.Name}}\\t{{.DockerVersion}} {{.OS}}") == (
        "fine\tv28.5.2 Debian 13\n"
    )
    assert ls("--filter", "name=fine", "-f", "table {{.Name}}\\t{{.CertExpires}}").startswith(
        "NAME   CERT_EXPIRES\nfine   20"
    )
    assert (
        ls("-q", "-t", "3", "--filter", "state=stopped", "--filter", "state=Timeout") == "hanging\nrefusing\n"
    )
    assert ls("-q", "--filter", "label=x=y") == "fine\n"
    assert ls("-q", "--filter", "name=f", "--filter", "name=hang") == "fine\nforeign\nhanging\nrefusing\n"
    assert ls("-q", "--filter", "driver=virtualbox") == ls("-q", "--filter", "swarm=x") == ""


def test_names_alone_contact_nobody(store, engines, capsys):
    engine = engines(add(store, "fine", 1))
    add(store, "fine", engine.port)
    assert main(["-s", str(store.path), "ls", "-q"]) == 0
    assert capsys.readouterr().out == "fine\n"
    assert engine.requests == []


@pytest.mark.parametrize("words", [["nope"], ["nope=x"], ["name=("]])
def test_wrong_filters_are_refused(words):
    with pytest.raises(UsageError):
        parse_filters(words)


def test_an_expiring_certificate_is_announced(store, engines):
    folder = add(store, "fine", 1)
    ca = ensure_authority(store.certs)
    old = datetime.datetime.now(datetime.timezone.utc) - certificates.LEAF_LIFETIME
    for days, wanted in ((40, ""), (20, "certificate expires on")):
        moment = old + datetime.timedelta(days=days, hours=1)
        leaf = certificates.make_leaf(
            ca.certificate,
            ca.key,
            (folder / "server-key.pem").read_bytes(),
            common_name="fine",
            usage=certificates.SERVER,
            names=["127.0.0.1"],
            now=moment,
        )
        (folder / "server.pem").write_bytes(leaf)
        add_port = engines(folder).port
        store.save(Machine("fine", "127.0.0.1", SshAddress("h"), engine_port=add_port, state="ready"))
        row = ask_engines(store, list_rows(store, parse_filters([])), 5)[0]
        assert (row.state, row.version) == ("Running", "28.5.2")
        assert row.error.startswith(wanted)
        assert bool(row.error) == bool(wanted)


def test_a_create_that_was_killed_is_named(store):
    add(store, "half", 1)
    store.save(Machine("half", "127.0.0.1", SshAddress("h"), engine_port=1))
    row = ask_engines(store, list_rows(store, parse_filters([])), 5)[0]
    assert (row.state, row.error) == ("Stopped", "its create has not finished: run it again")


def test_status_and_version(fleet, capsys):
    for name, word, status in (("fine", "Running", 0), ("refusing", "Stopped", 0), ("foreign", "Error", 1)):
        assert main(["-s", str(fleet.path), "status", name]) == status
        assert capsys.readouterr().out == f"{word}\n"
    assert main(["-s", str(fleet.path), "version", "fine"]) == 0
    assert capsys.readouterr().out == "28.5.2\n"
    assert main(["-s", str(fleet.path), "version", "refusing"]) == 1
    assert "Host is not running" in capsys.readouterr().err


def problem_of(port, folder, deadline=5.0):
    with pytest.raises(EngineUnreachable) as caught:
        engine_version("127.0.0.1", port, folder, deadline)
    return caught.value.problem


@pytest.mark.parametrize(
    "answer", [ANSWER, CHUNKED, ANSWER.replace(b"Content-Length: %d\r\n" % len(BODY), b"")]
)
def test_every_way_of_http_to_end_an_answer(store, engines, answer):
    folder = add(store, "fine", 1)
    engine = engines(folder, answer)
    assert engine_version("127.0.0.1", engine.port, folder, 5)["Version"] == "28.5.2"
    assert engine.requests[0].startswith(b"GET /version HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
    ],
)
def test_what_is_no_engine(store, engines, answer):
    folder = add(store, "odd", 1)
    assert problem_of(engines(folder, answer).port, folder) == "engine-protocol"


def test_a_server_that_drips_bytes_runs_into_the_deadline(store, engines):
    folder = add(store, "slow", 1)
    started = time.monotonic()
    assert problem_of(engines(folder, drip=0.1).port, folder, 0.7) == "engine-timeout"
    assert time.monotonic() - started < 4


def test_every_kind_of_distrust_has_its_name(store, engines, tmp_path):
    folder = add(store, "fine", 1)
    other = add(Store(tmp_path / "other"), "fine", 1)
    assert problem_of(engines(other).port, folder) == "certificate-foreign"
    # theirs accepts only their CA's clients, and we trust theirs
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name, source in (("ca.pem", other), ("cert.pem", folder), ("key.pem", folder)):
        (mixed / name).write_bytes((source / name).read_bytes())
    assert problem_of(engines(other).port, mixed) == "client-refused"
    (mixed / "cert.pem").unlink()
    assert problem_of(1, mixed) == "certificate-missing"
    with store.lock():
        ca = ensure_authority(store.certs)
        elsewhere = store.folder("elsewhere")
        ensure_server(ca, elsewhere, ["198.18.0.99"])
    (elsewhere / "server.pem").write_bytes(
        certificates.make_leaf(
            ca.certificate,
            ca.key,
            (elsewhere / "server-key.pem").read_bytes(),
            common_name="x",
            usage=certificates.SERVER,
            names=["198.18.0.99"],
            now=datetime.datetime.now(datetime.timezone.utc),
        )
    )
    assert problem_of(engines(elsewhere).port, folder) == "certificate-mismatch"
    (elsewhere / "server.pem").write_bytes(
        certificates.make_leaf(
            ca.certificate,
            ca.key,
            (elsewhere / "server-key.pem").read_bytes(),
            common_name="x",
            usage=certificates.SERVER,
            names=["127.0.0.1"],
            now=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=900),
        )
    )
    assert problem_of(engines(elsewhere).port, folder) == "certificate-expired"


def test_something_without_tls(store):
    folder = add(store, "plain", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak():
            plain, _ = listener.accept()
            with plain:
                plain.recv(100)
                plain.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        threading.Thread(target=speak, daemon=True).start()
        assert problem_of(listener.getsockname()[1], folder) == "engine-protocol"


def test_nobody_there(store):
    folder = add(store, "x", 1)
    assert problem_of(1, folder) == "engine-refused"
    with pytest.raises(EngineUnreachable) as caught:
        engine_version("no-such-host.invalid", 2376, folder, 5)
    assert caught.value.problem == "engine-unreachable"
