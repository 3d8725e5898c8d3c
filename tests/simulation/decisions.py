"""The decisions of prompt_operator.evaluation over whole arrays. A test holds that they are the same, look by look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_operator.evaluation import means, proportions

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Cumulative counts of one arm: runs down, looks across."""

    samples: Numbers
    successes: Numbers


@dataclass(frozen=True, slots=True)
class Sums:
    """Cumulative sums of one arm: runs down, looks across."""

    samples: Numbers
    sum: Numbers
    squares: Numbers


@dataclass(frozen=True, slots=True)
class Said:
    """What each look says: 1 above the boundary, -1 below it, 0 undecided."""

    verdict: NDArray[np.int8]
    effect: Numbers
    enough: NDArray[np.bool_]


def width(variance: Numbers, spread: Numbers | float, significance: float) -> Numbers:
    ratio = variance / (spread * spread)
    return np.sqrt(variance * (1 + ratio) * (np.log1p(1 / ratio) - 2 * np.log(significance)))


def _said(effect: Numbers, boundary: float, half: Numbers, enough: NDArray[np.bool_]) -> Said:
    above, below = effect - half > boundary, effect + half < boundary
    return Said((enough * (above.astype(np.int8) - below)).astype(np.int8), effect, enough)


def likeliest(control: Counts, candidate: Counts, d: float) -> tuple[Numbers, Numbers]:
    """Return the likeliest rates that differ by d, by halving where the slope of the likelihood changes its sign."""
    na, sa, nb, sb = control.samples, control.successes, candidate.samples, candidate.successes
    low, high = np.full(sa.shape, max(0.0, d)), np.full(sa.shape, min(1.0, 1.0 + d))
    for _ in range(60):
        p = 0.5 * (low + high)
        q = p - d
        rising = _term(sb, p) + _term(sa, q) > _term(nb - sb, 1 - p) + _term(na - sa, 1 - q)
        low, high = np.where(rising, p, low), np.where(rising, high, p)
    return 0.5 * (low + high) - d, 0.5 * (low + high)


def _term(count: Numbers, rate: Numbers) -> Numbers:
    return np.where(count > 0, count / np.maximum(rate, 1e-300), 0.0)


def proportion(
    control: Counts, candidate: Counts, significance: float, min_samples: float, *, boundary: float = 0.0
) -> Said:
    """Decide on rates of which higher is better; a boundary below 0 is a guardrail's margin."""
    na, sa, nb, sb = control.samples, control.successes, candidate.samples, candidate.successes
    with np.errstate(all="ignore"):
        pooled = (sa + sb) / (na + nb)
        pa, pb = (pooled, pooled) if boundary == 0 else likeliest(control, candidate, boundary)
        variance = pa * (1 - pa) / na + pb * (1 - pb) / nb
        rarer = np.minimum(1 - pooled + max(0.0, -boundary), pooled)
        fewest = np.minimum(na, nb)
        enough = (fewest >= max(min_samples, proportions.SAMPLES)) & (fewest * rarer >= proportions.EVENTS)
        return _said(sb / nb - sa / na, boundary, width(variance, proportions.SPREAD, significance), enough)


def mean(control: Sums, candidate: Sums, significance: float, min_samples: float) -> Said:
    """Decide on means of which higher is better, without a margin."""
    with np.errstate(all="ignore"):
        (na, ma, va), (nb, mb, vb) = (
            (arm.samples, arm.sum / arm.samples, (arm.squares - arm.sum**2 / arm.samples) / (arm.samples - 1))
            for arm in (control, candidate)
        )
        pooled = ((na - 1) * va + (nb - 1) * vb) / (na + nb - 2)
        variance = np.maximum(va / na + vb / nb, pooled * (1 / na + 1 / nb))
        enough = np.minimum(na, nb) >= max(min_samples, means.SAMPLES)
        return _said(mb - ma, 0.0, width(variance, means.SPREAD * np.sqrt(pooled), significance), enough)


def fixed_horizon(control: Counts, candidate: Counts, critical: float, min_samples: float) -> Said:
    """Decide as a z test does that is meant for one look only."""
    na, sa, nb, sb = control.samples, control.successes, candidate.samples, candidate.successes
    with np.errstate(all="ignore"):
        pooled = (sa + sb) / (na + nb)
        half = critical * np.sqrt(pooled * (1 - pooled) * (1 / na + 1 / nb))
        return _said(sb / nb - sa / na, 0.0, half, np.minimum(na, nb) >= min_samples)
