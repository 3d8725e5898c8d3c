"""What a look asks for, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from prompt_operator.api.gates import Metric
from prompt_operator.api.reports import Arm

CONTROL = "control"
CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class ArmAsked:
    """One version, over one span of time: from ``since`` until ``at``."""

    hash: str
    since: datetime
    at: datetime

    @property
    def window_seconds(self) -> int:
        """Length of the span in whole seconds, at least one: what {{window}} says."""
        return max(1, round((self.at - self.since).total_seconds()))


@dataclass(frozen=True, slots=True)
class LookAsked:
    """One look at the numbers: which metrics, of which versions, on whose behalf."""

    namespace: str
    deployment: str
    agent: str
    #: Identifies the experiment or the monitoring; nothing read for another one counts.
    id: str
    metrics: tuple[Metric, ...]
    candidate: ArmAsked
    #: None where no metric needs it, or there is none.
    control: ArmAsked | None
    #: Names of the metrics whose control is known already, and not read again: the frozen baseline of monitoring.
    frozen: frozenset[str] = frozenset()

    def about(self, metric: Metric) -> LookAsked:
        """Return what is asked for one of the metrics."""
        return replace(self, control=None) if metric.name in self.frozen else self


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read for one metric: raw counts of each arm asked for, or the problem that kept them from being read.

    Arms hold samples with successes, samples with sum and sum_of_squares, or value, as read: nothing is computed. An
    arm that was not asked for is None. The problem is a sentence without any content of prompts or answers.

    A control that was asked for, and that the source has no data of, is None and no problem: ``no_control`` is the
    sentence that says so. A source that fails is a problem, whichever arm it fails for.
    """

    control: Arm | None = None
    candidate: Arm | None = None
    problem: str = ""
    no_control: str = ""
