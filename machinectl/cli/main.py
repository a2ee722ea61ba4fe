"""The command line's entrance: global options, which command, errors as text, exit status.

Only the module of the command that was asked for is imported, and argparse only for commands that are not
`fast`: `machinectl env` runs in shell prompts. Options before the command are ours, all others are its own.
"""

from __future__ import annotations

import importlib
import os
import sys

from machinectl.errors import MachinectlError, UsageError
from machinectl.store.records import default_path

COMMANDS: tuple[tuple[str, str, str, bool], ...] = (
    ("active", "machinectl.cli.active", "print the machine that $DOCKER_HOST points at", True),
    ("adopt", "machinectl.cli.adopt", "make a machine of a host whose engine runs already", False),
    ("agent", "machinectl.cli.agent", "the agent on a machine: status, logs, upgrade", False),
    ("apply", "machinectl.cli.apply", "make machines what an inventory says", False),
    ("completion", "machinectl.cli.completion", "print a shell's completion script: bash, zsh, fish", False),
    ("config", "machinectl.cli.config", "print docker client options; set, get, unset daemon options", True),
    ("context", "machinectl.cli.context", "entries of `docker context` for machines: add, rm, ls", False),
    ("create", "machinectl.cli.create", "turn a host that you can SSH to into a Docker host", False),
    ("dns", "machinectl.cli.dns", "what a name means in the networks of all machines: lookup", False),
    ("drift", "machinectl.cli.drift", "what has been changed on hosts since the last apply", False),
    ("env", "machinectl.cli.env", "print what points the docker client at a machine", True),
    ("etcd", "machinectl.cli.etcd", "the store that networks need: deploy, status, backup, …", False),
    ("exec", "machinectl.cli.exec", "run a command on many machines at once", False),
    ("export", "machinectl.cli.export", "a machine with its certificates as one encrypted file", False),
    ("image", "machinectl.cli.image", "images of machines: ls, push, pull, save, load, rm", False),
    (
        "import",
        "machinectl.cli.import_machine",
        "take in exported machines, or those of docker-machine",
        False,
    ),
    ("inspect", "machinectl.cli.inspect", "print all that is known about a machine, as JSON", False),
    (
        "inventory",
        "machinectl.cli.inventory",
        "what an inventory says: list, graph, show, validate, export",
        False,
    ),
    ("ip", "machinectl.cli.ip", "print machines' addresses", True),
    ("kill", "machinectl.cli.kill", "stop engines at once, by SIGKILL", False),
    ("lab", "machinectl.cli.lab", "real systemd hosts on this Linux machine, to try things on", False),
    ("logs", "machinectl.cli.logs", "what dockerd, agent, network, etcd or the host's journal say", False),
    ("ls", "machinectl.cli.ls", "list machines", False),
    ("mount", "machinectl.cli.mount", "a machine's folder in a folder here, by sshfs", False),
    (
        "network",
        "machinectl.cli.network",
        "networks across machines: join, create, ls, inspect, rm, doctor",
        False,
    ),
    ("plan", "machinectl.cli.plan", "what apply would do", False),
    ("provision", "machinectl.cli.provision", "bring machines to what was asked for, again", False),
    ("regenerate-certs", "machinectl.cli.regenerate_certs", "new certificates; containers go on", False),
    (
        "registry",
        "machinectl.cli.registry",
        "Docker registries on machines: deploy, ls, tags, rm, gc, check",
        False,
    ),
    ("restart", "machinectl.cli.restart", "reboot hosts and wait for their engines", False),
    ("rm", "machinectl.cli.rm", "forget machines (their hosts are left as they are)", False),
    ("scp", "machinectl.cli.scp", "copy files and folders from, to and between machines", False),
    ("set-ip", "machinectl.cli.set_ip", "a machine's host has another address", False),
    ("shell-init", "machinectl.cli.shell_init", "print functions for a shell: use, prompt, completion", True),
    ("ssh", "machinectl.cli.ssh", "log into a machine, or run a command on it", False),
    ("start", "machinectl.cli.start", "start engines that were stopped", False),
    ("status", "machinectl.cli.status", "print Running, Stopped, Timeout or Error", False),
    ("stop", "machinectl.cli.stop", "stop engines; they stay stopped until start", False),
    ("sync", "machinectl.cli.sync", "a folder on many machines: only what changed travels", False),
    ("trust", "machinectl.cli.trust", "the stores that machines' engines trust: ls, rm", False),
    ("upgrade", "machinectl.cli.upgrade", "bring the newest Docker Engine, machine after machine", False),
    ("url", "machinectl.cli.url", "print the URLs of machines' engines", True),
    ("use", "machinectl.cli.use", "point this shell at a machine (a function, see shell-init)", True),
    ("version", "machinectl.cli.version", "print machinectl's version, or a machine's engine version", False),
    (
        "volume",
        "machinectl.cli.volume",
        "volumes and their contents: ls, create, inspect, rm, backup, restore, migrate, clone, pack",
        False,
    ),
)
"""(name, module, summary, fast). A fast module has `main(words, storage_path)`, another one
`configure(parser)` and `run(args)`; `main` and `run` give the exit status. A fast one's `slower(words)` names another
module for words that are not its own."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and gives its exit status; prints errors, never a traceback without --debug."""
    words = sys.argv[1:] if argv is None else argv
    debug = bool(os.environ.get("MACHINECTL_DEBUG"))
    try:
        options, rest = _global_options(words)
        debug = debug or options["debug"] == "1"
        status = _dispatch(options, rest, debug=debug)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `machinectl ls | head -1`: nobody reads on, and the interpreter must not complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except MachinectlError as error:
        return _report(str(error), error.exit_status, debug=debug)
    except Exception as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        text = f"unexpected: {what}\n  try: run it with --debug and report what it prints"
        return _report(text, 1, debug=debug)


