"""Control and candidate side by side, on one metric: effect, always-valid interval, and what is still needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from prompt_operator.api.gates import Direction, Kind, Metric, Role
from prompt_operator.api.reports import Arm, Interval
from prompt_operator.evaluation import means, proportions
from prompt_operator.evaluation.counts import UnfitError
from prompt_operator.evaluation.sequential import variance_needed
from prompt_operator.evaluation.wording import count, improvement, tidy

#: Beyond this there is no point in naming a number of samples.
_MOST_SAMPLES = 1e9
#: Margins can be declared that are so many spreads away, or so close, that nothing can be reckoned with them.
_FURTHEST = 1e50


@dataclass(frozen=True)
class Comparison:
    """One look at one metric. The effect is candidate less control, in the unit of the metric."""

    control: Arm
    candidate: Arm
    effect: float
    #: Gives the interval, which is only worth its time where it is shown.
    bounds: Callable[[], tuple[float, float]]
    #: 1 where the interval shows the candidate to be above the metric's boundary (better), -1 below it, else 0.
    side: int
    p_value: float
    #: What keeps this from being decided on, such as "n=37/200 of the candidate"; empty when there is enough.
    lacking: str
    #: Samples the smaller arm needs until it should be decided, if the rest stays as it was seen.
    required: int | None

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Interval of the effect, valid however often it is looked at, once nothing is lacking."""
        return self.bounds()

    @property
    def fewest(self) -> float:
        """Samples of the smaller arm."""
        return min(self.control.samples or 0.0, self.candidate.samples or 0.0)


def boundary(metric: Metric) -> float:
    """Return the improvement that a metric is tested against: margin of a Primary, -margin of a Guardrail."""
    return metric.margin if metric.role is Role.Primary else -metric.margin


def few(metric: Metric, control: Arm, candidate: Arm, min_samples: int) -> tuple[str, float]:
    """Return what is lacking of the samples, and how many each arm needs."""
    own = proportions.SAMPLES if metric.kind is Kind.Proportion else means.SAMPLES
    needed = max(float(min_samples), own)
    for which, arm in (("candidate", candidate), ("control", control)):
        if (arm.samples or 0.0) < needed:
            return f"n={count(math.floor(arm.samples or 0.0))}/{count(needed)} of the {which}", needed
    return "", needed


def compare(
    metric: Metric, control: Arm, candidate: Arm, significance: float, min_samples: int, *, forecast: bool = True
) -> Comparison:
    """Compare checked counts of a Proportion or a Mean. Raises UnfitError where no values can have such sums.

    Without a forecast, the samples that are needed are not reckoned.

    An arm with one sample or none has no interval, and the whole has none then: -1 to 1, or infinite.
    """
    kind = proportion if metric.kind is Kind.Proportion else mean
    return kind(metric, control, candidate, significance, min_samples, forecast=forecast)


def _seen(arm: Arm, value: float, interval: tuple[float, float] | None) -> Arm:
    bounds = Interval(lower=tidy(interval[0]), upper=tidy(interval[1])) if interval else None
    return arm.model_copy(update={"value": tidy(value), "interval": bounds})


