"""Which mirror the lab's hosts use: whatever this machine's apt does."""

from __future__ import annotations

import pytest

from machinectl.errors import LabError
from machinectl.lab.sources import (
    Source,
    debian_mirror,
    parse_deb822,
    parse_lines,
    read_sources,
    render_apt_conf,
    render_sources,
)

DEB822 = """# made by the installer
Types: deb deb-src
# an older one: http://old.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_both_formats_are_read():
    assert parse_deb822(DEB822) == [
        Source("http://mirror.example/debian", ("bookworm", "bookworm-updates")),
        Source("http://mirror.example/debian-security", ("bookworm-security",)),
    ]
    lines = """
# deb http://off.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib
deb-src http://mirror.example/debian bookworm main
deb http://engine.example/linux/debian bookworm stable
"""
    assert parse_lines(lines) == [Source("http://mirror.example/debian", ("bookworm",))]


def test_a_mirror_list_is_followed_and_other_files_are_not(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "mirrors.list").write_text("# nearest first\nhttps://near.example/debian\tpriority:1\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(
        f"Types: deb\nURIs: mirror+file://{tmp_path}/mirrors.list\nSuites: trixie trixie-updates\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/gone.sources").write_text(
        f"Types: deb\nURIs: mirror+file:{tmp_path}/nothing\nSuites: trixie\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/debian.sources.bak").write_text(DEB822)
    assert read_sources(tmp_path) == [Source("https://near.example/debian", ("trixie", "trixie-updates"))]


@pytest.mark.parametrize(
    "others",
    [
        [Source("https://shop.example/stable/deb/debian", ("any-version",))],
        [Source("https://vpn.example/stable/debian", ("bookworm",))],
    ],
)
def test_repositories_of_others_are_no_mirror(others):
    mirror = Source("http://mirror.example/debian/", ("bookworm",))
    updates = Source("http://mirror.example/debian/", ("bookworm-updates",))
    assert debian_mirror([*others, mirror, updates]) == "http://mirror.example/debian/"


def test_a_mirror_without_updates_will_do():
    shop = Source("https://shop.example/deb/debian", ("any-version",))
    assert debian_mirror([shop, Source("http://m.example/debian", ("sid",))]) == "http://m.example/debian"
    with pytest.raises(LabError, match="no Debian mirror") as refused:
        debian_mirror([shop, Source("http://m.example/ubuntu", ("noble", "noble-updates"))])
    assert "MACHINECTL_LAB_MIRROR" in refused.value.hint


def test_updates_and_security_where_the_machine_has_them():
    sources = parse_deb822(DEB822)
    assert render_sources("trixie", "http://mirror.example/debian", sources) == (
        "deb http://mirror.example/debian trixie main\n"
        "deb http://mirror.example/debian trixie-updates main\n"
        "deb http://mirror.example/debian-security trixie-security main\n"
    )
    assert (
        render_sources("sid", "http://m.example/debian", sources) == "deb http://m.example/debian sid main\n"
    )
    plain = [Source("http://m.example/debian", ("bookworm",))]
    assert render_sources("bookworm", "http://m.example/debian", plain).count("\n") == 1


def test_the_machines_proxies_are_kept():
    dump = """Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::https::Proxy "";
Acquire::Languages:: "none";
"""
    written = render_apt_conf(dump).splitlines()
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in written
    assert 'Acquire::http::Proxy::mirror.example "DIRECT";' in written
    assert not any("https" in line for line in written)
