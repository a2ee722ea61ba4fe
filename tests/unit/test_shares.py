"""Shared volumes: what is written on the machines, and what the command line means."""

from __future__ import annotations

import argparse
import json

import pytest

from machinectl.actions.shares.share import decide
from machinectl.cli.volume_share import names_of, render_table
from machinectl.errors import UsageError
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.checks import no_nfs_client, no_nfs_server
from machinectl_agent.shares.naming import check_folder, check_share
from machinectl_agent.shares.nfs import fsid, has_own_file_system, is_part, render_exports, volume_options
from machinectl_agent.shares.record import Client, Record, read_record, write_record
from machinectl_agent.shares.sftp import render_authorized
from machinectl_agent.shares.sshfs import UNITS, server_of, sshfs_words, telling, units
from machinectl_agent.templates import render

RECORD = Record(
    "data", "sshfs", "data", "/var/lib/docker/volumes/data/_data", 2201,
    {"b": Client("10.0.0.3", "ssh-ed25519 BBB"), "a": Client("fd00::2", "ssh-ed25519 AAA")},
)  # fmt: skip


def test_exports():
    comment, line, end = render_exports(RECORD).split("\n")
    assert comment.startswith("# written by machinectl")
    options = f"rw,sync,no_subtree_check,no_root_squash,fsid={fsid('data')}"
    assert line == f"/var/lib/docker/volumes/data/_data 10.0.0.3({options}) fd00::2({options})"
    assert end == ""
    assert fsid("data") != fsid("data2")


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 254:16 / /srv/disk rw,relatime shared:9 - xfs /dev/vdb rw
41 22 254:1 /home/x /srv/bound rw,relatime - ext4 /dev/vda1 rw
42 22 0:45 /@sub /srv/sub rw,relatime - btrfs /dev/vdc rw
43 22 254:17 / /srv/covered rw,relatime - xfs /dev/vdd rw
44 22 254:1 /home/y /srv/covered rw,relatime - ext4 /dev/vda1 rw
"""


@pytest.mark.parametrize(
    ("folder", "own"),
    [
        ("/srv/disk", True),
        ("/srv/disk/below", False),
        ("/srv/bound", False),
        ("/srv/sub", False),
        ("/srv/covered", False),
        ("/var/lib/docker/volumes/data/_data", False),
        ("", False),
    ],
)
def test_what_has_a_file_system_of_its_own(folder, own):
    assert has_own_file_system(MOUNTS, folder) == own


def test_a_volume_that_is_yet_to_be_made_is_a_part_of_dockers_disk(tmp_path):
    host = Host(str(tmp_path))
    host.write(
        "/proc/self/mountinfo", f"22 1 254:1 / / rw - ext4 /dev/vda1 rw\n40 22 254:16 / {tmp_path} rw -\n"
    )
    (tmp_path / "link").symlink_to(tmp_path)
    found = {one: is_part(host, one) for one in ("", str(tmp_path), f"{tmp_path}/link", f"{tmp_path}/proc")}
    assert list(found.values()) == [True, False, False, True]


@pytest.mark.parametrize(
    ("wish", "present", "lacking", "beside", "via", "about", "said"),
    [
        ("auto", "", {}, False, "nfs", "", ""),
        ("auto", "", {}, True, "sshfs", "a", "no file system of its own"),
        ("auto", "", {"b": "no nfsv4"}, True, "sshfs", "b", "no nfsv4: sshfs instead of NFS"),
        ("auto", "nfs", {}, True, "nfs", "a", "root on the other machines can reach the whole file system"),
        ("auto", "sshfs", {}, False, "sshfs", "", ""),
        ("nfs", "", {}, True, "nfs", "a", "root on the other machines can reach the whole file system"),
        ("nfs", "", {}, False, "nfs", "", ""),
        ("nfs", "", {"b": "no nfsv4"}, True, "nfs", "", ""),
        ("sshfs", "", {}, True, "sshfs", "", ""),
    ],
)
def test_nfs_is_chosen_where_it_gives_no_more_than_the_share(
    wish, present, lacking, beside, via, about, said
):
    chosen = decide(wish, present, "a", lacking, beside=beside)
    assert chosen[:2] == (via, about)
    assert said in chosen[2] and bool(said) == bool(chosen[2])


def test_an_nfs_volume():
    assert volume_options("10.0.0.1", "/v/_data", "4.2") == {
        "type": "nfs", "o": "addr=10.0.0.1,nfsvers=4.2,rw,hard,timeo=600,retrans=2", "device": ":/v/_data",
    }  # fmt: skip


def test_keys_are_for_one_purpose_and_one_address():
    assert render_authorized(RECORD).splitlines() == [
        'restrict,from="fd00::2",command="internal-sftp" ssh-ed25519 AAA a',
        'restrict,from="10.0.0.3",command="internal-sftp" ssh-ed25519 BBB b',
    ]


def test_sshfs_words_need_no_quotes():
    words = sshfs_words("data", "fd00::1", 2201)
    assert words[-2:] == ["root@[fd00::1]:/", "/var/lib/machinectl-shares/data"]
    assert "StrictHostKeyChecking=yes" in words[3]
    assert not any(sign in " ".join(words) for sign in "\"'%$\\")


def test_a_record(tmp_path):
    host = Host(str(tmp_path))
    assert read_record(host, "data") is None
    write_record(host, RECORD)
    assert read_record(host, "data") == RECORD
    assert host.mode("/etc/machinectl-shares/data/share.json") == 0o600
    host.write("/etc/machinectl-shares/data/share.json", json.dumps({"name": "data"}))
    with pytest.raises(Problem):
        read_record(host, "data")


def test_whose_share_a_mount_is(tmp_path):
    host = Host(str(tmp_path))
    assert server_of(host, "data") == ""
    assert units(host) == {}
    text = render(
        "machinectl-mount.service", name="data", server="node-1.x", mountpoint="/m", sshfs="sshfs", words=""
    )
    host.write(f"{UNITS}/machinectl-mount-data.service", text)
    assert server_of(host, "data") == "node-1.x"
    host.write(f"{UNITS}/machinectl-mount-some.service.service", "[Unit]\n")
    host.write(f"{UNITS}/another.service", text)
    assert units(host) == {"data": "node-1.x", "some.service": ""}


def test_the_table_of_shares():
    row = {"share": "data", "via": "sshfs", "place": "", "from": "", "to": [], "state": "mounted"}
    rows = [
        {**row, "machine": "a", "to": ["b", "c"], "state": "serving", "place": "data"},
        {**row, "machine": "b", "from": "a"},
    ]
    assert [line.split() for line in render_table(rows).splitlines()] == [
        ["MACHINE", "SHARE", "WAY", "FROM/TO", "STATE"],
        ["a", "data", "sshfs", "to", "b,", "c", "serving"],
        ["b", "data", "sshfs", "from", "a", "mounted"],
    ]


def test_names_and_folders():
    assert check_share("my.share_1-x") == "my.share_1-x"
    for bad in ("", "-a", "a/b", "a b", "a" * 65, "%i"):
        with pytest.raises(Problem):
            check_share(bad)
    assert check_folder("/srv/a-b.c") == "/srv/a-b.c"
    for bad in ("/srv/a b", '/a"b', "/a:b", "/a%b", "rel", "/a$b"):
        with pytest.raises(Problem):
            check_folder(bad)


def test_kernels(tmp_path):
    host = Host(str(tmp_path))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\n")
    assert "has no NFS client (module nfsv4)" in no_nfs_client(host)
    (tmp_path / "proc/filesystems").write_text("nodev\tnfsd\nnodev\tnfs4\n")
    assert (no_nfs_server(host), no_nfs_client(host)) == ("", "")


def test_what_sshfs_said():
    journal = "Starting machinectl-mount-data.service - …\nssh: connect to host x: Connection refused\nread: Connection reset by peer\nmachinectl-mount-data.service: Failed\n"
    assert telling(journal) == "ssh: connect to host x: Connection refused\nread: Connection reset by peer"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("n1:data", "", ""), ("n1", "data", "data")),
        (("data", "n1", ""), ("n1", "data", "data")),
        (("n1:/srv/up", "n1", ""), ("n1", "/srv/up", "up")),
        (("n1:data", "", "other"), ("n1", "data", "other")),
        (("data", "", ""), None),
        (("n1:data", "n2", ""), None),
        (("n1:", "", ""), None),
        (("n1:/", "", ""), None),
    ],
)
def test_words(words, names):
    args = argparse.Namespace(**dict(zip(("volume", "source", "name"), words, strict=True)))
    if names is None:
        with pytest.raises(UsageError):
            names_of(args)
    else:
        assert names_of(args) == names
