"""The JSON of HTTP endpoints and of Jobs, read into arms."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from prompt_operator.api.gates import Kind
from prompt_operator.api.reports import Arm
from prompt_operator.evaluation.sources.problem import NoDataError, SourceError

#: Which numbers a kind needs, by their names in JSON and in queries.
#: The counts that others are a part of come last: read later, they are never the smaller for it.
NUMBERS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.Proportion: ("successes", "samples"),
    Kind.Mean: ("sum", "sumOfSquares", "samples"),
    Kind.Value: ("value",),
}


def arm_of(numbers: Mapping[str, float], of_hash: str) -> Arm:
    """Return an arm with these numbers, named as in NUMBERS."""
    return Arm.model_validate({"hash": of_hash, **numbers})


def parse_json(body: bytes | str, who: str) -> Any:
    """Read JSON; a SourceError says that it is none, never what it is. NaN and Infinity are not JSON."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise SourceError(f"{who} did not answer with JSON.") from None


def _no_constant(_name: str) -> float:
    raise ValueError


def numbers_of(answer: Any, arm: str, kind: Kind, who: str) -> dict[str, float]:
    """Take one arm's numbers for a kind out of an answer: {"candidate": {"samples": 120, "successes": 90}, …}.

    Pure. Members that are not needed are not looked at. A SourceError names what is missing or is not a finite number;
    true and false are no numbers, and neither is "12". A NoDataError says that the arm is left out, null, or empty.
    """
    if not isinstance(answer, Mapping):
        raise SourceError(f"{who} gave no JSON object. It must have a member for each arm: control, candidate.")
    counts = answer.get(arm)
    if counts is None or counts == {}:
        raise NoDataError(f"{who} says nothing about {arm}: its answer needs an object of that name.")
    if not isinstance(counts, Mapping):
        raise SourceError(f"{who} says nothing about {arm}: its answer needs an object of that name.")
    found: dict[str, float] = {}
    for name in NUMBERS[kind]:
        number = counts.get(name)
        if number is None:
            raise SourceError(f"{who} does not give {name} of {arm}, which a {kind} needs.")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise SourceError(f"{who} gives {name} of {arm} as something that is not a number.")
        found[name] = finite(number, f"{name} of {arm}", who)
    return found


def finite(number: float, what: str, who: str) -> float:
    """Return a number as a float, if it is one of those that can be counted with."""
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if math.isnan(value):
        raise NoDataError(f"{who} gives {what} as NaN, as of 0 divided by 0: there is no data for it yet.")
    if math.isinf(value):
        raise SourceError(f"{who} gives {what} as infinite, as of a division by 0.")
    return value
