"""The units of one registry: their texts (pure), and what systemd and the process say of them."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from dataclasses import dataclass
from typing import Dict, Mapping

from machinectl_agent import marked
from machinectl_agent.host import Host
from machinectl_agent.marked import Running
from machinectl_agent.registry import places
from machinectl_agent.registry.spec import CONTAINER, RegistrySpec
from machinectl_agent.templates import render

UNIT_TEMPLATE, COLLECTOR_TEMPLATE = "machinectl-registry.service", "machinectl-registry-gc.service"
MARK = "MACHINECTL_REGISTRY"


@dataclass(frozen=True)
class Way:
    """How the registry is run here."""

    via: str
    program: str = ""
    """Of the package; empty: it is not there."""
    docker: str = ""
    image: str = ""
    account: str = ""
    """USER:GROUP as numbers, for the container; empty: the user is not there yet."""

    @property
    def container(self) -> bool:
        return self.via == CONTAINER


def render_units(spec: RegistrySpec, way: Way, files: Mapping[str, str]) -> Dict[str, str]:
    """File → text: the registry's and the collector's. The mark is over everything that takes a restart."""
    name = places.unit(spec.port).partition(".")[0]
    values = {
        "port": spec.port,
        "unit": places.unit(spec.port),
        "folder": places.folder(spec.port),
        "storage": spec.place,
        "user": places.USER,
        "docker": way.docker,
        "container": way.container,
        "name": name,
    }
    serve = f"{_program(spec, way, name, publish=True)} serve"
    if spec.upstream:
        words = (
            sys.executable, "-I", places.RUNNER, spec.upstream, f"{places.folder(spec.port)}/trust/ca.pem",
            places.config_file(spec.port), places.offline_file(spec.port),
        )  # fmt: skip
        serve = f"{shlex.join(words)} {serve}"
    else:
        serve = f"{serve} {places.config_file(spec.port)}"
    text = render(UNIT_TEMPLATE, mark=f"{MARK}=-", command=_escaped(serve), **values)
    # the collector's own program is read anew each time
    read_once = {path: one for path, one in files.items() if path != places.CHECKER}
    everything = "\0".join([text, *(f"{path}\0{one}" for path, one in sorted(read_once.items()))])
    digest = hashlib.sha256(everything.encode()).hexdigest()[:32]
    program = _escaped(_program(spec, way, f"{name}-gc", publish=False))
    collect = f"{program} garbage-collect $OPTIONS {places.config_file(spec.port)}"
    collector = render(
        COLLECTOR_TEMPLATE,
        command=collect,
        systemctl="/bin/systemctl",
        options=collector_options(spec.port),
        result=collector_result(spec.port),
        python=_escaped(sys.executable),
        checker="" if spec.upstream else places.CHECKER,
        **values,
    )
    return {
        places.unit_file(places.unit(spec.port)): text.replace(f"{MARK}=-", f"{MARK}={digest}"),
        places.unit_file(places.collector(spec.port)): collector,
    }


def _escaped(command: str) -> str:
    """systemd's own signs (systemd.service(5), systemd.unit(5)) mean themselves."""
    return command.replace("%", "%%").replace("$", "$$")


def collector_options(port: int) -> str:
    """The file that says how to collect this time."""
    return f"/run/machinectl-registry-{port}.env"


def collector_result(port: int) -> str:
    """The file that says how the last collection ended; systemd itself forgets a unit that has ended well."""
    return f"/run/machinectl-registry-{port}.result"


def _program(spec: RegistrySpec, way: Way, name: str, *, publish: bool) -> str:
    if not way.container:
        return way.program
    folder = places.folder(spec.port)
    words = [way.docker, "run", "--rm", "--name", name, "--pull", "never", "--log-driver", "none"]
    words += [
        "--user",
        way.account,
        "--env",
        f"SSL_CERT_DIR={folder}/trust",
        "--env",
        "OTEL_TRACES_EXPORTER=none",
    ]
    words += ["--volume", f"{folder}:{folder}:ro", "--volume", f"{spec.place}:{spec.place}"]
    if publish:
        words += ["--publish", f"{spec.port}:{spec.port}"]
    return shlex.join([*words, way.image])


def via_in(text: str) -> str:
    """How the unit of this text runs its registry; empty where there is none."""
    if not text:
        return ""
    return "container" if re.search(r"^ExecStart=.*\brun --rm --name ", text, re.MULTILINE) else "package"


def mark_in(text: str) -> str:
    """Of a unit's text or of a process's environment."""
    return marked.mark_in(text, MARK)


def running(host: Host, port: int) -> Running:
    return marked.running(host, places.unit(port), MARK)
