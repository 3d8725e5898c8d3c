"""A test that may be looked at as often as one likes: the normal mixture.

D is an estimate of a difference, V its variance at this look, and D/V moves as a Brownian motion does in the time 1/V
(true of differences of proportions and means of independent samples, whatever the split, once each arm has enough of
them). Mixing the likelihood ratio against "the difference is d" over normal alternatives of spread τ around d gives

    Λ = √(V/(V+τ²)) · exp(τ²(D-d)² / (2V(V+τ²))),

a martingale that ever reaches 1/s with a probability of at most s (Robbins 1970; Johari, Koomen, Pekelis and Walsh,
"Always valid inference", 2022). So 1/Λ is a p-value, and the differences that are not rejected are an interval, both
valid at every look. τ says which effects are found fastest; validity does not depend on it.

Not guaranteed: anything where samples depend on each other (count one for each session), or where V is far from the
true variance; see ``proportions`` and ``means`` for how few samples are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_PRECISE = 1e-13
_STEPS = 200
_HALVE_EVERY = 8


def log_evidence(distance: float, variance: float, spread: float) -> float:
    """Return ln Λ, for how far the estimate is from the tested difference. The variance and the spread are above 0."""
    total = variance + spread * spread
    # In this order nothing overflows that is not infinite.
    scaled = distance / math.sqrt(variance)
    return 0.5 * (scaled * scaled * (spread * spread / total) - math.log1p(spread * spread / variance))


def p_value(distance: float, variance: float, spread: float) -> float:
    """Return the always-valid p-value of this look; the smallest of all looks is valid too."""
    return math.exp(-max(0.0, log_evidence(distance, variance, spread)))


def width(variance: float, spread: float, significance: float) -> float:
    """Return the half width of the always-valid interval: the distance with Λ = 1/significance."""
    if variance <= 0.0:
        return 0.0
    ratio = variance / (spread * spread)
    return math.sqrt(variance * (1.0 + ratio) * (math.log1p(1.0 / ratio) - 2.0 * math.log(significance)))


def variance_needed(distance: float, spread: float, significance: float) -> float:
    """Return the variance at which a distance is as wide as the interval: what more samples must reach.

    The distance is from 1e-50 to 1e50 spreads.
    """
    wanted = math.log(distance / spread)

    def beyond(log_variance: float) -> float:
        return math.log(width(math.exp(log_variance), 1.0, significance)) - wanted

    # width² ≥ variance · 2 ln(1/significance) bounds the answer above; below it is about distance² where that is small,
    # and about the distance where that is large, but for logarithms.
    low, high = min(2.0 * wanted, wanted) - 60.0, 2.0 * wanted - math.log(-2.0 * math.log(significance))
    found = root(beyond, low, high)
    return math.exp(found) * (spread * spread)


def root(
    function: Callable[[float], float],
    low: float,
    high: float,
    at_low: float | None = None,
    at_high: float | None = None,
) -> float:
    """Return where a continuous function that is not positive at one end and not negative at the other is zero.

    False position in its Illinois form, with halving where that is slow. As exact as 1e-13 over the slope there. What
    the function is at the ends need not be reckoned again where it is given.
    """
    at_low = function(low) if at_low is None else at_low
    at_high = function(high) if at_high is None else at_high
    if at_low == 0.0 or at_high == 0.0:
        return low if at_low == 0.0 else high
    for step in range(1, _STEPS):
        halve = step % _HALVE_EVERY == 0
        middle = 0.5 * (low + high) if halve else high - at_high * (high - low) / (at_high - at_low)
        if not min(low, high) < middle < max(low, high):
            middle = 0.5 * (low + high)
        value = function(middle)
        if abs(value) <= _PRECISE or abs(high - low) <= _PRECISE:
            return middle
        if (value < 0.0) == (at_high < 0.0):
            at_low *= 0.5
        else:
            low, at_low = high, at_high
        high, at_high = middle, value
        if abs(high - low) <= _PRECISE:
            break
    return high
