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

from machinectl.errors import InventoryError
from machinectl.inventory.listing import graph
from machinectl.inventory.read import read_inventory

ROOT = Path(__file__).resolve().parents[2]

READER = r"""
import json, sys
from ansible import constants as C
# what it can't read is an error, not a warning; and what docs/inventory.md tells for folders that both tools read
C.INVENTORY_ANY_UNPARSED_IS_FAILED = True
# ansible-core 2.17 passes .ini over in folders, later ones don't
C.INVENTORY_IGNORE_EXTS = [one for one in C.INVENTORY_IGNORE_EXTS if one != ".ini"]
C.INVENTORY_IGNORE_PATTERNS = ["^files$", "^templates$"]
from ansible import context
from ansible.cli.inventory import InventoryCLI
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager
context.CLIARGS = {"export": False, "yaml": False, "toml": False, "show_vars": False, "pattern": "all", "basedir": None}
Display.warning = Display.deprecated = Display.error_as_warning = lambda *_, **__: None

def answer(sources, patterns):
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=sources)
    variables = VariableManager(loader=loader, inventory=inventory)
    matches = {}
    for pattern in patterns:
        try:
            matches[pattern] = sorted(host.name for host in inventory.get_hosts(pattern))
        except Exception as error:
            matches[pattern] = "error"
    cli = InventoryCLI(["ansible-inventory", "--list"])
    cli.loader, cli.inventory, cli.vm = loader, inventory, variables
    listing = json.loads(cli.dump(cli.json_inventory(inventory.groups["all"])))
    return {"order": list(inventory.hosts), "listing": listing, "graph": cli.inventory_graph(), "patterns": matches}

for line in sys.stdin:
    try:
        found = answer(**json.loads(line))
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), flush=True)
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


def assert_same(ansible: Ansible, *sources: Path, may_refuse: bool = False) -> None:
    ours = read_inventory(sources)
    # how Ansible orders the hosts of grandchildren differs from run to run, and `all` has some
    flat = not any(ours.groups[one].children for one in ours.groups if one == "web")
    words = tuple(one for one in PATTERNS if _known(ours, one) and (flat or not one.startswith("web[")))
    theirs = ansible.read(*sources, patterns=words)
    if may_refuse and "error" in theirs:
        return
    assert list(ours.hosts) == theirs.get("order"), theirs
    listing = theirs["listing"]
    # the form in which Ansible writes kinds that JSON has not; since 2.19
    listing["_meta"].pop("profile", None)
    assert json.loads(json.dumps(ours.to_json(), default=str)) == listing
    assert graph(ours) == theirs["graph"]
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


@some(200)
@given(document=yaml_documents())
def test_yaml(ansible, tmp_path_factory, document):
    path = tmp_path_factory.mktemp("yaml") / "hosts.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    assert_same(ansible, path)


@some(200)
@given(text=ini_documents())
def test_ini(ansible, tmp_path_factory, text):
    path = tmp_path_factory.mktemp("ini") / draw_name(text)
    path.write_text(text)
    assert_same(ansible, path)


def draw_name(text):
    return "hosts" if len(text) % 2 else "hosts.ini"


SOUP = (
    "h1", "h2", "h[1:3]", "h[01:10:3]", "h[a:e:2]", "h[1:2]x[a:b]", "h[:3]", "h1:22", "h[1:2]:2222", "10.0.0.1",
    "10.0.0.[1:3]", "10.0.0.1:22", "fe80::1", "[fe80::1]:22", "[h9]:33", "[fe80::[1:3]]:5", "h_1", "h-", "ü.de",
    "h1 a='1 2' b=\"x\"", "h1 a=1 # c", "h1 #c", "h1 a=b=c", "h1 a=", "h1 a=[1,2]", "h1 a=\"[1, '2']\"",
    "h1 a=\"{'x': 1}\"", "h1 a=True b=true c=None", "h1 a=0x10 b=0o7 c=07 d=1e3 e=1_0", "h1 a='\"q\"'", "h1 a=\\'x",
    "h1 a=...", "h1 a=1j", "h1 a=(1,)", "h1 a=-5 b=+5 c=1.", "h1 a=#x b=x#y", "h1 a='#x'", "h1 a=x\\ y", "h1 'a=1 2'",
    "h1 a={{b}}", "h1 ansible_port=5", "  h3", "\th4 a=1", "h1\ta=1", "[web]", "[db]", "[web:children]", "[db:children]",
    "[web:vars]", "[all:vars]", "[db:vars]", "[ungrouped]", "[all]", "[web] # c", "[ web]", "[web:hosts]", "[web:x]",
    "db", "db # c", "a=1", "a = 1 # c", "a='x'", "a=\"x\" # y", "a=[1,2]", "a={'k': (1,2)}", "a==",
    "ansible_group_priority=5", "# c", "; c", "", "---", "h1:", "h1:22:33", "h1,h2", "h[1-3]", "h]1", "h[aa:bb]", "h[0:2]",
)  # fmt: skip
VALUES = (
    "!vault abc", "!vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6162", "!unsafe '{{ x }}'", "!unsafe [1, c]",
    "2020-01-01", "2020-01-01 10:00:00", "2020-01-01T10:00:00Z", "0644", "0o17", "1e3", "1.0e+3", "-.5", ".inf", "1:30",
    "yes", "On", "~", "", "0x1F", "0b101", "1_000", "+1", "'{{ x }}'", "|\n        x\n        y", ">\n        x\n        y",
    "\"\\u00fc\\x41\"", "!!str 5", "!!int '5'", "!!float 5", "!!omap [x: 1]", "!!pairs [x: 1]", "{2: x, ~: y, true: [z]}",
    "&x {b: 1}", "{<<: {b: 1, c: 2}, c: 3}", "{<<: [{b: 1}, {b: 2, c: 2}]}", "\ud7ff",
)  # fmt: skip


@some(200)
@given(lines=st.lists(st.sampled_from(SOUP), min_size=1, max_size=5))
def test_lines_of_all_kinds(ansible, tmp_path_factory, lines):
    """What one of both refuses, the other one may; what both read is the same."""
    path = tmp_path_factory.mktemp("soup") / "hosts.ini"
    path.write_text("\n".join(lines) + "\n")
    try:
        read_inventory([path])
    except InventoryError:
        return
    assert_same(ansible, path, may_refuse=True)


def test_values_of_all_kinds(ansible, tmp_path):
    path = tmp_path / "hosts.yml"
    hosts = "".join(f"    h{number}:\n      a: {value}\n" for number, value in enumerate(VALUES))
    path.write_text(f"web:\n  hosts:\n{hosts}")
    assert_same(ansible, path)


def test_json_has_jsons_numbers(ansible, tmp_path):
    path = tmp_path / "hosts.json"
    path.write_text(
        '{"all": {"hosts": {"h1": {"a": 1e3, "b": [1E-2, "1e3"], "c": {"d": "0644", "1": null}}}}}'
    )
    assert_same(ansible, path)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (0,)])
def test_sources_with_group_vars_of_their_own(ansible, tmp_path, order):
    """A later source's parents overrule an earlier one's children, and a folder in a folder has no variables."""
    for name in ("first", "second"):
        for kind, entry in (
            ("group_vars", "all"),
            ("group_vars", "web"),
            ("group_vars", "eu"),
            ("host_vars", "h1"),
        ):
            path = tmp_path / name / kind / f"{entry}.yml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                f"{entry}: {name}\n{'web' if entry == 'eu' else entry}_in_{name}: 1\nsame: {name}/{entry}\n"
            )
    (tmp_path / "first/hosts.ini").write_text("[eu]\nh1\n[web:children]\neu\n")
    (tmp_path / "second/hosts.yml").write_text("web: {hosts: {h1: {same: x}, h2: }, vars: {same: y}}\n")
    (tmp_path / "first/more/host_vars").mkdir(parents=True)
    (tmp_path / "first/more/host_vars/h3.yml").write_text("never: read\n")
    (tmp_path / "first/more/hosts").write_text("h3\n")
    assert_same(ansible, *(tmp_path / ("first", "second")[number] for number in order))


def test_the_programs_themselves(tmp_path):
    """`ansible-inventory --list` and `ansible --list-hosts` as people run them."""
    rack = ROOT / "inventories/rack"
    ours = read_inventory([rack])
    # as docs/inventory.md tells
    (tmp_path / "ansible.cfg").write_text("[inventory]\nignore_patterns = ^files$, ^templates$\n")
    programs = Path(sys.executable).parent

    def run(*words):
        done = subprocess.run(
            [programs / words[0], "-i", rack, *words[1:]],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    theirs = json.loads(run("ansible-inventory", "--list"))
    theirs["_meta"].pop("profile", None)
    assert theirs == ours.to_json()
    assert run("ansible-inventory", "--graph").strip() == graph(ours)
    listed = run("ansible", "etcd:&web", "--list-hosts").split()[2:]
    assert listed == ours.select(["etcd:&web"]) == ["r3"]


@some(200)
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
