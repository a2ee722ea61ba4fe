"""Makes docs/reference.md from the code: every command's --help, and the table of engine options; and the table of
settings in docs/inventory.md.

make docs                      writes them
docs/build_reference.py --check   exit status 1 where one is out of date
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("reference.md")
INVENTORY = Path(__file__).with_name("inventory.md")
KINDS = {"flag": "true or false", "network": "true or map", "volumes": "list or map"}
MARK = "<!-- settings: made by `make docs` from machinectl/inventory/keys.py -->\n"

HEAD = """# Reference

Made by `make docs` from the code. Tasks are in the other pages of this folder.
"""


def render() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = "100"
    from machinectl.cli.main import COMMANDS  # noqa: PLC0415 - after COLUMNS, which argparse reads

    parts = [HEAD, "## Commands\n"]
    parts.extend(_command(name, module, summary, fast) for name, module, summary, fast in COMMANDS)
    parts.append(_options())
    return "\n".join(parts)


def _command(name: str, module_name: str, summary: str, fast: bool) -> str:
    module = importlib.import_module(module_name)
    if fast:
        text = module.HELP
    else:
        parser = argparse.ArgumentParser(
            prog=f"machinectl {name}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(parser)
        text = "\n\n".join(one.format_help().strip() for one in (parser, *_verbs(parser)))
    return f"### machinectl {name}\n\n```text\n{text.strip()}\n```\n"


def _verbs(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a command's own verbs: `network join`."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [verb for group in groups for verb in group.choices.values()]


def _options() -> str:
    from machinectl_agent.engine.options import OURS, TABLE  # noqa: PLC0415 - see above

    rows = [
        "## Engine options\n",
        "`--engine-opt FLAG=VALUE` takes every flag of this table, and those of newer engines.",
        "*Reload*: taken over without a restart of dockerd.\n",
        "| flag | key in daemon.json | kind | reload | create's own flag |",
        "|---|---|---|---|---|",
    ]
    for option in TABLE:
        if option.key not in OURS:
            create = f"`{option.create}`" if option.create else ""
            reload = "yes" if option.reloads else ""
            rows.append(f"| `{option.flag}` | `{option.key}` | {option.kind} | {reload} | {create} |")
    rows.append("\nSet by machinectl itself:\n")
    rows.extend(f"- `{key}`: {why}" for key, why in OURS.items())
    return "\n".join(rows) + "\n"


def render_settings() -> str:
    """docs/inventory.md with its table of settings made anew."""
    from machinectl.inventory.keys import KEYS  # noqa: PLC0415 - see above

    rows = ["", "| setting | | |", "|---|---|---|"]
    rows += [f"| `{key.name}` | {KINDS.get(key.kind, key.kind)} | {key.help} |" for key in KEYS if key.help]
    further = ", ".join(f"`{key.name}`" for key in KEYS if not key.help)
    rows += ["", f"And dockerd's other options ([reference.md](reference.md#engine-options)): {further}.", ""]
    head, mark, rest = INVENTORY.read_text().partition(MARK)
    return head + mark + "\n".join(rows) + "\n" + rest[rest.index("<!-- /settings -->") :]


def main() -> int:
    pages = {PAGE: render(), INVENTORY: render_settings()}
    if "--check" in sys.argv:
        old = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
        for path in old:
            print(f"docs/{path.name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if old else 0
    for path, text in pages.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
