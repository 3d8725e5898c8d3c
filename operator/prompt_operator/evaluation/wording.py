"""Numbers as people read them, in the sentences of reports."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prompt_operator.api.gates import Direction, Kind, Metric, Role
from prompt_operator.api.reports import MetricReport

_MINUS = "\N{MINUS SIGN}"
_LONGEST = 1024  # of a Line
_MOST_DECIMALS = 4


def count(samples: float) -> str:
    """Write a count, which can be an estimate, as a whole number."""
    return f"{samples:.0f}"


def signed(number: float, kind: Kind, decimals: int = 1) -> str:
    """Write a difference: proportions in percentage points, without their unit."""
    # Adding 0 makes a zero of a negative one.
    text = f"{round(number * 100, decimals) + 0.0:+.{decimals}f}" if kind is Kind.Proportion else f"{number + 0.0:+.4g}"
    return text.replace("-", _MINUS)


def plain(number: float, kind: Kind, decimals: int = 1) -> str:
    """Write a rate in percent, a mean or a value."""
    text = f"{number * 100:.{decimals}f} %" if kind is Kind.Proportion else f"{number:.4g}"
    return text.replace("-", _MINUS)


def amount(number: float, kind: Kind) -> str:
    """Write a margin."""
    return f"{number * 100:.4g} points" if kind is Kind.Proportion else f"{number:.4g}"


def decimals_for(half_width: float) -> int:
    """Return how many decimals of a percentage are worth showing next to an interval of this half width."""
    if half_width <= 0.0:
        return 1
    return max(1, min(_MOST_DECIMALS, math.ceil(-math.log10(half_width * 100))))


def comparison(
    metric: Metric, arms: tuple[tuple[float, float], tuple[float, float]], effect: float, bounds: tuple[float, float]
) -> str:
    """Write "73.1 % of 1204 against 70.0 % of 4801: +3.1 points (−0.2 to +6.4)"; arms are control, candidate.

    Each is (samples, rate or mean).
    """  # noqa: RUF002 - the minus sign as it is written
    (na, a), (nb, b) = arms
    kind = metric.kind
    decimals = decimals_for((bounds[1] - bounds[0]) / 2)
    unit = " points" if kind is Kind.Proportion else ""
    lower, upper = (signed(bound, kind, decimals) for bound in bounds)
    return (
        f"{plain(b, kind, decimals)} of {count(nb)} against {plain(a, kind, decimals)} of {count(na)}: "
        f"{signed(effect, kind, decimals)}{unit} ({lower} to {upper})"
    )


def passed(metric: Metric) -> str:
    """Say what was shown of a metric that passed."""
    if metric.role is Role.Guardrail:
        return f"not worse by more than {amount(metric.margin, metric.kind)}" if metric.margin else "better"
    return f"better by more than {amount(metric.margin, metric.kind)}" if metric.margin else "better"


def failed(metric: Metric) -> str:
    """Say what was shown of a metric that failed."""
    if metric.role is Role.Guardrail:
        return f"worse by more than {amount(metric.margin, metric.kind)}" if metric.margin else "worse"
    return f"not better by {amount(metric.margin, metric.kind)}" if metric.margin else "worse"


def improvement(metric: Metric, effect: float) -> float:
    """Return an effect as an improvement: above 0 is better."""
    return effect if metric.direction is Direction.HigherIsBetter else -effect


def line(parts: Iterable[str], separator: str = "; ") -> str:
    """Join what there is to say into what fits a line of status."""
    text = separator.join(part for part in parts if part)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def sentences(reports: Iterable[MetricReport], first: str = "") -> str:
    """Join what metrics say, each as a sentence after its name."""
    return line([first, *(f"{r.name}: {r.message.rstrip('.')}." for r in reports)], " ")


def tidy(number: float, digits: int = 8) -> float:
    """Round to significant digits, for status."""
    return float(f"{number:.{digits}g}")
