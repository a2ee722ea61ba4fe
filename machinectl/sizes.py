"""Bytes for people."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def human(size: float) -> str:
    """In powers of 1000, as Docker shows them."""
    for unit in _UNITS[:-1]:
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.0f} {_UNITS[-1]}" if size >= 100 else f"{size:.3g} {_UNITS[-1]}"
