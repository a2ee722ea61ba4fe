"""Client and server certificates in their files: issued when they must be, else left alone.

A key is written before its certificate, each file atomically. Whatever a kill leaves (a key alone, a key and
a certificate that don't match, half of the copies) is seen by the next `ensure_*`, which compares contents
and trusts no file for being there. A renewal keeps a good key: key and certificate match at any moment.
"""

from __future__ import annotations

import datetime
import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machinectl.pki import certificates
from machinectl.pki.authority import Authority
from machinectl.pki.certificates import CLIENT, SERVER, Usage
from machinectl.pki.pem_files import read_pem, write_pem
from machinectl.pki.shared import names_kept, read_shared, render_ca

LOCAL_NAMES = ("localhost", "127.0.0.1")
"""In every server certificate: tunnels end there, and so do health checks on the host itself."""

REGISTRY_FILES = ("registry.pem", "registry-key.pem")


@dataclass(frozen=True)
class ServerFiles:
    """The certificates of one machine, in its folder of the store; the docker client reads three of them."""

    ca: Path
    server: Path
    server_key: Path
    cert: Path
    key: Path
    reason: str
    """Why the server certificate was issued just now; empty: the one that was there is good."""


def ensure_client(authority: Authority, certs: Path, *, new_key: bool = False) -> str:
    """cert.pem and key.pem in `certs`. The caller holds the store's lock.

    Gives the reason for issuing a new one, empty if the present one is good.
    """
    return _ensure_leaf(
        authority,
        certs / "cert.pem",
        certs / "key.pem",
        common_name=_login_name(),
        usage=CLIENT,
        names=(),
        new_key=new_key,
    )


def hand_out_client(authority: Authority, folder: Path) -> None:
    """The client certificate of `authority`'s folder becomes that of one machine, too."""
    _copy(read_pem(authority.folder / "key.pem"), folder / "key.pem")
    _copy(read_pem(authority.folder / "cert.pem"), folder / "cert.pem")


def ensure_machine_client(authority: Authority, folder: Path) -> tuple[Path, Path]:
    """A client certificate of one machine's own (etcd-client.pem, etcd-client-key.pem in its folder, whose name
    is the common name). The caller holds the store's lock."""
    certificate, key = folder / "etcd-client.pem", folder / "etcd-client-key.pem"
    _ensure_leaf(authority, certificate, key, common_name=folder.name, usage=CLIENT, names=(), new_key=False)
    return certificate, key


def ensure_member(authority: Authority, folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """An etcd member's certificate (etcd-server.pem, etcd-server-key.pem), for clients, for peers and as a peer's
    client. The caller holds the store's lock."""
    certificate, key = folder / "etcd-server.pem", folder / "etcd-server-key.pem"
    wanted = tuple(dict.fromkeys((*names, *LOCAL_NAMES)))
    _ensure_leaf(
        authority, certificate, key, common_name=folder.name, usage=SERVER, names=wanted, new_key=False
    )
    return certificate, key


def ensure_registry(authority: Authority, folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """The certificate of a machine's registries (registry.pem, registry-key.pem). The caller holds the store's
    lock."""
    certificate, key = (folder / name for name in REGISTRY_FILES)
    wanted = tuple(dict.fromkeys((*names, *LOCAL_NAMES)))
    _ensure_leaf(
        authority, certificate, key, common_name=folder.name, usage=SERVER, names=wanted, new_key=False
    )
    return certificate, key


def drop_registry(folder: Path) -> None:
    """The next `ensure_registry` makes a new key. The caller holds the store's lock."""
    for name in REGISTRY_FILES:
        (folder / name).unlink(missing_ok=True)


def ensure_server(
    authority: Authority, folder: Path, names: Sequence[str], *, new_key: bool = False
) -> ServerFiles:
    """The server certificate of one machine for `names` (addresses and DNS names), and the client's files.

    Issued again only if the names, the CA or the expiry (30 days ahead) ask for it. `folder` is the machine's
    in the store; its name becomes the common name. The caller holds the store's lock, as the client
    certificate that is copied from the CA's folder is shared. Raises CertificateError for a name that fits
    no certificate.
    """
    ensure_client(authority, authority.folder)
    names = names_kept(folder, names)
    files = {name: folder / f"{name}.pem" for name in ("ca", "server", "server-key", "cert", "key")}
    reason = _ensure_leaf(
        authority,
        files["server"],
        files["server-key"],
        common_name=folder.name,
        usage=SERVER,
        names=tuple(dict.fromkeys((*names, *LOCAL_NAMES))),
        new_key=new_key,
    )
    others = read_shared(folder, authority.certificate).others
    _copy(render_ca(authority.certificate, others), files["ca"])
    hand_out_client(authority, folder)
    return ServerFiles(
        ca=files["ca"],
        server=files["server"],
        server_key=files["server-key"],
        cert=files["cert"],
        key=files["key"],
        reason=reason,
    )


def server_problem(certs: Path, folder: Path, names: Sequence[str]) -> str:
    """Why `ensure_server` would issue a new server certificate; empty: it would not. Writes nothing."""
    authority = read_pem(certs / "ca.pem")
    certificate, key = read_pem(folder / "server.pem"), read_pem(folder / "server-key.pem")
    if not authority or not certificate or not key:
        return "missing"
    names = tuple(dict.fromkeys((*names_kept(folder, names), *LOCAL_NAMES)))
    now = datetime.datetime.now(datetime.timezone.utc)
    return certificates.leaf_problem(authority, certificate, key, usage=SERVER, names=names, now=now)


def _ensure_leaf(
    authority: Authority,
    certificate_file: Path,
    key_file: Path,
    *,
    common_name: str,
    usage: Usage,
    names: Sequence[str],
    new_key: bool,
) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate, key = read_pem(certificate_file), read_pem(key_file)
    if new_key:
        reason = "asked for"
    elif not certificate or not key:
        reason = "missing"
    else:
        reason = certificates.leaf_problem(
            authority.certificate, certificate, key, usage=usage, names=names, now=now
        )
    if not reason:
        return ""
    if new_key or not certificate or not key or certificates.key_problem(key, certificate):
        key = certificates.new_key()
        write_pem(key_file, key)
    certificate = certificates.make_leaf(
        authority.certificate,
        authority.key,
        key,
        common_name=common_name,
        usage=usage,
        names=names,
        now=now,
    )
    write_pem(certificate_file, certificate)
    return reason


def _copy(content: bytes, target: Path) -> None:
    if read_pem(target) != content:
        write_pem(target, content)


def _login_name() -> str:
    """dockerd's authorization plugins get the certificate's common name as the user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "machinectl"
