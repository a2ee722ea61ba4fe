"""The CAs of registries as files that dockerd reads at each pull: /etc/docker/certs.d/HOST:PORT/ca.crt.

They are part of the phase `files`: kept, recorded and taken back like any other file.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Tuple

from machinectl_agent.problems import Problem
from machinectl_agent.spec import FileSpec, Spec

FOLDER = "/etc/docker/certs.d"
PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:\d{1,5})?")


def wanted_files(spec: Spec) -> Tuple[FileSpec, ...]:
    """The user's own files and these. Raises `Problem` for what is no certificate, or where both name a file."""
    cas = tuple(_file(place, text) for place, text in sorted(spec.host.registry_cas.items()))
    own = {one.path for one in spec.files}
    twice = next((one.path for one in cas if one.path in own), "")
    if twice:
        raise Problem(
            "file-twice", f"{twice} is wanted by `files` and by `registry-cas`", hint="leave one out"
        )
    return (*spec.files, *cas)


def _file(place: str, text: str) -> FileSpec:
    if not PLACE.fullmatch(place):
        raise Problem("registry-ca", f"{place!r} is no registry", hint="write it as HOST:PORT")
    import ssl  # noqa: PLC0415 - 3 ms, and most machines want none

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise Problem("registry-ca", f"what is given as the CA of {place} is no certificate") from None
    content = text.encode()
    return FileSpec(
        path=f"{FOLDER}/{place}/ca.crt",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        content=base64.b64encode(content).decode(),
    )
