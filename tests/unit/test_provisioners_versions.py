"""What a pin means among the versions that sources offer."""

from __future__ import annotations

import pytest

from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.engine_version import matches, newest, order_key, resolve, upstream
from machinectl_agent.provisioners.installed import parse_version


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        ("20.10.6", "5:20.10.6~3-0~debian-bookworm", True),
        ("v20.10.6", "5:20.10.6~3-0~debian-bookworm", True),
        ("20.10", "5:20.10.6~3-0~debian-bookworm", True),
        ("20.1", "5:20.10.6~3-0~debian-bookworm", False),
        ("20.10.6", "5:20.10.60~3-0~debian-bookworm", False),
        ("5:20.10.6~3-0~debian-bookworm", "5:20.10.6~3-0~debian-bookworm", True),
        ("4:20.10.6~3-0~debian-bookworm", "5:20.10.6~3-0~debian-bookworm", False),
        ("20.10.6~3-0~debian-bookworm", "5:20.10.6~3-0~debian-bookworm", True),
        ("20.10.24", "20.10.24+dfsg1-1+deb12u1+b6", True),
        ("20.10.24+dfsg1", "20.10.24+dfsg1-1+deb12u1", True),
        ("20.10.24+dfsg1-1", "20.10.24+dfsg1-12", False),
        ("26.1", "3:26.1.4-1.el9", True),
        ("26", "3:26.1.4-1.el9", True),
        ("2", "3:26.1.4-1.el9", False),
        ("28.5.2", "1:28.5.2-1", True),
    ],
)
def test_matches_by_components(wanted, version, fits):
    assert matches(wanted, version) is fits


def test_upstream():
    assert upstream("5:20.10.6~3-0~debian-bookworm") == "20.10.6"
    assert upstream("20.10.24+dfsg1-1+deb12u1") == "20.10.24"
    assert upstream("3:26.1.4-1.el9") == "26.1.4"
    assert upstream("") == ""


def test_order_is_by_value_and_by_epoch():
    rising = [
        "20.10.9",
        "20.10.24~rc1",
        "20.10.24",
        "20.10.24+dfsg1-1",
        "20.10.24+dfsg1-1+deb12u1",
        "26.1.4-1",
        "26.1.4-10",
        "26.10.0-1",
        "1:19.3",
        "5:18.09.1~3",
    ]
    assert sorted(set(rising), key=order_key) == rising
    assert newest(rising) == "5:18.09.1~3"
    assert newest([]) is None


def test_resolve_takes_the_highest_that_fits():
    offered = ["3:26.1.3-1.el9", "3:26.1.4-1.el9", "3:27.0.1-1.el9", "3:26.1.10-1.el9"]
    assert resolve("26.1", "docker-ce", offered) == "3:26.1.10-1.el9"


def test_unknown_version_lists_the_offers():
    offered = [f"5:20.10.{number}~3" for number in range(20)]
    with pytest.raises(Problem) as raised:
        resolve("20.11", "docker-ce", offered)
    assert raised.value.code == "engine-version-unknown"
    assert "5:20.10.19~3, 5:20.10.18~3" in raised.value.why
    assert "8 older ones" in raised.value.why
    with pytest.raises(Problem) as nothing:
        resolve("20", "docker-ce", [])
    assert "no source offers" in nothing.value.why


def test_dockerd_says_its_version():
    assert parse_version("Docker version 20.10.24+dfsg1, build 5d6db84") == "20.10.24+dfsg1"
    assert parse_version("Docker version v27.3.1, build ce12230") == "27.3.1"
    assert parse_version("Segmentation fault") == ""
