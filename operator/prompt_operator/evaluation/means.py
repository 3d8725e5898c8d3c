"""Means of values: their intervals, and the always-valid interval of their difference.

Asymptotic: exact for many samples, whatever the distribution of the values. The variance of a difference is the larger
of Welch's (each arm its own) and Student's (both arms alike). Welch's alone calls equal arms different too often where
values are skewed and the smaller arm was lucky: of log-normal values at a split of 95/5, 10 % (5 % asked for) instead
of less than 0.1 %; Student's alone does where the arms vary differently. With SAMPLES in each arm the promise held for
normal, exponential and log-normal values, at 50/50, 80/20 and 95/5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from prompt_operator.evaluation.sequential import p_value, width
from prompt_operator.evaluation.special import t_quantile

#: Spread of the effects that are looked for, in pooled standard deviations. It is estimated, so that the unit of the
#: values does not matter; that the estimate moves a little from look to look matters less the more samples there are.
SPREAD = 0.1
#: As many samples of each arm are always needed.
SAMPLES = 30.0
_ROUNDING = 1e-9
#: Squares of what is larger would overflow.
_LARGEST = 1e200


@dataclass(frozen=True, slots=True)
class Moments:
    """What one arm's values are like. The variance is that of a sample."""

    samples: float
    mean: float
    variance: float

    @classmethod
    def of(cls, samples: float, total: float, squares: float) -> Moments:
        """Take the count, above 1, the sum and the sum of squares. Raises ValueError when no values can have them."""
        mean = total / samples
        left = squares - mean * total
        if not (math.isfinite(left) and squares <= _LARGEST):
            raise ValueError("the sums are too large to be reckoned with")
        if left < -_ROUNDING * squares:
            raise ValueError("the sum of squares is smaller than any values of that sum can have")
        # What rounding can have made of it is no spread.
        left = 0.0 if left < _ROUNDING * 1e-3 * squares else left
        return cls(samples, mean, left / (samples - 1.0))

    def interval(self, significance: float) -> tuple[float, float]:
        """Return Student's interval of the mean, at this look alone."""
        half = t_quantile(0.5 * significance, self.samples - 1.0) * math.sqrt(self.variance / self.samples)
        return self.mean - half, self.mean + half


class Difference:
    """The mean of the candidate less that of the control. Both have more than one sample."""

    def __init__(self, control: Moments, candidate: Moments) -> None:
        a, b = control, candidate
        self.effect = b.mean - a.mean
        freedom = a.samples + b.samples - 2.0
        pooled = ((a.samples - 1.0) * a.variance + (b.samples - 1.0) * b.variance) / freedom
        self.welch = a.variance / a.samples + b.variance / b.samples
        self.student = pooled * (1.0 / a.samples + 1.0 / b.samples)
        self.variance = max(self.welch, self.student)
        self.spread = SPREAD * math.sqrt(pooled)

    @property
    def varies(self) -> bool:
        """Whether there is any spread in the values; without it nothing can be said."""
        return self.variance > 0.0 and self.spread * self.spread > 0.0 and math.isfinite(self.variance)

    def interval(self, significance: float) -> tuple[float, float]:
        """Return the always-valid interval."""
        half = width(self.variance, self.spread, significance)
        return self.effect - half, self.effect + half

    def side(self, tested: float, significance: float) -> int:
        """Return 1 where the interval is above the tested difference, -1 where it is below, 0 where it holds it."""
        lower, upper = self.interval(significance)
        return 1 if lower > tested else -1 if upper < tested else 0

    def p_value(self) -> float:
        """Return the always-valid p-value of no difference; 1 where nothing varies."""
        return p_value(self.effect, self.variance, self.spread) if self.varies else 1.0
