"""Host keys: pinned once, compared ever after, agreeing with what the person's own ssh knows."""

from __future__ import annotations

import subprocess
import threading

import pytest

from machinectl.errors import HostKeyChanged

from .conftest import make_key


def fingerprint(public_key) -> str:
    out = subprocess.run(["ssh-keygen", "-lf", str(public_key)], check=True, capture_output=True, text=True)
    return out.stdout.split()[1]


def entries(known_hosts) -> list[str]:
    return [line for line in known_hosts.read_text().splitlines() if line]


def test_the_first_contact_pins_in_openssh_format(sshd, key, connect, known_hosts):
    connect(sshd.address(key)).close()
    connect(sshd.address(key)).close()
    kind, blob = (sshd.folder / "host_ed25519.pub").read_text().split()[:2]
    assert entries(known_hosts) == [f"[127.0.0.1]:{sshd.port} {kind} {blob}"]
    assert known_hosts.stat().st_mode & 0o777 == 0o600
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{sshd.port}", "-f", str(known_hosts)],
        check=False,
        capture_output=True,
    )
    assert found.returncode == 0


def test_a_changed_key_is_refused_and_can_be_replaced(sshd, key, connect, known_hosts):
    connect(sshd.address(key)).close()
    known_hosts.write_text("# a line of somebody's\n" + known_hosts.read_text())
    old = fingerprint(sshd.folder / "host_ed25519.pub")
    sshd.stop()
    make_key(sshd.folder / "host_ed25519")
    sshd.start()
    new = fingerprint(sshd.folder / "host_ed25519.pub")
    with pytest.raises(HostKeyChanged) as caught:
        connect(sshd.address(key))
    assert old in caught.value.why
    assert new in caught.value.why
    assert f"{known_hosts}, line 2" in caught.value.why
    assert "--replace-host-key" in caught.value.hint
    connect(sshd.address(key), replace_host_key=True).close()
    assert len(entries(known_hosts)) == 2
    connect(sshd.address(key)).close()


def test_the_pinned_type_is_asked_for_first(start_sshd, connect, tmp_path, known_hosts):
    sshd = start_sshd("two", ("rsa",))
    sshd.authorize(make_key(tmp_path / "key"))
    connect(sshd.address(tmp_path / "key")).close()
    sshd.stop()
    make_key(sshd.folder / "host_ed25519")
    sshd.host_keys = ("ed25519", "rsa")
    sshd.start()
    connect(sshd.address(tmp_path / "key")).close()
    assert [one.split()[1] for one in entries(known_hosts)] == ["ssh-rsa"]


def test_parallel_first_contacts_pin_one_entry(sshd, key, connect, known_hosts):
    failures = []

    def contact() -> None:
        try:
            connect(sshd.address(key)).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=contact) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failures
    assert len(entries(known_hosts)) == 1


@pytest.mark.parametrize("hashed", [False, True])
def test_what_the_person_knows_already_counts(sshd, key, connect, known_hosts, home, hashed):
    own = home / ".ssh/known_hosts"
    kind, blob = (make_key(home / "other").with_suffix(".pub")).read_text().split()[:2]
    own.write_text(f"[127.0.0.1]:{sshd.port} {kind} {blob}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(own)], check=True, capture_output=True)
    config = home / ".ssh/config"
    config.write_text(f"UserKnownHostsFile {own}\n")
    with pytest.raises(HostKeyChanged) as caught:
        connect(sshd.address(key))
    assert str(own) in caught.value.why
    assert "ssh-keygen -R" in caught.value.hint
    assert not known_hosts.exists() or not entries(known_hosts)
    kind, blob = (sshd.folder / "host_ed25519.pub").read_text().split()[:2]
    own.write_text(f"[127.0.0.1]:{sshd.port} {kind} {blob}\n")
    connect(sshd.address(key)).close()
    assert len(entries(known_hosts)) == 1


def test_a_revoked_key_is_refused(sshd, key, connect, home):
    own = home / "known"
    kind, blob = (sshd.folder / "host_ed25519.pub").read_text().split()[:2]
    own.write_text(f"@revoked * {kind} {blob}\n")
    (home / ".ssh/config").write_text(f"UserKnownHostsFile {own}\n")
    with pytest.raises(HostKeyChanged, match="revoked"):
        connect(sshd.address(key))
