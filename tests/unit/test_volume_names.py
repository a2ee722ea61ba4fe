"""Names of volumes, and which containers have one: pure functions over what Docker says."""

from __future__ import annotations

from typing import Any

import pytest

from machinectl.actions.volume.names import VolumeName, parse_volume
from machinectl.errors import UsageError
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.mounts import Mount, parse_mounts
from machinectl_agent.volumes.place import (
    Place,
    bound_folder,
    check_name,
    check_replaceable,
    place_of,
    reachable,
)
from machinectl_agent.volumes.staging import harmless, wished
from machinectl_agent.volumes.users import find_users
from machinectl_agent.volumes.where import overlap, where
from machinectl_agent.volumes.wish import differs


def test_names(tmp_path):
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
    for system in ("/", "/etc", "/var/lib/docker", "/usr/local/sbin", "/etc/cron.d", "/lib/systemd/system"):
        with pytest.raises(Problem):
            check_replaceable(system)
    (tmp_path / "link").symlink_to("/usr/local/sbin")
    with pytest.raises(Problem):
        check_replaceable(str(tmp_path / "link"))
    for own in ("/srv/data", "/usr/local/share/site", "/etc/nginx", "/opt/app", "/home/me", "/var/lib/mysql"):
        check_replaceable(own)


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


def test_who_has_a_folder_over_a_link(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    linked = {**VOLUMES[1], "Options": {"o": "bind", "device": f"{tmp_path}/link/"}}
    users = find_users(
        Place(f"{tmp_path}/data", f"{tmp_path}/data"),
        [
            container("a", bind(f"{tmp_path}/link")),
            container("b", bind(f"{tmp_path}/link/sub")),
            container("c", volume("bound")),
            container("d", bind(f"{tmp_path}/linked")),
        ],
        [linked],
    )
    assert [(one.name, one.direct) for one in users] == [("a", True), ("b", True), ("c", True)]


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


def test_a_backup_does_not_say_which_folder_is_replaced():
    labels = {"a": "b", "machinectl.share": "x", "machinectl.share.from": "n"}
    bound = {"Driver": "local", "Options": {"o": "bind", "device": "/usr/local/sbin"}, "Labels": labels}
    for head in (bound, {"Driver": "rexray", "Labels": labels}, {**bound, "Options": {"device": "tmpfs"}}):
        assert wished(harmless(head)) == ("local", {}, {"a": "b"})
    sized = {"Driver": "local", "Options": {"o": "size=1g"}, "Labels": {"a": "b"}}
    assert harmless(sized) == sized


def at(path, *folders, device="8:1", boot="b"):
    return {"boot": boot, "folders": list(folders), "device": device, "path": path}


def test_what_is_the_same_data():
    one = at("/srv/x", "1:7", "1:5", "1:2")
    assert overlap(one, one) == "are the same data"
    # a volume that is bound: another device's path, the same folder
    assert overlap(one, at("/y", "1:7", "9:2", device="8:2")) == "are the same data"
    assert overlap(one, at("/srv/x/sub", "1:9", "1:7", "1:5", "1:2")) == "are one inside the other"
    assert overlap(at("/srv/x/sub", "1:9", "1:7"), one) == "are one inside the other"
    # seen at another place, where what it is in is not seen
    assert overlap(one, at("/srv/x/sub", "1:9", "1:2")) == "are one inside the other"
    # one that is not there yet, beside it and in it
    assert overlap(one, at("/srv/y", "", "1:5", "1:2")) == ""
    assert overlap(one, at("/srv/x/new", "", "1:7", "1:5", "1:2")) == "are one inside the other"
    assert overlap(one, at("/srv/x", "1:7", boot="another")) == ""


def test_where_a_folder_is(tmp_path):
    (tmp_path / "a b" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a b")
    real = where(str(tmp_path / "a b"))
    assert overlap(real, where(str(tmp_path / "link"))) == "are the same data"
    assert overlap(real, where(str(tmp_path / "link" / "sub"))) == "are one inside the other"
    assert overlap(real, where(str(tmp_path / "new"))) == ""
    assert overlap(real, where(str(tmp_path / "link" / "new"))) == "are one inside the other"


def test_mounts():
    text = (
        "22 1 8:1 / / rw - ext4 /dev/a rw\n23 22 8:2 /sub\\040x /srv/a\\134b rw shared:1 - ext4 /dev/b rw\n"
    )
    assert parse_mounts(text) == [Mount("8:1", "/", "/"), Mount("8:2", "/sub x", "/srv/a\\b")]
