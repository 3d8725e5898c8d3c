"""Conditions in the form of the Kubernetes API conventions, with the meaning kstatus gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from prompt_operator.api.schema import ApiModel, Line, Time, Word


class ConditionType(StrEnum):
    """Every condition type in use."""

    Ready = "Ready"
    Reconciling = "Reconciling"
    Stalled = "Stalled"
    Regressed = "Regressed"
    AwaitingApproval = "AwaitingApproval"
    TargetQuarantined = "TargetQuarantined"
    TargetContended = "TargetContended"
    Complete = "Complete"
    Failed = "Failed"


class Condition(ApiModel):
    """One aspect of the state of an object."""

    type: Word = Field(description="Aspect that this condition speaks of, in CamelCase.")
    status: Word = Field(
        description="True, False or Unknown.", json_schema_extra={"enum": ["True", "False", "Unknown"]}
    )
    reason: Word = Field(description="Why, as one CamelCase word for programs.")
    message: Line = Field(default="", description="Why, as a sentence that says what to do next.")
    observed_generation: int = Field(default=0, description="The metadata.generation this condition was computed for.")
    last_transition_time: Time = Field(description="When status last changed.")


def stamped(
    wanted: Iterable[tuple[ConditionType, bool, str, str]],
    previous: Iterable[Mapping[str, Any]],
    generation: int,
    now: str,
) -> list[dict[str, Any]]:
    """Turn (type, is true, reason, message) into conditions that keep their transition time while status stays."""
    before = {c.get("type"): c for c in previous}
    result = []
    for kind, holds, reason, message in wanted:
        status = "True" if holds else "False"
        old = before.get(kind.value, {})
        same = old.get("status") == status and old.get("lastTransitionTime")
        result.append(
            {
                "type": kind.value,
                "status": status,
                "reason": reason,
                "message": message[:1024],
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if same else now,
            }
        )
    return result