def _report(text: str, status: int, *, debug: bool) -> int:
    sys.stdout.flush()
    if debug:
        import traceback  # noqa: PLC0415 - only here

        traceback.print_exc()
    # docker-machine's own texts begin with `Error` already, and scripts look for them
    print(text if text.startswith("Error") else f"error: {text}", file=sys.stderr)
    return status


def _global_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options before the command, and the rest from the command on."""
    from machinectl.cli.words import split_words  # noqa: PLC0415 - cheap, and wanted with this error handling

    switches = {
        "-D": "debug",
        "--debug": "debug",
        "-q": "quiet",
        "--quiet": "quiet",
        "-h": "help",
        "--help": "help",
        "-v": "version",
        "--version": "version",
        "--native-ssh": "ignored",  # docker-machine's choice of SSH client; ours is always built in
    }
    valued = {"-s": "storage", "--storage-path": "storage"}
    try:
        options, rest = split_words(words, switches, valued, stop_at_first=True)
    except UsageError as error:
        _refuse_systemd(words)
        raise UsageError(error.what, hint="machinectl --help lists options and commands") from None
    path = options.get("storage")
    storage = os.path.abspath(os.path.expanduser(path)) if path else default_path()  # noqa: PTH100, PTH111 - as in records.py
    flags = {name: options.get(name, "") for name in ("debug", "quiet", "help", "version")}
    return {**flags, "storage": storage}, rest


def _dispatch(options: dict[str, str], rest: list[str], *, debug: bool) -> int:
    if options["version"]:
        rest = ["version"]
    if rest[:1] == ["help"]:
        options["help"], rest = "1", rest[1:]
    if not rest:
        from machinectl.cli.overview import overview  # noqa: PLC0415 - only here

        print(overview(program(), COMMANDS))
        return 0
    word, arguments = rest[0], rest[1:]
    if options["help"]:
        arguments = ["--help"]
    for name, module, summary, fast in COMMANDS:
        if name == word:
            command = importlib.import_module(module)
            other = command.slower(arguments) if hasattr(command, "slower") else ""
            if fast and not other:
                return int(command.main(arguments, options["storage"]))
            command = importlib.import_module(other) if other else command
            parser = _parser(name, summary)
            command.configure(parser)
            args = parser.parse_args(arguments)
            args.storage_path, args.debug, args.quiet = options["storage"], debug, options["quiet"] == "1"
            return int(command.run(args))
    _refuse_systemd(rest[:1])
    from machinectl.cli.overview import unknown_command  # noqa: PLC0415 - only here

    raise unknown_command(word, [name for name, *_ in COMMANDS])


def _parser(name: str, summary: str):  # type: ignore[no-untyped-def] # noqa: ANN202 - argparse is imported inside
    import argparse  # noqa: PLC0415 - the fast commands do without its 16 ms

    return argparse.ArgumentParser(
        prog=f"{program()} {name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _refuse_systemd(words: list[str]) -> None:
    from machinectl.cli.systemd import refuse  # noqa: PLC0415 - only where a command is not ours

    refuse(words)


def program() -> str:
    """The name that we were called by: machinectl or mctl."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - as in records.py
    return name if name == "mctl" else "machinectl"


if __name__ == "__main__":
    sys.exit(main())
