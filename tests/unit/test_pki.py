"""Certificates: what is in them, when they are issued again, and what a kill in between leaves behind."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from machinectl.errors import CertificateError
from machinectl.pki import authority as authority_module
from machinectl.pki import certificates, leaves, pem_files
from machinectl.pki.authority import ensure_authority
from machinectl.pki.certificates import CLIENT, SERVER
from machinectl.pki.expiry import expiry, parse_expiry
from machinectl.pki.leaves import ensure_client, ensure_server

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
NAMES = ("198.18.0.11", "node1", "fe80::1%eth0")


@pytest.fixture
def certs(tmp_path):
    folder = tmp_path / "certs"
    folder.mkdir()
    return folder


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "node1"
    folder.mkdir()
    return folder


def snapshot(*folders: Path):
    return {one: one.read_bytes() for folder in folders for one in folder.iterdir()}


def test_a_second_run_changes_no_byte(certs, machine):
    first = ensure_server(ensure_authority(certs), machine, NAMES)
    before = snapshot(certs, machine)
    second = ensure_server(ensure_authority(certs), machine, NAMES)
    assert (first.reason, second.reason) == ("missing", "")
    assert snapshot(certs, machine) == before
    assert {one.name for one in machine.iterdir()} == {
        "ca.pem",
        "cert.pem",
        "key.pem",
        "server.pem",
        "server-key.pem",
    }
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in before)


def test_a_leaf_holds_what_strict_verifiers_want(certs, machine):
    ca = ensure_authority(certs)
    files = ensure_server(ca, machine, NAMES)
    leaf = x509.load_pem_x509_certificate(files.server.read_bytes())
    root = x509.load_pem_x509_certificate(ca.certificate)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {one._name for one in usages} == {"serverAuth", "clientAuth"}
    client = x509.load_pem_x509_certificate(files.cert.read_bytes())
    usages = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one._name for one in usages] == ["clientAuth"]
    names = {str(one.value) for one in certificates.alternative_names(files.server.read_bytes())}
    assert names == {"198.18.0.11", "node1", "fe80::1", "localhost", "127.0.0.1"}
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == identifier
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert datetime.datetime.now(datetime.timezone.utc) - leaf.not_valid_before_utc > datetime.timedelta(
        minutes=59
    )
    assert datetime.timedelta(days=824) < leaf.not_valid_after_utc - NOW < datetime.timedelta(days=826)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_agrees(certs, machine):
    files = ensure_server(ensure_authority(certs), machine, NAMES)
    for purpose, leaf in (
        ("sslserver", files.server),
        ("sslclient", files.server),
        ("sslclient", files.cert),
    ):
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            str(files.ca),
            str(leaf),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done


@pytest.mark.parametrize(
    ("names", "again"),
    [
        (NAMES, ""),
        (tuple(reversed(NAMES)), ""),
        ((*NAMES, "localhost", "node1"), ""),
        ((*NAMES, "docker.example"), "made for other names or addresses"),
        (("198.18.0.12", "node1", "fe80::1"), "made for other names or addresses"),
    ],
)
def test_names_decide_whether_a_server_certificate_is_issued_again(certs, machine, names, again):
    ca = ensure_authority(certs)
    key = ensure_server(ca, machine, NAMES).server_key.read_bytes()
    files = ensure_server(ca, machine, names)
    assert files.reason == again
    assert files.server_key.read_bytes() == key


def test_expiry_and_clock_decide_too(certs):
    ca = ensure_authority(certs)
    key = certificates.new_key()
    leaf = certificates.make_leaf(ca.certificate, ca.key, key, common_name="x", usage=CLIENT, now=NOW)

    def problem(now):
        return certificates.leaf_problem(ca.certificate, leaf, key, usage=CLIENT, now=now)

    assert problem(NOW) == problem(NOW + datetime.timedelta(days=794)) == ""
    assert "expires on" in problem(NOW + datetime.timedelta(days=796))
    assert "not valid yet" in problem(NOW - datetime.timedelta(hours=2))
    assert certificates.leaf_problem(ca.certificate, leaf, key, usage=SERVER, now=NOW) == (
        "made for another purpose"
    )


def test_a_leaf_never_outlives_its_ca_and_is_not_renewed_in_vain(certs):
    key = certificates.new_key()
    late = NOW + datetime.timedelta(days=3640)
    ca = certificates.make_authority(key, "x", NOW)
    leaf = certificates.make_leaf(ca, key, key, common_name="x", usage=CLIENT, now=late)
    assert parse_expiry(leaf) == parse_expiry(ca)
    assert certificates.leaf_problem(ca, leaf, key, usage=CLIENT, now=late) == ""


def test_another_ca_means_new_leaves(certs, machine, tmp_path):
    ensure_server(ensure_authority(certs), machine, NAMES)
    other = tmp_path / "other"
    other.mkdir()
    ca = ensure_authority(other)
    files = ensure_server(ca, machine, NAMES)
    assert files.reason == "signed by another CA"
    assert files.ca.read_bytes() == ca.certificate
    assert files.cert.read_bytes() == (other / "cert.pem").read_bytes()


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.parametrize("renewal", [False, True])
def test_a_kill_after_any_write_is_healed_by_the_next_run(certs, machine, monkeypatch, renewal):
    """Stops after the n-th written file, for every n, then runs again and checks all that clients rely on."""
    write = pem_files.write_pem
    writes = {"left": 0}

    def counting(path, content):
        if writes["left"] == 0:
            raise Killed
        writes["left"] -= 1
        write(path, content)

    def run(**keys):
        ca = ensure_authority(certs)
        if keys:
            ensure_client(ca, certs, **keys)
        return ensure_server(ca, machine, NAMES, **keys)

    for count in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(leaves, "write_pem", counting)
            patch.setattr(authority_module, "write_pem", counting)
            writes["left"] = count
            try:
                run(new_key=True) if renewal else run()
            except Killed:
                pass
            else:
                break
        ca = ensure_authority(certs)
        files = run()
        for cert, key, usage, names in (
            (files.server, files.server_key, SERVER, (*NAMES, *leaves.LOCAL_NAMES)),
            (files.cert, files.key, CLIENT, ()),
        ):
            assert not certificates.leaf_problem(
                ca.certificate, cert.read_bytes(), key.read_bytes(), usage=usage, names=names, now=NOW
            )
        if not renewal:
            for one in (*machine.iterdir(), *certs.iterdir()):
                one.unlink()
    assert count > 5


@pytest.mark.parametrize("damage", ["no key", "another key", "garbage", "no ca", "expired"])
def test_a_ca_that_can_not_sign_is_reported_and_left_alone(certs, damage):
    ensure_authority(certs)
    key = (certs / "ca-key.pem").read_bytes()
    if damage == "no key":
        (certs / "ca-key.pem").unlink()
    elif damage == "another key":
        (certs / "ca-key.pem").write_bytes(certificates.new_key())
    elif damage == "garbage":
        (certs / "ca.pem").write_bytes(b"x")
    elif damage == "no ca":
        pem = (certs / "ca.pem").read_bytes()
        leaf = certificates.make_leaf(pem, key, key, common_name="x", usage=CLIENT, now=NOW)
        (certs / "ca.pem").write_bytes(leaf)
    else:
        old = NOW - datetime.timedelta(days=4000)
        (certs / "ca.pem").write_bytes(certificates.make_authority(key, "x", old))
    before = snapshot(certs)
    with pytest.raises(CertificateError, match="can't be used") as caught:
        ensure_authority(certs)
    assert "PRIVATE" not in str(caught.value)
    assert snapshot(certs) == before


def test_a_ca_key_alone_is_what_a_killed_first_run_left(certs):
    key = certificates.new_key()
    (certs / "ca-key.pem").write_bytes(key)
    assert ensure_authority(certs).key == key


def test_docker_machines_rsa_ca_goes_on_signing(certs, machine):
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (certs / "ca-key.pem").write_bytes(key)
    files = ensure_server(ensure_authority(certs), machine, NAMES)
    assert handshake(files, files) == "hello"


@pytest.mark.parametrize("name", ["a" * 70 + ".example", "*.example", "bücher.example"])
def test_unusual_names_fit(certs, machine, name):
    assert ensure_server(ensure_authority(certs), machine, [name]).reason == "missing"


@pytest.mark.parametrize("name", ["ä" * 70, "a..ü"])
def test_impossible_names_are_refused_by_name(certs, machine, name):
    with pytest.raises(CertificateError, match="can't be put into a certificate"):
        ensure_server(ensure_authority(certs), machine, [name])


def test_a_machine_name_longer_than_a_common_name(certs, tmp_path):
    folder = tmp_path / ("n" * 100)
    folder.mkdir()
    files = ensure_server(ensure_authority(certs), folder, [folder.name, "198.18.0.11"])
    assert handshake(files, files) == "hello"


def test_expiry_without_cryptography(certs, machine):
    files = ensure_server(ensure_authority(certs), machine, NAMES)
    for path in (files.ca, files.server, files.cert):
        wanted = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        assert expiry(path) == wanted
    far = certificates.make_authority(certificates.new_key(), "x", NOW.replace(year=2060))
    assert parse_expiry(far) == x509.load_pem_x509_certificate(far).not_valid_after_utc


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", b"x"]
)
def test_expiry_of_what_is_no_certificate(tmp_path, content):
    (tmp_path / "x.pem").write_bytes(content)
    with pytest.raises(CertificateError, match=r"x\.pem"):
        expiry(tmp_path / "x.pem")
    with pytest.raises(CertificateError):
        expiry(tmp_path / "missing.pem")


def handshake(server, client, *, with_certificate=True):
    """One TLS connection as dockerd (tlsverify) and the docker client make it; what the client read."""
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server.ca)
    accepting.load_cert_chain(server.server, server.server_key)
    accepting.verify_mode = ssl.CERT_REQUIRED
    connecting = ssl.create_default_context(cafile=client.ca)
    for context in (accepting, connecting):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if with_certificate:
        connecting.load_cert_chain(client.cert, client.key)
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)

    def serve():
        try:
            with accepting.wrap_socket(there, server_side=True) as wrapped:
                wrapped.sendall(b"hello")
        except OSError:
            pass  # the client's own error is what is tested
        finally:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with connecting.wrap_socket(here, server_hostname="198.18.0.11") as wrapped:
            return wrapped.recv(10).decode()
    finally:
        here.close()
        thread.join()


def test_tls_both_ways(certs, machine, tmp_path):
    names = ("198.18.0.11",)
    ours = ensure_server(ensure_authority(certs), machine, names)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "certs").mkdir()
    theirs = ensure_server(ensure_authority(tmp_path / "b" / "certs"), tmp_path / "b", names)
    assert handshake(ours, ours) == "hello"
    with pytest.raises(OSError, match=r"(?i)certificate.required"):
        handshake(ours, ours, with_certificate=False)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed|unable to get"):
        handshake(theirs, ours)
    (tmp_path / "mixed").mkdir()
    for name, source in (("ca.pem", theirs.ca), ("cert.pem", ours.cert), ("key.pem", ours.key)):
        shutil.copy(source, tmp_path / "mixed" / name)
    with pytest.raises(OSError, match=r"(?i)unknown.ca"):  # dockerd refuses a client of another CA
        mixed = leaves.ServerFiles(
            tmp_path / "mixed/ca.pem", theirs.server, theirs.server_key, ours.cert, ours.key, ""
        )
        handshake(theirs, mixed)


def test_a_certificate_for_another_address_is_refused(certs, machine):
    files = ensure_server(ensure_authority(certs), machine, ["198.18.0.99"])
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        handshake(files, files)
