"""Go's text/template, as far as people use it with `ls -f` and `inspect -f`.

Text, `{{.Field.Field}}`, pipelines, parentheses, strings, numbers, variables, `if`, `range` and `with` with `else`,
comments, trim markers, Go's own functions and those of the docker client's templates. No `define`, no calls of
methods. An unknown field is an error that lists the known ones: docker-machine's silent `<no value>` in a script
helps nobody.

    parse.py      text → tree
    tree.py       what the tree is made of
    render.py     tree + a value → text
    functions.py  what can be called
    values.py     how Go prints and compares values

The packages that do this are either bindings that need a Go compiler or months old and before their 1.0.
"""

from __future__ import annotations

from machinectl.cli.gotemplate.parse import parse_template
from machinectl.cli.gotemplate.render import render_header, render_template
from machinectl.cli.gotemplate.tree import TemplateError
from machinectl.cli.gotemplate.values import go_json

__all__ = ["TemplateError", "go_json", "parse_template", "render_header", "render_template"]
