"""Rates of successes: their intervals, and the always-valid interval of their difference.

The variance of a difference is that of the two rates which fit the counts best among those that differ by exactly what
is tested (Miettinen and Nurminen 1985; Farrington and Manning 1990). So it neither vanishes where an arm has no or only
successes, nor is it small just because the smaller arm was lucky: the variance of the rates as they were seen would let
2 to 4 % of equal candidates pass at a split of 80/20 (97 % successes, 200 looks, 5 % asked for), this one 0.4 %.
"""

from __future__ import annotations

import math

from prompt_operator.evaluation.sequential import p_value, root, width
from prompt_operator.evaluation.special import normal_quantile

#: Spread of the effects that are looked for: five points.
SPREAD = 0.05
#: Samples of the rarer outcome each arm should have seen where both arms were equally good.
EVENTS = 5.0
#: As many samples of each arm are always needed.
SAMPLES = 20.0
_BESIDE = 1e-12
_HALF = 0.5
_NEWTON_STEPS = 3


def wilson(successes: float, samples: float, significance: float) -> tuple[float, float]:
    """Return the score interval of one rate (Wilson 1927), at this look alone. Samples are above 0."""
    z = normal_quantile(1.0 - 0.5 * significance)
    rate, square = successes / samples, z * z
    middle = (rate + square / (2 * samples)) / (1 + square / samples)
    half = z * math.sqrt(rate * (1 - rate) / samples + square / (4 * samples * samples)) / (1 + square / samples)
    return max(0.0, middle - half), min(1.0, middle + half)


class Difference:
    """The rate of the candidate less that of the control. Samples of both are above 0, successes from 0 to samples."""

    def __init__(self, control: tuple[float, float], candidate: tuple[float, float]) -> None:
        """Take (samples, successes) of each arm."""
        self._na, self._sa = control
        self._nb, self._sb = candidate
        self.effect = self._sb / self._nb - self._sa / self._na
        self.pooled = (self._sa + self._sb) / (self._na + self._nb)

    def rates(self, difference: float) -> tuple[float, float]:
        """Return the likeliest rates of control and candidate that differ by this much, from -1 to 1."""
        if difference == 0.0:
            return self.pooled, self.pooled
        a, b = self._rarer(difference)
        return (1.0 - a, 1.0 - b) if self.pooled > _HALF else (a, b)

    def _rarer(self, difference: float) -> tuple[float, float]:
        """Return those rates for the rarer outcome: near 0 they keep their digits, near 1 they would lose them."""
        if self.pooled > _HALF:
            return _likeliest((self._na, self._na - self._sa), (self._nb, self._nb - self._sb), -difference)
        return _likeliest((self._na, self._sa), (self._nb, self._sb), difference)

    def variance(self, difference: float) -> float:
        """Return the variance of the effect if the rates differed by this much."""
        pa, pb = self._rarer(difference) if difference else (self.pooled, self.pooled)
        return max(0.0, pa * (1 - pa)) / self._na + max(0.0, pb * (1 - pb)) / self._nb

    def interval(self, significance: float) -> tuple[float, float]:
        """Return the always-valid interval: every difference that is not rejected when tested."""
        return self._bound(-1.0, significance), self._bound(1.0, significance)

    def side(self, tested: float, significance: float) -> int:
        """Return 1 where the interval is above the tested difference, -1 where it is below, 0 where it holds it."""
        distance = self.effect - tested
        if abs(distance) <= width(self.variance(tested), SPREAD, significance):
            return 0
        return 1 if distance > 0.0 else -1

    def _bound(self, end: float, significance: float) -> float:
        def beyond(difference: float) -> float:
            return abs(self.effect - difference) - width(self.variance(difference), SPREAD, significance)

        # Not at the effect itself: where neither arm varies, nothing but that very difference has no variance.
        start = self.effect + math.copysign(_BESIDE, end)
        at_start = beyond(start) if abs(start) < 1.0 else 0.0
        if at_start >= 0.0:
            return max(-1.0, min(1.0, start))
        # Where the variance near the effect would put it, and a bit beyond, is a narrower place to look.
        near = self.effect + math.copysign(1.2 * at_start, end)
        if abs(near) < 1.0 and (at_near := beyond(near)) > 0.0:
            return root(beyond, start, near, at_start, at_near)
        return root(beyond, start, end, at_start)

    def p_value(self) -> float:
        """Return the always-valid p-value of no difference; 1 where nothing varies."""
        variance = self.variance(0.0)
        return p_value(self.effect, variance, SPREAD) if variance > 0.0 else 1.0

    def floor(self, tolerated_loss: float, *, higher_is_better: bool) -> float:
        """Return how many samples of the rarer outcome the smaller arm should have, if the arms were equally good.

        For a guardrail, the worse outcome is reckoned as frequent as it may become (tolerated_loss more): where neither
        arm saw a single error, enough samples without one still show that there are no more than tolerated.
        """
        worse = 1.0 - self.pooled if higher_is_better else self.pooled
        return min(self._na, self._nb) * min(worse + tolerated_loss, 1.0 - worse)


def _likeliest(control: tuple[float, float], candidate: tuple[float, float], d: float) -> tuple[float, float]:
    """Return the rates with candidate - control = d, not 0, that make (samples, successes) of both likeliest.

    An end of their range, or the middle root of the cubic that the derivative of the likelihood is there, made exact by
    Newton's steps.
    """
    (na, sa), (nb, sb) = control, candidate
    lowest, highest = max(0.0, d), min(1.0, 1.0 + d)
    if sa == 0.0 and sb == 0.0:
        return lowest - d, lowest
    pa, pb, ratio = sa / na, sb / nb, na / nb
    a, b = 1 + ratio, -(1 + ratio + pb + ratio * pa + d * (ratio + 2))
    c, e = d * (d + 2 * pb + ratio + 1) + pb + ratio * pa, -pb * d * (1 + d)
    third = b / (3 * a)
    square = third * third - c / (3 * a)
    if square <= 0.0:
        rate = -third
    else:
        v = third**3 - b * c / (6 * a * a) + e / (2 * a)
        u = math.copysign(math.sqrt(square), v)
        cosine = max(-1.0, min(1.0, v / u**3)) if u**3 else 1.0
        rate = 2 * u * math.cos((math.pi + math.acos(cosine)) / 3) - third
    for _ in range(_NEWTON_STEPS):
        slope = (3 * a * rate + 2 * b) * rate + c
        step = (((a * rate + b) * rate + c) * rate + e) / slope if slope else 0.0
        if not 1e-17 < abs(step) < 1e-3:  # noqa: PLR2004 - exact by now, or a double root, which is exact as it is
            break
        rate -= step
    rate = max(lowest, min(highest, rate))
    return rate - d, rate
