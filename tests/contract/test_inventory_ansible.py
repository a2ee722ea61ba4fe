"""Our reading of inventories beside Ansible's own: hosts, groups, variables and host patterns are the same.

A corpus of inventories is generated, and one process of `ansible`'s own code reads all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from machinectl.inventory.listing import plain
from machinectl.inventory.read import read_inventory

ROOT = Path(__file__).resolve().parents[2]

READER = r"""
import json, sys
from ansible import constants as C
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible.utils.display import Display
Display.warning = lambda *_, **__: None
Display.deprecated = lambda *_, **__: None
for line in sys.stdin:
    ask = json.loads(line)
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=ask["sources"])
    variables = VariableManager(loader=loader, inventory=inventory)
    hosts = {}
    for host in inventory.get_hosts():
        found = variables.get_vars(host=host, include_hostvars=False, stage="all")
        hosts[host.name] = {key: value for key, value in found.items() if key not in C.INTERNAL_STATIC_VARS}
    groups = {}
    for name, group in inventory.groups.items():
        groups[name] = {
            "hosts": sorted(host.name for host in group.hosts),
            "children": sorted(one.name for one in group.child_groups),
        }
    patterns = {}
    for pattern in ask["patterns"]:
        try:
            patterns[pattern] = sorted(host.name for host in inventory.get_hosts(pattern))
        except Exception as error:
            patterns[pattern] = "error"
    print(json.dumps({"hosts": hosts, "groups": groups, "patterns": patterns}, default=str), flush=True)
"""

PATTERNS = (
    "all", "*", "web", "web*", "*1", "web:db", "web,db", "all:!web", "web:&db", "web:&all:!db", "~(web|db)$",
    "~h[12]$", "web[0]", "web[-1]", "web[0:1]", "h[12]", "h1:h2", "!web", "&web",
)  # fmt: skip


class Ansible:
    """Ansible's own code, in a process that reads one inventory after the other."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, *sources: Path, patterns: tuple[str, ...] = ()) -> Any:
        assert self.child.stdin
        assert self.child.stdout
        ask = {"sources": [str(one) for one in sources], "patterns": patterns}
        self.child.stdin.write(json.dumps(ask) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())


@pytest.fixture(scope="module")
def ansible():
    reader = Ansible()
    yield reader
    reader.child.communicate()


def assert_same(ansible: Ansible, *sources: Path) -> None:
    ours = read_inventory(sources)
    # how Ansible orders the hosts of grandchildren differs from run to run, and `all` has some
    flat = not any(ours.groups[one].children for one in ours.groups if one == "web")
    words = tuple(one for one in PATTERNS if _known(ours, one) and (flat or not one.startswith("web[")))
    theirs = ansible.read(*sources, patterns=words)
    assert list(ours.hosts) == list(theirs["hosts"]) or sorted(ours.hosts) == sorted(theirs["hosts"])
    for name, host in ours.hosts.items():
        mine = json.loads(json.dumps(plain(host.variables), default=str))
        assert mine == theirs["hosts"][name], name
    mine_groups = {
        name: {"hosts": sorted(one.hosts), "children": sorted(one.children)}
        for name, one in ours.groups.items()
    }
    assert mine_groups == theirs["groups"]
    for word in words:
        assert sorted(ours.select([word])) == theirs["patterns"][word], word


def _known(inventory, pattern):
    """Words that match nothing are our error, and Ansible's warning."""
    try:
        inventory.select([pattern])
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    "path",
    sorted(one for one in (ROOT / "inventories").iterdir() if one.suffix != ".md"),
    ids=lambda path: path.name,
)
def test_every_example_is_read_as_ansible_reads_it(ansible, path):
    assert_same(ansible, path)


