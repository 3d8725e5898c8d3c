"""What a candidate must pass before it ships, what is watched after it shipped, and people's word on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from prompt_operator.api.schema import ApiModel, Hash, Line, ObjectName, Word

_MAP_BY_NAME: dict[str, JsonValue] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
_NOT_EMPTY: dict[str, JsonValue] = {"minLength": 1}
_ONE_DAY = 86400
_TEN_YEARS = 315360000

#: Becomes part of the name of a Job.
GateName = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Query = Annotated[str, StringConstraints(max_length=4096)]
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+")]


class Role(StrEnum):
    """What a metric is asked for."""

    Primary = "Primary"
    Guardrail = "Guardrail"


class Kind(StrEnum):
    """What a metric counts."""

    Proportion = "Proportion"
    Mean = "Mean"
    Value = "Value"


class Direction(StrEnum):
    """Which way is better."""

    HigherIsBetter = "HigherIsBetter"
    LowerIsBetter = "LowerIsBetter"


class OnInconclusive(StrEnum):
    """What becomes of a candidate whose A/B test ended without an answer."""

    Fail = "Fail"
    Hold = "Hold"


class Approval(StrEnum):
    """A person's word."""

    Approve = "Approve"
    Reject = "Reject"


class SecretKey(ApiModel):
    """One key of a Secret in the namespace of the PromptDeployment."""

    name: ObjectName = Field(
        description='Name of the Secret, which has the label promptoperator.io/metric-source: "true".'
    )
    key: Word = Field(description="Key of its data.")


class Access(ApiModel):
    """How a source is spoken to."""

    timeout_seconds: int = Field(default=10, ge=1, le=120, description="Seconds until an answer counts as missing.")
    bearer_token: SecretKey | None = Field(
        default=None,
        description="Sent as Authorization: Bearer; over plain http to names like NAME.NAMESPACE.svc and private "
        "addresses only.",
    )
    ca_certificate: SecretKey | None = Field(
        default=None, description="PEM certificates the server must be signed by; absent means the system's."
    )


class PrometheusSource(Access):
    """Counts from a Prometheus.

    Each query is run for each arm, and must give exactly one number. In it {{hash}}, {{deployment}}, {{namespace}},
    {{agent}}, {{window}}, {{arm}} and {{experiment}} are filled in; window is the time since the test began, as 3600s.
    """

    address: Url = Field(description="URL of the server, such as http://prometheus.monitoring.svc:9090.")
    samples: Query = Field(
        default="",
        description="Query for the number of samples, which are sessions. Not for a Value. In an A/B test, for example "
        'sum(increase(prompt_sessions_total{experiment="{{experiment}}",arm="{{arm}}"}[{{window}}])). In monitoring '
        'select by hash alone, sum(increase(prompt_sessions_total{hash="{{hash}}"}[{{window}}])): sessions outside of '
        "an A/B test have no arm and no experiment, so neither may stand there. Agents make their counters at 0 for "
        "both arms before they count, since what a counter begins with is not seen as an increase.",
    )
    successes: Query = Field(default="", description="Query for how many of them succeeded, for a Proportion.")
    sum: Query = Field(default="", description="Query for the sum of the values, for a Mean.")
    sum_of_squares: Query = Field(default="", description="Query for the sum of their squares, for a Mean.")
    value: Query = Field(default="", description="Query for the value, for a Value.")


class HttpSource(Access):
    """Counts from an HTTP endpoint, which answers a GET with one JSON object per arm.

    For example {"control": {"samples": 120, "successes": 90}, "candidate": {…}}: samples with successes, or with sum
    and sumOfSquares, or value alone, all since the test began. The URL is filled in as the queries of Prometheus are,
    but for {{arm}}, as both arms are asked for at once; {{hash}} is the candidate's. For monitoring, the baseline is
    asked for apart, as control, and {{hash}} is its own.
    """

    url: Url = Field(description="URL of the endpoint.")


class JobSource(ApiModel):
    """Counts from a Job cloned from a labelled, suspended CronJob: its termination message is the JSON of http."""

    cron_job_name: ObjectName = Field(description="Name of the CronJob.")
    timeout_seconds: int = Field(default=600, ge=1, le=_ONE_DAY, description="Seconds until it counts as failed.")


class Source(ApiModel):
    """Where the numbers of a metric come from: exactly one of these."""

    prometheus: PrometheusSource | None = Field(
        default=None,
        description="From a Prometheus. Each query is run for each arm, and must give exactly one number. In it "
        "{{hash}}, {{deployment}}, {{namespace}}, {{agent}} and {{window}} are filled in, and in an A/B test {{arm}} "
        "and {{experiment}}; window is the time since it began, as 3600s.",
    )
    http: HttpSource | None = Field(default=None, description="From an HTTP endpoint.")
    job: JobSource | None = Field(default=None, description="From a Job.")


