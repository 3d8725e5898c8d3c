"""PromptRevision: one immutable record for each candidate, promotion and rollback."""

from __future__ import annotations

from pydantic import Field, JsonValue

from prompt_operator.api.phases import Phase, Stage, Trigger
from prompt_operator.api.prompt import Change, Prompt
from prompt_operator.api.reports import AbReport, RegressionMetric
from prompt_operator.api.schema import AnyHash, ApiModel, Hash, Label, Line, ObjectName, Time, Word

_ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}


class Cause(ApiModel):
    """The AgentRollback that a rollback revision carries out."""

    name: ObjectName = Field(description="Its name.")
    uid: Word = Field(description="Its uid, which tells it from a namesake made later.")


class PromptRevisionSpec(ApiModel):
    """What was decided. Immutable."""

    prompt_deployment_name: ObjectName = Field(description="PromptDeployment this revision belongs to.")
    revision: int = Field(ge=1, le=2**31 - 1, description="Number within the deployment. Numbers only grow.")
    hash: Hash = Field(description="Hash of the content.")
    version: Label = Field(default="", description="Version label of the content.")
    prompt: Prompt = Field(
        description="The content: members that count, as they were hashed.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    change: Change | None = Field(default=None, description="What was said; a rollback's reason is in its notes.")
    trigger: Trigger = Field(description="Why this revision was made.")
    cause: Cause | None = Field(default=None, description="The AgentRollback a rollback carries out.")
    baseline_hash: AnyHash = Field(default="", description="Hash of what was live when this revision was made.")
    baseline_revision: int = Field(default=0, ge=0, description="Revision that was live then; 0 for none.")
    requested_by: ObjectName = Field(description="Who asked for it; unverified where no policy vouches.")
    agent: Label = Field(default="", description="The effective agent at that time.")
    environment: Label = Field(default="", description="The environment at that time.")


class PromptRevisionStatus(ApiModel):
    """What became of it."""

    phase: Phase | None = Field(default=None, description="Lifecycle phase; frozen when another revision goes live.")
    stage: Stage | None = Field(
        default=None, description="Draft, Published (the live one), Archived (was live) or Failed."
    )
    shipped_time: Time | None = Field(default=None, description="When it became live.")
    rolled_back_time: Time | None = Field(default=None, description="When it was rolled back.")
    archived_time: Time | None = Field(default=None, description="When another revision became live in its place.")
    approved_by: ObjectName = Field(default="", description="Who let it ship.")
    rejection_reason: Line = Field(default="", description="Why it was rejected; empty if it was not.")
    passed_time: Time | None = Field(default=None, description="When it had passed its tests and its A/B test.")
    ab_report: AbReport | None = Field(default=None, description="What the tests and the A/B test found out.")
    regression_metric: RegressionMetric | None = Field(
        default=None, description="What monitoring found out since it shipped."
    )
    test_run_ids: list[Word] = Field(
        default=[], max_length=64, description="Jobs of its tests.", json_schema_extra=_ATOMIC
    )
    message: Line = Field(default="", description="What there is to know, as a sentence.")
