"""A member's old data: moved aside, as they may be all that is left of a cluster; deleted only where asked for."""

from __future__ import annotations

import time

from machinectl_agent.etcd.spec import DATA
from machinectl_agent.phases.base import Work

DELETE_DEADLINE = 300.0


def move_data_aside(work: Work) -> None:
    """To DATA.<time>; an empty folder is left where it is."""
    source = work.host.path(DATA)
    if not work.host.names(DATA):
        return
    target = source.with_name(f"{source.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    number = 1
    while target.exists():  # twice within a second
        number += 1
        target = target.with_name(f"{target.name.split('-')[0]}-{number}")
    source.rename(target)
    work.log(f"the old data are in {target}")


def remove_data(work: Work) -> None:
    work.host.must("rm", "-rf", "--one-file-system", str(work.host.path(DATA)), deadline=DELETE_DEADLINE)
