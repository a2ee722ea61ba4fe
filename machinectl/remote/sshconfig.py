"""What the OpenSSH client's configuration says about one host.

`ssh -G` answers exactly as ssh itself would (Include, Match exec, tokens, canonical names) in about 5 ms, so
it is asked wherever there is an OpenSSH client. paramiko's own parser (no Include, part of Match) stands in
where there is none.

Precedence, as everywhere in OpenSSH: what the address says, then the configuration files, then defaults. The
user is `root` where nobody names one: that is docker-machine's default and what fresh hosts have.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from machinectl.errors import ConnectionFailed
from machinectl.model import SshAddress
from machinectl.remote.deadline import Deadline

DEFAULT_USER = "root"
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""Files of ~/.ssh that are tried when nobody names a key, in this order."""

_MAX_HOPS = 8

_OPENSSH_DEFAULT_KEYS = frozenset(
    f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa")
)
"""`ssh -G` prints these where no IdentityFile is configured; newer releases leave some out."""


@dataclass(frozen=True)
class Settings:
    """Everything that one hop of a connection needs to know."""

    alias: str
    """The name as it was given; what `Host` blocks match."""
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...] = ()
    """Keys that somebody named, in the order in which they are tried."""
    identities_only: bool = False
    agent: str = ""
    """Path of the agent's socket; empty: there is none."""
    jump: str = ""
    proxy_command: str = ""
    host_key_alias: str = ""
    known_hosts: tuple[Path, ...] = ()
    """The person's own files of known hosts: read, never written."""

    @property
    def known_as(self) -> str:
        """The name under which OpenSSH looks the host key up: `host`, or `[host]:port` off port 22."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.host.lower() if self.port == 22 else f"[{self.host.lower()}]:{self.port}"


def resolve(
    address: SshAddress, deadline: Deadline, *, base: Path | None = None, default_user: str = DEFAULT_USER
) -> Settings:
    """`base` is the folder that a relative key path starts from. Raises `ConnectionFailed`."""
    if not address.host or address.host.startswith("-"):
        raise ConnectionFailed(f"{address.host!r} is no host name", hint="a name or an IP address")
    settings = _ask_ssh(address, deadline, default_user)
    if settings is None:
        settings = _parse_with_paramiko(address, default_user)
    if address.key:
        key = Path(address.key).expanduser()
        key = key if key.is_absolute() or base is None else base / key
        settings = replace(settings, identity_files=(key,), identities_only=True)
    return settings


def plan_hops(
    address: SshAddress, deadline: Deadline, *, base: Path | None, default_user: str = DEFAULT_USER
) -> list[Settings]:
    """The settings of every hop, the first one to dial in front. Raises `ConnectionFailed` for a circle.

    Jump hosts log in as OpenSSH's defaults say: by the local user's name where nobody names another.
    """
    found: list[Settings] = []
    while True:
        settings = resolve(address, deadline, base=base, default_user=default_user)
        found.insert(0, settings)
        if not settings.jump:
            return found
        if len(found) > _MAX_HOPS:
            raise ConnectionFailed(
                f"the way to {found[-1].alias} has more than {_MAX_HOPS} jump hosts",
                why=" ← ".join(one.alias for one in reversed(found)),
                hint="a jump host must not jump through itself: ProxyJump none in its Host block",
            )
        last, before = parse_jump(settings.jump)
        # An explicit list leaves nothing to the configuration of its hops, as in `ssh -J a,b`.
        address = replace(last, jump=before, config=address.config)
        default_user = ""


def parse_jump(text: str) -> tuple[SshAddress, str]:
    """The last hop of a ProxyJump and the hops before it: `a,u@b:2222` → (u@b:2222, `a`)."""
    before, _, last = text.rpartition(",")
    last = last.strip().removeprefix("ssh://")
    user, _, place = last.rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or (port and not port.isdigit()):
        raise ConnectionFailed(
            f"{text!r} is no jump host", why="the form is [user@]host[:port][,[user@]host[:port]…]"
        )
    return SshAddress(host, int(port or 0), user), before.strip()


def _config_files(address: SshAddress) -> tuple[Path, ...]:
    if address.config:
        return (Path(address.config).expanduser(),)
    return (Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config"))


def _ask_ssh(address: SshAddress, deadline: Deadline, default_user: str) -> Settings | None:
    if shutil.which("ssh") is None:
        return None
    if address.config and not Path(address.config).expanduser().is_file():
        raise ConnectionFailed(f"there is no SSH configuration file {address.config}")
    # The first value wins in ssh_config, so a default of our own has to stand behind the person's files.
    lines = [f'Include "{path}"' for path in _config_files(address)]
    if default_user:
        lines += ["Host *", f"User {default_user}"]
    command = ["ssh", "-T", "-G"]
    command += ["-l", address.user] if address.user else []
    command += ["-p", str(address.port)] if address.port else []
    command += ["-o", f"ProxyJump={address.jump}"] if address.jump else []
    with tempfile.NamedTemporaryFile("w", prefix="machinectl-ssh-", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        try:
            done = subprocess.run(
                [*command, "-F", file.name, "--", address.host],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=deadline.left(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConnectionFailed(
                f"the SSH configuration for {address.host} took longer than {deadline.seconds:g} s to read",
                hint="look for `Match exec` or CanonicalizeHostname in ~/.ssh/config",
            ) from error
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().replace(file.name, "the SSH configuration")
        raise ConnectionFailed("the SSH configuration can't be read", why=why, hint=f"ssh -G {address.host}")
    return parse_ssh_g(address.host, done.stdout.decode(errors="replace"))


def parse_ssh_g(alias: str, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    """Pure: the output of `ssh -G`, one `keyword value` per line, as settings."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value.strip())
    return _settings(alias, values, os.environ if environment is None else environment)


