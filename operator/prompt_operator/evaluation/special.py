"""Functions of mathematics that the standard library lacks: what is left of Stirling's formula, and Student's t."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_STIRLING_FROM = 15.0  # from here on, five terms of the series are exact to 1e-16
_EXPANSION_FROM = 2000.0  # degrees of freedom from which the expansion of the quantile is exact to 1e-12
_TINY = 1e-300
_EPSILON = 1e-16


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile. Raises statistics.StatisticsError outside of (0, 1)."""
    return _NORMAL.inv_cdf(probability)


def stirling_rest(x: float) -> float:
    """Return ln Γ(x) less (x - ½) ln x - x + ½ ln 2π, for x > 0.

    Differences of ln Γ at large counts lose all their digits; differences of this do not. Series: DLMF 5.11.1.
    """
    if x < _STIRLING_FROM:
        return math.lgamma(x) - ((x - 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI)
    s = 1.0 / (x * x)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188))))) / x


def log_beta(a: float, b: float) -> float:
    """Return ln B(a, b), for a, b > 0."""
    c = a + b
    return (
        _HALF_LOG_TWO_PI
        + (stirling_rest(a) + stirling_rest(b) - stirling_rest(c))
        + (a * math.log(a / c) + b * math.log(b / c))
        + 0.5 * (math.log(c) - math.log(a) - math.log(b))
    )


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a, b > 0.

    The continued fraction DLMF 8.17.22, evaluated by Lentz's method on the side where it converges fast.
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    numerator, denominator = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    denominator = 1.0 / (denominator if abs(denominator) > _TINY else _TINY)
    value = denominator
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            denominator = 1.0 + term * denominator
            denominator = 1.0 / (denominator if abs(denominator) > _TINY else _TINY)
            numerator = 1.0 + term / numerator
            numerator = numerator if abs(numerator) > _TINY else _TINY
            change = numerator * denominator
            value *= change
        if abs(change - 1.0) < _EPSILON * 4:
            break
    return value


def t_upper_tail(t: float, freedom: float) -> float:
    """Return P(T > t) of Student's t, for t ≥ 0 and freedom > 0 (it need not be whole)."""
    return 0.5 * incomplete_beta(0.5 * freedom, 0.5, freedom / (freedom + t * t))


@lru_cache(maxsize=4096)
def t_quantile(upper_tail: float, freedom: float) -> float:
    """Return t with P(T > t) = upper_tail, for 0 < upper_tail < ½ and freedom > 0.

    Many degrees of freedom: the expansion by Cornish and Fisher (Abramowitz and Stegun 26.7.5). Few: Newton's steps in
    the logarithm of the tail, kept inside a bracket.
    """
    guess = _expansion(normal_quantile(1.0 - upper_tail), freedom)
    if freedom >= _EXPANSION_FROM:
        return guess
    constant = -log_beta(0.5 * freedom, 0.5) - 0.5 * math.log(freedom)
    low, high, t = 0.0, math.inf, max(guess, 1e-3)
    for _ in range(200):
        tail = t_upper_tail(t, freedom)
        low, high = (t, high) if tail > upper_tail else (low, t)
        density = math.exp(constant - 0.5 * (freedom + 1.0) * math.log1p(t * t / freedom))
        # A step in ln(tail) over ln(t), which is nearly straight where the tail is a power.
        step = t * math.exp(math.log(tail / upper_tail) * tail / (density * t)) if tail > 0.0 else 0.5 * t
        following = step if low < step < high else (0.5 * (low + high) if math.isfinite(high) else 2.0 * t)
        if abs(following - t) <= 1e-14 * t:
            return following
        t = following
    return t


def _expansion(z: float, freedom: float) -> float:
    s, v = z * z, 1.0 / freedom
    terms = (
        (s + 1) / 4,
        ((5 * s + 16) * s + 3) / 96,
        (((3 * s + 19) * s + 17) * s - 15) / 384,
        ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / 92160,
    )
    return z * (1 + v * (terms[0] + v * (terms[1] + v * (terms[2] + v * terms[3]))))
