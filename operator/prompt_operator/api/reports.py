"""The numbers a decision was made on, as status shows them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field, JsonValue

from prompt_operator.api.gates import Direction, Kind, Role
from prompt_operator.api.prompt import FreeForm
from prompt_operator.api.schema import AnyHash, ApiModel, Line, Time, Word

#: Most tests that gates may ask for, and that are told of.
MOST_TESTS: Final = 16
_ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}


class Verdict(StrEnum):
    """What the numbers say. Only Passed passes, and only Failed fails."""

    Passed = "Passed"
    Failed = "Failed"
    Inconclusive = "Inconclusive"
    Errored = "Errored"


class Interval(ApiModel):
    """A range that holds the true value, with the confidence asked for, however often it is looked at."""

    lower: float = Field(description="Lower end.")
    upper: float = Field(description="Upper end.")


class Arm(ApiModel):
    """What one version did, since the test began."""

    hash: AnyHash = Field(default="", description="Hash of the version.")
    samples: float | None = Field(default=None, description="Samples; estimates of a Prometheus can be fractional.")
    successes: float | None = Field(default=None, description="How many of them succeeded, for a Proportion.")
    sum: float | None = Field(default=None, description="Sum of the values, for a Mean.")
    sum_of_squares: float | None = Field(default=None, description="Sum of their squares, for a Mean.")
    value: float | None = Field(default=None, description="The rate, the mean or the value.")
    interval: Interval | None = Field(default=None, description="Interval of the rate or mean, at this look alone.")


class MetricReport(ApiModel):
    """What one metric says."""

    name: Word = Field(description="Name of the metric.")
    role: Role = Field(description="Primary or Guardrail.")
    kind: Kind = Field(description="Proportion, Mean or Value.")
    direction: Direction = Field(description="Which way is better.")
    margin: float = Field(description="By how much it must be better, or may be worse.")
    significance: float | None = Field(default=None, description="Its share of the significance of the test.")
    verdict: Verdict = Field(description="Passed, Failed, Inconclusive or Errored.")
    message: Line = Field(default="", description="Why, with the numbers.")
    control: Arm | None = Field(default=None, description="The version that was live when the test began.")
    candidate: Arm | None = Field(default=None, description="The candidate.")
    effect: float | None = Field(default=None, description="Candidate less control, in the unit of the metric.")
    effect_interval: Interval | None = Field(
        default=None, description="Range of the effect, valid however often it is looked at."
    )
    p_value: float | None = Field(
        default=None, description="Always-valid p-value of no effect: the smallest of all looks."
    )
    required_samples_per_arm: int | None = Field(
        default=None, description="Samples each arm needs, as far as can be told from what was seen."
    )
    consecutive_failures: int = Field(default=0, description="Looks in a row that found it worse.")
    state: FreeForm | None = Field(default=None, description="What the next look goes on from.")


class SampleRatio(ApiModel):
    """Whether the sessions were split as asked for; if not, no comparison can be trusted."""

    expected: float = Field(description="Share of the samples the candidate should have.")
    observed: float = Field(description="Share it has.")
    p_value: float = Field(description="Always-valid p-value of the split that was asked for.")
    matches: bool = Field(description="Whether the split is believable.")


class TestRun(ApiModel):
    """One test, run as a Job."""

    __test__ = False  # not a test case, whatever a collector takes it for by its name

    name: Word = Field(description="Name of the test.")
    job_name: Word = Field(description="Name of the Job.")
    verdict: Verdict | None = Field(default=None, description="Passed or Failed; absent while it runs.")
    message: Line = Field(default="", description="What there is to know, as a sentence.")
    start_time: Time | None = Field(default=None, description="When it was started.")
    completion_time: Time | None = Field(default=None, description="When it ended.")
    report: FreeForm | None = Field(default=None, description="JSON object of the pod's termination message.")


class AbReport(ApiModel):
    """What the gates found out about a candidate."""

    id: Word = Field(default="", description="The experiment; it differs when the candidate or the baseline does.")
    verdict: Verdict | None = Field(default=None, description="Absent before the first look.")
    reason: Word = Field(default="", description="Why, as one CamelCase word for programs.")
    message: Line = Field(default="", description="Why, as a sentence with the numbers.")
    candidate_weight: int | None = Field(default=None, description="Percent of the sessions that get the candidate.")
    started_time: Time | None = Field(default=None, description="When the candidate was put beside the live version.")
    ended_time: Time | None = Field(default=None, description="When it was decided.")
    last_look_time: Time | None = Field(default=None, description="When the numbers were read last.")
    looks: int = Field(default=0, description="How often they were read.")
    estimated_completion_time: Time | None = Field(
        default=None, description="When there should be enough samples, at the traffic seen so far."
    )
    sample_ratio: SampleRatio | None = Field(default=None, description="The split of the sessions.")
    metrics: list[MetricReport] = Field(
        default=[], max_length=16, description="What each metric says.", json_schema_extra=_ATOMIC
    )
    tests: list[TestRun] = Field(
        default=[], max_length=MOST_TESTS, description="Tests that were run.", json_schema_extra=_ATOMIC
    )


class RegressionMetric(ApiModel):
    """What monitoring finds out about a version that shipped."""

    id: Word = Field(default="", description="What is watched against what; it differs when either does.")
    verdict: Verdict | None = Field(default=None, description="Failed means regressed. Absent before the first look.")
    reason: Word = Field(default="", description="Why, as one CamelCase word for programs.")
    message: Line = Field(default="", description="Why, as a sentence with the numbers.")
    started_time: Time | None = Field(default=None, description="When the version became live.")
    ended_time: Time | None = Field(default=None, description="When it was no longer watched, or had regressed.")
    last_look_time: Time | None = Field(default=None, description="When the numbers were read last.")
    looks: int = Field(default=0, description="How often they were read.")
    consecutive_failures: int = Field(default=0, description="Looks in a row that found it worse.")
    metrics: list[MetricReport] = Field(
        default=[],
        max_length=16,
        description="What each metric says; control is the frozen baseline.",
        json_schema_extra=_ATOMIC,
    )
