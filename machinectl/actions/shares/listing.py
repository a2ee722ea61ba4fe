"""volume shares: what is shared from where to whom, as each machine knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.shares.ask import Asker


def list_shares(ask: Asker, names: Sequence[str]) -> list[Outcome[list[dict[str, Any]]]]:
    """Of every machine rows of machine, share, via, place, from, to, state (machinectl_agent.shares.listing)."""

    def one(name: str) -> list[dict[str, Any]]:
        return [{"machine": name, **row} for row in ask(name, "list")["shares"]]

    return on_each(names, one)
