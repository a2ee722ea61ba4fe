"""volume share on real hosts: by sshfs, as the lab's kernel lacks NFS; and NFS as far as it goes without."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from machinectl_agent.shares.nfs import render_exports, volume_options
from machinectl_agent.shares.record import Client, Record
from tests.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE in the machine's kernel"),
]

HAS_NFS = "nfsd" in Path("/proc/filesystems").read_text()


@pytest.fixture(scope="module")
def pair(make_host, new_controller, busybox):
    """A machine that has the volume, and another one."""
    controller = new_controller()
    hosts = [make_host("share1", engine=True), make_host("share2", "trixie", engine=True)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(controller.create, hosts))
    for host in hosts:
        controller.docker(host.name, "import", "-", "busybox:latest", stdin=busybox)
    controller.hosts = hosts
    return controller


def shares_of(controller):
    return json.loads(controller.run("volume", "shares", "--output", "json").stdout)


def shell(controller, name, script, *words, check=True):
    run = ("run", "--rm", *words, "-v", "data:/data", "busybox", "sh", "-c", script)
    return controller.docker(name, *run, check=check)


@pytest.mark.skipif(HAS_NFS, reason="this kernel has NFS")
def test_nfs_that_the_kernel_lacks_is_told(pair):
    refused = pair.run("volume", "share", "data", "--from", "share1", "--via", "nfs", check=False)
    assert refused.returncode == 3
    assert "share1: this host can't serve NFS\n  why: the kernel " in refused.stderr
    assert "share2: this host can't mount NFS\n  why: the kernel " in refused.stderr
    assert refused.stderr.count("try: --via sshfs") == 2
    for host in pair.hosts:
        assert (
            "data"
            not in host.run("docker volume ls -q; ls /etc/exports.d /etc/machinectl-shares || :").stdout
        )


def test_two_machines_have_one_volume(pair):
    words = () if HAS_NFS else ("--via", "auto")
    done = pair.run("volume", "share", "share1:data", *words, "--via", "sshfs" if HAS_NFS else "auto")
    assert done.stdout == "share2: volume data is data of share1, by sshfs\n"
    if not HAS_NFS:
        assert "has no NFS" in done.stderr
    shell(pair, "share1", "echo one > /data/a; mkdir /data/d; chown 1234:55 /data/a")
    assert (
        shell(pair, "share2", "cat /data/a; stat -c %u:%g /data/a; echo two > /data/d/b; chown 77 /data/d/b")
        == "one\n1234:55"
    )
    assert shell(pair, "share1", "cat /data/d/b; stat -c %u /data/d/b; rm /data/a") == "two\n77"
    until(lambda: shell(pair, "share2", "ls /data") == "d")
    before = pair.hosts[1].run("systemctl show -P MainPID machinectl-mount-data").stdout
    row = {"share": "data", "via": "sshfs", "place": "", "from": "", "to": []}
    assert shares_of(pair) == [
        {"machine": "share1", **row, "place": "data", "to": ["share2"], "state": "serving"},
        {"machine": "share2", **row, "from": "share1", "state": "mounted"},
    ]
    again = pair.run("volume", "share", "share1:data")
    assert again.stdout == "share2: volume data is data of share1, by sshfs, as before\n"
    assert pair.hosts[1].run("systemctl show -P MainPID machinectl-mount-data").stdout == before


def test_what_is_shared_is_neither_replaced_nor_removed(pair, tmp_path):
    root = "/var/lib/docker/volumes"
    for place in ("share1:data", "share2:data"):
        said = pair.run("volume", "backup", place, tmp_path / "data")
        assert "warning: other machines may write to data while it is copied" in said.stderr
    said = pair.run("volume", "clone", "share1:data", "share1:copy")
    assert "warning: other machines may write to data" in said.stderr
    pair.run("volume", "rm", "share1:copy")
    for words in (
        ("rm", "share1:data"),
        ("migrate", "share1:data", "share2:other"),
        ("restore", "--replace", tmp_path / "data", "share1:data"),
        ("rm", "--yes", f"share1:{root}/data/_data/d"),
        ("rm", "--yes", f"share1:{root}/data"),
    ):
        refused = pair.run("volume", *words, check=False)
        assert refused.returncode == 1
        assert "is shared with other machines" in refused.stderr, (words, refused.stderr)
        assert "machinectl volume unshare" in refused.stderr
    assert shell(pair, "share2", "cat /data/d/b") == "two"
    assert pair.docker("share2", "volume", "ls", "-q") == "data"


def test_the_key_opens_this_share_and_nothing_else(pair, tmp_path):
    first, second = pair.hosts
    port = json.loads(first.run("cat /etc/machinectl-shares/data/share.json").stdout)["port"]
    home = "/etc/machinectl-shares/data"
    ssh = f"-F /dev/null -i {home}/key -o UserKnownHostsFile={home}/known_hosts -o HostKeyAlias=data -o BatchMode=yes"
    refused = second.run(f"ssh {ssh} -p {port} root@{first.ip} id", check=False)
    assert "sftp connections only" in refused.stdout
    seen = second.run(
        f"printf 'ls -a /\\nget /etc/passwd /tmp/x\\nls /data\\n' | sftp {ssh} -P {port} root@{first.ip}",
        check=False,
    )
    assert '/etc/passwd" not found' in seen.stderr
    assert "/data/d" in seen.stdout
    forwarded = second.run(f"ssh {ssh} -p {port} -W 127.0.0.1:2376 root@{first.ip} </dev/null", check=False)
    assert forwarded.returncode
    # the host's own sshd shows another host key than the pinned one, and does not know this one
    own = second.run(f"ssh {ssh} root@{first.ip} id", check=False)
    assert "Host key verification failed" in own.stderr
    unpinned = ssh.replace(f"{home}/known_hosts", "/dev/null") + " -o StrictHostKeyChecking=no"
    own = second.run(f"ssh {unpinned} root@{first.ip} id", check=False)
    assert "Permission denied" in own.stderr
    # the same key from elsewhere: from here
    key = tmp_path / "key"
    key.write_text(second.run(f"cat {home}/key").stdout)
    key.chmod(0o600)
    away = subprocess.run(
        ["sftp", "-F", "/dev/null", "-i", key, "-P", str(port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
         "-o", f"UserKnownHostsFile={tmp_path}/known", f"root@{first.ip}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Permission denied" in away.stderr


def test_it_is_there_again_after_reboots(pair, lab):
    second = pair.hosts[1]
    pair.docker(
        "share2",
        "run",
        "-d",
        "--name",
        "user",
        "--restart",
        "always",
        "-v",
        "data:/data",
        "busybox",
        "sleep",
        "infinity",
    )
    lab.reboot("share1")
    until(
        lambda: pair.docker("share2", "exec", "user", "cat", "/data/d/b", check=False) == "two", 150
    )  # not restarted
    lab.reboot("share2")
    until(lambda: pair.docker("share2", "exec", "user", "cat", "/data/d/b", check=False) == "two", 150)

    in_use = pair.run("volume", "unshare", "share1:data", check=False)
    assert (in_use.returncode, "volume data is in use\n  why: by user (running)" in in_use.stderr) == (
        1,
        True,
    )
    pair.docker("share2", "rm", "-f", "user")
    # booted while the other machine is away: nothing is written into an empty folder, and it comes by itself later
    lab.power_cut("share1")
    lab.reboot("share2")
    until(lambda: second.run("docker info", check=False).returncode == 0, 150)
    away = shell(pair, "share2", "echo lost > /data/lost", check=False)
    assert "no such file or directory" in away
    assert second.run("ls -A /var/lib/machinectl-shares/data").stdout == ""
    half = pair.run("volume", "shares", "--output", "json", check=False)
    assert (half.returncode, "share1: no SSH connection" in half.stderr) == (3, True)
    assert [(row["machine"], row["state"]) for row in json.loads(half.stdout)] == [("share2", "not mounted")]
    lab.start("share1")
    until(lambda: second.run("ls /var/lib/machinectl-shares/data/data/d", check=False).stdout == "b\n", 150)


def test_another_machines_share_is_not_torn_down(pair, make_host):
    """share3 shares nothing: it is asked to take away what share1 shares."""
    second = pair.hosts[1]
    pair.create(make_host("share3", engine=True))
    pair.docker("share2", "run", "-d", "--name", "user", "-v", "data:/data", "busybox", "sleep", "infinity")
    wrong = ("volume", "unshare", "share3:data", "--to", "share2")
    refused = pair.run(*wrong, check=False)
    assert refused.returncode == 1, refused.stdout
    assert "share2: the share data on this machine is of share1, not of share3" in refused.stderr
    assert pair.docker("share2", "exec", "user", "cat", "/data/d/b") == "two"
    # also where the volume is gone and only the mount is left
    pair.docker("share2", "rm", "-f", "user")
    pair.docker("share2", "volume", "rm", "data")
    assert "is of share1, not of share3" in pair.run(*wrong, check=False).stderr
    assert pair.run("volume", "shares", "share[23]").stdout.splitlines()[1:] == [
        "share2    data    sshfs   from share1   no volume",
    ]  # fmt: skip
    second.run("test -e /etc/machinectl-shares/data/key && ls /var/lib/machinectl-shares/data/data/d/b")
    pair.run("volume", "share", "share1:data", "--to", "share2")
    pair.run("rm", "-f", "share3")


def test_unshare_leaves_nothing_behind(pair):
    second = pair.hosts[1]
    done = pair.run("volume", "unshare", "share1:data")
    assert done.stdout == "share2: has data no more\nshare1: shares data no more\n"
    for host in pair.hosts:
        found = host.run(
            "ls -A /etc/machinectl-shares /var/lib/machinectl-shares 2>/dev/null; ls /etc/systemd/system | grep -E 'share|mount-data';"
            " systemctl list-units --all --plain --no-legend 'machinectl-share*' 'machinectl-mount*'; grep fuse.sshfs /proc/mounts; :"
        ).stdout.split()
        assert [one for one in found if not one.endswith(":")] == []
    assert second.run("docker volume ls -q").stdout == ""
    assert shell(pair, "share1", "cat /data/d/b") == "two"
    assert shares_of(pair) == []
    again = pair.run("volume", "unshare", "share1:data", check=False)
    assert (again.returncode, "exports no such share" in again.stderr) == (1, True)


def test_a_port_that_is_closed_and_a_machine_that_is_away(pair, lab):
    first, second = pair.hosts
    first.run("iptables -I INPUT -p tcp --dport 2201 -j REJECT")
    closed = pair.run("volume", "share", "share1:data", "--via", "sshfs", check=False)
    first.run("iptables -D INPUT -p tcp --dport 2201 -j REJECT")
    assert closed.returncode == 1
    assert "share2: the share data of share1 can't be mounted\n  why: ssh: connect to host" in closed.stderr
    assert "TCP port 2201" in closed.stderr
    assert second.run("docker volume ls -q; ls /var/lib/machinectl-shares").stdout == ""
    pair.run("volume", "share", "share1:data")  # again, once it is open
    lab.power_cut("share2")
    away = pair.run("volume", "unshare", "share1:data", check=False)
    assert (away.returncode, "share2: no SSH connection" in away.stderr) == (1, True)
    forced = pair.run("volume", "unshare", "--force", "share1:data")
    assert forced.stdout == "share1: shares data no more\n"
    assert "later: machinectl volume unshare share1:data --to share2" in forced.stderr
    lab.start("share2")
    until(lambda: second.run("docker info", check=False).returncode == 0, 150)
    late = pair.run("volume", "unshare", "share1:data", "--to", "share2")
    assert late.stdout.startswith("share2: has data no more\n")
    assert second.run("docker volume ls -q; ls /etc/machinectl-shares /var/lib/machinectl-shares").stdout.split() == [
        "/etc/machinectl-shares:", "/var/lib/machinectl-shares:",
    ]  # fmt: skip


def test_a_volume_that_is_there_already_is_left_alone(pair):
    pair.hosts[1].run("docker volume create precious")
    refused = pair.run("volume", "share", "share1:precious", check=False)
    assert "there is a volume precious on this machine already" in refused.stderr
    assert not pair.hosts[0].run("docker volume ls -q | grep precious || :").stdout
    assert pair.run("volume", "share", "precious", check=False).returncode == 2  # whose?
    missing = pair.run("volume", "share", "share1:/srv/none", check=False)
    assert "there is no folder /srv/none" in missing.stderr


def test_exports_and_volumes_as_the_real_programs_read_them(pair):
    """exportfs reads our file without the kernel's server; dockerd gets as far as mount(2)."""
    first, second = pair.hosts
    first.run(
        "DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nfs-kernel-server >&2"
    )
    record = Record(
        "data", "nfs", "data", "/var/lib/docker/volumes/data/_data",
        clients={"share2": Client(second.ip), "six": Client("2001:db8::7")},
    )  # fmt: skip
    first.run(
        "mkdir -p /etc/exports.d && cat > /etc/exports.d/machinectl-data.exports",
        stdin=render_exports(record),
    )
    read = first.run("exportfs -ra && exportfs -s").stdout
    assert [line.split("(")[0].split() for line in read.splitlines()] == [
        [record.folder, second.ip], [record.folder, "2001:db8::7"],
    ]  # fmt: skip
    for wanted in ("rw", "sync", "no_subtree_check", "no_root_squash", "fsid=6", "no_all_squash"):
        assert wanted[:4] in read
    first.run("rm /etc/exports.d/machinectl-data.exports && exportfs -ra")
    options = volume_options(first.ip, record.folder, "4.2")
    words = [word for key, value in options.items() for word in ("--opt", f"{key}={value}")]
    pair.docker("share2", "volume", "create", *words, "byhand")
    said = pair.docker("share2", "run", "--rm", "-v", "byhand:/x", "busybox", "true", check=False)
    if not HAS_NFS:
        assert f"addr={first.ip},nfsvers=4.2,hard,timeo=600,retrans=2" in said
        assert "no such device" in said
    pair.docker("share2", "volume", "rm", "byhand")
