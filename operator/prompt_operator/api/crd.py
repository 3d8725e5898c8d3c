"""The three CustomResourceDefinitions, made from the models.

The models say what a field is and how large it may be; this module adds what only a CRD can say: rules in CEL, printer
columns, names. CEL cannot hash, so whether a hash names known content is the controller's to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from prompt_operator.api import names
from prompt_operator.api.agent_rollback import AgentRollbackSpec, AgentRollbackStatus
from prompt_operator.api.content import MAX_CONTENT_BYTES
from prompt_operator.api.phases import cel_phase_map
from prompt_operator.api.prompt_deployment import PromptDeploymentSpec, PromptDeploymentStatus
from prompt_operator.api.prompt_revision import PromptRevisionSpec, PromptRevisionStatus
from prompt_operator.api.schema import ApiModel

Json = dict[str, Any]

_KEPT: Final = (
    "type", "format", "description", "enum", "pattern", "default", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "required", "nullable",
)  # fmt: skip


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Json:
    """Turn a JSON schema of pydantic's into a structural schema: no references, no titles, no null alternatives."""
    definitions = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return structural({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    if "anyOf" in schema:
        (only,) = [s for s in schema["anyOf"] if s.get("type") != "null"]
        merged = {**only, **{k: v for k, v in schema.items() if k not in ("anyOf", "default")}}
        if "$ref" in only:  # the field's own description wins over that of its type
            merged["$ref"] = only["$ref"]
        return structural(merged, definitions)
    result: Json = {k: schema[k] for k in _KEPT if k in schema and schema[k] is not None}
    result |= {k: v for k, v in schema.items() if k.startswith("x-kubernetes-")}
    if "properties" in schema:
        result["properties"] = {k: structural(v, definitions) for k, v in schema["properties"].items()}
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    return result


def _spec(model: type[ApiModel]) -> Json:
    return structural(model.model_json_schema(by_alias=True))


def _status(model: type[ApiModel]) -> Json:
    """Status has no defaults: the operator writes every field, and a field it did not write is not there."""
    return _without_defaults(structural(model.model_json_schema(by_alias=True)))


def _without_defaults(schema: Json) -> Json:
    result = {k: v for k, v in schema.items() if k != "default"}
    if "properties" in result:
        result["properties"] = {k: _without_defaults(v) for k, v in result["properties"].items()}
    if "items" in result:
        result["items"] = _without_defaults(result["items"])
    return result


def _rule(rule: str, message: str, **more: Any) -> Json:
    return {"rule": rule, "message": message, **more}


def _column(name: str, path: str, description: str, kind: str = "string", priority: int = 0) -> Json:
    column: Json = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


_AGE: Final = _column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")

#: Exactly one of text and messages, counting what is empty as absent; every message whole; bytes, not characters.
_PROMPT_RULES: Final = [
    _rule(
        "(has(self.text) && size(self.text) > 0) != (has(self.messages) && size(self.messages) > 0)",
        "takes exactly one of text and messages",
    ),
    _rule(
        f"!has(self.text) || size(bytes(self.text)) <= {MAX_CONTENT_BYTES}",
        "text is larger than 256 KiB; shorten it, or load what is long at run time",
    ),
    _rule(
        # Characters: counting the bytes of so many messages exceeds the cost CEL may have. The controller counts bytes.
        "!has(self.messages) || self.messages.map(m, has(m.content) ? size(m.content) : 0).sum()"
        f" <= {MAX_CONTENT_BYTES}",
        "messages are together larger than 256 KiB; shorten them, or load what is long at run time",
    ),
]
_MESSAGE_RULE: Final = _rule(
    "has(self.placeholder) && size(self.placeholder) > 0"
    " ? !has(self.role) && !(has(self.content) && size(self.content) > 0)"
    " : has(self.role) && has(self.content) && size(self.content) > 0",
    "a message takes either role and content, or placeholder alone",
)
_IMMUTABLE: Final = _rule("self == oldSelf", "is immutable")


def _with_prompt_rules(spec: Json) -> Json:
    prompt = spec["properties"]["prompt"]
    prompt["x-kubernetes-validations"] = _PROMPT_RULES
    prompt["properties"]["messages"]["items"]["x-kubernetes-validations"] = [_MESSAGE_RULE]
    prompt["properties"]["messages"]["x-kubernetes-list-type"] = "atomic"
    return spec


_SOURCE_RULE: Final = _rule(
    "[has(self.prometheus), has(self.http), has(self.job)].filter(given, given).size() == 1",
    "takes exactly one of prometheus, http and job",
)
_KIND: Final = "(has(self.kind) ? self.kind : 'Proportion')"
_ASKED: Final = "self.source.prometheus"


def _queries(*names: str) -> str:
    return " && ".join(f"has({_ASKED}.{name}) && size({_ASKED}.{name}) > 0" for name in names)


_METRIC_RULES: Final = [
    _rule(
        f"!has({_ASKED}) || ({_KIND} == 'Value' ? {_queries('value')} : {_queries('samples')} && "
        f"({_KIND} == 'Mean' ? {_queries('sum', 'sumOfSquares')} : {_queries('successes')}))",
        "a Proportion needs the queries samples and successes; a Mean samples, sum and sumOfSquares; a Value value",
    ),
]
#: What is counted outside of an experiment has neither, so that such a query would match nothing, for ever.
_NO_ARM_RULES: Final = [
    _rule(
        f"!has({_ASKED}) || "
        + " && ".join(
            f"(!has({_ASKED}.{name}) || !{_ASKED}.{name}.matches('[{{][{{]\\\\s*(arm|experiment)\\\\s*[}}][}}]'))"
            for name in ("samples", "successes", "sum", "sumOfSquares", "value")
        ),
        "a query of monitoring selects by {{hash}} alone, not by {{arm}} or {{experiment}}, which only an A/B test has",
    )
]
_PRIMARIES: Final = "self.metrics.filter(m, !has(m.role) || m.role == 'Primary')"
#: A minimum between whole numbers does not hold for whole numbers: the API server cuts it off to compare.
_SIGNIFICANCE_RULE: Final = _rule("self.significance >= 0.0001", "significance must be at least 0.0001")
_AB_RULES: Final = [
    _SIGNIFICANCE_RULE,
    _rule("self.minDurationSeconds <= self.maxDurationSeconds", "minDurationSeconds is longer than maxDurationSeconds"),
    _rule(f"{_PRIMARIES}.size() == 1", "takes exactly one metric with the role Primary"),
    _rule(
        f"!{_PRIMARIES}.exists(m, has(m.kind) && m.kind == 'Value')",
        "a Value has no count behind it, so it can only be a Guardrail",
    ),
    _rule(
        "self.metrics.filter(m, has(m.role) && m.role == 'Guardrail').all(m, has(m.margin) && m.margin > 0.0)",
        "a Guardrail needs a margin above 0: no amount of data shows that something is not worse at all",
    ),
]


def _with_gate_rules(spec: Json) -> Json:
    """Add what a gate needs, and take the defaults out of lists: those would differ from what Git says."""
    gates, monitoring = spec["properties"]["gates"]["properties"], spec["properties"]["monitoring"]
    gates["abTest"]["x-kubernetes-validations"] = _AB_RULES
    monitoring["x-kubernetes-validations"] = [_SIGNIFICANCE_RULE]
    gates["tests"] = _without_defaults(gates["tests"])
    for owner in (gates["abTest"], monitoring):
        metrics = owner["properties"]["metrics"] = _without_defaults(owner["properties"]["metrics"])
        metrics["items"]["x-kubernetes-validations"] = _METRIC_RULES
        metrics["items"]["properties"]["source"]["x-kubernetes-validations"] = [_SOURCE_RULE]
    watched = monitoring["properties"]["metrics"]["items"]
    watched["x-kubernetes-validations"] = [*_METRIC_RULES, *_NO_ARM_RULES]
    decisions = spec["properties"]["decisions"] = _without_defaults(spec["properties"]["decisions"])
    decisions["items"]["required"] = ["by", "hash", "verdict"]
    return spec


def _lifecycle_rules() -> list[Json]:
    """Rules on the root of a PromptDeployment: a rule on status.phase itself would not run once status is cleared."""
    was = "has(oldSelf.status) && has(oldSelf.status.{0})"
    now = "has(self.status) && has(self.status.{0})"
    candidate = f"({was.format('candidateRevision')} ? oldSelf.status.candidateRevision : 0)"
    return [
        _rule(
            f"({now.format('candidateRevision')} ? self.status.candidateRevision : 0) >= {candidate}",
            "status.candidateRevision only grows and is never cleared; everything else in status but the phase may "
            "be cleared, and the operator rebuilds it",
        ),
        _rule(
            f"!({was.format('phase')}) || ({now.format('candidateRevision')} && "
            f"self.status.candidateRevision > {candidate}) || ({now.format('phase')} && "
            f"self.status.phase in {cel_phase_map()}[oldSelf.status.phase])",
            "status.phase follows the lifecycle and is not cleared; a new candidate starts over with a higher "
            "candidateRevision",
        ),
    ]


def _crd(
    kind: str, plural: str, short: str, schema: Json, columns: list[Json], selectable: tuple[str, ...] = ()
) -> Json:
    version: Json = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{names.GROUP}",
            "labels": {"app.kubernetes.io/name": "prompt-operator"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": [names.CATEGORY],
            },
            "versions": [version],
        },
    }


