"""Columns as Go's text/tabwriter lays them out for docker-machine: at least 5 wide, 3 spaces between."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST, _PADDING = 5, 3


def align(lines: Sequence[str]) -> str:
    """Lines whose cells end in tabs, as text; the last cell of a line is not padded."""
    rows = [line.split("\t") for line in lines]
    columns = max((len(row) for row in rows), default=0)
    widths = [
        max(_LEAST, *(len(row[index]) + _PADDING for row in rows if index < len(row) - 1))
        for index in range(columns - 1)
    ]
    aligned = (
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)) + row[-1]
        if len(row) == columns
        else "".join(f"{cell:{widths[index]}}" for index, cell in enumerate(row[:-1])) + row[-1]
        for row in rows
    )
    return "\n".join(aligned) + "\n" if rows else ""
