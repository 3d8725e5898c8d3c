"""What the controller knows of the cluster, in the form decisions are made on: small, frozen, without prompt text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from prompt_operator.api.gates import Decision, Gates, Monitoring
from prompt_operator.api.names import AUTO_ROLLBACK, UNVERIFIED, auto_rollback_name, rejection_name
from prompt_operator.api.phases import ROLLBACKS, Phase, Trigger
from prompt_operator.api.reasons import Reason

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something cannot be done: a reason for programs and a sentence for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A PromptDeployment; its prompt only as a hash, or as the problem it has."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: str
    deleting: bool
    agent: str
    environment: str
    version: str
    change: Mapping[str, Any]
    content_hash: str
    content_problem: Problem | None
    target_hash: str
    #: Field managers that own spec.targetHash, ours excepted.
    target_managers: tuple[str, ...]
    paused: bool
    release_revision: int
    revision_limit: int
    status: Status
    gates: Gates = field(default_factory=Gates)
    monitoring: Monitoring | None = None
    decisions: tuple[Decision, ...] = ()
    #: Why gates, monitoring or decisions could not be read; nothing ships then.
    gates_problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A PromptRevision without its content."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str
    deployment: str
    number: int
    hash: str
    version: str
    change: Mapping[str, Any]
    trigger: Trigger
    cause_name: str
    cause_uid: str
    baseline_hash: str
    baseline_revision: int
    requested_by: str
    created: str
    status: Status

    @property
    def is_rollback(self) -> bool:
        """Whether a rollback made it; all others are candidates."""
        return self.trigger in ROLLBACKS

    @property
    def phase(self) -> Phase | None:
        """The recorded phase; None before its first status."""
        value = self.status.get("phase")
        return Phase(value) if value else None

    @property
    def notes(self) -> str:
        """Notes of the change, or the reason of the rollback."""
        return str(self.change.get("notes") or "")


class Ownership(StrEnum):
    """Whose a ConfigMap of our name is."""

    OURS = "ours"
    LEFTOVER = "leftover"  # of a deleted PromptDeployment of the same name
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class LiveConfigMap:
    """The ConfigMap of a deployment: what it claims, and whether its content is what it claims."""

    uid: str
    resource_version: str
    ownership: Ownership
    #: Hash of the bytes in prompt.json, as read.
    content_hash: str
    #: Whether prompt.txt is the text of prompt.json, no key is missing and none was added.
    whole: bool
    #: metadata.json as read; empty when it does not parse.
    record: Mapping[str, Any]
    #: Our labels and annotations, as read.
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    #: Keys of data and binaryData that are not ours.
    foreign_keys: tuple[str, ...] = ()
    immutable: bool = False
    #: experiment.json as read, and the hash of candidate.json; empty without.
    experiment: Mapping[str, Any] = field(default_factory=dict)
    candidate_hash: str = ""


@dataclass(frozen=True, slots=True)
class PlannedRollback:
    """One row of the plan of a running AgentRollback: what it does to one deployment."""

    name: str
    uid: str
    from_hash: str
    to_hash: str
    revision: int
    reason: str
    requested_by: str
    #: Number of the candidate under test that is rejected, with nothing else done; 0 for none.
    rejects: int = 0


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What the pod of an ended test said."""

    __test__ = False  # not a test case, whatever a collector takes it for by its name

    message: str
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Setback:
    """Why a test could not be started or read, or an AgentRollback not be made, and when that was noticed."""

    message: str
    noticed: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """The report of one look at the numbers, as it goes into status."""

    id: str
    report: Status


@dataclass(frozen=True, slots=True)
class Rollback:
    """An AgentRollback."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    created: str
    generation: int
    deleting: bool
    spec: Mapping[str, Any]
    status: Status

    @property
    def phase(self) -> str:
        """The recorded phase; empty before its first status."""
        return str(self.status.get("phase") or "")

    @property
    def finished(self) -> bool:
        """Whether nothing more is done for it."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def requested_by(self) -> str:
        """Who asked. Anybody can write a name there, so it counts only on what is named as the operator names it."""
        claimed, deployment = str(self.spec.get("requestedBy") or ""), str(self.spec.get("promptDeploymentName") or "")
        _, _, number = self.name.rpartition("-")
        if claimed and number.isdigit():
            name_of = auto_rollback_name if claimed == AUTO_ROLLBACK else rejection_name
            if self.name == name_of(deployment, int(number)):
                return claimed
        return UNVERIFIED


@dataclass(frozen=True, slots=True)
class Observed:
    """All that bears on one PromptDeployment."""

    deployment: Deployment
    #: Its own revisions, by number.
    revisions: tuple[Revision, ...] = ()
    config_map: LiveConfigMap | None = None
    #: Rows of running AgentRollbacks that name this deployment, in order of creation.
    rollbacks: tuple[PlannedRollback, ...] = ()
    #: Names of rollback revisions that spec.targetHash was set for already, as far as this process remembers.
    aimed: frozenset[str] = frozenset()
    #: Names of revisions of a deleted namesake that still stand where ours shall.
    leftovers: frozenset[str] = field(default_factory=frozenset)
    #: Jobs of tests, by name.
    jobs: Mapping[str, TestJob] = field(default_factory=dict)
    #: What ended tests said, by name of the Job, as far as this process asked.
    test_outcomes: Mapping[str, TestOutcome] = field(default_factory=dict)
    #: What the cluster refused to this process, by name of the Job or AgentRollback.
    setbacks: Mapping[str, Setback] = field(default_factory=dict)
    #: The newest look of each experiment or monitoring, by its id; and those that are being taken.
    looks: Mapping[str, Look] = field(default_factory=dict)
    looking: frozenset[str] = field(default_factory=frozenset)
    #: Phases of the AgentRollbacks that the operator made for this deployment, by name.
    own_rollbacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TestJob:
    """A Job of ours that runs a test, or that a metric is read from."""

    __test__ = False  # not a test case, whatever a collector takes it for by its name

    namespace: str
    name: str
    uid: str
    resource_version: str
    #: Uid of the PromptDeployment it belongs to; empty when none is its controller.
    owner_uid: str
    deployment: str
    #: Number of the revision under test.
    revision: int
    #: Name of the test; empty for a Job that a metric is read from.
    test: str
    #: Suspended, Running, Complete or Failed.
    state: str
    #: Why it failed, as one CamelCase word of Kubernetes, such as DeadlineExceeded.
    reason: str
    #: The same as Kubernetes' sentence.
    message: str
    #: RFC 3339, as read; empty before.
    start_time: str
    completion_time: str
    deleting: bool
