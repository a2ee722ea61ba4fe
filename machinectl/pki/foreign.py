"""A machine whose certificates are another store's: it came by `import`, and keeps the CA that its host knows.

    machines/NAME/authority/{ca.pem,cert.pem,key.pem}     and ca-key.pem where it was given along

Without the CA's key its certificates are used as they are, for as long as they are good.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from machinectl.errors import CertificateError
from machinectl.pki.authority import KEY, ensure_authority
from machinectl.pki.leaves import ServerFiles, ensure_server, server_problem
from machinectl.pki.pem_files import OWN_AUTHORITY, authority_folder

__all__ = ["authority_folder", "ensure_machine"]


def ensure_machine(
    certs: Path, folder: Path, names: Sequence[str], *, take_over: bool = False, new_key: bool = False
) -> ServerFiles:
    """`ensure_server` by the CA that the machine's host knows. The caller holds the store's lock.

    `take_over`: by the store's own CA from now on; the other one is put aside. `new_key`: a new certificate
    with a new key, whatever there is. Raises CertificateError where a
    new certificate is needed and the CA's key is not here.
    """
    home = authority_folder(certs, folder)
    if home != certs and take_over:
        _put_aside(home)
        home = certs
    if home == certs or (home / KEY).is_file():
        return ensure_server(ensure_authority(home), folder, names, new_key=new_key)
    if problem := "a new one is asked for" if new_key else server_problem(home, folder, names):
        raise CertificateError(
            "the machine needs a new certificate, and the key of its CA is not in this store",
            why=f"the machine was imported without it; the certificate: {problem}",
            hint="export it again with --with-ca, or --take-over gives it this store's CA",
            machine=folder.name,
        )
    return ServerFiles(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server-key.pem",
        cert=folder / "cert.pem",
        key=folder / "key.pem",
        reason="",
    )


def _put_aside(home: Path) -> None:
    aside = home.with_name(f"{OWN_AUTHORITY}-replaced")
    if aside.is_dir():
        for one in aside.iterdir():
            one.unlink()
        aside.rmdir()
    home.rename(aside)
