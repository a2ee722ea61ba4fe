"""The setting `images`: what may be written, what a plan makes of it."""

from __future__ import annotations

import json
import textwrap

import pytest

from machinectl.actions.wishes import image_spec
from machinectl.errors import InventoryError
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes
from machinectl.inventory.wish import ImageWish
from machinectl_agent.images.likeness import likeness
from machinectl_agent.phases.base import Context
from machinectl_agent.phases.images import ImagesPhase, Seen
from machinectl_agent.phases.order import PHASES
from machinectl_agent.spec import EngineSpec, ImageSpec, Spec, TlsSpec
from tests.unit.test_image_archive import DIFFS, config, oci, sha


@pytest.fixture
def read(tmp_path):
    """`read(TEXT)` → the images that host `a` wants; images/app.tar has app:1 and app:2."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/app.tar").write_bytes(oci({"app:1": 1, "app:2": 3}))
    (tmp_path / "images/torn.tar").write_bytes(oci({"app:1": 1})[:4000])

    def read(text):
        body = textwrap.indent(textwrap.dedent(text), " " * 8)
        (tmp_path / "hosts.yml").write_text(
            f"all:\n  hosts:\n    a:\n      machinectl:\n        images:\n{body}"
        )
        return wishes(read_inventory([tmp_path]), ["a"])[0].images

    return read


def test_where_images_come_from(read, tmp_path):
    found = read("""
        - busybox
        - name: docker.io/library/redis:7
        - {name: "web:3", from: node1}
        - {name: "app:2", file: app.tar}
    """)
    assert found == (
        ImageWish("busybox:latest"),
        ImageWish("redis:7"),
        ImageWish("web:3", machine="node1"),
        ImageWish(
            "app:2",
            f"sha256:{sha(config(3, 'app:2'))}",
            likeness(None, None, DIFFS[:3]),
            3000 + 6000 + 9000,
            file=str(tmp_path / "images/app.tar"),
        ),
    )
    assert [one.name for one in read("- {file: images/app.tar}")] == ["app:1", "app:2"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("- 7", "an image is a name, or a mapping"),
        ("- {name: 1.5}", "1.5 is no name of an image"),
        ("- '-v'", "'-v' is no name of an image"),
        ("- a b", "'a b' is no name"),
        ("- {nmae: a}", "an image has no 'nmae'"),
        ("- {from: node1}", "the image's name is missing"),
        ("- {name: a, from: [b]}", "`from` is a machine's name"),
        ("- {name: a, from: b, file: app.tar}", "from a file or from a machine, not both"),
        ("- {file: nosuch.tar}", "there is no file nosuch.tar"),
        ("- {name: 'app:9', file: app.tar}", "has no image app:9"),
        ("- {file: torn.tar}", "is no whole archive of images"),
        ("- {file: app.tar}\n- 'app:1'", "the image app:1 is there twice"),
    ],
)
def test_what_is_refused_with_its_line(read, row, words):
    with pytest.raises(InventoryError, match=r"hosts\.yml:\d+: .*") as caught:
        read(row)
    assert words in str(caught.value)


def plan(wanted, there, *, stopped=False):
    spec = Spec(name="a", engine=EngineSpec(), tls=TlsSpec("", "", ""), images=tuple(wanted))
    context = Context(Spec.from_json(json.loads(json.dumps(spec.to_json()))), facts=None)  # type: ignore[arg-type] # no phase of ours asks for them
    return [step.title for step in ImagesPhase().plan(Seen(there, stopped=stopped), context)]


FILE = ImageSpec("app:1", "sha256:1", likeness("", {}, ["sha256:a"]), 12_345_678, "~/inv/images/app.tar")
OTHER = ImageSpec("app:2", "sha256:2", "", 100_000, FILE.source)


def test_what_is_planned():
    load = "load image app:1, app:2 (12.4 MB, from app.tar)"
    assert plan([FILE, OTHER], {}) == [f"+ {load}"]
    assert plan([FILE, OTHER], {"app:1": {"Id": "sha256:9"}}) == [f"~ {load}"]
    assert plan([FILE, OTHER], {"app:1": {"Id": "sha256:1"}}) == ["+ load image app:2 (0.1 MB, from app.tar)"]
    assert plan([ImageSpec("web:3", source="node1")], {}) == ["+ load image web:3 (from node1)"]
    assert plan([ImageSpec("busybox:1")], {}) == ["+ pull image busybox:1"]
    both = {"app:1": {"Id": "sha256:1"}, "app:2": {"Id": "sha256:2"}}
    assert plan([FILE, OTHER], both) == []
    assert plan([ImageSpec("busybox:1")], {"busybox:1": {"Id": "sha256:7"}}) == []


def test_containerds_ids_are_others():
    there = {"Id": "sha256:manifest", "RootFS": {"Layers": ["sha256:a"]}}
    assert plan([FILE], {"app:1": {**there, "Descriptor": {}}}) == []
    assert plan([FILE], {"app:1": there}) != []


def test_nothing_is_loaded_into_an_engine_that_is_stopped_by_wish():
    assert plan([FILE], {}, stopped=True) == []


def test_where_no_image_is_wanted_nobody_is_asked():
    phase = next(one for one in PHASES if one.name == "images")
    spec = Spec(name="a", engine=EngineSpec(), tls=TlsSpec("", "", ""))
    assert phase.observe(None, Context(spec, facts=None)) == Seen({})  # type: ignore[arg-type] # it looks at neither


def test_the_records_entry_is_what_the_agent_gets():
    entry = {"name": "a:1", "id": "sha256:1", "likeness": "x", "size": 5, "file": "", "machine": "node1"}
    assert image_spec(entry) == ImageSpec("a:1", "sha256:1", "x", 5, "node1")
