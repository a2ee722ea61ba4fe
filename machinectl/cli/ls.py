"""`machinectl ls`: the machines in a table, as names, as JSON or by a Go template."""

from __future__ import annotations

import argparse
import datetime
import json
import os
from typing import Any

from machinectl.actions.filters import parse_filters
from machinectl.actions.list_machines import RUNNING, Row, ask_engines, list_rows
from machinectl.cli.endpoints import ssh_url
from machinectl.cli.gotemplate import parse_template, render_header, render_template
from machinectl.cli.table import align
from machinectl.cli.words import seconds
from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl ls
  machinectl ls -q --filter name='^web'
  machinectl ls --filter state=Running --filter label=zone=a
  machinectl ls -f '{{.Name}}: {{.URL}} {{.DockerVersion}}'
  machinectl ls -f 'table {{.Name}}\\t{{.State}}\\t{{.CertExpires}}'
  machinectl ls -f '{{.Name}} {{join .Labels ","}} {{json .EngineOptions}}'
  machinectl ls -f '{{range $key, $value := .EngineOptions}}{{$.Name}}: {{$key}}={{$value}}{{println}}{{end}}'
  machinectl ls --output json | jq -r '.[] | select(.State != "Running").Name'

filters: driver, label, name (regular expression), state, swarm. The same key twice means or, others and.
fields: .Name .Active .ActiveHost .DriverName .State .URL .DockerVersion .Error .ResponseTime .CertExpires
.OS .Labels .Swarm .EngineOptions .ActiveSwarm .SwarmOptions
functions: json prettyjson join split upper lower title pad truncate, and those of Go: and or not eq ne lt le gt ge
index slice len print printf println html js urlquery
"""

HEADERS = {
    "Name": "NAME",
    "Active": "ACTIVE",
    "ActiveHost": "ACTIVE_HOST",
    "ActiveSwarm": "ACTIVE_SWARM",
    "DriverName": "DRIVER",
    "State": "STATE",
    "URL": "URL",
    "Swarm": "SWARM",
    "SwarmOptions": "SWARM_OPTIONS",
    "EngineOptions": "ENGINE_OPTIONS",
    "Error": "ERRORS",
    "DockerVersion": "DOCKER",
    "ResponseTime": "RESPONSE",
    "CertExpires": "CERT_EXPIRES",
    "OS": "OS",
    "Labels": "LABELS",
}
"""docker-machine's, and from CertExpires on ours."""

COLUMNS = ("Name", "Active", "DriverName", "State", "URL", "Swarm", "DockerVersion", "Error")
DEFAULT = "table " + "\t".join(f"{{{{.{one}}}}}" for one in COLUMNS)


def configure(parser: argparse.ArgumentParser) -> None:
    """docker-machine's flags, and --output."""
    parser.epilog = EXAMPLES
    parser.add_argument("-q", "--quiet", dest="names_only", action="store_true", help="names only")
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "-t", "--timeout", default="", metavar="SECONDS", help="for all machines together (default 10)"
    )
    parser.add_argument("-f", "--format", default="", metavar="TEMPLATE", help="Go template, `table …`")
    parser.add_argument("--output", choices=("table", "json"), default="table")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 whatever state the machines are in."""
    store = Store(args.storage_path)
    filters = parse_filters(args.filter)
    within = seconds(args.timeout, 10.0)
    table, template = _template(args.format)
    nodes = parse_template(template)
    rows = list_rows(store, filters)
    if not args.names_only or filters.state:
        rows = [row for row in ask_engines(store, rows, within) if filters.match_state(row.state)]
    if args.names_only:
        print("".join(f"{row.name}\n" for row in rows if row.machine), end="")
        return 0
    documents = [fields(row, os.environ.get("DOCKER_HOST", "")) for row in rows]
    if args.output == "json":
        print(json.dumps(documents, indent=4))
        return 0
    if table:
        lines = [render_header(nodes, HEADERS), *(render_template(nodes, one) for one in documents)]
        print(align(lines), end="")
    else:
        print("".join(render_template(nodes, one) + "\n" for one in documents), end="")
    return 0


def _template(text: str) -> tuple[bool, str]:
    """Whether it is a table, and the template itself; as docker-machine reads -f."""
    text = text or DEFAULT
    table = text.startswith("table")
    return table, text.removeprefix("table").strip(" ").replace("\\t", "\t").replace("\\n", "\n")


def fields(row: Row, docker_host: str) -> dict[str, Any]:
    """What templates and JSON see of one machine."""
    machine = row.machine
    url = machine.url if machine else ""
    active = bool(machine) and (
        (row.state == RUNNING and docker_host == url) or docker_host == ssh_url(machine.to_json())  # type: ignore[union-attr] # machine is there
    )
    options = (machine.engine.get("options") if machine else None) or {}
    return {
        "Name": row.name,
        "Active": "*" if active else "-",
        "ActiveHost": active,
        "ActiveSwarm": False,
        "DriverName": row.driver,
        "State": row.state,
        "URL": url,
        "Swarm": "",
        "SwarmOptions": {},
        "EngineOptions": dict(options),
        "Error": row.error,
        "DockerVersion": f"v{row.version}" if row.version else "Unknown",
        "ResponseTime": _duration(row.seconds),
        "CertExpires": _date(row.expires),
        "OS": machine.os if machine else "",
        "Labels": list(options.get("labels") or ()),
    }


def _duration(number: float) -> str:
    """Go's way for the range at hand: 0s, 15ms, 1.002s."""
    milliseconds = round(number * 1000)
    return f"{milliseconds}ms" if 0 < milliseconds < 1000 else f"{milliseconds / 1000:g}s"


def _date(moment: datetime.datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
