"""Templates are parsed, never executed, and their text is never repeated."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prompt_operator.api.content import ContentError
from prompt_operator.api.reasons import Reason
from prompt_operator.api.template import check_template

CANARY = "canary sentence nobody may read"
FORMATS = ("mustache", "fstring", "jinja2")


def prompt(text: str, template_format: str, *names: str) -> dict[str, Any]:
    return {"text": text, "templateFormat": template_format, "variables": [{"name": n} for n in names]}


def refusal(given_prompt: dict[str, Any]) -> ContentError:
    with pytest.raises(ContentError) as refused:
        check_template(given_prompt)
    return refused.value


WELL_FORMED = {
    "mustache variable": ("mustache", "Hello {{a}} and {{{b}}} and {{&a}}"),
    "mustache section": ("mustache", "{{#a}}{{inner}} {{.}}{{/a}}{{^b}}none{{/b}}"),
    "mustache dotted": ("mustache", "{{a.b.c}}"),
    "mustache comment": ("mustache", "{{! not a variable }}{{a}}"),
    "fstring": ("fstring", "Hello {a} and {b.name} and {a[0]} {{literal}}"),
    "fstring with a format": ("fstring", "{a!r:>{b}}"),
    "jinja2": ("jinja2", "Hello {{ a }}{% for x in b %}{{ x }}{{ loop.index }}{% endfor %}"),
    "jinja2 set": ("jinja2", "{% set x = a %}{{ x }}"),
    "jinja2 with a filter of the agent's own": (
        "jinja2",
        "{{ a | redact | tojson }}{% if b is friendly %}!{% endif %}",
    ),
    "jinja2 global": ("jinja2", "{% for i in range(3) %}{{ a }}{% endfor %}"),
    "none is no template": ("none", "{{ {% {x} {{#"),
}


@pytest.mark.parametrize(("template_format", "text"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_template_that_declares_what_it_uses_is_taken(template_format: str, text: str) -> None:
    check_template(prompt(text, template_format, "a", "b"))


UNDECLARED = {
    "mustache": ("mustache", "{{name}}"),
    "mustache section": ("mustache", "{{#name}}x{{/name}}"),
    "mustache inverted": ("mustache", "{{^name}}{{a}}{{/name}}"),
    "fstring": ("fstring", "{name.first}"),
    "fstring in a format": ("fstring", "{a:{name}}"),
    "jinja2": ("jinja2", "{{ name }}"),
    "jinja2 in a condition": ("jinja2", "{% if name %}x{% endif %}"),
    "jinja2 in a filter": ("jinja2", "{{ a | default(name) }}"),
}


@pytest.mark.parametrize(("template_format", "text"), UNDECLARED.values(), ids=UNDECLARED)
def test_a_variable_that_is_not_declared_is_named(template_format: str, text: str) -> None:
    error = refusal(prompt(f"{CANARY} {text}", template_format, "a"))
    assert error.reason is Reason.VariableUndeclared
    assert "uses name," in str(error)
    assert CANARY not in str(error)


def test_messages_are_checked_and_named_by_their_place() -> None:
    messages = [{"placeholder": "history"}, {"role": "user", "content": f"{CANARY} {{{{question}}}}"}]
    error = refusal({"messages": messages, "templateFormat": "mustache"})
    assert "spec.prompt.messages[1].content uses question" in str(error)


def test_a_variable_is_declared_once() -> None:
    error = refusal(prompt("{{a}}", "mustache", "a", "b", "a"))
    assert error.reason is Reason.PromptInvalid
    assert "a more than once" in str(error)


def test_many_undeclared_variables_are_counted_and_not_all_named() -> None:
    error = refusal(prompt("".join(f"{{v{i}}}" for i in range(40)), "fstring"))
    assert "and 35 more" in str(error)


MALFORMED = {
    "mustache unclosed tag": ("mustache", "{{name"),
    "mustache unclosed section": ("mustache", "{{#a}}"),
    "mustache wrong end": ("mustache", "{{#a}}{{/b}}"),
    "mustache end of nothing": ("mustache", "{{/a}}"),
    "mustache partial": ("mustache", "{{> header}}"),
    "mustache no identifier": ("mustache", "{{two words}}"),
    "fstring single brace": ("fstring", "JSON: {"),
    "fstring closing brace": ("fstring", "}"),
    "fstring deeper than Python formats": ("fstring", "{name:{name:{name}}}"),
    "fstring nested as deep as it is long": ("fstring", "{name:" * 40_000 + "}" * 40_000),
    "fstring position": ("fstring", "{} {0}"),
    "fstring JSON": ("fstring", '{"key": 1}'),
    "jinja2 unclosed": ("jinja2", "{{ a"),
    "jinja2 unknown tag": ("jinja2", "{% nonsense %}"),
    "jinja2 unclosed block": ("jinja2", "{% if a %}"),
    "jinja2 include": ("jinja2", "{% include 'x' %}"),
    "jinja2 dynamic include": ("jinja2", "{% include a %}"),
    "jinja2 block twice": ("jinja2", "{% block x %}{% endblock %}{% block x %}{% endblock %}"),
    "jinja2 too deep": ("jinja2", "{{ " + "(" * 5000 + "a" + ")" * 5000 + " }}"),
}


@pytest.mark.parametrize(("template_format", "text"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_template_is_refused_without_repeating_it(template_format: str, text: str) -> None:
    error = refusal(prompt(f"{CANARY} {text} {CANARY}", template_format, "a"))
    assert error.reason is Reason.TemplateInvalid
    assert CANARY not in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "text", ["{{ 9 ** 9 ** 9 }}", "{{ 'x' * 10 ** 11 }}", "{{ 'x' | center(10 ** 11) }}", "{{ - 9 ** 9 ** 9 }}"]
)
def test_constants_of_a_template_are_never_computed(text: str) -> None:
    check_template(prompt(text, "jinja2"))


@pytest.mark.parametrize(("template_format", "tag"), [("mustache", "{{a}}"), ("fstring", "{a}"), ("jinja2", "{{ a }}")])
def test_checking_takes_time_in_proportion_to_the_size(template_format: str, tag: str) -> None:
    def seconds(tags: int) -> float:
        began = time.process_time()
        check_template(prompt(tag * tags, template_format, "a"))
        return time.process_time() - began

    small = min(seconds(500) for _ in range(3))
    assert min(seconds(4000) for _ in range(3)) < 8 * small * 4


_pieces = st.sampled_from(
    ["{", "}", "{{", "}}", "{%", "%}", "{#", "#}", "#", "/", "^", "=", "&", ">", "!", "a", "a.b", "[0]", ":", "|", " ",
     "\n", "if", "endif", "for", "in", "set", "is", "not", "'", '"', "\\x", "0", "**", "é", CANARY]
)  # fmt: skip
_texts = st.lists(_pieces, max_size=14).map("".join) | st.text()


@pytest.mark.parametrize("template_format", FORMATS)
@given(text=_texts)
@example(text="{{= =}}")
@example(text="{{=<% %>=}}<%a%>")
@example(text="{% macro m() %}{{ caller() }}{% endmacro %}")
def test_any_text_is_a_template_or_refused_in_words_of_our_own(template_format: str, text: str) -> None:
    try:
        check_template(prompt(f"{CANARY}{text}", template_format, "a"))
    except ContentError as error:
        refused = error
    else:
        return
    assert CANARY not in str(refused)
    assert refused.reason in (Reason.TemplateInvalid, Reason.VariableUndeclared)
