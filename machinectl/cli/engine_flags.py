"""create's and provision's flags for the engine: the agent's options table, plus a few of our own."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

from machinectl.errors import UsageError
from machinectl_agent.spec import CREATE_OPTIONS, OptionError, collect, parse_assignment, parse_value

REPEATED = ("list", "map")


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """docker-machine's flags under its names, and its environment variables as their defaults."""
    group = parser.add_argument_group("Docker Engine (repeat a flag for several values)")
    for option in CREATE_OPTIONS:
        several = option.kind in REPEATED
        group.add_argument(
            option.create,
            dest=_dest(option.create),
            action="append" if several else "store",
            metavar="VALUE",
            help=option.help,
        )
    group.add_argument(
        "--engine-opt", action="append", metavar="FLAG=VALUE", help="any other option of dockerd, as its flag"
    )
    group.add_argument(
        "--engine-env", action="append", metavar="NAME=VALUE", help="environment of dockerd, such as a proxy"
    )
    group.add_argument("--engine-version", metavar="VERSION", help="pin this version (20.10.6, 26.1)")
    group.add_argument(
        "--engine-mirror",
        metavar="URL",
        help="install Docker's own packages from this copy of download.docker.com (or that itself)",
    )
    group.add_argument(
        "--engine-package",
        action="append",
        metavar="FILE",
        help="upload and install these .deb or .rpm files, for hosts without the Internet",
    )
    group.add_argument(
        "--registry-ca",
        action="append",
        default=[],
        metavar="HOST:PORT=FILE|MACHINE",
        help="the CA of this registry's certificate: a PEM file, or a machine of ours that it is on",
    )
    group.add_argument("--engine-install-url", metavar="URL", help=argparse.SUPPRESS)


def engine_wishes(args: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Only what was asked for: options, env, version, mirror. Raises `UsageError` naming the flag."""
    wishes: dict[str, Any] = {}
    options = _options(args, environ)
    if options:
        wishes["options"] = options
    env = _environment(_given(args.engine_env, environ.get("ENGINE_ENV")))
    if env:
        wishes["env"] = env
    if args.engine_version:
        wishes["version"] = args.engine_version
    if args.engine_mirror:
        if not args.engine_mirror.startswith(("https://", "http://")):
            raise UsageError(
                f"--engine-mirror {args.engine_mirror}: not a URL", hint="write https://HOST/PATH"
            )
        wishes["mirror"] = args.engine_mirror.rstrip("/")
    return wishes


_VARIABLES = {
    "--engine-registry-mirror": "ENGINE_REGISTRY_MIRROR",
    "--engine-insecure-registry": "ENGINE_INSECURE_REGISTRY",
    "--engine-label": "ENGINE_LABEL",
    "--engine-storage-driver": "ENGINE_STORAGE_DRIVER",
}
"""docker-machine's variables; several values are parted by commas, as there."""


def _options(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    pairs: list[tuple[str, Any]] = []
    for option in CREATE_OPTIONS:
        fallback = environ.get(_VARIABLES.get(option.create, ""))
        texts = _given(getattr(args, _dest(option.create)), fallback)
        pairs.extend((option.key, _checked(option.create, parse_value, option, text)) for text in texts)
    texts = _given(args.engine_opt, environ.get("ENGINE_OPT"))
    pairs.extend(_checked("--engine-opt", parse_assignment, text) for text in texts)
    return collect(pairs)


def _checked(flag: str, parse: Callable[..., Any], *values: Any) -> Any:
    try:
        return parse(*values)
    except OptionError as error:
        raise UsageError(f"{flag}: {error.what}", hint=error.hint) from error


def _given(values: list[str] | str | None, fallback: str | None) -> list[str]:
    if values is None:
        return [one for one in (fallback or "").split(",") if one]
    return values if isinstance(values, list) else [values]


def _environment(assignments: list[str]) -> dict[str, str]:
    env = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            # the value may be a password: only the name is shown
            raise UsageError(f"--engine-env {name}: NAME=VALUE is wanted", hint="--engine-env HTTP_PROXY=URL")
        env[name] = value
    return env


def _dest(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
