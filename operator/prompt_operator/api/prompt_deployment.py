"""PromptDeployment: the wanted prompt of one agent, and what is live."""

from __future__ import annotations

from pydantic import Field, JsonValue

from prompt_operator.api.conditions import Condition
from prompt_operator.api.gates import Decision, Gates, Monitoring
from prompt_operator.api.phases import Phase, Trigger
from prompt_operator.api.prompt import Change, Prompt
from prompt_operator.api.reports import AbReport, RegressionMetric
from prompt_operator.api.schema import AnyHash, ApiModel, Hash, Label, Line, ObjectName, Paragraph, Time, Word

#: Promotions kept in status; the revisions hold the rest.
HISTORY_LENGTH = 10
_MAP_BY_TYPE: dict[str, JsonValue] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_MAP_BY_PERSON: dict[str, JsonValue] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["by"]}
_ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}


class Release(ApiModel):
    """Lifts quarantines, as a statement about the past that stays true: later rollbacks are not touched by it."""

    revision: int = Field(
        ge=1,
        le=2**31 - 1,
        description="Lifts the quarantines made by rollback revisions up to this one, and proposes a failed or "
        "rejected candidate up to it once more.",
    )


class PromptDeploymentSpec(ApiModel):
    """What shall be."""

    agent: Label = Field(
        default="",
        description="Agent this prompt belongs to; the prompts of one agent can be rolled back together. Empty means "
        "the name of this object.",
    )
    environment: Label = Field(default="production", description="Environment the agent runs in.")
    version: Label = Field(
        default="",
        description="Label of this content for people, such as 1.1.0. A label is never reused for other content.",
    )
    prompt: Prompt = Field(
        description="The wanted content. A change here makes a new candidate, which ships when it has passed its "
        "gates. At most 256 KiB; apply large prompts with --server-side.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    change: Change | None = Field(default=None, description="What is said about this edit. Not part of the hash.")
    target_hash: Hash | None = Field(
        default=None,
        description="The version that shall be live. Absent means: keep what is live. The operator sets it when a "
        "candidate ships and when an AgentRollback runs. Set it to a version that was live to go back to that one.",
    )
    paused: bool = Field(
        default=False,
        description="Nothing ships while true, not even by a changed targetHash. AgentRollbacks still work.",
    )
    gates: Gates | None = Field(
        default=None, description="What a candidate must pass before it ships. Absent: it ships by itself."
    )
    monitoring: Monitoring | None = Field(
        default=None, description="What is watched after a candidate shipped, and whether it then rolls back by itself."
    )
    decisions: list[Decision] | None = Field(
        default=None,
        max_length=64,
        description="People's words on candidates, one of each person.",
        json_schema_extra=_MAP_BY_PERSON,
    )
    release: Release | None = Field(default=None, description="Lifts quarantines. See its revision.")
    revision_history_limit: int = Field(
        default=50, ge=1, le=1000, description="PromptRevisions kept, besides those that are still needed."
    )


class QuarantinedHash(ApiModel):
    """A version that was rolled back, and does not become live again by being asked for."""

    hash: AnyHash = Field(description="Hash of the version.")
    revision: int = Field(description="The rollback revision that quarantined it; release names it or a later one.")
    reason: Paragraph = Field(default="", description="Reason given for the rollback.")
    by: ObjectName = Field(default="", description="Who rolled back.")
    time: Time = Field(description="When.")


class Promotion(ApiModel):
    """One moment at which another version became live."""

    revision: int = Field(description="Number of the revision that became live.")
    hash: AnyHash = Field(description="Its hash.")
    version: Label = Field(default="", description="Its version label.")
    trigger: Trigger = Field(description="Why: Change, Promotion, Rollback, AutoRollback or Revert.")
    by: ObjectName = Field(description="Who: a user, system:autoship, or unverified where nobody vouches.")
    time: Time = Field(description="When it became live.")
    previous_hash: AnyHash = Field(default="", description="Hash of what was live before.")
    previous_version: Label = Field(default="", description="Version label of what was live before.")
    previous_revision: int = Field(default=0, description="Revision that was live before; 0 for none.")
    notes: Paragraph = Field(default="", description="Notes of the change, or the reason of the rollback.")


class PromptDeploymentStatus(ApiModel):
    """What is. All of it can be rebuilt from the revisions, the AgentRollbacks and the ConfigMap."""

    observed_generation: int | None = Field(default=None, description="The metadata.generation this status speaks of.")
    phase: Phase | None = Field(
        default=None,
        description="Lifecycle phase of the newest candidate; RolledBack stays until the next edit or promotion.",
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Ready, Reconciling and Stalled with their kstatus meaning; Regressed, AwaitingApproval, "
        "TargetQuarantined, TargetContended.",
        json_schema_extra=_MAP_BY_TYPE,
    )
    agent: Label = Field(default="", description="The effective agent.")
    active_hash: AnyHash = Field(default="", description="Hash of what the ConfigMap holds: the truth.")
    active_short_hash: Word = Field(default="", description="Its first 12 hex digits.")
    active_version: Label = Field(default="", description="Version label of what is live.")
    active_revision: int = Field(default=0, description="Revision that is live; 0 for none.")
    previous_hash: AnyHash = Field(default="", description="Hash of what was live before.")
    observed_prompt_hash: AnyHash = Field(
        default="",
        description="Hash of the spec.prompt that was proposed last; the same content is not proposed again.",
    )
    candidate_hash: AnyHash = Field(default="", description="Hash of the newest candidate.")
    candidate_short_hash: Word = Field(default="", description="Its first 12 hex digits.")
    candidate_revision: int = Field(default=0, description="Revision of the newest candidate. Never cleared.")
    quarantined_hashes: list[QuarantinedHash] = Field(
        default=[], max_length=1000, description="Versions that were rolled back.", json_schema_extra=_ATOMIC
    )
    regression_metric: RegressionMetric | None = Field(
        default=None, description="What monitoring of the newest candidate found out."
    )
    ab_report: AbReport | None = Field(
        default=None, description="What the tests and the A/B test of the newest candidate found out."
    )
    test_run_ids: list[Word] = Field(
        default=[], max_length=64, description="Jobs of the newest candidate's tests.", json_schema_extra=_ATOMIC
    )
    cluster_signature: Word = Field(
        default="", description="Hex SHA-256 over project and clusterError of the newest candidate's change."
    )
    approved_by: ObjectName = Field(default="", description="Who let the newest candidate ship.")
    shipped_time: Time | None = Field(default=None, description="When the newest candidate became live.")
    rolled_back_time: Time | None = Field(default=None, description="When the newest candidate was rolled back.")
    rejection_reason: Line = Field(
        default="", description="Why the newest candidate was rejected; empty if it was not."
    )
    history: list[Promotion] = Field(
        default=[], max_length=HISTORY_LENGTH, description="Promotions, newest first.", json_schema_extra=_ATOMIC
    )