def proportion(
    metric: Metric, control: Arm, candidate: Arm, significance: float, min_samples: int, *, forecast: bool
) -> Comparison:
    """Compare two rates."""
    (na, sa), (nb, sb) = ((arm.samples or 0.0, arm.successes or 0.0) for arm in (control, candidate))
    lacking, needed = few(metric, control, candidate, min_samples)
    control, candidate = (
        _seen(arm, s / n, proportions.wilson(s, n, significance)) if n > 0.0 else arm
        for arm, n, s in ((control, na, sa), (candidate, nb, sb))
    )
    if not (na > 0.0 and nb > 0.0):
        return Comparison(control, candidate, 0.0, lambda: (-1.0, 1.0), 0, 1.0, lacking, None)
    difference = proportions.Difference((na, sa), (nb, sb))
    loss = metric.margin if metric.role is Role.Guardrail else 0.0
    events = difference.floor(loss, higher_is_better=metric.direction is Direction.HigherIsBetter)
    tested, sign = max(-1.0, min(1.0, improvement(metric, boundary(metric)))), improvement(metric, 1.0)
    side = round(sign * difference.side(tested, significance))
    required: float | None = None
    if lacking or events < proportions.EVENTS:
        lacking = lacking or f"{events:.1f}/{count(proportions.EVENTS)} samples of the rarer outcome in the smaller arm"
        required = max(needed, min(na, nb) * proportions.EVENTS / events) if events > 0.0 else None
    elif forecast:
        required = _required(
            abs(difference.effect - tested),
            difference.variance(tested),
            proportions.SPREAD,
            significance,
            min(na, nb),
            needed,
        )
    return Comparison(
        control,
        candidate,
        effect=difference.effect,
        bounds=partial(difference.interval, significance),
        side=0 if lacking else side,
        p_value=difference.p_value(),
        lacking=lacking,
        required=_whole(required),
    )


def mean(
    metric: Metric, control: Arm, candidate: Arm, significance: float, min_samples: int, *, forecast: bool
) -> Comparison:
    """Compare two means. Raises UnfitError where no values can have such sums."""
    lacking, needed = few(metric, control, candidate, min_samples)
    found: list[means.Moments] = []
    arms: list[Arm] = []
    for which, arm in (("control", control), ("candidate", candidate)):
        samples, total, squares = arm.samples or 0.0, arm.sum or 0.0, arm.sum_of_squares or 0.0
        if samples <= 1.0:
            arms.append(arm if samples == 0.0 else _seen(arm, total / samples, None))
            continue
        try:
            moments = means.Moments.of(samples, total, squares)
        except ValueError as error:
            raise UnfitError(
                f"The {which} has a sum of {total:.10g} and a sum of squares of {squares:.10g} over {samples:.10g} "
                f"samples: {error}. The queries must count the same things over the same time."
            ) from None
        found.append(moments)
        arms.append(_seen(arm, moments.mean, moments.interval(significance)))
    if len(found) < len(arms):
        return Comparison(arms[0], arms[1], 0.0, lambda: (-math.inf, math.inf), 0, 1.0, lacking, None)
    difference = means.Difference(*found)
    tested = improvement(metric, boundary(metric))
    side = round(improvement(metric, 1.0) * difference.side(tested, significance)) if difference.varies else 0
    required: float | None = needed
    if not difference.varies:
        lacking, required = lacking or "all values are the same, so that their spread is not known", None
    elif forecast and not lacking:
        distance = abs(difference.effect - tested)
        fewest = min(control.samples or 0.0, candidate.samples or 0.0)
        required = _required(distance, difference.variance, difference.spread, significance, fewest, needed)
    return Comparison(
        arms[0],
        arms[1],
        effect=difference.effect,
        bounds=partial(difference.interval, significance),
        side=0 if lacking else side,
        p_value=difference.p_value(),
        lacking=lacking,
        required=_whole(required),
    )


def _required(
    distance: float, variance: float, spread: float, significance: float, fewest: float, needed: float
) -> float | None:
    """Return the samples of the smaller arm at which the interval no longer reaches the tested difference.

    That is of the sequential test itself, if effect, variance and split stay as seen: no number of samples fixed
    beforehand, which would be smaller and not enough for a test that is looked at often. None where it is beyond reach.
    """
    if variance <= 0.0 or not 1.0 / _FURTHEST < distance / spread < _FURTHEST:
        return None
    target = variance_needed(distance, spread, significance)
    return max(needed, fewest * variance / target) if target > 0.0 else None


def _whole(samples: float | None) -> int | None:
    return None if samples is None or not samples <= _MOST_SAMPLES else math.ceil(samples)
