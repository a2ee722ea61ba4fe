"""rsync's exclude patterns, for syncs without rsync. Pure.

`*.o` a name anywhere; `/a` at the top only; `a/b` at the end of a path; `a/` folders only; `*` and `?` stop at a
slash, `**` does not; `[a-z]`, `[!a]`; a backslash takes the meaning away. What is below an excluded folder is never
looked at.
"""

from __future__ import annotations

import re
from typing import Callable, Sequence

Excluded = Callable[[str, bool], bool]
"""A path below the source, and whether it is a folder."""


def compile_excludes(patterns: Sequence[str]) -> Excluded:
    rules = [_Rule(one) for one in patterns if one]
    if not rules:
        return _nothing
    return lambda path, folder: any(rule.matches(path, folder) for rule in rules)


def _nothing(_path: str, _folder: bool) -> bool:
    return False


class _Rule:
    def __init__(self, pattern: str) -> None:
        deep = pattern.endswith("/***")
        pattern = pattern[:-4] if deep else pattern
        self._folders = deep or pattern.endswith("/")
        body = pattern.rstrip("/") if self._folders else pattern
        anchored = body.startswith("/")
        body = body.lstrip("/") if anchored else body
        self._whole = anchored or "/" in body or "**" in body
        # whole paths begin with a slash here: `**/a` is an `a` at the top, too
        before = "/" if anchored else "(?:.*/)?" if self._whole else ""
        self._expression = re.compile(before + translate(body), re.DOTALL)

    def matches(self, path: str, folder: bool) -> bool:
        if self._folders and not folder:
            return False
        return bool(self._expression.fullmatch(f"/{path}" if self._whole else path.rpartition("/")[2]))


def translate(pattern: str) -> str:
    """The regular expression of a pattern without its slashes at both ends."""
    wild = any(sign in pattern for sign in "*?[")
    out = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*":
            stars = 1
            while at < len(pattern) and pattern[at] == "*":
                at, stars = at + 1, stars + 1
            out.append("[^/]*" if stars == 1 else ".*")
        elif sign == "?":
            out.append("[^/]")
        elif sign == "[" and (end := _class_end(pattern, at)):
            inside = pattern[at:end]
            negated = inside[0] in "!^"
            inside = (inside[1:] if negated else inside).replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"(?!/)[{'^' if negated else ''}{inside.replace('^', chr(92) + '^')}]")
            at = end + 1
        elif sign == "\\" and wild and at < len(pattern):
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(sign))
    return "".join(out)


def _class_end(pattern: str, at: int) -> int:
    """Where the `]` is; 0 where there is none. One right at the beginning is a member."""
    start = at + 1 if pattern[at : at + 1] in ("!", "^") else at
    return max(pattern.find("]", start + 1), 0)
