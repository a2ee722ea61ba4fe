"""A tree and a value as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.cli.gotemplate.functions import FUNCTIONS
from machinectl.cli.gotemplate.tree import (
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
from machinectl.cli.gotemplate.values import go_text


def render_template(nodes: Sequence[Node], dot: Any) -> str:
    """The text for one value. Raises TemplateError for a field that is not there."""
    return _Renderer(dot).text(nodes, dot)


def render_header(nodes: Sequence[Node], titles: Mapping[str, str]) -> str:
    """The line above a table: each field as its title, whatever is made of it below. Raises TemplateError."""
    return _Header(titles).text(nodes, titles)


class _Break(Exception):
    """`{{break}}` or `{{continue}}`, with what was written before it."""

    def __init__(self, keyword: str) -> None:
        self.keyword = keyword


class _Renderer:
    def __init__(self, dot: Any) -> None:
        self._scopes: list[dict[str, Any]] = [{"": dot}]
        self._written: list[str] = []

    def text(self, nodes: Sequence[Node], dot: Any) -> str:
        self._write(nodes, dot)
        return "".join(self._written)

    def _write(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._written.append(node.text)
            elif node.keyword in ("break", "continue"):
                raise _Break(node.keyword)
            elif node.keyword:
                self._scopes.append({})
                depth = len(self._scopes)
                try:
                    self._block(node, dot)
                finally:
                    del self._scopes[depth - 1 :]
            else:
                value = self._pipeline(node.pipeline, dot)
                if not self._keep(node.pipeline, value):
                    self._written.append(go_text(value))

    def _block(self, node: Action, dot: Any) -> None:
        value = self._pipeline(node.pipeline, dot)
        if node.keyword == "range":
            self._range(node, value, dot)
            return
        self._keep(node.pipeline, value)
        inner = value if node.keyword == "with" else dot
        if value:
            self._inside(node.body, inner)
        else:
            self._inside(node.otherwise, dot)

    def _range(self, node: Action, value: Any, dot: Any) -> None:
        pairs: list[tuple[Any, Any]]
        if isinstance(value, Mapping):
            pairs = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        elif value is None or value == "":
            pairs = []
        else:
            raise TemplateError(f"template: range can't iterate over {go_text(value)}")
        names = node.pipeline.variables
        for key, element in pairs:
            for name, one in zip(names, (key, element) if len(names) == 2 else (element,), strict=False):
                self._set(name, one, assigns=node.pipeline.assigns)
            try:
                self._inside(node.body, element)
            except _Break as stop:
                if stop.keyword == "break":
                    break
        if not pairs:
            self._inside(node.otherwise, dot)

    def _inside(self, nodes: Sequence[Node], dot: Any) -> None:
        self._scopes.append({})
        depth = len(self._scopes)
        try:
            self._write(nodes, dot)
        finally:
            del self._scopes[depth - 1 :]

    def _keep(self, pipeline: Pipeline, value: Any) -> bool:
        """Whether the value went into a variable."""
        for name in pipeline.variables:
            self._set(name, value, assigns=pipeline.assigns)
        return bool(pipeline.variables)

    def _set(self, name: str, value: Any, *, assigns: bool) -> None:
        for scope in reversed(self._scopes) if assigns else ():
            if name in scope:
                scope[name] = value
                return
        self._scopes[-1][name] = value

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        piped: list[Any] = []
        for call in pipeline.calls:
            piped = [self._call(call, dot, piped)]
        return piped[0]

    def _operand(self, operand: Operand, dot: Any) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Variable):
            return next(scope[operand.name] for scope in reversed(self._scopes) if operand.name in scope)
        if isinstance(operand, Field):
            return self._field(dot if operand.of is None else self._operand(operand.of, dot), operand.names)
        if isinstance(operand, Call):
            return self._call(operand, dot, [])
        return self._pipeline(operand, dot)

    def _field(self, value: Any, names: Sequence[str]) -> Any:
        for name in names:
            if not isinstance(value, Mapping) or name not in value:
                known = ", ".join(f".{one}" for one in value) if isinstance(value, Mapping) else ""
                raise TemplateError(
                    f"template: can't evaluate field {name} of <.{'.'.join(names)}>",
                    why=f"there are {known}" if known else f"{go_text(value)[:200]} has no fields",
                )
            value = value[name]
        return value

    def _call(self, call: Call, dot: Any, piped: list[Any]) -> Any:
        if call.name in ("and", "or") and call.operands:
            return self._until(call, dot, piped)
        operands = [*(self._operand(one, dot) for one in call.operands), *piped]
        return self._apply(call.name, operands) if call.name else operands[0]

    def _until(self, call: Call, dot: Any, piped: list[Any]) -> Any:
        """`and` and `or` end with the operand that decides; what comes behind it is not evaluated."""
        value: Any = None
        for one in call.operands:
            value = self._operand(one, dot)
            if bool(value) == (call.name == "or"):
                return value
        return piped[0] if piped else value

    def _apply(self, name: str, operands: list[Any]) -> Any:
        try:
            return FUNCTIONS[name](*operands)
        except (TypeError, LookupError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            why = str(error.args[0]) if error.args else type(error).__name__
            raise TemplateError(f"template: error calling {name}", why=why) from error


class _Header(_Renderer):
    """Blocks are entered once, functions give back the field that they are for."""

    def _block(self, node: Action, dot: Any) -> None:
        value = self._pipeline(node.pipeline, dot)
        for name in node.pipeline.variables:
            self._set(name, value, assigns=False)
        try:
            self._inside(node.body, dot if node.keyword == "if" else value)
        except _Break:
            return

    def _field(self, value: Any, names: Sequence[str]) -> Any:
        if isinstance(value, Mapping) and names:
            value = super()._field(value, names[:1])
            names = names[1:]
        return names[-1].upper() if names else value

    def _apply(self, name: str, operands: list[Any]) -> Any:
        titles = set(self._scopes[0][""].values())
        return next(
            (one for one in operands if isinstance(one, str) and one in titles),
            operands[-1] if operands else "",
        )
