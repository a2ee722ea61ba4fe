"""Flags that create, provision and agent share: sudo's password, a host that another store has."""

from __future__ import annotations

import argparse
import getpass
import os
import warnings
from typing import TYPE_CHECKING

from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.remote.become import Become


def add_become_flag(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--ask-become-pass", action="store_true", help="ask for sudo's password (one for all machines)"
    )


def add_take_over_flag(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--take-over", action="store_true", help="the host's engine belongs to another store: replace its CA"
    )


def add_share_flag(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--share", action="store_true", help="the host's engine belongs to another store: let both use it"
    )


def ask_become(args: argparse.Namespace) -> Become:
    """Asks at most once, on the terminal only. Raises `UsageError` where there is none: a password that came
    by a pipe would stand in a file or a command line before."""
    from machinectl.remote.become import Become  # noqa: PLC0415 - --help must not wait for it

    if not args.ask_become_pass:
        return Become()
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        with warnings.catch_warnings():
            # getpass would rather show the password than not ask
            warnings.simplefilter("error", getpass.GetPassWarning)
            return Become(password=getpass.getpass("sudo password: "))
    except (OSError, EOFError, getpass.GetPassWarning) as error:
        raise UsageError(
            "--ask-become-pass needs a terminal to ask on",
            hint="run it in a terminal, or allow the user sudo without a password (NOPASSWD)",
        ) from error