NAMES = (
    "h1",
    "h2",
    "h3",
    "web-1",
    "web-2",
    "db.example.com",
    "h[1:3]",
    "n[01:03]",
    "x[a:c]",
    "y[1:5:2]",
    "h4:2222",
)
GROUPS = ("web", "db", "eu", "north_sea", "etcd")
scalars = st.one_of(
    st.integers(-5, 10**6),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.sampled_from(
        ["", "text", "two words", "0644", "1e3", "yes", "no", "null", "a#b", "1:2", "ü", "'q'", '"', "~"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=5,
)
variables = st.dictionaries(
    st.sampled_from(["a", "b", "c", "ansible_host", "ansible_port", "machinectl"]), values, max_size=3
)
host_block = st.dictionaries(st.sampled_from(NAMES), st.none() | variables, max_size=4)


@st.composite
def yaml_documents(draw):
    """Groups that have each other as children, later ones in earlier ones only."""
    # in one order in all files: nothing is its own grandparent
    chosen = sorted(draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=4)))
    blocks = {
        name: {
            key: value
            for key, value in (("hosts", draw(host_block)), ("vars", draw(variables)))
            if value or draw(st.booleans())
        }
        for name in ["all", *chosen]
    }
    for index, name in enumerate(chosen):
        if draw(st.booleans()):
            blocks[name].setdefault("vars", {})["ansible_group_priority"] = draw(st.integers(1, 9))
        parents = ["all", *chosen[:index]]
        for parent in draw(st.lists(st.sampled_from(parents), unique=True, max_size=2)):
            blocks[parent].setdefault("children", {})[name] = None
    blocks["all"].setdefault("hosts", {})["h1"] = None
    return blocks


ini_values = st.sampled_from(
    ["1", "true", "True", "text", "'quoted'", "[1,2]", "{'a':1}", "0644", "1.5", "None", "a=b", "x#y", "yes"]
)


@st.composite
def ini_documents(draw):
    lines = []

    def hosts():
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
            words = [
                f"{key}={draw(ini_values)}" for key in draw(st.lists(st.sampled_from("abc"), max_size=2))
            ]
            lines.append(" ".join([name, *words]) + draw(st.sampled_from(["", "  # note"])))

    lines.append("h1")
    hosts()
    # in one order in all files: nothing is its own grandparent
    chosen = sorted(draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=4)))
    for name in chosen:
        lines.append(draw(st.sampled_from([f"[{name}]", f"[{name}] # note"])))
        hosts()
    for index, name in enumerate(chosen[1:], 1):
        if draw(st.booleans()):
            lines += [f"[{chosen[draw(st.integers(0, index - 1))]}:children]", name]
    for name in draw(st.lists(st.sampled_from([*chosen, "all"]), unique=True, max_size=3)):
        lines.append(f"[{name}:vars]")
        lines += [
            f"{key} {draw(st.sampled_from(['=', ' = ']))}{draw(ini_values)}"
            for key in "ab"
            if draw(st.booleans())
        ]
    return "\n".join(lines) + "\n"


def some(examples):
    """The same corpus in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@some(100)
@given(document=yaml_documents())
def test_yaml(ansible, tmp_path_factory, document):
    path = tmp_path_factory.mktemp("yaml") / "hosts.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    assert_same(ansible, path)


@some(100)
@given(text=ini_documents())
def test_ini(ansible, tmp_path_factory, text):
    path = tmp_path_factory.mktemp("ini") / draw_name(text)
    path.write_text(text)
    assert_same(ansible, path)


def draw_name(text):
    return "hosts" if len(text) % 2 else "hosts.ini"


@some(100)
@given(
    first=yaml_documents(),
    second=ini_documents(),
    group_vars=st.dictionaries(st.sampled_from(["all", *GROUPS, "ungrouped"]), variables, max_size=4),
    host_vars=st.dictionaries(st.sampled_from(["h1", "h2", "web-1", "n01"]), variables, max_size=3),
    apart=st.booleans(),
)
def test_folders_with_group_vars_and_host_vars(
    ansible, tmp_path_factory, first, second, group_vars, host_vars, apart
):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "1.yml").write_text(yaml.safe_dump(first, allow_unicode=True))
    (folder / "2").write_text(second)
    for kind, entries in (("group_vars", group_vars), ("host_vars", host_vars)):
        for index, (name, content) in enumerate(sorted(entries.items())):
            ending = ("", ".yml", ".yaml", ".json", "/main.yml")[index % 5]
            path = folder / kind / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(content) if ending == ".json" else yaml.safe_dump(content, allow_unicode=True)
            path.write_text(text)
    sources = [folder / "1.yml", folder / "2"] if apart else [folder]
    assert_same(ansible, *sources)
