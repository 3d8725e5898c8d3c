"""Every estimate agrees with scipy, and none loses its digits at extremes."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from scipy import optimize, special, stats

from prompt_operator.evaluation import means, proportions, ratio, sequential
from prompt_operator.evaluation.special import incomplete_beta, log_beta, normal_quantile, t_quantile, t_upper_tail

CLOSE = 1e-9
CASES = 400


def close(wanted: float):
    return pytest.approx(float(wanted), rel=CLOSE, abs=CLOSE)


def some(seed: int, number: int = CASES):
    generator = random.Random(seed)
    return [generator for _ in range(number)]


def rates(generator: random.Random) -> tuple[int, int]:
    samples = generator.randint(1, 10 ** generator.randint(1, 7))
    return samples, generator.choice([0, samples, generator.randint(0, samples), generator.randint(0, samples)])


def test_quantiles_and_tails_are_those_of_scipy():
    for generator in some(1):
        tail, freedom = 10 ** generator.uniform(-7, -0.31), 10 ** generator.uniform(-0.3, 8)
        assert normal_quantile(1 - tail) == close(stats.norm.ppf(1 - tail))
        t = t_quantile(tail, freedom)
        assert t == close(stats.t.isf(tail, freedom))
        if freedom < 1e4:
            assert t_upper_tail(t, freedom) == close(stats.t.sf(t, freedom))


def test_beta_functions_are_those_of_scipy():
    for generator in some(2):
        a, b = 10 ** generator.uniform(-1, 5), 10 ** generator.uniform(-1, 5)
        x = generator.betavariate(a, b)
        assert log_beta(a, b) == close(special.betaln(a, b))
        assert incomplete_beta(a, b, x) == close(special.betainc(a, b, x))
    assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)


def test_wilsons_interval_is_that_of_scipy():
    for generator in some(3):
        samples, successes = rates(generator)
        significance = 10 ** generator.uniform(-6, -0.4)
        wanted = stats.binomtest(successes, samples).proportion_ci(1 - significance, method="wilson")
        assert proportions.wilson(successes, samples, significance) == (close(wanted.low), close(wanted.high))


def test_without_a_difference_the_variance_is_that_of_pearsons_chi_squared_and_of_the_pooled_z():
    for generator in some(4):
        (na, sa), (nb, sb) = rates(generator), rates(generator)
        if sa + sb in (0, na + nb):
            continue
        difference = proportions.Difference((na, sa), (nb, sb))
        z = difference.effect / math.sqrt(difference.variance(0.0))
        wanted = stats.chi2_contingency([[sa, na - sa], [sb, nb - sb]], correction=False)
        assert z * z == pytest.approx(float(wanted.statistic), rel=CLOSE, abs=CLOSE)
        assert math.erfc(abs(z) / math.sqrt(2)) == close(wanted.pvalue)


def test_rates_that_differ_by_what_is_tested_are_the_likeliest_ones():
    for generator in some(5):
        (na, sa), (nb, sb) = rates(generator), rates(generator)
        d = generator.choice([generator.uniform(-0.99, 0.99), generator.uniform(-0.05, 0.05)])
        lowest, highest = max(0.0, d), min(1.0, 1.0 + d)
        terms = ((sb, 0.0, 1), (nb - sb, 1.0, -1), (sa, d, 1), (na - sa, 1.0 + d, -1))

        def slope(p, terms=terms):
            return sum(sign * count / abs(p - at) for count, at, sign in terms if count)

        low, high = lowest + 1e-15, highest - 1e-15
        if slope(low) <= 0:
            wanted = lowest
        elif slope(high) >= 0:
            wanted = highest
        else:
            wanted = optimize.brentq(slope, low, high, xtol=1e-16)
        control, candidate = proportions.Difference((na, sa), (nb, sb)).rates(d)
        assert candidate == close(wanted)
        assert control == close(wanted - d)


def _beyond(difference: proportions.Difference, significance: float):
    def beyond(d: float) -> float:
        return abs(difference.effect - d) - _width(difference.variance(d), proportions.SPREAD, significance)

    return beyond


def _width(variance: float, spread: float, significance: float) -> float:
    """Where the mixture, integrated numerically below, reaches 1/significance; in closed form."""
    if variance == 0:
        return 0.0
    total = variance + spread**2
    return math.sqrt(variance * total / spread**2 * (math.log(total / variance) - 2 * math.log(significance)))


def test_the_evidence_is_the_likelihood_ratio_mixed_over_normal_alternatives():
    for distance, variance, spread in ((0.03, 1e-4, 0.05), (0.2, 0.004, 0.05), (-1.0, 0.3, 0.7), (0.0, 1e-3, 0.05)):
        grid = np.linspace(-12 * spread, 12 * spread, 200_001)
        likelihood = stats.norm.pdf(distance, grid, math.sqrt(variance))
        mixed = np.trapezoid(likelihood * stats.norm.pdf(grid, 0, spread), grid)
        wanted = math.log(mixed / stats.norm.pdf(distance, 0, math.sqrt(variance)))
        assert sequential.log_evidence(distance, variance, spread) == close(wanted)
        assert sequential.p_value(distance, variance, spread) == close(min(1, math.exp(-wanted)))


def test_the_always_valid_interval_of_two_rates_ends_where_scipy_finds_the_root():
    for generator in some(6, 150):
        (na, sa), (nb, sb) = rates(generator), rates(generator)
        significance = generator.choice([0.5, 0.05, 0.001, 1e-6])
        difference = proportions.Difference((na, sa), (nb, sb))
        lower, upper = difference.interval(significance)
        beyond = _beyond(difference, significance)
        assert -1 <= lower <= difference.effect + CLOSE
        assert difference.effect - CLOSE <= upper <= 1
        for bound, end in ((lower, -1.0), (upper, 1.0)):
            start = difference.effect + math.copysign(1e-11, end)
            if abs(start) < 1 and beyond(start) < 0 < beyond(end):
                assert bound == close(optimize.brentq(beyond, start, end, xtol=1e-15))


def test_what_is_outside_of_the_interval_is_rejected_and_what_is_inside_is_not():
    for generator in some(7, 150):
        (na, sa), (nb, sb) = rates(generator), rates(generator)
        difference = proportions.Difference((na, sa), (nb, sb))
        lower, upper = difference.interval(0.05)
        for d in np.linspace(-1, 1, 201):
            if abs(d - lower) > 1e-9 and abs(d - upper) > 1e-9:
                assert (_beyond(difference, 0.05)(d) <= 0) == (lower < d < upper)


def test_means_agree_with_students_and_with_welchs_t_test():
    generator = np.random.default_rng(8)
    for _ in range(100):
        a = generator.lognormal(1, 0.8, generator.integers(2, 400))
        b = generator.normal(3, 2.5, generator.integers(2, 400))
        moments = [means.Moments.of(len(x), float(x.sum()), float((x * x).sum())) for x in (a, b)]
        difference = means.Difference(*moments)
        student, welch = (stats.ttest_ind(b, a, equal_var=equal).statistic for equal in (True, False))
        assert difference.effect / math.sqrt(difference.student) == close(student)
        assert difference.effect / math.sqrt(difference.welch) == close(welch)
        assert difference.variance == max(difference.student, difference.welch)
        for x, found in zip((a, b), moments, strict=True):
            wanted = stats.ttest_1samp(x, 0).confidence_interval(0.95)
            assert found.interval(0.05) == (close(wanted.low), close(wanted.high))
            assert found.variance == close(np.var(x, ddof=1))


def test_the_test_of_the_split_is_the_bayes_factor_of_a_beta_binomial():
    for generator in some(9):
        control, candidate = (generator.randint(0, 10 ** generator.randint(1, 5)) for _ in range(2))
        share = generator.randint(1, 99) / 100
        a, b = ratio.CONCENTRATION * share, ratio.CONCENTRATION * (1 - share)
        wanted = stats.betabinom.logpmf(candidate, control + candidate, a, b) - stats.binom.logpmf(
            candidate, control + candidate, share
        )
        assert ratio.log_evidence(control, candidate, share) == pytest.approx(float(wanted), rel=CLOSE, abs=1e-7)
        exact = special.betaln(a + candidate, b + control) - special.betaln(a, b)
        exact -= special.xlogy(candidate, share) + special.xlogy(control, 1 - share)
        assert ratio.log_evidence(control, candidate, share) == pytest.approx(float(exact), rel=CLOSE, abs=CLOSE * 10)


def test_the_samples_needed_are_where_scipy_finds_the_interval_to_be_as_wide_as_the_distance():
    for generator in some(10):
        distance, spread = 10 ** generator.uniform(-9, 9), 10 ** generator.uniform(-3, 1)
        significance = 10 ** generator.uniform(-6, -0.4)

        def missing(log_variance, d=distance, s=spread, a=significance):
            return _width(math.exp(log_variance), s, a) - d

        wanted = math.exp(optimize.brentq(missing, -130, 60, xtol=1e-14))
        assert sequential.variance_needed(distance, spread, significance) == pytest.approx(wanted, rel=CLOSE)


def test_huge_counts_and_tiny_significances_overflow_nowhere():
    trillion = 10**12
    difference = proportions.Difference((trillion, 0.7 * trillion), (trillion, 0.7 * trillion + 10**7))
    lower, upper = difference.interval(1e-9)
    assert lower < difference.effect < upper
    assert upper - lower < 1e-4
    assert proportions.Difference((trillion, 0), (trillion, trillion)).p_value() == 0.0
    assert ratio.p_value(0.5 * trillion**1.3, 0.5 * trillion**1.3, 0.5) == 1.0
    assert ratio.p_value(trillion, 0, 0.5) == 0.0
    assert sequential.p_value(1e150, 1e-200, 1e-100) == 0.0
    with pytest.raises(ValueError, match="too large"):
        means.Moments.of(10, 1e200, 1e300)


def test_the_split_of_very_many_samples_is_judged_by_what_chance_allows():
    # One standard deviation off: nothing; ten: a mismatch. At 10^15 samples, differences of ln Γ would be off by whole units.
    samples = 10**15
    one = math.sqrt(samples * 0.25)
    assert ratio.p_value(samples / 2 - one / 2, samples / 2 + one / 2, 0.5) == 1.0
    assert ratio.p_value(samples / 2 - 10 * one, samples / 2 + 10 * one, 0.5) < ratio.SIGNIFICANCE
    assert NormalDist().cdf(-10) < ratio.SIGNIFICANCE
