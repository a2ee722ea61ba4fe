"""Go templates as docker-machine's users write them; results are those of Go's text/template."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machinectl.cli.gotemplate import TemplateError, go_json, parse_template, render_header, render_template
from machinectl.cli.gotemplate.functions import FUNCTIONS
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
        ("{{$x}}", "undefined variable $x"),
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


TITLES = {"Name": "NAME", "URL": "URL", "Labels": "LABELS", "EngineOptions": "ENGINE_OPTIONS"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.Name}}\t{{.URL}}", "NAME\tURL"),
        ("{{upper .Name}} {{.URL | lower}} {{truncate .Name 3}}", "NAME URL NAME"),
        ('{{join .Labels ","}} {{json .EngineOptions}}', "LABELS ENGINE_OPTIONS"),
        ("{{range .Labels}}{{.}}{{end}}", "LABELS"),
        ("{{range $k, $v := .EngineOptions}}{{$v}}{{break}}{{end}}", "ENGINE_OPTIONS"),
        ("{{if .Labels}}{{.Name}}{{else}}-{{end}}", "NAME"),
        ("{{with .Labels}}{{index . 0}}{{end}}", "LABELS"),
        ("{{.EngineOptions.debug}}", "DEBUG"),
        ('{{printf "%-20s" .Name}}', "NAME"),
    ],
)
def test_headers_are_the_fields_titles(source, text):
    assert render_header(parse_template(source), TITLES) == text


def test_a_header_knows_unknown_fields():
    with pytest.raises(TemplateError, match="field Nope"):
        render_header(parse_template("{{.Nope}}"), TITLES)


PIECES = st.one_of(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{{-",
            "-}}",
            "|",
            "(",
            ")",
            ".",
            "$",
            "$x",
            ":=",
            "=",
            ",",
            "end",
            "else",
            "if",
            "range",
            "with",
            "break",
            "continue",
            "/*",
            "*/",
            ".Name",
            ".Driver",
            ".Labels",
            ".Nope",
            "true",
            "nil",
            "0",
            "-1",
            "1e999",
            "99999999999999999999",
            "0x",
            "0xFF",
            "1.5.5",
            '"',
            "`",
            "'",
            '"%d%s%q%9999999d"',
            '"\\x"',
            '"a"',
            "'a'",
            "{{end}}",
            "{{else}}",
            "{{.}}",
            "{{range .Labels}}",
            "{{if .Name}}",
            "{{with $x := .Driver}}",
            "\n",
            "\t",
            "é",
        ]
    ),
    st.sampled_from(sorted(FUNCTIONS)),
    st.text(max_size=3),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=14), st.sampled_from(["", " "]))
def test_no_template_is_a_traceback(pieces, space):
    """Whatever people type is rendered, or refused in words."""
    source = space.join(pieces)
    for text in (source, f"{{{{{source}}}}}"):
        try:
            nodes = parse_template(text)
        except TemplateError:
            continue
        pairs: list[tuple[Callable[..., str], object]] = [(render_template, DOT), (render_header, TITLES)]
        for render, value in pairs:
            try:
                assert isinstance(render(nodes, value), str)
            except TemplateError:
                continue


OPERANDS = st.sampled_from(
    [
        ".",
        ".Name",
        ".Driver",
        ".Labels",
        ".Nothing",
        ".Half",
        ".Whole",
        "0",
        "1",
        "-1",
        "12345",
        "1.5",
        '"a"',
        '""',
        "true",
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(OPERANDS, max_size=4))
def test_no_call_is_a_traceback(name, operands):
    try:
        assert isinstance(render_template(parse_template(f"{{{{{name} {' '.join(operands)}}}}}"), DOT), str)
    except TemplateError as error:
        assert str(error)


def test_what_is_too_deep_is_refused():
    for source in (
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
        "{{if 1}}" * 5000 + "{{end}}" * 5000,
        "{{if 1}}" + "{{else if 1}}" * 5000 + "{{end}}",
    ):
        with pytest.raises(TemplateError, match="more than 50"):
            parse_template(source)


def test_columns_are_tabwriters():
    assert align(["NAME\tA\tERRORS", "node10\t*\tx y", "n\t-\t"]) == (
        "NAME     A    ERRORS\nnode10   *    x y\nn        -    \n"
    )
    assert align([]) == ""
    assert align(["one", "two"]) == "one\ntwo\n"
