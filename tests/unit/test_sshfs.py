"""What sshfs is told, and what `mount` reads of its words."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from machinectl.cli.mount import parse_source
from machinectl.errors import UsageError
from machinectl.remote.openssh import render_ssh
from machinectl.remote.sshconfig import Settings
from machinectl.remote.sshfs import render_sshfs


def test_everything_of_ssh_is_kept():
    jump = Settings("bastion", "bastion", 22, "me")
    last = Settings("fd00::7", "fd00::7", 2222, "ops", identity_files=(Path("/k,e\\y"),), jump="bastion")
    ssh = render_ssh([jump, last], Path("/store/known_hosts"), key=True, config="/etc/my config")
    told = render_sshfs(ssh, "/srv/a b", "/mnt/x", ["ro"])
    assert told[0] == "sshfs"
    assert told[-3:] == ["--", "ops@[fd00::7]:/srv/a b", "/mnt/x"]
    assert told[1:3] == ["-F", "/etc/my config"]
    options = [value for word, value in itertools.pairwise(told) if word == "-o"]
    assert "Port=2222" in options
    assert 'IdentityFile="/k\\,e\\\\y"' in options
    assert "IdentitiesOnly=yes" in options
    assert 'UserKnownHostsFile="/store/known_hosts"' in options
    assert "HostKeyAlias=[fd00::7]:2222" in options
    assert "StrictHostKeyChecking=yes" in options
    assert [one for one in options if one.startswith("ProxyCommand=ssh ") and "bastion" in one]
    assert options[-3:] == ["reconnect", "sshfs_verbose", "ro"]


def test_sources():
    assert parse_source("web1:/srv") == ("", "web1", "/srv")
    assert parse_source("ops@web1:a:b") == ("ops", "web1", "a:b")
    assert parse_source("web1:") == ("", "web1", "")
    assert parse_source("/srv") == ("", "", "/srv")
    for wrong in (":/srv", "ops@:/srv"):
        with pytest.raises(UsageError):
            parse_source(wrong)