def _root(description: str, spec: Json, status: Json, rules: list[Json]) -> Json:
    root: Json = {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the API, promptoperator.io/v1alpha1."},
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
            "spec": spec,
            "status": status,
        },
    }
    # An empty list is not stored, and would be a difference to what is stored at each apply.
    return root | ({"x-kubernetes-validations": rules} if rules else {})


def prompt_deployment_crd() -> Json:
    """Make the CRD of PromptDeployment."""
    spec = _with_gate_rules(_with_prompt_rules(_spec(PromptDeploymentSpec)))
    rules = [
        _rule(
            f"size(self.metadata.name) <= {names.MAX_DEPLOYMENT_NAME}",
            f"the name may have at most {names.MAX_DEPLOYMENT_NAME} characters, because revisions and the ConfigMap "
            "add to it",
        ),
        *_lifecycle_rules(),
    ]
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns = [
        _column("Agent", ".status.agent", "Agent the prompt belongs to."),
        _column("Phase", ".status.phase", "Lifecycle phase of the newest candidate."),
        _column("Ready", f"{ready}.status", "Whether what is wanted is live."),
        _column("Active", ".status.activeShortHash", "Short hash of what is live."),
        _column("Candidate", ".status.candidateShortHash", "Short hash of the newest candidate."),
        _column("Version", ".status.activeVersion", "Version label of what is live."),
        _AGE,
        _column("Environment", ".spec.environment", "Environment.", priority=1),
        _column("Revision", ".status.activeRevision", "Revision that is live.", "integer", priority=1),
        _column("By", ".status.history[0].by", "Who made it live.", priority=1),
        _column("Message", f"{ready}.message", "What to do next.", priority=1),
    ]
    return _crd(
        names.PROMPT_DEPLOYMENT,
        names.PROMPT_DEPLOYMENTS,
        "pdep",
        _root(
            "The wanted prompt of an agent. Edits become candidates, candidates ship into the ConfigMap <name>-prompt, "
            "and an AgentRollback takes them back.",
            spec,
            _status(PromptDeploymentStatus),
            rules,
        ),
        columns,
        (".status.phase", ".status.agent", ".spec.environment"),
    )


