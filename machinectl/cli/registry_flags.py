"""The flags of `registry deploy`, and its passwords: from a file, stdin, the environment or the terminal, never from
the command line."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.errors import MachinectlError, UsageError

if TYPE_CHECKING:
    from machinectl.store.registries import Registry

VARIABLES = {
    "password": "MACHINECTL_REGISTRY_PASSWORD",
    "mirror-password": "MACHINECTL_MIRROR_PASSWORD",
}


def add_deploy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="MACHINE")
    parser.add_argument("--port", type=_port, default=None, metavar="PORT", help="default 5000")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--plain", action="store_true", default=None, help="HTTP: engines want it in insecure-registries"
    )
    kind.add_argument(
        "--tls", dest="plain", action="store_false", help="by this store's CA; a new registry's default"
    )
    parser.add_argument("--user", metavar="NAME", help="let in this user only; '' lets everybody in again")
    _add_secret(parser, "password", "--user's")
    parser.add_argument("--mirror-of", metavar="URL", help="a pull-through cache of this registry")
    parser.add_argument("--mirror-user", metavar="NAME", help="log in there")
    _add_secret(parser, "mirror-password", "--mirror-user's")
    parser.add_argument("--storage", metavar="DIR", help="where its images are (default: below /var/lib)")
    parser.add_argument(
        "--via", choices=("auto", "package", "container"), default=None,
        help="how it is run; auto (default): a container where --image is on the machine, else the package",
    )  # fmt: skip
    parser.add_argument("--image", metavar="IMAGE", help="default registry:2; it is never pulled")
    parser.add_argument(
        "--use-on", action="append", default=[], metavar="PATTERN",
        help="let these machines use it: registry-mirrors, insecure-registries or registry-cas",
    )  # fmt: skip
    parser.add_argument(
        "--take-over", action="store_true", help="the registry there was deployed from another store"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")


def _add_secret(parser: argparse.ArgumentParser, name: str, whose: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(f"--{name}-file", metavar="FILE", help=f"its first line is {whose} password")
    group.add_argument(
        f"--{name}-stdin",
        action="store_true",
        help=f"stdin's first line is {whose} password; else ${VARIABLES[name]}; else it is asked for",
    )


def deploy_wishes(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of the store's record, only those that were asked for."""
    given = {
        "port": args.port,
        "plain": args.plain,
        "user": args.user,
        "upstream": args.mirror_of.rstrip("/") if args.mirror_of else args.mirror_of,
        "upstream_user": args.mirror_user,
        "storage": args.storage,
        "via": args.via,
        "image": args.image,
    }
    return {name: value for name, value in given.items() if value is not None}


def secret_reader(args: argparse.Namespace, name: str) -> Callable[[Registry | None], str]:
    """Asked for with what is remembered: a password that was given before is not asked for again."""

    def read(present: Registry | None) -> str:
        own = name == "password"
        asked = args.user if own else args.mirror_user
        file = getattr(args, f"{name.replace('-', '_')}_file")
        if file:
            return _first_line(file)
        if getattr(args, f"{name.replace('-', '_')}_stdin"):
            return sys.stdin.readline().rstrip("\r\n")
        if os.environ.get(VARIABLES[name]):
            return os.environ[VARIABLES[name]]
        if present:
            user, kept = (
                (present.user, present.password)
                if own
                else (present.upstream_user, present.upstream_password)
            )
            if kept and asked in (None, user):
                return kept
        return _ask(asked, name)

    return read


def _first_line(file: str) -> str:
    try:
        lines = Path(file).expanduser().read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no text"
        raise MachinectlError(f"{file} can't be read", why=why) from error
    return lines[0] if lines else ""


def _ask(user: str | None, name: str) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        with warnings.catch_warnings():
            # getpass would rather show it than not ask
            warnings.simplefilter("error", getpass.GetPassWarning)
            first = getpass.getpass(f"password of {user}: ")
            again = getpass.getpass("the same again: ") if name == "password" else first
    except (OSError, EOFError, getpass.GetPassWarning) as error:
        raise UsageError(
            "there is no terminal to ask for the password on",
            hint=f"--{name}-stdin, --{name}-file FILE, or the environment variable {VARIABLES[name]}",
        ) from error
    if first != again:
        raise UsageError("the two passwords differ")
    return first


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError("a port, 1 to 65535, is wanted")
    return int(text)
