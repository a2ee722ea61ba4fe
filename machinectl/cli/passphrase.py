"""The passphrase of an exported file: from a file, the environment or the terminal; never from the command line."""

from __future__ import annotations

import argparse
import getpass
import os
import warnings
from pathlib import Path

from machinectl.errors import MachinectlError, UsageError

VARIABLE = "MACHINECTL_PASSPHRASE"

SHORTEST = 8
"""Characters, for a new file: what is shorter is guessed in days whatever it costs."""


def add_passphrase_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help=f"its first line is the passphrase; else ${VARIABLE}; else it is asked for",
    )


def passphrase(args: argparse.Namespace, *, new: bool) -> str:
    """`new`: asked for twice, and not too short. Raises `UsageError`, `MachinectlError`."""
    if args.passphrase_file:
        try:
            lines = Path(args.passphrase_file).expanduser().read_text(errors="surrogateescape").splitlines()
        except OSError as error:
            raise MachinectlError(
                f"{args.passphrase_file} can't be read", why=error.strerror or str(error)
            ) from error
        found = lines[0] if lines else ""
    else:
        found = os.environ.get(VARIABLE) or _ask(new=new)
    if not found:
        raise UsageError("the passphrase is empty")
    if new and len(found) < SHORTEST:
        raise UsageError(
            "the passphrase is too short", hint=f"at least {SHORTEST} characters; several words are best"
        )
    return found


def _ask(*, new: bool) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        with warnings.catch_warnings():
            # getpass would rather show it than not ask
            warnings.simplefilter("error", getpass.GetPassWarning)
            first = getpass.getpass("passphrase: ")
            again = getpass.getpass("the same again: ") if new and len(first) >= SHORTEST else first
    except (OSError, EOFError, getpass.GetPassWarning) as error:
        raise UsageError(
            "there is no terminal to ask for the passphrase on",
            hint=f"--passphrase-file FILE, or the environment variable {VARIABLE}",
        ) from error
    if first != again:
        raise UsageError("the two passphrases differ")
    return first
