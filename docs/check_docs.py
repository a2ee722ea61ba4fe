"""Checks every `machinectl …` line in README.md and docs/*.md: the command exists and has the flags.

What the commands do is tested elsewhere; this keeps a page from naming what is not there. Lines count that
stand in ```sh or ```console blocks; in the latter those after a `$ `.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from build_reference import main as reference

from machinectl.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
CALL = re.compile(
    # `-d machinectl` is docker's: the driver of that name
    r"(?<![\w/.-])(?<!-d )(?<!driver )(?:machinectl|mctl) "
    r"([^|;&)\"`#\n]*(?:\"[^\"]*\"[^|;&)\"`#\n]*)*)"
)
GLOBAL = {"-s", "--storage-path", "-q", "--quiet", "-D", "--debug", "-h", "--help", "-v", "--version"}


def commands_of(text: str) -> list[str]:
    """Every machinectl call in a page's code blocks, substitutions and all."""
    found = []
    for kind, block in re.findall(r"^```(sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            if kind == "console" and not line.startswith("$ "):
                continue
            found.extend(CALL.findall(line))
    return found


def problems_of(call: str, help_of: dict[str, str]) -> list[str]:
    """What is wrong with one call."""
    words = shlex.split(call)
    while words and words[0] in GLOBAL:
        words = words[2:] if words[0] in ("-s", "--storage-path") else words[1:]
    if not words:
        return []
    if words[0] not in help_of:
        return [f"no command {words[0]!r} in `machinectl {call}`"]
    known = help_of[words[0]]
    own = words[1 : words.index("--")] if "--" in words else words[1:]
    if words[0] == "ssh":
        return []  # what follows the name is ssh's
    flags = [word.partition("=")[0] for word in own if re.fullmatch(r"--[a-z][a-z-]+(=.*)?", word)]
    return [f"no flag {flag} in `machinectl {call}`" for flag in flags if not re.search(rf"{flag}\b", known)]


def main() -> int:
    page = (ROOT / "docs/reference.md").read_text()
    sections = re.split(r"^### machinectl ", page, flags=re.MULTILINE)[1:]
    help_of = {section.split("\n", 1)[0]: section for section in sections}
    missing = [name for name, *_ in COMMANDS if name not in help_of]
    problems = [f"docs/reference.md lacks {name}" for name in missing]
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.name != "reference.md":
            for call in commands_of(path.read_text()):
                problems.extend(f"{path.relative_to(ROOT)}: {one}" for one in problems_of(call, help_of))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems or reference() else 0


if __name__ == "__main__":
    sys.argv.append("--check")
    sys.exit(main())
