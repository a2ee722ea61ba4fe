"""Names of volumes, and which containers have one: pure functions over what Docker says."""

from __future__ import annotations

from typing import Any

import pytest

from machinectl.actions.volume.names import VolumeName, parse_volume
from machinectl.errors import UsageError
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.place import (
    Place,
    bound_folder,
    check_name,
    check_replaceable,
    place_of,
    reachable,
)
from machinectl_agent.volumes.users import find_users
from machinectl_agent.volumes.wish import differs


def test_names():
    assert parse_volume("node1:db") == VolumeName("node1", "db")
    assert parse_volume("node1:/srv/a b") == VolumeName("node1", "/srv/a b")
    for wrong in (
        "db",
        ":db",
        "node1:",
        "node1:-x",
        "node1:a/b",
        "node1:/srv/../etc",
        "node1:/srv/",
        "n:a b",
    ):
        with pytest.raises(UsageError):
            parse_volume(wrong)
    for wrong in ("", "a/b", "/srv//x", "/srv/.", "/proc/1", "../x"):
        with pytest.raises(Problem):
            check_name(wrong)
    for system in ("/", "/etc", "/var/lib/docker"):
        with pytest.raises(Problem):
            check_replaceable(system)
    check_replaceable("/srv/data")


VOLUMES: list[dict[str, Any]] = [
    {"Name": "db", "Driver": "local", "Mountpoint": "/v/db/_data"},
    {"Name": "bound", "Driver": "local", "Mountpoint": "/v/bound/_data",
     "Options": {"type": "none", "o": "bind,ro", "device": "/srv/data"}},
]  # fmt: skip


def container(name, *mounts, state="running"):
    return {"Id": name * 8, "Names": [f"/link/{name}x", f"/{name}"], "State": state, "Mounts": list(mounts)}


def volume(name, **more):
    return {"Type": "volume", "Name": name, "Destination": "/data", "RW": True, **more}


def bind(source, **more):
    return {"Type": "bind", "Source": source, "Destination": "/x", "RW": True, **more}


def found(place, *containers):
    return [
        (user.name, user.state, user.writes, user.direct) for user in find_users(place, containers, VOLUMES)
    ]


def test_who_has_a_volume():
    place = Place("db", "/v/db/_data", VOLUMES[0])
    assert found(
        place,
        container("a", volume("db")),
        container("b", volume("db", RW=False), state="exited"),
        container("c", volume("bound"), bind("/v/db2")),
        container("d", bind("/v/db/_data/sub")),
        container("e", bind("/", RW=False)),
        container("f", bind("/v")),
        container("g", {"Type": "tmpfs", "Destination": "/t"}),
    ) == [
        ("a", "running", True, True),
        ("b", "exited", False, True),
        ("d", "running", True, True),
        ("e", "running", False, False),
        ("f", "running", True, False),
    ]


def test_who_has_a_folder():
    assert found(
        Place("/srv/data", "/srv/data"),
        container("a", volume("bound")),
        container("b", bind("/srv/data")),
        container("c", bind("/srv/database")),
        container("d", bind("/srv")),
    ) == [("a", "running", True, True), ("b", "running", True, True), ("d", "running", True, False)]
    assert bound_folder(VOLUMES[1]) == "/srv/data"
    assert bound_folder(VOLUMES[0]) == ""
    with pytest.raises(Problem, match="is the folder /srv/data, which is not on this machine"):
        reachable(place_of(VOLUMES[1]))
    assert place_of(VOLUMES[0]).folder == ""
    with pytest.raises(Problem, match="can't be reached"):
        reachable(place_of(VOLUMES[0]))


def test_what_differs():
    there = {
        "Driver": "local",
        "Options": {"type": "tmpfs", "o": "size=1m"},
        "Labels": {"a": "b", "more": ""},
    }
    assert differs(there, "local", {"type": "tmpfs", "o": "size=1m"}, {"a": "b"}) == ""
    assert differs(there, "nfs", {}, {}) == "the driver local"
    assert (
        differs(there, "local", {"type": "tmpfs", "o": "password=x"}, {}) == "another value of the option o"
    )
    assert differs({"Driver": "local"}, "local", {"o": "x"}, {}) == "no option o"
    assert differs(there, "local", {"type": "tmpfs", "o": "size=1m"}, {"a": "c"}) == "another label a"
