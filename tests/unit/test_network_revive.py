"""Which containers are started when etcd is back."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from machinectl_agent.engine.api import ApiError
from machinectl_agent.network.plugin import AWAY
from machinectl_agent.network.revive import Revive, is_down_for_us

DOWN: dict[str, Any] = {
    "Name": "/db",
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    "State": {
        "Status": "exited",
        "Running": False,
        "ExitCode": 128,
        "Error": f"failed to create endpoint db on network demo: IpamDriver.RequestAddress: {AWAY}: no leader",
        "StartedAt": "2026-01-01T08:00:00.5Z",
    },
}


def test_one_that_etcd_kept_down():
    assert is_down_for_us(DOWN)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("HostConfig", "RestartPolicy", {"Name": "no"}),
        ("HostConfig", "RestartPolicy", {"Name": ""}),  # as 20.10 says it
        ("HostConfig", "RestartPolicy", None),
        ("State", "Error", ""),
        ("State", "Error", "driver failed programming external connectivity: port is already allocated"),
        ("State", "Running", True),
        ("State", "StartedAt", "0001-01-01T00:00:00Z"),  # whoever ran it was told that it failed
    ],
)
def test_no_other(part, key, value):
    found = copy.deepcopy(DOWN)
    found[part][key] = value
    assert not is_down_for_us(found)


def test_what_says_nothing():
    assert not is_down_for_us({})


class Engine:
    """dockerd's side: containers by id, and how it takes a start."""

    def __init__(self, *ids, start=204, policy="always"):
        self.containers = {one: copy.deepcopy(DOWN) for one in ids}
        for one, found in self.containers.items():
            found["Name"] = f"/{one}"
            found["HostConfig"]["RestartPolicy"]["Name"] = policy
        self.start = start
        self.started: list[str] = []

    def call(self, method, path, body=None, deadline=0.0):
        if method == "GET":
            networks = {"demo": {"NetworkID": "ours"}}
            return [{"Id": one, "NetworkSettings": {"Networks": networks}} for one in self.containers]
        one = path.split("/")[2]
        self.started.append(one)
        if self.start in (204, 304):
            self.containers[one]["State"].update(Running=True, Error="")
        if self.start in (304, 500):
            raise ApiError("POST start: refused", status=self.start)
        return None

    def container(self, one, deadline=0.0):
        return copy.deepcopy(self.containers[one])


class Scene:
    def __init__(self, engine):
        self.now = 1000.0
        self.lines: list[str] = []
        self.engine = engine
        core: Any = SimpleNamespace(
            engine=engine,
            engine_up=True,
            docker_asked=True,
            leaving=False,
            refused=1000.0,
            follower=SimpleNamespace(trouble=""),
            ledger=SimpleNamespace(network=lambda docker_id: docker_id == "ours"),
            journal=SimpleNamespace(say=lambda _, text: self.lines.append(text)),
        )
        self.core = core
        self.revive = Revive(core, lambda: self.now)

    def work(self, seconds):
        self.now += seconds
        self.revive.work("")


def test_they_are_started_and_looked_for_until_dockerd_has_written_down_what_failed():
    scene = Scene(Engine("a", "b"))
    scene.work(1)
    assert scene.engine.started == ["a", "b"]
    assert scene.lines == [f"container {one} is started: etcd was away when dockerd tried" for one in "ab"]
    assert scene.core.refused  # one may have been restarting when it failed
    scene.work(60)
    assert (scene.core.refused, scene.engine.started) == (0.0, ["a", "b"])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (304, "container a is started: etcd was away when dockerd tried"),
        (404, f"container a can't be started: {DOWN['State']['Error']}"),
        (500, "container a can't be started: POST start: refused"),
    ],
)
def test_how_dockerd_takes_it(status, said):
    scene = Scene(Engine("a", start=status))
    scene.work(60)
    assert scene.lines == [said]


@pytest.mark.parametrize(
    "why",
    [
        {"engine_up": False},
        {"docker_asked": False},
        {"leaving": True},
        {"follower": SimpleNamespace(trouble="no leader")},
    ],
)
def test_nobody_is_asked_then(why):
    scene = Scene(Engine("a"))
    vars(scene.core).update(why)
    scene.work(60)
    assert scene.engine.started == [] and scene.core.refused == 1000.0


def test_it_ends_in_the_middle_where_etcd_goes_away_and_comes_back_later_and_later():
    scene = Scene(Engine("a", "b"))
    start = scene.engine.call

    def refused_again(method, *words, **more):
        answer = start(method, *words, **more)
        if method == "POST":
            scene.core.refused = scene.now
            scene.core.follower.trouble = "no leader"
        return answer

    scene.engine.call = refused_again
    scene.work(60)
    assert scene.engine.started == ["a"]
    scene.core.follower.trouble = ""
    scene.work(5)
    assert scene.engine.started == ["a"]
    scene.work(30)
    assert scene.engine.started == ["a", "b"]
    scene.core.follower.trouble = ""
    scene.work(50)
    assert scene.core.refused  # the pause is longer now
    scene.work(20)
    assert not scene.core.refused
