"""known_hosts lines: patterns, hashes and markers, as sshd(8) describes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from machinectl.errors import HostKeyChanged
from machinectl.remote.hostkeys import HostKey, KnownHosts, parse_known_hosts

BLOB = base64.b64encode(b"key one").decode()
ONE = HostKey("ssh-ed25519", b"key one")
TWO = HostKey("ssh-ed25519", b"key two")


def entry(names: str):
    (one,) = parse_known_hosts(f"{names} ssh-ed25519 {BLOB} comment\n", Path("f"))
    return one


@pytest.mark.parametrize(
    ("names", "name", "hit"),
    [
        ("host", "host", True),
        ("HOST", "host", True),
        ("host", "host2", False),
        ("a,b,host", "host", True),
        ("*.lab", "a.lab", True),
        ("*.lab,!b.lab", "b.lab", False),
        ("10.0.0.?", "10.0.0.7", True),
        ("[10.0.0.1]:2222", "[10.0.0.1]:2222", True),
        ("[10.0.0.1]:2222", "10.0.0.1", False),
        ("[*.lab]:2222", "[a.lab]:2222", True),
        ("|1|garbage", "host", False),
    ],
)
def test_names(names, name, hit):
    assert entry(names).matches(name) is hit


def test_hashed_names():
    salt = b"12345678901234567890"
    digest = hmac.new(salt, b"host", hashlib.sha1).digest()
    hashed = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    assert entry(hashed).matches("host")
    assert not entry(hashed).matches("other")


def test_lines_that_are_no_entry_are_passed_over():
    text = f"# comment\n\nhost ssh-ed25519\nhost ssh-ed25519 %%%\n@revoked * ssh-ed25519 {BLOB}\n"
    found = list(parse_known_hosts(text, Path("f")))
    assert [(one.line, one.marker) for one in found] == [(5, "@revoked")]


def test_the_fingerprint_is_ssh_keygens():
    blob = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIJ7NxO0GysgHJ4HyNH+5HRweDGmcVv8vjrR59CI8Q++q")
    wanted = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert HostKey("ssh-ed25519", blob).fingerprint == f"SHA256:{wanted}"
    assert "=" not in HostKey("ssh-ed25519", blob).fingerprint


def test_a_line_without_its_newline_is_not_joined(tmp_path):
    store = tmp_path / "known_hosts"
    store.write_text(f"other ssh-ed25519 {BLOB[:5]}")
    KnownHosts("host", store, ()).check(ONE, "host")
    KnownHosts("host", store, ()).check(ONE, "host")
    assert len(store.read_text().splitlines()) == 2
    with pytest.raises(HostKeyChanged):
        KnownHosts("host", store, ()).check(TWO, "host")


def test_the_pinned_key_wins_over_the_persons_file(tmp_path):
    store, own = tmp_path / "known_hosts", tmp_path / "own"
    own.write_text(f"host ssh-ed25519 {BLOB}\n")
    KnownHosts("host", store, ()).check(TWO, "host")
    KnownHosts("host", store, (own,)).check(TWO, "host")


def test_several_keys_of_a_host_are_all_good(tmp_path):
    own = tmp_path / "own"
    rsa = base64.b64encode(b"rsa").decode()
    own.write_text(f"host ssh-rsa {rsa}\nhost ssh-ed25519 {BLOB}\n")
    known = KnownHosts("host", tmp_path / "known_hosts", (own,))
    assert known.kinds() == ("ssh-rsa", "ssh-ed25519")
    known.check(ONE, "host")
