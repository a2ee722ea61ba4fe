"""os-release of real distributions → family, and → suite of Docker's apt repository."""

from __future__ import annotations

import pytest

from machinectl_agent.facts import Facts, parse_os_release
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.choose import choose, families
from machinectl_agent.provisioners.docker_apt import Suite, find_suite

DISTRIBUTIONS = [
    ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', "12.5", "debian", "debian/bookworm"),
    ('ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye', "11.9", "debian", "debian/bullseye"),
    ('ID=debian\nVERSION_ID="15"\nVERSION_CODENAME=duke', "15.1", "debian", "debian/duke"),
    ("ID=debian\nVERSION_CODENAME=forky", "forky/sid", "debian", "debian/trixie"),
    (
        'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble',
        "trixie/sid",
        "debian",
        "ubuntu/noble",
    ),
    (
        'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble',
        "trixie/sid",
        "debian",
        "ubuntu/noble",
    ),
    (
        "ID=linuxmint\nID_LIKE=debian\nVERSION_CODENAME=faye\nDEBIAN_CODENAME=bookworm",
        "12.5",
        "debian",
        "debian/bookworm",
    ),
    (
        'ID=pop\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy',
        "bookworm/sid",
        "debian",
        "ubuntu/jammy",
    ),
    (
        "ID=kali\nID_LIKE=debian\nVERSION_ID=2025.2\nVERSION_CODENAME=kali-rolling",
        "kali-rolling",
        "debian",
        "debian/trixie",
    ),
    ("ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm", "12.5", "debian", "debian/bookworm"),
    ("ID=devuan\nID_LIKE=debian\nVERSION_CODENAME=daedalus", "12.0", "debian", "debian/bookworm"),
    ('ID=fedora\nVERSION_ID=42\nVERSION_CODENAME=""', "", "redhat", ""),
    ('ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"', "", "redhat", ""),
    ('ID="almalinux"\nID_LIKE="rhel centos fedora"', "", "redhat", ""),
    ('ID="rocky"\nID_LIKE="rhel centos fedora"', "", "redhat", ""),
    ('ID="centos"\nID_LIKE="rhel fedora"', "", "redhat", ""),
    ('ID="ol"\nID_LIKE="fedora"', "", "redhat", ""),
    ('ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"', "", "redhat", ""),
    ('ID="openEuler"\nVERSION_ID="24.03"', "", "redhat", ""),
    ('ID="circle"\nID_LIKE="rhel centos fedora"', "", "redhat", ""),
    ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "", "suse", ""),
    ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', "", "suse", ""),
    ('ID="sles"\nID_LIKE="suse"', "", "suse", ""),
    ("ID=arch", "", "arch", ""),
    ("ID=manjaro\nID_LIKE=arch", "", "arch", ""),
]


def facts(release):
    return Facts(
        os_id=release.get("ID", "linux"),
        os_like=tuple(release.get("ID_LIKE", "").split()),
        os_name=release.get("PRETTY_NAME", "Linux"),
        os_version="",
        os_codename="",
        arch="x86_64",
        kernel="6.1",
        python="3.11.2",
        systemd=True,
        container="",
    )


@pytest.mark.parametrize(("text", "debian_version", "family", "suite"), DISTRIBUTIONS)
def test_family_and_suite(text, debian_version, family, suite):
    release = parse_os_release(text)
    assert choose(facts(release), "").name == family
    if suite:
        assert find_suite(release, debian_version) == Suite(*suite.split("/"))


def test_asked_for_os_overrules():
    alien = facts({"ID": "alien"})
    assert choose(alien, "redhat").name == "redhat"
    assert choose(alien, "Fedora").name == "redhat"
    assert choose(facts({"ID": "debian"}), "suse").name == "suse"


def test_unknown_distribution_names_the_families_and_the_flag():
    with pytest.raises(Problem) as raised:
        choose(facts({"ID": "alpine", "PRETTY_NAME": "Alpine Linux v3.20"}), "")
    assert raised.value.code == "unknown-os"
    assert "Alpine Linux v3.20" in raised.value.what
    assert all(family.name in raised.value.why for family in families())
    assert "--os" in raised.value.hint


def test_unknown_asked_for_os():
    with pytest.raises(Problem) as raised:
        choose(facts({"ID": "debian"}), "windows")
    assert raised.value.code == "unknown-os"
    assert "windows" in raised.value.what


def test_families_share_no_id():
    words = [word for family in families() for word in family.ids]
    assert len(words) == len(set(words))
