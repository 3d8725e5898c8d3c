"""What a decision may ask for. Each action is one write to the API server, idempotent and guarded by a precondition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prompt_operator.api.gates import AbTest, Monitoring, TestGate
from prompt_operator.api.phases import Trigger
from prompt_operator.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell once the write it speaks of is stored. Never holds prompt text."""

    reason: Reason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class CreateRevision:
    """Write the next revision, or anew what is live. Its content is that of ``hash``."""

    number: int
    hash: str
    version: str
    change: Mapping[str, Any]
    trigger: Trigger
    baseline_hash: str
    baseline_revision: int
    requested_by: str
    cause_name: str = ""
    cause_uid: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyTarget:
    """Server-side-apply spec.targetHash; without force a conflict is information, not a failure."""

    hash: str
    force: bool
    #: Name of the rollback revision this is done for; empty for a candidate.
    rollback_revision: str = ""


@dataclass(frozen=True, slots=True)
class WriteConfigMap:
    """Make the ConfigMap hold one revision: the switch itself, or the healing of what somebody changed."""

    revision: int
    hash: str
    #: The content of metadata.json.
    record: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    #: The candidate beside it: the content of experiment.json, and when that began. Without, no candidate is there.
    experiment: Mapping[str, Any] | None = None
    experiment_started: str = ""


@dataclass(frozen=True, slots=True)
class DeleteConfigMap:
    """Delete our ConfigMap because it was made immutable by hand; it is written anew at once."""


@dataclass(frozen=True, slots=True)
class WriteRevisionStatus:
    """Write the whole status of one revision."""

    name: str
    status: Mapping[str, Any]
    #: Told of the deployment.
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteDeploymentStatus:
    """Write the whole status of the deployment."""

    status: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteRevision:
    """Delete one revision that is no longer needed."""

    name: str


@dataclass(frozen=True, slots=True)
class RunTest:
    """Start the Job of one test of one revision, or go on with it where that was interrupted."""

    revision: str
    test: TestGate
    #: Hashes of what is mounted as the candidate, and as what is live; the latter is empty before the first ship.
    candidate_hash: str
    current_hash: str


@dataclass(frozen=True, slots=True)
class ReadTestOutcome:
    """Read what the pod of an ended test said. Changes nothing in the cluster."""

    job: str


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job that nobody waits for any more."""

    job: str


@dataclass(frozen=True, slots=True)
class Span:
    """One version, over one span of time."""

    hash: str
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class TakeLook:
    """Have the numbers read and judged, beside all other work. Changes nothing; the answer comes later."""

    id: str
    revision: str
    config: AbTest | Monitoring
    candidate: Span
    #: None where the control is frozen in the report already, or there is none.
    control: Span | None
    previous: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CreateRollback:
    """Create an AgentRollback of this deployment, in somebody's name."""

    name: str
    reason: str
    requested_by: str
    from_hash: str
    #: Where to go. Named, because without a target it would only reject a candidate under test.
    target_hash: str = ""


@dataclass(frozen=True, slots=True)
class WriteRollbackStatus:
    """Write the whole status of an AgentRollback."""

    status: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteRollback:
    """Delete an AgentRollback whose time to live after finishing is over."""


Action = (
    CreateRevision
    | ApplyTarget
    | WriteConfigMap
    | DeleteConfigMap
    | WriteRevisionStatus
    | WriteDeploymentStatus
    | DeleteRevision
    | RunTest
    | ReadTestOutcome
    | DeleteJob
    | TakeLook
    | CreateRollback
    | WriteRollbackStatus
    | DeleteRollback
)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next write, or none; and when to look again without being told, in seconds."""

    action: Action | None = None
    look_again_after: float | None = None
    #: Name of the policy that decided, for logs.
    policy: str = field(default="", compare=False)
