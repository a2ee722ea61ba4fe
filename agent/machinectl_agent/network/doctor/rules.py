"""What the host's packet filters say, as far as it matters here: base chains that drop, who would be hit, and the
chains that those jump to.

`nft -j list ruleset` (libnftables-json(5)) shows iptables-nft's chains as well; where there is no nft,
`iptables-save` is read. Deciding what a whole ruleset does is the kernel's business: only plain cases are named.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from machinectl_agent.host import SEARCH_PATH

DEADLINE = 5.0


@dataclass
class Chain:
    """A base chain, which the kernel itself calls, or one that others jump to."""

    table: str
    name: str
    hook: str
    """`input` or `forward`; empty: it is no base chain."""
    drops: bool
    """Its policy."""
    rules: List[Tuple[str, str]] = field(default_factory=list)
    """Text of the match, and verdict (`accept`, `drop`, `reject`, `jump NAME`), in order."""

    @property
    def title(self) -> str:
        return f"{self.table} {self.name}"


def read_filters() -> List[Chain]:
    """Empty where no program is there to ask, or it fails."""
    text = _run("nft", "-j", "list", "ruleset")
    if text:
        return parse_nft(text)
    return [*parse_save("ip", _run("iptables-save", "-t", "filter"))]


def closing(chains: List[Chain], port: int) -> List[str]:
    """Pure. Why UDP to this port does not come in: a rule that drops it, or a policy without an exception."""
    found = []
    for chain in chains:
        if chain.hook != "input":
            continue
        named = [
            (text, verdict) for text, verdict in chain.rules if str(port) in text.split() and "udp" in text
        ]
        first = next((verdict for _, verdict in named if verdict in ("accept", "drop", "reject")), "")
        if first in ("drop", "reject"):
            found.append(f"{chain.title} has a rule that drops UDP {port}")
        elif chain.drops and first != "accept":
            found.append(f"{chain.title} has the policy drop, and no rule for UDP {port}")
    return found


def parse_nft(text: str) -> List[Chain]:
    """Pure: `nft -j list ruleset` → base chains of the hooks input and forward, filters only, and plain chains."""
    chains: Dict[Tuple[str, str, str], Chain] = {}
    try:
        entries: List[Dict[str, Any]] = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        return []
    for entry in entries:
        one = entry.get("chain")
        hook = one.get("hook", "") if one else None
        if one and (not hook or (hook in ("input", "forward") and one.get("type") == "filter")):
            key = (one["family"], one["table"], one["name"])
            chains[key] = Chain(
                f"{one['family']} {one['table']}", one["name"], hook or "", one.get("policy") == "drop"
            )
    for entry in entries:
        rule = entry.get("rule")
        chain = chains.get((rule["family"], rule["table"], rule["chain"])) if rule else None
        if rule and chain:
            chain.rules.append(_rule(rule.get("expr") or []))
    return list(chains.values())


def parse_save(family: str, text: str) -> List[Chain]:
    """Pure: `iptables-save -t filter` → the same."""
    chains: Dict[str, Chain] = {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith(":") and not line.startswith(":OUTPUT "):
            name = words[0][1:]
            hook = name.lower() if name in ("INPUT", "FORWARD") else ""
            chains[name] = Chain(f"{family} filter", name, hook, words[1] == "DROP")
        elif words[:1] == ["-A"] and words[1] in chains and "-j" in words:
            target = words[words.index("-j") + 1]
            verdict = target.lower() if target in ("ACCEPT", "DROP", "REJECT") else f"jump {target}"
            chains[words[1]].rules.append((" ".join(words[2 : words.index("-j")]), verdict))
    return list(chains.values())


def _rule(expressions: List[Dict[str, Any]]) -> Tuple[str, str]:
    verdict, words = "", []
    for one in expressions:
        for name, value in one.items():
            if name in ("accept", "drop", "reject"):
                verdict = name
            elif name in ("jump", "goto"):
                verdict = f"jump {value['target']}"
            elif name == "match":
                words.append(_match(value))
            elif name == "xt" and isinstance(value, dict):
                # iptables' own matches have no words in JSON
                words.append(f"xt {value.get('name', '')}")
    return " ".join(words), verdict


def _match(value: Dict[str, Any]) -> str:
    left, right = value.get("left"), value.get("right")
    if isinstance(left, dict) and "payload" in left:
        payload = left["payload"]
        subject = f"{payload.get('protocol', '')} {payload.get('field', '')}"
    elif isinstance(left, dict) and "meta" in left:
        subject = f"meta {left['meta'].get('key', '')}"
    else:
        subject = "?"
    return f"{subject} {value.get('op', '')} {_value(right)}"


def _value(right: Any) -> str:
    if isinstance(right, dict) and "set" in right:
        return " ".join(str(one) for one in right["set"])
    return str(right)


def _run(*argv: str) -> str:
    program: Optional[str] = shutil.which(argv[0], path=SEARCH_PATH)
    if not program:
        return ""
    try:
        done = subprocess.run(
            [program, *argv[1:]], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
