"""Images with an engine: docker.io as a layer over a suite's image, for hosts whose installation is not the point.

Unpacking it takes a core ten seconds on every host; the layer takes them once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from machinectl.lab.images import build_lock, ensure_image, image_path
from machinectl.lab.prepare import resolver_text
from machinectl.lab.tools import call

_INSTALL = """set -e
mount -t proc proc /proc
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -q
client=$(apt-cache pkgnames docker-cli | grep -x docker-cli || :)
apt-get install -y -q --no-install-recommends docker.io $client iptables ca-certificates
apt-get clean
rm -rf /usr/sbin/policy-rc.d /etc/resolv.conf /etc/docker /var/lib/apt/lists/*
umount /proc
"""
"""No service is started here (policy-rc.d, invoke-rc.d(8)); docker.service starts at a host's first boot."""


def ensure_engine(cache: Path, suite: str, say: Callable[[str], None]) -> tuple[Path, ...]:
    """The layer and the image below it, as an overlay mount's lower folders. Raises `LabError`.

    Built beside its place and renamed, as the image is.
    """
    image = ensure_image(cache, suite, say)
    target = engine_path(cache, suite)
    if target.is_dir():
        return target, image
    with build_lock(cache, f"{suite}-engine", say):
        if target.is_dir():
            return target, image
        building = target.with_name(f"{target.name}.building")
        for path in (building, work := target.with_name(f"{target.name}.work")):
            if path.exists():
                shutil.rmtree(path)
            path.mkdir()
        say(f"installing an engine for {suite}: half a minute, once")
        (building / "etc").mkdir()
        (building / "etc/resolv.conf").write_text(resolver_text())
        options = f"lowerdir={image},upperdir={building},workdir={work}"
        # in namespaces of its own: of mounts and processes nothing is left, however it ends
        script = f'mount -t overlay machinectl-lab -o "{options}" /mnt && chroot /mnt sh -c "$1"'
        call(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", _INSTALL],
            deadline=600,
            why=f"docker.io could not be installed in the image for {suite}",
        )
        shutil.rmtree(work)
        building.rename(target)
    return target, image


def engine_path(cache: Path, suite: str) -> Path:
    """Part of the name is the image's: a layer fits the image that it was made over only."""
    return image_path(cache, suite).with_name(f"{image_path(cache, suite).name}-engine")
