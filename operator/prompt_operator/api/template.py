"""Which variables a prompt uses, and whether it declares them.

Templates are parsed and never rendered: the agent renders, with values the operator never sees. Messages give a line
number and variable names, never the text around them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import jinja2
import jinja2.meta
import jinja2.sandbox
from chevron.tokenizer import ChevronError, tokenize

from prompt_operator.api.content import ContentError
from prompt_operator.api.reasons import Reason

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LISTED: Final = 5
#: A field in the format of a field, as {a:{width}}, is as deep as str.format goes.
_FSTRING_DEPTH: Final = 2


def check_template(prompt: Mapping[str, Any]) -> None:
    """Refuse a malformed template and a variable that is used but not declared, or declared twice.

    ``prompt`` is ``spec.prompt`` or its canonical members. With ``templateFormat: none`` the text is not a template,
    and whatever it holds is text. Raises ContentError.
    """
    declared = [v["name"] for v in prompt.get("variables") or []]
    twice = sorted({name for name in declared if declared.count(name) > 1})
    if twice:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.variables declares {_names(twice)} more than once; keep one of each."
        )
    find = _FINDERS.get(prompt.get("templateFormat") or "none")
    if find is None:
        return
    for where, text in _texts(prompt):
        missing = sorted(_used(find, text, where) - set(declared))
        if missing:
            raise ContentError(
                Reason.VariableUndeclared,
                f"spec.prompt.{where} uses {_names(missing)}, which spec.prompt.variables does not declare. "
                "Declare what the agent passes, or correct the name.",
            )


def _used(find: Callable[[str], set[str]], text: str, where: str) -> set[str]:
    try:
        return find(text)
    except _MalformedError as error:
        raise ContentError(
            Reason.TemplateInvalid, f"spec.prompt.{where} is not a well-formed template: {error}."
        ) from None


def _texts(prompt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if prompt.get("text"):
        yield "text", prompt["text"]
    for index, message in enumerate(prompt.get("messages") or []):
        if message.get("content"):
            yield f"messages[{index}].content", message["content"]


def _names(names: list[str]) -> str:
    shown = ", ".join(name[:63] for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


class _MalformedError(ValueError):
    """What is wrong with a template, in words that repeat none of it."""


def _in_mustache(text: str) -> set[str]:
    """Names a mustache template takes from its context; names inside a section belong to the section's items."""
    used: set[str] = set()
    open_sections: list[bool] = []  # whether each opens a new context, which only a plain section does
    try:
        for kind, key in tokenize(text):
            if kind == "partial":
                raise _MalformedError("partials ({{> name}}) cannot be resolved from one prompt")
            if kind in ("variable", "no escape", "section", "inverted section") and not any(open_sections):
                used.add(key.split(".")[0])
            if kind == "end":
                open_sections.pop()
            elif kind in ("section", "inverted section"):
                open_sections.append(kind == "section")
    except (ChevronError, IndexError):
        raise _MalformedError("a tag or section is not closed, empty, or closes what was not opened") from None
    return _identifiers(used - {""})  # "{{.}}" is the context itself


def _in_fstring(text: str) -> set[str]:
    used: set[str] = set()
    pending = [(text, 0)]
    try:
        while pending:
            part, depth = pending.pop()
            for _, field, spec, _ in string.Formatter().parse(part):
                if field is None:
                    continue
                if depth == _FSTRING_DEPTH:
                    raise _MalformedError("braces are nested deeper than Python formats them")
                used.add(re.split(r"[.\[]", field, maxsplit=1)[0])
                pending.append((spec or "", depth + 1))
    except ValueError as error:
        raise _MalformedError(f"{error}; write a literal brace twice") from None
    return _identifiers(used)


class _Unevaluated(dict[str, Any]):
    """Filters and tests of any name, none of which may run: the agent brings its own, and only the agent renders."""

    def get(self, _name: str, _default: Any = None) -> Any:
        return _never_run


@jinja2.pass_context  # which Jinja2 does not evaluate ahead of rendering
def _never_run(*_args: Any) -> Any:
    raise AssertionError("a template is never rendered here")


class _ParsingOnly(jinja2.sandbox.SandboxedEnvironment):
    """Jinja2 folds constants while it looks for variables; ``{{ 9 ** 9 ** 9 }}`` must not be computed here."""

    intercepted_binops = frozenset(jinja2.sandbox.SandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(jinja2.sandbox.SandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        super().__init__(autoescape=False)
        self.filters: dict[str, Any] = _Unevaluated()
        self.tests: dict[str, Any] = _Unevaluated()


def _in_jinja2(text: str) -> set[str]:
    try:
        tree = _ParsingOnly().parse(text)
        if any(True for _ in jinja2.meta.find_referenced_templates(tree)):
            raise _MalformedError("include, import and extends cannot be resolved from one prompt")
        return set(jinja2.meta.find_undeclared_variables(tree))
    except jinja2.TemplateSyntaxError as error:
        raise _MalformedError(f"syntax error in line {error.lineno}") from None
    except RecursionError:
        raise _MalformedError("it is nested too deeply") from None


def _identifiers(names: set[str]) -> set[str]:
    for name in names:
        if not _IDENTIFIER.match(name):
            raise _MalformedError("a variable has no name, or one that is not an identifier")
    return names


_FINDERS: Final[Mapping[str, Callable[[str], set[str]]]] = {
    "mustache": _in_mustache,
    "fstring": _in_fstring,
    "jinja2": _in_jinja2,
}
