"""Renders templates/ (Jinja2): every file that we write onto a machine and that is not JSON.

The folder travels inside the bundle as machinectl_agent/templates; in a checkout it is the top-level one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from machinectl_agent.memo import once_per_boot

HEADER = "written by machinectl; changes are undone by the next provision"


def folder() -> Path:
    """Where the templates are; the bundle's own folder wins over the checkout's."""
    here = Path(__file__).resolve().parent
    beside = here / "templates"
    return beside if beside.is_dir() else here.parents[1] / "templates"


def render(template: str, **values: Any) -> str:
    """`template` is a path below templates/. An unknown variable is an error, not an empty string."""
    return once_per_boot(template, sorted(values.items()), lambda: _render(template, values))


def _render(template: str, values: Mapping[str, Any]) -> str:
    import jinja2  # noqa: PLC0415 - with the compiling of a template 30 ms

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - what is rendered is unit files and sources lists, never HTML
    )
    return environment.get_template(template).render(header=HEADER, **values)
