"""Go templates as docker-machine's users write them; results are those of Go's text/template."""

from __future__ import annotations

import pytest

from machinectl.cli.gotemplate import TemplateError, go_json, parse_template, render_template
from machinectl.cli.table import align

DOT = {
    "Name": "node1",
    "Driver": {"IPAddress": "198.18.0.11", "SSHPort": 22, "SwarmMaster": False},
    "Labels": ["a=b", "c<d"],
    "Nothing": None,
    "Half": 0.5,
    "Whole": 3.0,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{.Name}}", "node1"),
        ("{{ .Driver.IPAddress }}:{{.Driver.SSHPort}}", "198.18.0.11:22"),
        ("{{.Driver.SwarmMaster}}", "false"),
        ("{{.Nothing}}", "<no value>"),
        ("{{.Half}} {{.Whole}}", "0.5 3"),
        ("{{.Labels}}", "[a=b c<d]"),
        ("{{.Driver}}", "map[IPAddress:198.18.0.11 SSHPort:22 SwarmMaster:false]"),
        ("{{json .Driver}}", '{"IPAddress":"198.18.0.11","SSHPort":22,"SwarmMaster":false}'),
        ("{{.Labels | json}}", '["a=b","c\\u003cd"]'),
        ("{{prettyjson .Labels}}", '[\n    "a=b",\n    "c\\u003cd"\n]'),
        ("{{json .}}", go_json(DOT)),
        ("{{if .Labels}}yes{{else}}no{{end}}{{if .Nothing}}yes{{end}}", "yes"),
        ("{{range .Labels}}<{{.}}>{{end}}", "<a=b><c<d>"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if eq .Name `node1`}}{{if ne .Driver.SSHPort 22}}a{{else}}b{{end}}{{end}}", "b"),
        ('{{index .Labels 1}} {{index .Driver "SSHPort"}} {{len .Labels}}', "c<d 22 2"),
        ("{{if and .Name (not .Nothing)}}both{{end}} {{or .Nothing .Name}}", "both node1"),
        ("a {{- .Name -}} b{{/* no */}}", "anode1b"),
        ('{{"}}"}}{{`{{`}}', "}}{{"),
        ('{{true}} {{1}} {{"a\\tb"}}', "true 1 a\tb"),
    ],
)
def test_rendering(source, text):
    assert render_template(parse_template(source), DOT) == text


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{{.Nope}}", "field Nope"),
        ("{{.Driver.Nope}}", "field Nope of <.Driver.Nope>"),
        ("{{.Name.Nope}}", "field Nope"),
        ("{{.Name", "unclosed action"),
        ("{{}}", "missing value"),
        ("{{nope .Name}}", 'function "nope" not defined'),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .Name}}", "no {{end}}"),
        ("{{.Name .Name}}", "only a function"),
        ("{{(.Name}}", "parenthesis"),
        ("{{.Name)}}", "unexpected"),
        ("{{$x}}", "unexpected"),
        ("{{json}}", "error calling json"),
        ("{{index .Labels 9}}", "error calling index"),
        ("{{range .Name}}x{{end}}", "can't iterate"),
    ],
)
def test_what_is_wrong_is_said(source, named):
    with pytest.raises(TemplateError) as caught:
        render_template(parse_template(source), DOT)
    assert named in str(caught.value)
    assert caught.value.exit_status == 2


def test_an_unknown_field_lists_the_known_ones():
    with pytest.raises(TemplateError) as caught:
        render_template(parse_template("{{.Driver.IP}}"), DOT)
    assert ".IPAddress, .SSHPort" in caught.value.why


def test_columns_are_tabwriters():
    assert align(["NAME\tA\tERRORS", "node10\t*\tx y", "n\t-\t"]) == (
        "NAME     A    ERRORS\nnode10   *    x y\nn        -    \n"
    )
    assert align([]) == ""
    assert align(["one", "two"]) == "one\ntwo\n"