def prompt_revision_crd() -> Json:
    """Make the CRD of PromptRevision."""
    spec = _with_prompt_rules(_spec(PromptRevisionSpec))
    spec["x-kubernetes-validations"] = [_IMMUTABLE | {"message": "a revision is a record and cannot be changed"}]
    phase = "oldSelf.status.phase"
    rules = [
        _rule(
            f"!has(oldSelf.status) || !has({phase}) || (has(self.status) && has(self.status.phase) && "
            f"self.status.phase in {cel_phase_map()}[{phase}])",
            "status.phase follows the lifecycle and is not cleared",
        ),
    ]
    columns = [
        _column("Hash", rf".metadata.labels.{names.GROUP.replace('.', chr(92) + '.')}/short-hash", "Short hash."),
        _column("Version", ".spec.version", "Version label."),
        _column("Phase", ".status.phase", "Lifecycle phase."),
        _column("Stage", ".status.stage", "Draft, Published, Archived or Failed."),
        _column("Trigger", ".spec.trigger", "Why it was made."),
        _column("By", ".spec.requestedBy", "Who asked for it."),
        _AGE,
    ]
    return _crd(
        names.PROMPT_REVISION,
        names.PROMPT_REVISIONS,
        "prev",
        _root(
            "An immutable record of one candidate, promotion or rollback of a PromptDeployment. Written by the "
            "operator alone.",
            spec,
            _status(PromptRevisionStatus),
            rules,
        ),
        columns,
    )


