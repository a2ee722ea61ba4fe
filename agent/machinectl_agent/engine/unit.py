"""docker.service: which command line it really has, and the drop-in that leaves out what daemon.json says.

dockerd refuses to start when an option is given both as a flag and in daemon.json. Distributions differ in
the flags of their unit (`-H fd://` on Debian, a log driver and an exec-opt on Fedora), and earlier tools
left drop-ins with more of them. So the effective command line is read (systemd.service(5): an empty
`ExecStart=` clears the ones before), flags that daemon.json takes over are moved there, the rest is kept.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.engine import options
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem

UNIT = "docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/90-machinectl.conf"
ENVIRONMENT = "/etc/docker/machinectl.env"
"""Mode 0600: proxies often carry a password, and `systemctl show` prints Environment= to everybody."""

_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""systemd.unit(5)'s order; the last is for hosts without a merged /usr."""

_VARIABLES = ("$DOCKER_OPTS", "${DOCKER_OPTS}", "$OPTIONS", "${OPTIONS}")

_SHORT = {
    "-H": "host",
    "-D": "debug",
    "-l": "log-level",
    "-G": "group",
    "-s": "storage-driver",
    "-g": "data-root",
}


@dataclass(frozen=True)
class CommandLine:
    """How docker.service starts dockerd when our drop-in is left out."""

    program: str
    """Full path; empty where no unit was found."""
    flags: Mapping[str, Any]
    """Flags that daemon.json has a key for, as the document they amount to."""
    rest: Tuple[str, ...]
    """Everything else, in order: unknown flags, `$DOCKER_OPTS`."""


def read_command_line(host: Host) -> CommandLine:
    """From the unit's fragment and its drop-ins, without asking systemd (a dry run may precede a reload)."""
    start = ""
    for text in _unit_texts(host):
        for line in _joined_lines(text):
            key, equals, value = line.partition("=")
            if equals and key.strip() == "ExecStart":
                start = value.strip()
    return parse_command_line(start)


def parse_command_line(start: str) -> CommandLine:
    """An ExecStart= value → program, known flags, the rest; systemd's prefixes (`-`, `@`…) are dropped."""
    words = _split(start.lstrip("-@:+!").replace("%%", "%"))
    if not words:
        return CommandLine("", {}, ())
    pairs: List[Tuple[str, Any]] = []
    rest: List[str] = []
    position = 1
    while position < len(words):
        taken, option, value = _flag(words, position)
        if option is None:
            rest.extend(words[position : position + taken])
        else:
            try:
                pairs.append((option.key, options.parse_value(option, value)))
            except options.OptionError:
                # `--mtu $MTU`: systemd fills it in, and nobody else can
                rest.extend(words[position : position + taken])
        position += taken
    return CommandLine(words[0], options.collect(pairs), tuple(rest))


def has_socket(host: Host) -> bool:
    """systemd hands dockerd its unix socket. A unit made by hand, for static binaries say, may have none."""
    texts = _unit_texts(host)
    return not texts or any("fd://" in text or "docker.socket" in text for text in texts)


def read_environment_flags(host: Host) -> CommandLine:
    """What the environment files' `$DOCKER_OPTS` (Debian) and `$OPTIONS` (Fedora) add to the command line."""
    words: List[str] = []
    for name in ("/etc/default/docker", "/etc/sysconfig/docker"):
        for line in _joined_lines(host.read(name) or ""):
            match = re.match(r"\s*(?:DOCKER_OPTS|OPTIONS)=(.*)", line)
            if match:
                words.extend(_split(match[1], comments=True))
    return parse_command_line(" ".join(["dockerd", *words]))


def fold(command: CommandLine, environment: CommandLine, keys_in_file: Sequence[str]) -> CommandLine:
    """Spells out the environment's flags where one of them collides with daemon.json; else no change."""
    variables = [word for word in command.rest if word in _VARIABLES]
    if not variables or not any(key in keys_in_file for key in environment.flags):
        return command
    rest = [word for word in command.rest if word not in _VARIABLES]
    return CommandLine(
        command.program,
        options.collect([*command.flags.items(), *environment.flags.items()]),
        (*rest, *environment.rest),
    )


def exec_start(command: CommandLine, keys_in_file: Sequence[str]) -> str:
    """The ExecStart= line of the drop-in: what daemon.json does not say stays. Empty without a unit."""
    if not command.program:
        return ""
    words = [command.program]
    for key, value in command.flags.items():
        if key not in keys_in_file:
            words.extend(_as_flags(options.BY_KEY[key], value))
    words.extend(command.rest)
    return " ".join(_systemd_quote(word) for word in words)


def _unit_texts(host: Host) -> List[str]:
    """The fragment first, then the drop-ins by name: that is the order in which systemd reads them."""
    texts = []
    for folder in _UNIT_FOLDERS:
        text = host.read(f"{folder}/{UNIT}")
        if text is not None:
            texts.append(text)
            break
    by_name: Dict[str, str] = {}
    for folder in reversed(_UNIT_FOLDERS):
        for name in host.names(f"{folder}/{UNIT}.d", ".conf"):
            path = f"{folder}/{UNIT}.d/{name}"
            if path != DROP_IN:
                by_name[name] = host.read(path) or ""
    texts.extend(by_name[name] for name in sorted(by_name))
    return texts


def _joined_lines(text: str) -> List[str]:
    """Lines with a trailing backslash are one line; comments are left out."""
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and line.lstrip()[0] not in "#;"]


def _flag(words: Sequence[str], position: int) -> Tuple[int, Optional[options.Option], str]:
    """The flag at this position: words taken, its option (None: not ours to read), its value."""
    word = words[position]
    name, equals, value = word.partition("=")
    short = _SHORT.get(name[:2]) if re.match(r"-[A-Za-z]", name) else None
    option: Optional[options.Option]
    if short:
        option = options.BY_FLAG[short]
        if len(name) > 2:
            name, equals, value = name[:2], "=", word[2:].lstrip("=")
    else:
        option = options.BY_FLAG.get(name[2:]) if name.startswith("--") else None
    if option is None:
        return 1, None, ""
    if equals:
        return 1, option, value
    if option.kind == options.FLAG:
        return 1, option, "true"
    if position + 1 < len(words):
        return 2, option, words[position + 1]
    return 1, None, ""


def _as_flags(option: options.Option, value: Any) -> List[str]:
    """The reverse of `options.parse_value`, as often as the value has entries."""
    if isinstance(value, dict):
        values = [f"{name}={_map_entry(option, one)}" for name, one in value.items()]
    else:
        values = [_plain(one) for one in (value if isinstance(value, list) else [value])]
    return [f"--{option.flag}={one}" for one in values]


def _map_entry(option: options.Option, value: Any) -> str:
    if option.key == "default-ulimits":
        return f"{value['Soft']}:{value['Hard']}"
    return str(value["path"]) if option.key == "runtimes" else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):  # default-address-pools is the one list of objects
        return ",".join(f"{name}={one}" for name, one in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _split(text: str, *, comments: bool = False) -> List[str]:
    """Raises `Problem` `unit-unreadable` where a quote has no end."""
    try:
        return shlex.split(text, comments=comments)
    except ValueError as error:
        raise Problem(
            "unit-unreadable",
            f"the command line of {UNIT} can't be read: {text[:120]}",
            why=str(error),
            hint=f"`systemctl cat {UNIT}` and /etc/default/docker on the host show it: mend its quotes",
        ) from error


def _systemd_quote(word: str) -> str:
    """`$NAME` stays as it is, for systemd to expand; `%` is doubled (specifiers)."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./${}-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
