"""Templates of inventories: variables that are templates, what the vault keeps, and what is no template."""

from __future__ import annotations

import textwrap

import pytest

from machinectl.errors import InventoryError
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes

VARIABLES = """
all:
  vars:
    version: "27.5"
    deep: "{{ one }}"
    one: "{{ version }}"
    round: "{{ about }}"
    about: "{{ round }}"
    map: {port: 5, of: "{{ deep }}", secret: !vault "xx"}
    raw: !unsafe "{{ no }}"
    raws: !unsafe ["{{ x }}", {a: "{{ y }}"}]
    secret: !vault "xx"
    whole: !vault "xx"
    5: five
  hosts:
    other: {version: "26"}
    a:
      machinectl:
"""


@pytest.fixture
def filled(tmp_path):
    """`filled(SETTINGS)` → the wish of host a."""

    def read(settings):
        path = tmp_path / "hosts.yml"
        path.write_text(VARIABLES + textwrap.indent(textwrap.dedent(settings), " " * 8))
        (wish,) = wishes(read_inventory([path]), ["a"])
        return wish

    return read


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ deep }}", "27.5"),
        ("{{ deep | upper }} {{ map.of }}", "27.5 27.5"),
        ("{{ map.port }}", "5"),
        ("{{ map['port'] + 1 }}", "6"),
        ("{{ raw }} {{ raws[0] }} {{ raws[1].a }}", "{{ no }} {{ x }} {{ y }}"),
        ("{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
        ("{% set x = raw %}{{ x }}", "{{ no }}"),
        ("{{ hostvars.other.deep }} {{ hostvars['other'].map.of }}", "26 26"),
        ("{{ hostvars['other']['inventory_hostname'] }}", "other"),
        ("{{ hostvars | length }} {{ 'x' in hostvars }}", "2 False"),
        ("{{ nothing | default('else') }} {{ version | d('x') }}", "else 27.5"),
        ("{{ 'y' if whole is defined else 'n' }}", "y"),
        ("{{ groups.ungrouped | join(',') }} {{ group_names }}", "other,a ['ungrouped']"),
        ("{{ inventory_file }}", "{folder}/hosts.yml"),
        ("{{ inventory_dir }}", "{folder}"),
        ("{{ '}}' }}", "}}"),
    ],
)
def test_what_a_template_makes(filled, tmp_path, template, text):
    wish = filled(f'files: [{{dest: /x, content: "{template}"}}]')
    assert wish.files[0].content.decode() == text.replace("{folder}", str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ('engine-version: "{{ round }}"', "variables that lead to variables"),
        ('engine-version: "{{ map.secret }}"', "is encrypted with Ansible's vault"),
        ("engine-version: \"{{ map.secret | default('x') }}\"", "is encrypted with Ansible's vault"),
        ('engine-env: "{{ map }}"', "is encrypted with Ansible's vault"),
        ('engine-version: "{{ secret }}"', "is encrypted with Ansible's vault"),
        ('engine-version: "{{ hostvars.other.secret }}"', "is encrypted with Ansible's vault"),
        ("engine-version: !vault x", "is encrypted with Ansible's vault"),
        ('engine-version: "{{ hostvars.third.x }}"', "has no attribute 'third'"),
        ("engine-version: \"{{ lookup('env', 'HOME') }}\"", "'lookup' is undefined"),
        ('engine-version: "{{ version | to_yaml }}"', "No filter named 'to_yaml'"),
        ("engine-version: \"{{ groups.web.append('x') }}\"", "can't be filled in"),
        ("engine-version: \"{{ groups.all.append('x') }}\"", "can't be filled in"),
        ('labels: "{{ map.port }}"', "a list is wanted"),
        ('labels: ["a={{ nothing }}"]', "'nothing' is undefined"),
    ],
)
def test_what_a_template_can_not_do(filled, settings, what):
    with pytest.raises(InventoryError) as error:
        filled(settings)
    assert what in str(error.value)
    assert "hosts.yml:" in str(error.value)


def test_an_error_in_a_template_file_names_its_line(tmp_path):
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {a: {machinectl: {files: [{dest: /x, template: x.j2}]}}}}\n"
    )
    (tmp_path / "x.j2").write_text("one\ntwo\n{% if %}\n")
    with pytest.raises(InventoryError) as error:
        wishes(read_inventory([tmp_path / "hosts.yml"]), ["a"])
    assert f"{tmp_path}/x.j2" in str(error.value)
    assert "line 3 of it" in str(error.value)
