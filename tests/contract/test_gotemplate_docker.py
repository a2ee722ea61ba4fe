"""Templates mean what they mean to the docker client, which renders them by Go itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from machinectl.cli.gotemplate import TemplateError, parse_template, render_template

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="needs the docker client")

TEMPLATES = [
    "{{.Name}} {{.Name | upper}} {{upper .Name}} {{lower \"ÄB\"}} {{title \"two words of-it\"}}",
    "{{json .Endpoints}}",
    "{{.Endpoints.docker.Host}}",
    "{{with .Endpoints.docker}}{{.Host}} of {{$.Name}}{{end}}",
    "{{with \"\"}}yes{{else}}no {{.Name}}{{end}}",
    "{{join (split .Name \"-\") \"+\"}} {{split \"a,b\" \",\" | json}} {{len (split .Name \"-\")}}",
    "{{range split \"a,b,c\" \",\"}}<{{.}}>{{end}}",
    "{{range $i, $e := split \"a,b,c\" \",\"}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}",
    "{{range $e := split \"a,b,c\" \",\"}}{{if eq $e \"b\"}}{{continue}}{{end}}{{$e}}{{end}}",
    "{{range split \"a,b,c\" \",\"}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}",
    "{{range $k, $v := .Endpoints}}{{$k}}:{{$v.Host}}{{end}}",
    "{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}",
    "{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}",
    "{{if false}}a{{else if true}}b{{else}}c{{end}}{{if false}}a{{else if false}}b{{else}}c{{end}}",
    "{{with false}}a{{else with .Name}}{{.}}{{end}}",
    "{{truncate .Name 3}}|{{pad .Name 2 3}}|{{pad \"\" 2 3}}|{{truncate \"ab\" 9}}",
    "{{print 1 2 \"a\" \"b\" 3 true}}|{{println \"a\" 1}}|{{print nil}}",
    "{{printf \"%s %d %v %q %t %5d|%-5s|%05d|%x|%X|%%|%5.1f|%.2s\" \"a\" 1 2.5 \"q\\\"\" true 7 \"ab\" 42 255 \"hi\" 3.14159 \"long\"}}",
    "{{printf \"%d\" \"a\"}}|{{printf \"%s\" 1}}|{{printf \"%d\"}}|{{printf \"x\" 1 2}}|{{printf \"%t\" 1}}|{{printf \"%c%o\" 65 8}}",
    "{{printf \"%v %v\" true \"a\"}}|{{.Name | printf \"%-20s|%s\" \"x\"}}|{{printf \"%+d %e %g\" 5 1.5 1.5}}",
    "{{eq 1 1}} {{eq \"a\" \"b\" \"a\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}}",
    "{{and 1 0}} {{and 1 \"x\"}} {{or 0 \"\" \"z\"}} {{not 0}} {{not \"a\"}}",
    "{{or .Name (index .Endpoints \"nope\").Host}}",
    "{{slice \"abcdef\" 1 3}} {{slice \"abc\" 1}} {{len \"äb\"}} {{index \"abc\" 1}}",
    "{{html \"<a href='x'>&\\\"\"}} {{urlquery \"a b&c/é\"}} {{js \"it's <b> \\\"q\\\" = \\n\"}}",
    "{{\"a\\tb\\x41\\u00e9\\101\"}} {{`raw \\t`}} {{'a'}} {{0x1F}} {{1.5}} {{-3}} {{1e3}} {{true}}",
    "a {{- /* gone */ -}} b {{ .Name -}}   c{{/* } }} */}}",
    "{{(index .Endpoints \"docker\").Host}} {{(.Endpoints.docker).SkipTLSVerify}}",
    "{{json 1}} {{json true}} {{json nil}}",
    "{{print (len .Endpoints) (printf \"%d\" 3)}} {{1 | printf \"%d-%d\" 2}}",
    "{{range $x := split \"\" \",\"}}[{{$x}}]{{else}}none{{end}}",
    "{{- with $y := .Name}}{{$y}}{{end -}}",
    "{{println}}{{print}}",
]  # fmt: skip

WRONG = [
    "{{.Name", "{{end}}", "{{if true}}", "{{else}}", "{{nope}}", "{{}}", "{{$x}}", "{{.Name .Name}}", "{{(1}}", "{{1)}}",
    "{{break}}", "{{\"a}}", "{{\"\\z\"}}", "{{1 | 2}}", "{{if}}x{{end}}", "{{$x :=}}", "{{:= 1}}",
    "{{eq 1 \"a\"}}", "{{lt true false}}", "{{len 3}}", "{{index 1 2}}", "{{slice \"abc\" 5}}", "{{join \"a\" \"b\"}}",
    "{{range 1.5}}{{end}}", "{{upper 1}}", "{{index (split \"a\" \",\") 7}}", "{{.Nope}}", "{{.Name.Nope}}", "{{not}}",
    "{{eq}}", "{{json}}", "{{end}}{{if true}}", "{{if true}}{{else}}{{else}}{{end}}", "{{range .Endpoints}}{{$.Nope}}{{end}}",
    "{{'ab'}}", "{{$x = 1}}", "{{if $y := 1}}{{end}}{{$y}}",
]  # fmt: skip


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docker")
    environment = {**os.environ, "DOCKER_CONFIG": str(folder)}

    def run(*words):
        return subprocess.run(
            ["docker", "context", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    run("create", "my-node-1", "--docker", "host=tcp://198.18.0.11:2376")
    return run


@pytest.fixture(scope="module")
def dot(docker):
    return json.loads(docker("inspect", "my-node-1").stdout)[0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_text(docker, dot, template):
    theirs = docker("inspect", "-f", template, "my-node-1")
    assert theirs.returncode == 0, theirs.stderr
    assert render_template(parse_template(template), dot) + "\n" == theirs.stdout


@pytest.mark.parametrize("template", WRONG)
def test_the_same_refusals(docker, dot, template):
    assert docker("inspect", "-f", template, "my-node-1").returncode != 0
    with pytest.raises(TemplateError):
        render_template(parse_template(template), dot)
