"""A/B tests and monitoring with a known truth, thousands at once, from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from prompt_operator.api.gates import Monitoring
from prompt_operator.evaluation import epochs
from prompt_operator.evaluation.monitoring import shares
from tests.simulation.decisions import Counts, Said, Sums, fixed_horizon, mean, proportion

SEED = 20261123
LOOKS = 200
SIGNIFICANCE = 0.05
MIN_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class Truth:
    """What is simulated: rates of control and candidate, the candidate's share, and the traffic."""

    base: float
    effect: float = 0.0
    share: float = 0.5
    per_look: int = 50
    looks: int = LOOKS
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the runs."""

    runs: int
    passed: int
    failed: int
    mean_stop: float  # samples of both arms until it was decided, or all there were
    once_passed: int = 0
    once_failed: int = 0

    @property
    def decided(self) -> float:
        return (self.passed + self.failed) / self.runs


def draw(generator: np.random.Generator, truth: Truth, runs: int) -> tuple[Counts, Counts]:
    """Return cumulative counts of control and candidate: each sample is dealt out on its own."""
    shape = (runs, truth.looks)
    candidates = generator.binomial(truth.per_look, truth.share, shape)
    rates = (truth.base, min(1.0, truth.base + truth.effect))
    arms = []
    for samples, rate in zip((truth.per_look - candidates, candidates), rates, strict=True):
        successes = generator.binomial(samples, rate)
        arms.append(Counts(np.cumsum(samples, 1).astype(float), np.cumsum(successes, 1).astype(float)))
    return arms[0], arms[1]


def first(said: Said) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return what each run came to, 0 if to nothing, and at which look."""
    decided = said.verdict != 0
    at = np.where(decided.any(1), decided.argmax(1), said.verdict.shape[1] - 1)
    return said.verdict[np.arange(len(at)), at], at


def outcome(said: Said, totals: NDArray[np.float64]) -> Outcome:
    verdicts, at = first(said)
    last = said.verdict[:, -1]
    return Outcome(
        len(verdicts),
        int((verdicts > 0).sum()),
        int((verdicts < 0).sum()),
        float(totals[np.arange(len(at)), at].mean()),
        int((last > 0).sum()),
        int((last < 0).sum()),
    )


Rule = Callable[[Counts, Counts, Truth], Said]


def always_valid(control: Counts, candidate: Counts, truth: Truth) -> Said:
    """Decide as evaluate_ab does: a Primary without a margin, or a Guardrail with one."""
    return proportion(control, candidate, SIGNIFICANCE, MIN_SAMPLES, boundary=-truth.margin)


def z_test(control: Counts, candidate: Counts, _truth: Truth) -> Said:
    """Decide by the test of a fixed horizon, looked at as often."""
    return fixed_horizon(control, candidate, NormalDist().inv_cdf(1 - SIGNIFICANCE / 2), MIN_SAMPLES)


def ab(truth: Truth, runs: int, rule: Rule = always_valid, seed: int = SEED) -> Outcome:
    """Simulate A/B tests on proportions."""
    control, candidate = draw(np.random.default_rng(seed), truth, runs)
    return outcome(rule(control, candidate, truth), control.samples + candidate.samples)


def ab_means(values: Callable[[np.random.Generator, tuple[int, int]], NDArray], truth: Truth, runs: int) -> Outcome:
    """Simulate A/B tests on means of values that are distributed alike in both arms."""
    generator = np.random.default_rng(SEED)
    size = (runs, truth.per_look * truth.looks)
    dealt, drawn = generator.random(size) < truth.share, values(generator, size)
    ends = np.arange(1, truth.looks + 1) * truth.per_look - 1
    arms = []
    for mine in (~dealt, dealt):
        kept = np.where(mine, drawn, 0.0)
        parts = (mine.astype(float), kept, kept * kept)
        arms.append(Sums(*(np.cumsum(part, 1)[:, ends] for part in parts)))
    said = mean(arms[0], arms[1], SIGNIFICANCE, MIN_SAMPLES)
    return outcome(said, arms[0].samples + arms[1].samples)


@dataclass(frozen=True, slots=True)
class Watched:
    """What became of monitored versions."""

    runs: int
    ever_worse: int
    regressed: int
    mean_looks: float  # from the beginning of the regression until it counted as regressed, of those that did


def monitoring(
    declared: Monitoring, truth: Truth, runs: int, *, baseline: int = 20_000, begins: int = 0, seed: int = SEED
) -> Watched:
    """Simulate monitoring of one Proportion without a margin, whose rate changes by the effect after ``begins`` looks."""
    looked, regressed_at = watch(declared, *versions(truth, runs, baseline=baseline, begins=begins, seed=seed))
    regressed = regressed_at >= begins
    delay = regressed_at[regressed] - begins + 1
    return Watched(
        runs,
        int(looked.any(1).sum()),
        int((regressed_at >= 0).sum()),
        float(delay.mean()) if len(delay) else float("nan"),
    )


def versions(truth: Truth, runs: int, *, baseline: int, begins: int = 0, seed: int = SEED) -> tuple[Counts, Counts]:
    """Return frozen baselines and cumulative counts of what shipped."""
    generator = np.random.default_rng(seed)
    ones = np.ones((runs, 1))
    before = Counts(ones * baseline, generator.binomial(baseline, truth.base, (runs, 1)).astype(float))
    samples = generator.poisson(truth.per_look, (runs, truth.looks))
    rates = np.where(np.arange(truth.looks) < begins, truth.base, truth.base + truth.effect)
    successes = generator.binomial(samples, np.clip(rates, 0, 1))
    return before, Counts(np.cumsum(samples, 1).astype(float), np.cumsum(successes, 1).astype(float))


def watch(declared: Monitoring, before: Counts, after: Counts) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which looks found it worse, and at which look it had regressed, or -1."""
    share, of_epoch = shares(declared, declared.significance)
    looks = after.samples.shape[1]
    whole = proportion(before, after, share, declared.min_samples)
    index = np.array([epochs.index_at(declared, (n + 1) * declared.interval_seconds) for n in range(looks)])
    begun = np.array([int(np.argmax(index == i)) for i in index])
    lately = proportion(
        before, Counts(_since(after.samples, begun), _since(after.successes, begun)), of_epoch, declared.min_samples
    )
    worse = (whole.verdict < 0) | (lately.verdict < 0)
    counted = np.zeros(len(worse), int)
    by_epoch = np.zeros(len(worse), bool)
    regressed = np.full(len(worse), -1)
    for n in range(looks):
        fine = np.where(
            by_epoch, lately.enough[:, n] & (lately.effect[:, n] >= 0), whole.enough[:, n] & (whole.effect[:, n] >= 0)
        )
        grown = (after.samples[:, n] > after.samples[:, n - 1]) if n else np.ones(len(worse), bool)
        counted = np.where(worse[:, n], counted + grown, np.where(fine, 0, counted))
        by_epoch = np.where(worse[:, n], whole.verdict[:, n] >= 0, by_epoch & (counted > 0))
        now = worse[:, n] & (counted >= declared.consecutive_failures) & (regressed < 0)
        regressed[now] = n
    return worse, regressed


def _since(cumulative: NDArray[np.float64], begun: NDArray[np.int64]) -> NDArray[np.float64]:
    padded = np.concatenate([np.zeros((len(cumulative), 1)), cumulative], 1)
    return cumulative - padded[:, begun]