class Metric(ApiModel):
    """One number that the candidate is compared with the live prompt by."""

    name: GateName = Field(description="Name of the metric.")
    role: Role = Field(
        default=Role.Primary,
        description="A Primary must be better by more than margin; a Guardrail must not be worse by more than margin. "
        "Absent means Primary.",
    )
    kind: Kind = Field(
        default=Kind.Proportion,
        description="Proportion of successes, Mean of values, or Value: one number without a count behind it, which "
        "can only be a Guardrail. Absent means Proportion.",
    )
    direction: Direction = Field(
        default=Direction.HigherIsBetter, description="Which way is better. Absent means HigherIsBetter."
    )
    margin: float = Field(
        default=0.0,
        ge=0.0,
        description="In the unit of the metric; 0.02 of a Proportion are 2 percentage points. A Guardrail needs one "
        "above 0, since no amount of data shows that something is not worse at all.",
    )
    source: Source = Field(description="Where the numbers come from.")


class TestGate(ApiModel):
    """A test run as a Job, cloned from a labelled, suspended CronJob of the same namespace."""

    __test__ = False  # not a test case, whatever a collector takes it for by its name

    name: GateName = Field(description="Name of the test.")
    cron_job_name: ObjectName = Field(
        description='Suspended CronJob with the label promptoperator.io/test: "true", of which the Job is cloned.'
    )
    timeout_seconds: int = Field(
        default=600, ge=1, le=_ONE_DAY, description="Seconds until the test counts as failed. Absent means 600."
    )
    run_after_rollback: bool = Field(
        default=False, description="Whether it is run after a rollback too, on the version that became live."
    )


class AbTest(ApiModel):
    """The candidate beside the live prompt, on a share of the sessions, until the numbers tell which is better.

    Requests of one session depend on each other, so that neither the split nor the error rate would hold for them.
    """

    candidate_weight: int = Field(
        default=20, ge=1, le=99, description="Percent of the sessions that get the candidate."
    )
    min_duration_seconds: int = Field(
        default=3600, ge=0, le=_TEN_YEARS, description="Passes no earlier, so that it saw more than one hour's users."
    )
    max_duration_seconds: int = Field(
        default=7 * _ONE_DAY, ge=1, le=_TEN_YEARS, description="Without an answer by then, onInconclusive applies."
    )
    interval_seconds: int = Field(
        default=60, ge=1, le=_ONE_DAY, description="Seconds between two looks. Looking often costs no certainty."
    )
    min_samples_per_arm: int = Field(
        default=100, ge=1, le=10**9, description="Samples each arm needs before a verdict."
    )
    significance: float = Field(
        default=0.05, ge=0.0001, le=0.5, description="Most share of tests without a true difference that may pass."
    )
    on_inconclusive: OnInconclusive = Field(
        default=OnInconclusive.Fail, description="Fail, or Hold: go on measuring until it is decided or rejected."
    )
    metrics: list[Metric] = Field(
        min_length=1, max_length=16, description="Exactly one Primary, and Guardrails.", json_schema_extra=_MAP_BY_NAME
    )


class Approvals(ApiModel):
    """People who must agree."""

    required: int = Field(ge=1, le=32, description="How many different people must approve the candidate.")


class Gates(ApiModel):
    """What a candidate must pass, in this order: tests, A/B test, approvals."""

    tests: list[TestGate] | None = Field(
        default=None, max_length=16, description="Tests, run as Jobs.", json_schema_extra=_MAP_BY_NAME
    )
    ab_test: AbTest | None = Field(
        default=None,
        description="An A/B test against the live version. Each session counts once, however many requests it has.",
    )
    approvals: Approvals | None = Field(default=None, description="Approvals by people, given in spec.decisions.")


class Monitoring(ApiModel):
    """What is watched after a candidate shipped, against what was live before."""

    interval_seconds: int = Field(default=60, ge=1, le=_ONE_DAY, description="Seconds between two looks.")
    duration_seconds: int = Field(
        default=_ONE_DAY, ge=1, le=_TEN_YEARS, description="Seconds after shipping that it is watched for."
    )
    min_samples: int = Field(default=100, ge=1, le=10**9, description="Samples needed before a verdict.")
    significance: float = Field(
        default=0.05, ge=0.0001, le=0.5, description="Most share of prompts as good as before that may be called worse."
    )
    consecutive_failures: int = Field(
        default=3, ge=1, le=100, description="Looks in a row that must find it worse before it counts as regressed."
    )
    auto_rollback: bool = Field(
        default=True, description="Roll back by itself when it has regressed; else it stays Regressed until told."
    )
    cooldown_seconds: int = Field(
        default=3600, ge=0, le=_TEN_YEARS, description="Seconds after an automatic rollback without another one."
    )
    metrics: list[Metric] = Field(
        min_length=1,
        max_length=16,
        description="What is watched. It has regressed when one is worse by more than its margin, whatever its role. "
        "Queries select by {{hash}} alone, since what is counted outside of an A/B test has no {{arm}} and no "
        "{{experiment}}.",
        json_schema_extra=_MAP_BY_NAME,
    )


class Decision(ApiModel):
    """One person's word on one candidate. It counts for that hash only."""

    by: ObjectName = Field(description="Who says so. Each person writes only their own.", json_schema_extra=_NOT_EMPTY)
    hash: Hash = Field(description="Hash of the candidate it is about.")
    verdict: Approval = Field(description="Approve or Reject.")
    reason: Line = Field(default="", description="Why.")