def agent_rollback_crd() -> Json:
    """Make the CRD of AgentRollback."""
    spec = _spec(AgentRollbackSpec)
    targets = ("targetHash", "targetVersion", "targetRevision", "targetTime")
    spec["x-kubernetes-validations"] = [
        _IMMUTABLE | {"message": "an AgentRollback cannot be changed; create another one"},
        _rule(
            "has(self.promptDeploymentName) != has(self.agent)", "takes exactly one of promptDeploymentName and agent"
        ),
        _rule(
            f"[{', '.join(f'has(self.{t})' for t in targets)}].filter(given, given).size() <= 1",
            f"takes at most one of {', '.join(targets)}; none means the previous version",
        ),
        _rule(
            "!has(self.agent) || (!has(self.targetHash) && !has(self.targetRevision) && !has(self.fromHash))",
            "an agent has many prompts: it takes targetVersion or targetTime, not a hash or a revision",
        ),
        _rule("!has(self.environment) || has(self.agent)", "environment narrows agent, and needs it"),
        _rule("!has(self.agent) || size(self.agent) > 0", "agent must not be empty"),
    ]
    columns = [
        _column("Deployment", ".spec.promptDeploymentName", "Deployment that goes back."),
        _column("Agent", ".spec.agent", "Agent that goes back."),
        _column("Phase", ".status.phase", "Pending, Running, Succeeded or Failed."),
        _column("From", ".status.rolledBackFrom", "What was live."),
        _column("To", ".status.rolledBackTo", "What went live."),
        _AGE,
        _column("Reason", ".spec.reason", "Why it was asked for.", priority=1),
        _column("Message", ".status.message", "What there is to know.", priority=1),
    ]
    return _crd(
        names.AGENT_ROLLBACK,
        names.AGENT_ROLLBACKS,
        "arb",
        _root(
            "Takes one PromptDeployment, or all of an agent's, back to an earlier version, once. What is left behind "
            "is quarantined, so that re-applying it from Git does not bring it back.",
            spec,
            _status(AgentRollbackStatus),
            [],
        ),
        columns,
        (".status.phase",),
    )


def all_crds() -> tuple[Json, ...]:
    """Make all three, in the order in which they are installed."""
    return (prompt_deployment_crd(), prompt_revision_crd(), agent_rollback_crd())
