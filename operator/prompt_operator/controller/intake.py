"""From objects as the API server sends them to what decisions are made on. Prompt text goes no further than here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from prompt_operator.api.content import Content, ContentError, content_of
from prompt_operator.api.gates import Decision, Gates, Monitoring
from prompt_operator.api.names import FIELD_MANAGER
from prompt_operator.api.phases import Trigger
from prompt_operator.api.reasons import Reason
from prompt_operator.api.template import check_template
from prompt_operator.lifecycle.observed import Deployment, Problem, Revision, Rollback

Keep = Callable[[str, bytes], None]
_UNKNOWN_MANAGER: Final = "an unknown manager"


def read_deployment(raw: Mapping[str, Any], keep: Keep) -> Deployment:
    """Read a PromptDeployment; its content goes to ``keep``, only the hash stays."""
    meta, spec = raw["metadata"], raw["spec"]
    content_hash, problem = _content(spec.get("prompt") or {}, keep)
    gates = _gates(spec)
    return Deployment(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        created=meta["creationTimestamp"],
        deleting="deletionTimestamp" in meta,
        agent=spec.get("agent") or meta["name"],
        environment=spec.get("environment") or "production",
        version=spec.get("version") or "",
        change=spec.get("change") or {},
        content_hash=content_hash,
        content_problem=problem,
        target_hash=spec.get("targetHash") or "",
        target_managers=_target_managers(meta, spec),
        paused=bool(spec.get("paused")),
        release_revision=(spec.get("release") or {}).get("revision") or 0,
        revision_limit=spec.get("revisionHistoryLimit") or 50,
        status=raw.get("status") or {},
        gates=gates.gates,
        monitoring=gates.monitoring,
        decisions=gates.decisions,
        gates_problem=gates.problem,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of candidates."""

    gates: Gates = field(default_factory=Gates)
    monitoring: Monitoring | None = None
    decisions: tuple[Decision, ...] = ()
    problem: Problem | None = None


_NOTHING_ASKED: Final = _Asked()


def _gates(spec: Mapping[str, Any]) -> _Asked:
    if not (spec.get("gates") or spec.get("monitoring") or spec.get("decisions")):
        return _NOTHING_ASKED
    try:
        return _Asked(
            gates=Gates.model_validate(spec.get("gates") or {}),
            monitoring=Monitoring.model_validate(spec["monitoring"]) if spec.get("monitoring") else None,
            decisions=tuple(Decision.model_validate(d) for d in spec.get("decisions") or ()),
        )
    except ValidationError as error:  # the CRD refuses it; an older one may be installed
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"gates, monitoring or decisions cannot be read, at {where[:200]}: {error.errors()[0]['msg'][:200]}."
        return _Asked(problem=Problem(Reason.GatesInvalid, message))


def _content(prompt: Mapping[str, Any], keep: Keep) -> tuple[str, Problem | None]:
    try:
        content = content_of(prompt)
    except ContentError as error:
        return "", Problem(error.reason, str(error))
    keep(content.hash, content.canonical)
    if problem := _template_problem(content):
        return "", problem
    return content.hash, None


_verdicts: dict[str, Problem | None] = {}
_MOST_VERDICTS: Final = 20_000


def _template_problem(content: Content) -> Problem | None:
    """Check a template once for each content: every event of a deployment brings the same one again."""
    if content.hash not in _verdicts:
        if len(_verdicts) >= _MOST_VERDICTS:
            _verdicts.clear()
        try:
            check_template(json.loads(content.canonical))
            _verdicts[content.hash] = None
        except ContentError as error:
            _verdicts[content.hash] = Problem(error.reason, str(error))
    return _verdicts[content.hash]


def read_revision(raw: Mapping[str, Any]) -> Revision:
    """Read a PromptRevision without its content."""
    meta, spec = raw["metadata"], raw["spec"]
    cause = spec.get("cause") or {}
    owner: Mapping[str, Any] = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), {})
    return Revision(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        owner_uid=owner.get("uid") or "",
        deployment=spec["promptDeploymentName"],
        number=spec["revision"],
        hash=spec["hash"],
        version=spec.get("version") or "",
        change=spec.get("change") or {},
        trigger=Trigger(spec["trigger"]),
        cause_name=cause.get("name") or "",
        cause_uid=cause.get("uid") or "",
        baseline_hash=spec.get("baselineHash") or "",
        baseline_revision=spec.get("baselineRevision") or 0,
        requested_by=spec.get("requestedBy") or "",
        created=meta["creationTimestamp"],
        status=raw.get("status") or {},
    )


def read_rollback(raw: Mapping[str, Any]) -> Rollback:
    """Read an AgentRollback."""
    meta = raw["metadata"]
    return Rollback(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        created=meta["creationTimestamp"],
        generation=meta.get("generation", 0),
        deleting="deletionTimestamp" in meta,
        spec=raw["spec"],
        status=raw.get("status") or {},
    )


def _target_managers(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the field managers that own spec.targetHash, ours excepted.

    Where nobody owns it, as after somebody cleared managedFields, it counts as somebody's.
    """
    if not spec.get("targetHash"):
        return ()
    owners = [
        str(entry.get("manager") or _UNKNOWN_MANAGER)
        for entry in meta.get("managedFields") or ()
        if not entry.get("subresource") and "f:targetHash" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    if not owners:
        return (_UNKNOWN_MANAGER,)
    return tuple(sorted({o for o in owners if o != FIELD_MANAGER}))
