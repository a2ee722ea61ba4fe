"""Base images: one Debian system per suite, made by debootstrap once and kept in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from machinectl.errors import LabError
from machinectl.lab.settings import SUITES
from machinectl.lab.sources import debian_mirror, read_sources, render_apt_conf, render_sources
from machinectl.lab.tools import call

PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,sudo,python3,iproute2,iptables,ca-certificates,procps,"
    "iputils-ping,kmod,curl,busybox-static"
)
"""What a small server has; busybox-static is there for images without a registry."""

VERSION = "1"
"""Part of the image's name; goes up when what is in it changes, so that old ones are not used any more."""

PASSWORD = "lab-password"  # noqa: S105 - of a user that exists in lab hosts only, for trying sudo with one


def image_path(cache: Path, suite: str) -> Path:
    return cache / "images" / f"{suite}-{VERSION}"


def list_images(cache: Path) -> list[str]:
    """Suites whose image is there."""
    return [suite for suite in SUITES if image_path(cache, suite).is_dir()]


def ensure_image(cache: Path, suite: str, say: Callable[[str], None]) -> Path:
    """The image's folder, built where it is missing (about a minute). Raises `LabError`.

    Built beside its place and renamed: what a crash leaves is no image and is removed by the next build.
    """
    if suite not in SUITES:
        raise LabError(f"there is no suite {suite!r}", hint=f"one of {', '.join(SUITES)}, mixed")
    target = image_path(cache, suite)
    if target.is_dir():
        return target
    with build_lock(cache, suite, say):
        if target.is_dir():
            return target
        building = target.with_name(f"{target.name}.building")
        if building.exists():
            shutil.rmtree(building)
        say(f"building the image for {suite}: about a minute, once")
        _build(building, suite)
        building.rename(target)
    return target


def remove_image(cache: Path, suite: str) -> None:
    """No error where it is gone already. Raises `LabError` while hosts run from it, in whichever lab."""
    target = image_path(cache, suite)
    mounted = re.findall(r"lowerdir=([^, ]*)", Path("/proc/mounts").read_text())
    if str(target) in {one for lower in mounted for one in lower.split(":")}:
        raise LabError(f"hosts run from the image for {suite}", hint="machinectl lab down")
    doomed = target.with_name(f"{target.name}.removing")
    layer = target.with_name(f"{target.name}-engine")  # engines.py
    with build_lock(cache, suite, lambda _: None):
        if target.is_dir() and not doomed.exists():
            target.rename(doomed)
        for path in (layer, target, doomed):  # the last two, where an earlier removal was interrupted
            if path.exists():
                shutil.rmtree(path)


def _build(root: Path, suite: str) -> None:
    sources = read_sources()
    mirror = os.environ.get("MACHINECTL_LAB_MIRROR") or debian_mirror(sources)
    root.parent.mkdir(parents=True, exist_ok=True)
    call(
        # debootstrap mounts /proc and /sys in the new system: with namespaces of its own nothing of it is left,
        # neither mounts nor processes, however it ends
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            suite,
            str(root),
            mirror,
        ],
        deadline=900,
        why=f"debootstrap could not make the image for {suite}",
    )
    apt = root / "etc/apt"
    (apt / "sources.list").write_text(render_sources(suite, mirror, sources))
    (apt / "apt.conf.d/90lab").write_text(render_apt_conf(call(["apt-config", "dump", "Acquire"]).stdout))
    for name in (root / "etc/ssh").glob("ssh_host_*"):
        name.unlink()  # every host gets its own
    (root / "etc/ssh/sshd_config.d").mkdir(exist_ok=True)
    (root / "etc/ssh/sshd_config.d/lab.conf").write_text("UseDNS no\nMaxStartups 100\n")
    _add_users(root)
    # no udev and no network manager in the hosts: these would wait for them
    for unit in ("systemd-networkd-wait-online.service", "systemd-udev-settle.service"):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "etc/machine-id").write_text("")


def _add_users(root: Path) -> None:
    """`ops` may use sudo without a password, `opspw` with one, `plain` not at all."""
    for user in ("ops", "opspw", "plain"):
        call(["chroot", str(root), "useradd", "-m", "-s", "/bin/bash", user])
    call(["chroot", str(root), "chpasswd"], stdin=f"opspw:{PASSWORD}\n")
    sudoers = root / "etc/sudoers.d/lab"
    sudoers.write_text("ops ALL=(ALL) NOPASSWD: ALL\nopspw ALL=(ALL) ALL\n")
    sudoers.chmod(0o440)


@contextlib.contextmanager
def build_lock(cache: Path, suite: str, say: Callable[[str], None]) -> Iterator[None]:
    """flock(2) per suite: two labs that need the same image build it once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{suite}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of the image for {suite}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
