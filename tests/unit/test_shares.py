"""Shared volumes: what is written on the machines, and what the command line means."""

from __future__ import annotations

import argparse
import json

import pytest

from machinectl.cli.volume_share import names_of
from machinectl.errors import UsageError
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.checks import no_nfs_client, no_nfs_server
from machinectl_agent.shares.naming import check_folder, check_share
from machinectl_agent.shares.nfs import fsid, render_exports, volume_options
from machinectl_agent.shares.record import Client, Record, read_record, write_record
from machinectl_agent.shares.sftp import render_authorized
from machinectl_agent.shares.sshfs import UNITS, server_of, sshfs_words, telling
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
    text = render(
        "machinectl-mount.service", name="data", server="node-1.x", mountpoint="/m", sshfs="sshfs", words=""
    )
    host.write(f"{UNITS}/machinectl-mount-data.service", text)
    assert server_of(host, "data") == "node-1.x"


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
