"""Whether the samples were split as asked for: a test that may be looked at as often as one likes.

The Bayes factor of a beta-binomial against the share that was asked for (Lindon and Malek, "Anytime-valid inference for
multinomial count data", 2022). Against a sequence of samples that are each assigned independently it is a martingale
that ever reaches 1/s with a probability of at most s, exactly and from the first sample on. Samples that come in
clusters (many of one session) are not independent: they vary more, and a good split can then be called a mismatch.
"""

from __future__ import annotations

import math

from prompt_operator.evaluation.special import log_beta, stirling_rest

#: A split less likely than this is not believed.
SIGNIFICANCE = 0.001
#: How narrow around the share asked for other shares are expected: as after so many samples.
CONCENTRATION = 100.0
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def log_evidence(control: float, candidate: float, share: float) -> float:
    """Return ln of the Bayes factor against the candidate's share of the samples, which is between 0 and 1.

    As n·KL(seen‖asked) and small terms, since differences of ln Γ of large counts have no digits left.
    """
    a, b = CONCENTRATION * share, CONCENTRATION * (1.0 - share)
    x, y = a + candidate, b + control
    total = x + y
    seen = x / total
    off = seen - share
    divergence = seen * math.log1p(off / share) + (1.0 - seen) * math.log1p(-off / (1.0 - share))
    rest = stirling_rest(x) + stirling_rest(y) - stirling_rest(total)
    shape = _HALF_LOG_TWO_PI - 0.5 * (math.log(total) + math.log(seen) + math.log1p(-seen))
    prior = a * math.log(share) + b * math.log1p(-share) - log_beta(a, b)
    return total * divergence + rest + shape + prior


def p_value(control: float, candidate: float, share: float) -> float:
    """Return the always-valid p-value of the share asked for at this look; the smallest of all looks is valid too."""
    return math.exp(-max(0.0, log_evidence(control, candidate, share)))
