"""Runs phase `packages` on the host that it is started on, from the agent's own bundle.

    python3 -I packages_driver.py BUNDLE < {"engine": {…}, "os": "", "dry_run": false}     → one JSON object

What a step needs from the controller is taken from /srv/uploads; `need` in the answer says what was asked for.
"""

import json
import os
import shutil
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])

from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.packages import PackagesPhase
from machinectl_agent.problems import Problem
from machinectl_agent.spec import Spec

asked = json.load(sys.stdin)
document = {
    "name": "node",
    "engine": asked.get("engine", {}),
    "tls": {"ca": "", "server": "", "server_key": ""},
    "host": {"os": asked.get("os", "")},
}
answer: dict[str, Any] = {"plan": [], "logs": [], "need": [], "again": [], "problem": ""}


def need(files):
    for one in files:
        answer["need"].append(one["name"])
        shutil.copy(f"/srv/uploads/{one['name']}", one["path"])


host = Host()
context = Context(Spec.from_json(document), gather(host))
phase = PackagesPhase()


def plan():
    """Steps, and the processor's milliseconds for them, children's included."""
    began = sum(os.times()[:4])
    seen = phase.observe(host, context)
    return phase.plan(seen, context), (sum(os.times()[:4]) - began) * 1000


try:
    steps, _ = plan()
    answer["plan"] = [step.title for step in steps]
    if not asked.get("dry_run"):
        for step in steps:
            step.apply(Work(host, answer["logs"].append, need))
        left, milliseconds = plan()
        # the best of three: other work disturbs
        answer["milliseconds"] = min(milliseconds, plan()[1], plan()[1])
        answer["again"] = [step.title for step in left]
except Problem as problem:
    answer.update(problem=problem.code, what=problem.what, why=problem.why, hint=problem.hint)
print(json.dumps(answer))
