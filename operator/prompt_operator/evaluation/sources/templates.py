"""Queries and URLs with {{placeholders}}, filled in so that no value can become more than a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from prompt_operator.evaluation.sources.problem import LONGEST_QUOTE, SourceError, shown

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
#: Names, label values, hashes and durations. Nothing in it ends a string of PromQL, begins an escape or a comment.
_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")


def values_of(asked: LookAsked, arm: ArmAsked, name: str) -> dict[str, str]:
    """Return what placeholders stand for in a query about one arm."""
    return {
        "agent": asked.agent,
        "arm": name,
        "deployment": asked.deployment,
        "experiment": asked.id,
        "hash": arm.hash,
        "namespace": asked.namespace,
        "window": f"{arm.window_seconds}s",
    }


def fill_query(query: str, values: Mapping[str, str]) -> str:
    """Fill in a query of PromQL, where placeholders may stand in strings or, for a window, in brackets.

    Values are never escaped: one that would have to be is refused. In a regular expression (=~) a dot of a name means
    any character, so compare names with =.
    """
    return _fill(query, values, encoded=False)


def fill_url(url: str, values: Mapping[str, str]) -> str:
    """Fill in a URL; values are percent-encoded, slashes too."""
    return _fill(url, values, encoded=True)


def _fill(template: str, values: Mapping[str, str], *, encoded: bool) -> str:
    unknown = sorted({name for name in _PLACEHOLDER.findall(template) if name not in values})
    if unknown:
        names = ", ".join(f"{{{{{name}}}}}" for name in unknown)
        known = ", ".join(sorted(values))
        raise SourceError(f"There is no {shown(names, LONGEST_QUOTE)} here. There are: {known}.")

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not _HARMLESS.fullmatch(values[name]):
            what = "is empty" if not values[name] else "has characters that could change the meaning of a query"
            raise SourceError(f"{{{{{name}}}}} cannot be filled in: its value {what}.")
        return quote(values[name], safe="") if encoded else values[name]

    # A half placeholder in a string of PromQL would match no series: say so instead of finding no data.
    left = _PLACEHOLDER.sub("", template)
    if "{{" in left or "}}" in left:
        raise SourceError("There is {{ without }}, or the other way round. Write placeholders as {{hash}}.")
    return _PLACEHOLDER.sub(value, template)
