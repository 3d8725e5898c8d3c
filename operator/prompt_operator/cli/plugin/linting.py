"""What is wrong with manifests, found without a cluster: by the models of the CRDs, and the operator's checks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError

from prompt_operator.api.agent_rollback import AgentRollbackSpec
from prompt_operator.api.content import ContentError, canonical_members, content_of
from prompt_operator.api.names import AGENT_ROLLBACK, API_VERSION, MAX_DEPLOYMENT_NAME, PROMPT_DEPLOYMENT
from prompt_operator.api.prompt_deployment import PromptDeploymentSpec
from prompt_operator.api.schema import ApiModel
from prompt_operator.api.template import check_template
from prompt_operator.cli.plugin.contents import is_of, name_of, prompt_of
from prompt_operator.cli.plugin.exits import near
from prompt_operator.cli.plugin.gate_rules import gate_problems
from prompt_operator.cli.plugin.manifests import Document

_MODELS: Final[Mapping[str, type[ApiModel]]] = {
    PROMPT_DEPLOYMENT: PromptDeploymentSpec,
    AGENT_ROLLBACK: AgentRollbackSpec,
}
_ROOT: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_TARGETS: Final = ("targetHash", "targetVersion", "targetRevision", "targetTime")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, and where."""

    path: str
    line: int
    subject: str
    message: str


def lint(documents: list[Document]) -> list[Problem]:
    """Return what is wrong, in the order of files and lines. Other kinds than ours are not looked at."""
    found: list[Problem] = []
    for document in documents:
        for kind in _MODELS:
            if is_of(document.value, kind):
                found += _of_document(document, kind)
    found += _reused_versions([d for d in documents if is_of(d.value, PROMPT_DEPLOYMENT)])
    order = {path: index for index, path in enumerate(dict.fromkeys(d.path for d in documents))}
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda p: (order[p.path], p.line))


def _of_document(document: Document, kind: str) -> Iterator[Problem]:
    value, subject = document.value, f"{kind} {name_of(document)}".rstrip()

    def problem(message: str, *keys: str | int) -> Problem:
        return Problem(document.path, document.line_of(*keys), subject, message)

    for line, key in document.duplicates:
        yield Problem(document.path, line, subject, f"{key!r} is given twice; kubectl takes the last one. Keep one.")
    if value.get("apiVersion") != API_VERSION:
        yield problem(f"apiVersion is {value.get('apiVersion')!r}; write {API_VERSION}.", "apiVersion")
    for key in value:
        if key not in _ROOT:
            yield problem(f"unknown field {key}.{near(key, list(_ROOT))}", key)
    yield from (problem(message, "metadata", "name") for message in _name_problems(document, kind))
    spec = value.get("spec")
    if not isinstance(spec, Mapping):
        yield problem("spec is missing, or no object.", "spec")
        return
    for keys, message in _unknown_fields(spec, _MODELS[kind], ("spec",)):
        yield problem(message, *keys)
    for keys, message in _schema_problems(spec, _MODELS[kind]):
        yield problem(message, *keys)
    if kind == PROMPT_DEPLOYMENT:
        yield from (problem(message, *keys) for keys, message in _content_problems(document))
        yield from (problem(f"{_path(keys)}: {message}", *keys) for keys, message in gate_problems(spec))
    else:
        yield from (problem(message, "spec") for message in _rollback_problems(spec))


def _name_problems(document: Document, kind: str) -> Iterator[str]:
    meta = document.value.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    name = meta.get("name")
    if name is None:
        if not meta.get("generateName"):
            yield "metadata.name is missing."
        return
    if not isinstance(name, str) or not _NAME.match(name):
        yield f"metadata.name {name!r} may hold lower-case letters, digits, '-' and '.' only."
    elif kind == PROMPT_DEPLOYMENT and len(name) > MAX_DEPLOYMENT_NAME:
        yield f"metadata.name has {len(name)} characters and may have {MAX_DEPLOYMENT_NAME}."


def _unknown_fields(
    value: Mapping[str, Any], model: type[ApiModel], at: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    fields = {str(f.alias): f.annotation for f in model.model_fields.values()}
    for key, member in value.items():
        if key not in fields:
            path = ".".join(map(str, (*at, key)))
            yield (*at, key), f"unknown field {path}.{near(str(key), list(fields))}"
        elif inner := _model_in(fields[key]):
            if isinstance(member, Mapping):
                yield from _unknown_fields(member, inner, (*at, key))
            elif isinstance(member, list):
                for index, item in enumerate(member):
                    if isinstance(item, Mapping):
                        yield from _unknown_fields(item, inner, (*at, key, index))


def _model_in(annotation: Any) -> type[ApiModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _schema_problems(spec: Mapping[str, Any], model: type[ApiModel]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        # As JSON, so that what JSON has no type for (an enum, say) is taken as the API server takes it.
        model.model_validate_json(json.dumps(_given(spec)), strict=True)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False, include_context=False):
            keys = ("spec", *one["loc"])
            yield keys, f"{_path(keys)}: {_said(one['msg'])}"


def _path(keys: tuple[str | int, ...]) -> str:
    return ".".join(map(str, keys))


def _said(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".") + "."


def _given(value: Any) -> Any:
    """Drop null members, which the API server takes as absent, and numbers JSON has not, told of elsewhere."""
    if isinstance(value, Mapping):
        return {k: _given(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_given(v) for v in value]
    return 0 if isinstance(value, float) and not math.isfinite(value) else value


def _content_problems(document: Document) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        prompt = prompt_of(document)
        content_of(prompt)
        check_template(canonical_members(prompt))
    except ContentError as error:
        where = re.match(r"spec((?:\.\w+|\[\d+\])+)", str(error))
        keys = [int(k) if k.isdigit() else k for k in re.findall(r"\w+", where[1])] if where else ["prompt"]
        yield ("spec", *keys), f"{error} ({error.reason})"


def _rollback_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    given = [t for t in _TARGETS if spec.get(t) is not None]
    if (spec.get("promptDeploymentName") is None) == (spec.get("agent") is None):
        yield "spec takes exactly one of promptDeploymentName and agent."
    if len(given) > 1:
        yield f"spec takes at most one of {', '.join(_TARGETS)}; it has {' and '.join(given)}."
    if spec.get("agent") is not None and any(
        spec.get(k) is not None for k in ("targetHash", "targetRevision", "fromHash")
    ):
        yield "an agent has many prompts: it takes targetVersion or targetTime, not a hash or a revision."


def _reused_versions(documents: list[Document]) -> Iterator[Problem]:
    """A version label names one content of one prompt; two files must not say otherwise."""
    seen: dict[tuple[str, str, str], tuple[str, Document]] = {}
    for document in documents:
        spec, meta = document.value.get("spec"), document.value.get("metadata")
        if not isinstance(spec, Mapping) or not isinstance(meta, Mapping) or not spec.get("version"):
            continue
        try:
            content = content_of(prompt_of(document)).hash
        except ContentError:
            continue
        key = (str(meta.get("namespace") or ""), name_of(document), str(spec["version"]))
        first = seen.setdefault(key, (content, document))
        if first[0] != content:
            where = f"{first[1].path}:{first[1].line_of('spec', 'version')}"
            yield Problem(
                document.path,
                document.line_of("spec", "version"),
                f"{PROMPT_DEPLOYMENT} {name_of(document)}",
                f"spec.version {spec['version']} names other content in {where}. Give this content a label of its own.",
            )
