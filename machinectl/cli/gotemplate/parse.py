"""A template's text as a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass

from machinectl.cli.gotemplate.functions import FUNCTIONS
from machinectl.cli.gotemplate.tree import (
    NOTHING,
    Action,
    Call,
    Field,
    Literal,
    Node,
    Operand,
    Pipeline,
    TemplateError,
    Text,
    Variable,
)
from machinectl.cli.gotemplate.values import unquote

DEPTH = 50
"""Blocks and parentheses in each other; nobody writes more, and Python's stack has an end."""

_STRING = r"""\"(?:\\.|[^"\\\n])*\"|`[^`]*`|'(?:\\[^\n]|[^'\\\n])+'"""
_ACTION = re.compile(rf"\{{\{{(?P<body>(?:/\*.*?\*/|{_STRING}|[^\"`'])*?)\}}\}}", re.DOTALL)
_TOKEN = re.compile(
    rf"""(?P<space>\s*)(?:(?P<string>{_STRING})
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w.]))
    |(?P<variable>\$\w*)
    |(?P<field>\.(?:[^\W\d]\w*(?:\.[^\W\d]\w*)*)?)
    |(?P<word>[^\W\d]\w*)
    |(?P<mark>:=|[()|=,]))""",
    re.VERBOSE,
)
_BLOCKS = ("if", "range", "with")
_CONSTANTS = {"true": True, "false": False, "nil": None}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    joined: bool
    """No space before it."""


def parse_template(source: str) -> tuple[Node, ...]:
    """The template's tree. Raises TemplateError."""
    parts: list[str] = []  # text, action, text, …, text
    position = 0
    for match in _ACTION.finditer(source):
        parts += [source[position : match.start()], match["body"]]
        position = match.end()
    parts.append(source[position:])
    for text in parts[::2]:
        if "{{" in text:
            raise _wrong("unclosed action")
    for index in range(1, len(parts), 2):
        if re.match(r"-\s", parts[index]):
            parts[index - 1] = parts[index - 1].rstrip()
            parts[index] = parts[index][1:]
        if re.search(r"\s-$", parts[index]):
            parts[index + 1] = parts[index + 1].lstrip()
            parts[index] = parts[index][:-1]
    nodes, ended = _Blocks(parts).take()
    if ended:
        raise _wrong(f"unexpected {{{{{ended}}}}}")
    return nodes


class _Blocks:
    """Goes through the parts once, from block to block."""

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        self.index = 0
        self.open: list[str] = []
        self.scopes: list[list[str]] = [[""]]

    def take(self) -> tuple[tuple[Node, ...], str]:
        """The nodes up to `{{end}}`, `{{else …}}` or the template's end; which of them it was."""
        nodes: list[Node] = []
        while True:
            if self.parts[self.index]:
                nodes.append(Text(self.parts[self.index]))
            if self.index + 1 == len(self.parts):
                return tuple(nodes), ""
            body = self.parts[self.index + 1].strip()
            self.index += 2
            if body.startswith("/*"):
                continue
            keyword, _, rest = body.partition(" ")
            if keyword in ("end", "else"):
                return tuple(nodes), " ".join(body.split())
            if keyword in _BLOCKS:
                nodes.append(self._block(keyword, rest))
            elif body in ("break", "continue"):
                if "range" not in self.open:
                    raise _wrong(f"{{{{{body}}}}} outside {{{{range}}}}")
                nodes.append(Action(body, NOTHING))
            else:
                nodes.append(Action("", _parse_pipeline(body, self.scopes)))

    def _block(self, keyword: str, condition: str) -> Action:
        self.open.append(keyword)
        if len(self.open) > DEPTH:
            raise _wrong(f"more than {DEPTH} blocks in each other")
        self.scopes.append([])
        pipeline = _parse_pipeline(condition, self.scopes, most=2 if keyword == "range" else 1)
        self.scopes.append([])
        body, ended = self.take()
        self.scopes[-1] = []
        otherwise: tuple[Node, ...] = ()
        if ended.startswith("else "):
            # `else if` is an if in an else with one end for both
            again, _, rest = ended.removeprefix("else ").partition(" ")
            if again != keyword or keyword == "range":
                raise _wrong(f"unexpected {{{{{ended}}}}}")
            otherwise, ended = (self._block(again, rest),), "end"
        elif ended == "else":
            otherwise, ended = self.take()
        if ended != "end":
            raise _wrong(f"{{{{{keyword}}}}} has no {{{{end}}}}")
        del self.scopes[-2:]
        self.open.pop()
        return Action(keyword, pipeline, body, otherwise)


