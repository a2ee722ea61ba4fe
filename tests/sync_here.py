"""A whole sync between two folders of this computer, with the parts that machines run."""

from __future__ import annotations

import io

from machinectl.actions.sync.by_agent import Origin
from machinectl.actions.sync.compare import compare, merge
from machinectl.actions.sync.ends import HereEnd, list_side
from machinectl.actions.sync.orders import after, before, with_attributes
from machinectl.remote.deadline import Deadline
from machinectl.remote.rsync import Wish
from machinectl_agent.files.sync.changes import consume_changes, produce_changes
from machinectl_agent.files.sync.listing import split_source
from machinectl_agent.files.sync.settle import prepare, settle


def run(source, target, wish=None, cut=None):
    """What was planned. `cut`: how many bytes of the stream arrive. Raises `Problem`."""
    wish = wish or Wish()
    end = HereEnd()
    origin = Origin(end, [source], wish)
    ours, numbers = origin.listed(Deadline(300))
    folder = f"{target}/"
    theirs = merge(
        list_side(end, [folder + split_source(source)[1]], wish.exclude, missing=True, within=300)
    )[0]
    plan = compare(ours, theirs, wish)
    way = {"target": folder, "delete": wish.delete, "exclude": wish.exclude}
    prepare({**way, "steps": before(plan, ours)}, None)
    send = [*plan.send, *plan.unsure]
    entries = [[numbers[one], one] for one in send]
    files = [with_attributes(one, ours) for one in send]
    stream = io.BytesIO()
    produce_changes({"sources": [source], "entries": entries}, stream, None)
    stream.seek(0)
    if cut is not None:
        stream.truncate(cut)
    consume_changes({**way, "files": files}, stream, None)
    settle({"target": folder, "steps": after(plan, ours)}, None)
    return plan
