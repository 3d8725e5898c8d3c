"""AgentRollback: one person's word to go back, run once."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, JsonValue

from prompt_operator.api.conditions import Condition
from prompt_operator.api.schema import AnyHash, ApiModel, HashPrefix, Label, Line, ObjectName, Paragraph, Time, Word

_ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}


class RollbackPhase(StrEnum):
    """Where an AgentRollback stands."""

    Pending = "Pending"
    Running = "Running"
    Succeeded = "Succeeded"
    Failed = "Failed"


class AgentRollbackSpec(ApiModel):
    """What is asked for. Immutable; at most one target, none meaning the previous version."""

    prompt_deployment_name: ObjectName | None = Field(
        default=None, description="PromptDeployment of this namespace to roll back. Either this or agent."
    )
    agent: Label | None = Field(
        default=None, description="Agent whose PromptDeployments in this namespace go back, all of them or none."
    )
    environment: Label | None = Field(default=None, description="Narrows agent to one environment.")
    target_hash: HashPrefix | None = Field(
        default=None, description="Version to go to, by its hash or a unique prefix of at least 8 hex digits."
    )
    target_version: Label | None = Field(
        default=None,
        description="Version to go to, by its label. For an agent: each prompt's content of that label.",
        json_schema_extra={"minLength": 1},
    )
    target_revision: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Version to go to, by the number of a revision."
    )
    target_time: Time | None = Field(default=None, description="Moment to go back to: what was live then.")
    from_hash: HashPrefix | None = Field(
        default=None,
        description="What the requester saw live. If another version is live by then, nothing is done.",
    )
    reason: Paragraph = Field(default="", description="Why. Kept in the revision, the history and the events.")
    cleanup_failed: bool = Field(default=False, description="Also remove the revisions in stage Failed.")
    force: bool = Field(default=False, description="Allows a target that is quarantined or never was live.")
    requested_by: ObjectName | None = Field(
        default=None,
        description="Who asks. Nobody vouches for what is written here, so only what the operator itself wrote counts: "
        "system:auto_rollback, or who rejected what is live.",
    )
    expires_after_seconds: int = Field(
        default=3600,
        ge=1,
        le=604800,
        description="If it has not begun by then it fails as Expired: an old intent never acts late.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, ge=0, le=31536000, description="Delete this object so long after it finished. Absent: keep it."
    )


class RollbackOfOne(ApiModel):
    """What is done to one deployment."""

    prompt_deployment_name: ObjectName = Field(description="The deployment.")
    uid: Word = Field(default="", description="Its uid.")
    from_hash: AnyHash = Field(default="", description="What was live.")
    to_hash: AnyHash = Field(default="", description="What goes live.")
    from_version: Label = Field(default="", description="Version label of what was live.")
    to_version: Label = Field(default="", description="Version label of what goes live.")
    revision: int = Field(default=0, description="The rollback revision; 0 where nothing is to be done.")
    rejected_revision: int | None = Field(
        default=None, description="Candidate under test that is rejected, with nothing else done."
    )
    result: Line = Field(
        default="", description="Pending, Succeeded, Gone (deleted meanwhile), or Unchanged with the reason."
    )
    test_run_ids: list[Word] = Field(
        default=[], max_length=64, description="Test Jobs run after it.", json_schema_extra=_ATOMIC
    )


class AgentRollbackStatus(ApiModel):
    """What is done about it. The plan is written first, and then carried out, forward only."""

    phase: RollbackPhase | None = Field(default=None, description="Pending, Running, Succeeded or Failed.")
    conditions: list[Condition] = Field(
        default=[],
        max_length=8,
        description="Complete or Failed, each with its reason.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    message: Line = Field(default="", description="What there is to know, as a sentence.")
    start_time: Time | None = Field(default=None, description="When it began to act.")
    completion_time: Time | None = Field(default=None, description="When it finished.")
    rolled_back_from: Word = Field(
        default="", description="Version label, else short hash, of what was live. For one deployment only."
    )
    rolled_back_to: Word = Field(
        default="", description="Version label, else short hash, of what went live. For one deployment only."
    )
    test_run_ids: list[Word] = Field(
        default=[], max_length=1024, description="Test Jobs run after it.", json_schema_extra=_ATOMIC
    )
    cleaned_up: list[ObjectName] = Field(
        default=[], max_length=2000, description="Failed revisions that were removed.", json_schema_extra=_ATOMIC
    )
    rollbacks: list[RollbackOfOne] = Field(
        default=[],
        max_length=1000,
        description="The plan and its progress, one row per deployment.",
        json_schema_extra=_ATOMIC,
    )