def _parse_pipeline(body: str, scopes: list[list[str]], most: int = 1) -> Pipeline:
    """`most`: variables that may be declared. Those that are join the last scope."""
    tokens = _tokens(body)
    names: list[str] = []
    assigns = False
    marks = [token.text for token in tokens[: 2 * most] if token.kind == "mark"]
    if tokens and tokens[0].kind == "variable" and marks and marks[0] in (":=", "=", ","):
        for index in range(0, len(marks) * 2, 2):
            names.append(tokens[index].text[1:])
            if tokens[index].kind != "variable" or not names[-1]:
                raise _wrong(f"unexpected {tokens[index].text!r} in a declaration")
            if tokens[index + 1].text != ",":
                break
        assigns = tokens[2 * len(names) - 1].text == "="
        if tokens[2 * len(names) - 1].text not in (":=", "="):
            raise _wrong("a declaration lacks its :=")
        tokens = tokens[2 * len(names) :]
    parser = _Expression(tokens, scopes)
    pipeline = parser.pipeline(0)
    if parser.left:
        raise _wrong(f"unexpected {parser.left[0].text!r}")
    for name in names:
        if assigns:
            parser.known(name)
        else:
            scopes[-1].append(name)
    return Pipeline(pipeline.calls, tuple(names), assigns)


def _tokens(body: str) -> list[_Token]:
    tokens = []
    position = 0
    body = body.strip()
    while position < len(body):
        match = _TOKEN.match(body, position)
        if not match or not match.lastgroup:
            raise _wrong(f"unexpected {body[position:]!r}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], not match["space"]))
        position = match.end()
    return tokens


class _Expression:
    """Takes operands off a list of tokens."""

    def __init__(self, tokens: list[_Token], scopes: list[list[str]]) -> None:
        self.left = tokens
        self.scopes = scopes

    def pipeline(self, depth: int) -> Pipeline:
        """Up to the tokens' end or a closing parenthesis, which is left."""
        if depth > DEPTH:
            raise _wrong(f"more than {DEPTH} parentheses in each other")
        calls: list[Call] = []
        while True:
            operands: list[Operand] = []
            while self.left and self.left[0].text not in (")", "|"):
                operands.append(self._operand(depth))
            calls.append(_call(operands, first=not calls))
            if not self.left or self.left[0].text == ")":
                return Pipeline(tuple(calls))
            self.left = self.left[1:]

    def known(self, name: str) -> None:
        """Raises TemplateError for a variable that nobody has declared."""
        if not any(name in scope for scope in self.scopes):
            raise _wrong(f"undefined variable ${name}")

    def _operand(self, depth: int) -> Operand:
        token, *self.left = self.left
        operand: Operand
        if token.text == "(" and token.kind == "mark":
            operand = self.pipeline(depth + 1)
            if not self.left:
                raise _wrong("a parenthesis is not closed")
            self.left = self.left[1:]
        elif token.kind == "variable":
            self.known(token.text[1:])
            operand = Variable(token.text[1:])
        else:
            return _simple(token)
        if self.left and self.left[0].kind == "field" and self.left[0].joined:
            names = self.left[0].text[1:]
            self.left = self.left[1:]
            operand = Field(tuple(names.split(".")), operand)
        return operand


def _simple(token: _Token) -> Operand:
    kind, text = token.kind, token.text
    if kind == "field":
        return Field(tuple(text[1:].split(".")) if text != "." else ())
    if kind == "number":
        return Literal(_number(text))
    if kind == "string":
        return Literal(unquote(text))
    if kind == "word" and text in _CONSTANTS:
        return Literal(_CONSTANTS[text])
    if kind != "word":
        raise _wrong(f"unexpected {text!r}")
    if text not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise _wrong(f'function "{text}" not defined', why=f"there are {known}")
    return Call(text, ())


def _number(text: str) -> int | float:
    try:
        if "x" in text.lower():
            return int(text, 16)
        return float(text) if re.search(r"[.eE]", text) else int(text)
    except ValueError:
        raise _wrong(f"bad number {text[:20]!r}") from None


def _call(operands: list[Operand], *, first: bool) -> Call:
    if not operands:
        raise _wrong("missing value for command")
    head, *rest = operands
    if isinstance(head, Call):
        return Call(head.name, tuple(rest))
    if rest or not first:
        raise _wrong("only a function can have operands")
    return Call("", (head,))


def _wrong(what: str, why: str = "") -> TemplateError:
    return TemplateError(f"template parsing error: {what}", why=why)
