"""A busybox image without a registry, from Debian's busybox-static of a lab image."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from machinectl.errors import LabError
from machinectl.lab.images import image_path
from machinectl.lab.settings import SUITES


def busybox_tar(cache: Path) -> bytes:
    """A root file system for `docker import - busybox:latest`: /bin with every applet, /etc/passwd, /tmp.

    Raises `LabError` where no lab image is there to take the program from.
    """
    for suite in SUITES:
        program = image_path(cache, suite) / "bin/busybox"
        if program.exists():
            break
    else:
        raise LabError(
            "no lab image is there to take busybox from", hint="machinectl lab images build bookworm"
        )
    applets = subprocess.run([str(program), "--list"], capture_output=True, text=True, check=True, timeout=20)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        _folder(tar, "bin", 0o755)
        _folder(tar, "etc", 0o755)
        _folder(tar, "tmp", 0o1777)
        _folder(tar, "root", 0o700)
        _file(tar, "bin/busybox", program.read_bytes(), 0o755)
        _file(
            tar,
            "etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            0o644,
        )
        _file(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)
        for applet in applets.stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return packed.getvalue()


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
