"""Values of options that several commands have."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """For argparse: a number from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return int(text)


def rate(text: str) -> int:
    """A --limit-rate value in bytes per second; empty: no limit. Raises UsageError."""
    from machinectl.actions.copy_words import parse_rate  # noqa: PLC0415 - --help must not wait for it

    return parse_rate(text) if text else 0
