"""What makes a host out of an image: its name, address, keys; written into its overlay before it boots."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.network import uplink_mtu
from machinectl.lab.tools import call

UNIT = """[Unit]
Description=Address of this lab host
DefaultDependencies=no
Before=network.target ssh.service systemd-sysctl.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip addr replace {ip}/{prefix} dev host0 && ip link set host0 mtu {mtu} up \\
  && ip route replace default via {gateway}'
# a new network namespace has the machine's setting, which the lab has raised: a bare host's is 0
ExecStart=/bin/sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'
{more}[Install]
WantedBy=sysinit.target
"""
"""The host sets its address itself, so that it comes back from any reboot without help."""

WRITABLE_CGROUPS = """# nspawn mounts cgroup v1 read-only, and engines make groups of their own
ExecStart=/bin/sh -c 'for one in /sys/fs/cgroup/*; do \\
  mount -o remount,bind,rw,nosuid,nodev,noexec "$one" 2> /dev/null || :; done'
"""


def prepare(host: Host) -> None:
    """Fills a new host's upper layer. What a crash left of an earlier try is thrown away."""
    if host.folder.exists():
        host.delete()
    upper = host.folder / "upper"
    etc = upper / "etc"
    for folder in (etc / "ssh", etc / "systemd/system/sysinit.target.wants", upper / "root/.ssh"):
        folder.mkdir(parents=True)
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "hosts").write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{host.name}\n")
    (etc / "resolv.conf").write_text(resolver_text())
    network = host.settings.network
    unit = UNIT.format(
        ip=host.ip,
        prefix=network.prefixlen,
        mtu=uplink_mtu(),
        gateway=host.settings.gateway,
        more=WRITABLE_CGROUPS if host.record.cgroup == "v1" else "",
    )
    (etc / "systemd/system/lab-address.service").write_text(unit)
    wanted = etc / "systemd/system/sysinit.target.wants/lab-address.service"
    wanted.symlink_to("/etc/systemd/system/lab-address.service")
    for kind in ("ed25519", "ecdsa"):
        call(
            [
                "ssh-keygen",
                "-q",
                "-t",
                kind,
                "-N",
                "",
                "-C",
                host.name,
                "-f",
                str(etc / f"ssh/ssh_host_{kind}_key"),
            ]
        )


def resolver_text(folder: Path = Path("/")) -> str:
    """The machine's resolv.conf; with a resolver on its loopback, which is nobody in a host, what that one asks."""
    for name in ("etc/resolv.conf", "run/systemd/resolve/resolv.conf"):
        path = folder / name
        text = path.read_text() if path.exists() else ""
        if text and not re.search(r"^nameserver\s+(127\.|::1)", text, re.MULTILINE):
            return text
    return ""


def let_in(host: Host) -> None:
    """The lab's key for root and the three users; needs the mounted root, for the users' numbers."""
    public = Path(f"{host.key}.pub").read_text()
    homes = [host.root / "root", *(host.root / "home" / user for user in ("ops", "opspw", "plain"))]
    for home in homes:
        folder = home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        (folder / "authorized_keys").write_text(public)
        owner = home.stat()
        for path in (folder, folder / "authorized_keys"):
            shutil.chown(path, owner.st_uid, owner.st_gid)


def drop_python(host: Host) -> None:
    """A host without Python, which is normal on small systems. Needs the mounted root."""
    names = call(["chroot", str(host.root), "dpkg-query", "-W", "-f", "${Package}\n"]).stdout.split()
    python = [name for name in names if name.startswith(("python3", "libpython3"))]
    call(["chroot", str(host.root), "dpkg", "--purge", "--force-depends", *python])