def _settings(alias: str, values: Mapping[str, list[str]], environment: Mapping[str, str]) -> Settings:
    def one(keyword: str, default: str = "") -> str:
        found = values.get(keyword, [default])[0]
        return "" if found.lower() == "none" else found

    host = one("hostname", alias) or alias
    port = int(one("port", "22") or 22)
    user = one("user") or getpass.getuser()
    tokens = {
        "d": str(Path.home()),
        "h": host,
        "k": one("hostkeyalias") or alias,
        "n": alias,
        "p": str(port),
        "r": user,
        "u": getpass.getuser(),
        "%": "%",
    }
    named = [
        value
        for value in values.get("identityfile", [])
        if value.lower() != "none" and value not in _OPENSSH_DEFAULT_KEYS
    ]
    return Settings(
        alias=alias,
        host=host,
        port=port,
        user=user,
        identity_files=tuple(Path(expand_tokens(_unquote(value), tokens)).expanduser() for value in named),
        identities_only=one("identitiesonly").lower() in {"yes", "true"},
        agent=_agent_socket(values.get("identityagent", ["SSH_AUTH_SOCK"])[0], tokens, environment),
        jump=one("proxyjump"),
        proxy_command=expand_tokens(one("proxycommand"), tokens),
        host_key_alias=one("hostkeyalias"),
        known_hosts=tuple(
            Path(expand_tokens(value, tokens)).expanduser()
            for value in f"{one('userknownhostsfile')} {one('globalknownhostsfile')}".split()
        ),
    )


def expand_tokens(text: str, tokens: Mapping[str, str]) -> str:
    """`%h`, `%p`, … as ssh_config(5) names them; unknown ones stay."""
    out = []
    position = 0
    while position < len(text):
        if text[position] == "%" and text[position + 1 : position + 2] in tokens:
            out.append(tokens[text[position + 1]])
            position += 2
        else:
            out.append(text[position])
            position += 1
    return "".join(out)


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _agent_socket(value: str, tokens: Mapping[str, str], environment: Mapping[str, str]) -> str:
    value = _unquote(value)
    if value.lower() == "none":
        return ""
    if value == "SSH_AUTH_SOCK":
        return environment.get("SSH_AUTH_SOCK", "")
    if value.startswith("$"):
        return environment.get(value[1:].strip("{}"), "")
    return str(Path(expand_tokens(value, tokens)).expanduser())


def _parse_with_paramiko(address: SshAddress, default_user: str) -> Settings:
    from paramiko import SSHConfig, SSHException  # noqa: PLC0415  # 150 ms, and only without an ssh client

    values: dict[str, list[str]] = {}
    for path in _config_files(address):
        try:
            found = SSHConfig.from_path(str(path)).lookup(address.host)
        except OSError:
            continue
        except SSHException as error:
            raise ConnectionFailed(f"{path} can't be read", why=str(error)) from error
        for keyword, value in found.items():
            values.setdefault(keyword, list(value) if isinstance(value, list) else [str(value)])
    if address.user or "user" not in values:
        values["user"] = [address.user or default_user or getpass.getuser()]
    if address.port:
        values["port"] = [str(address.port)]
    if address.jump:
        values["proxyjump"] = [address.jump]
        values.pop("proxycommand", None)
    values.setdefault("userknownhostsfile", ["~/.ssh/known_hosts ~/.ssh/known_hosts2"])
    values.setdefault("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"])
    return _settings(address.host, values, os.environ)
