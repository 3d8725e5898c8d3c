"""The prompts in files: found, and hashed as the operator does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prompt_operator.api.content import ContentError, canonical_members, content_of
from prompt_operator.api.names import API_VERSION, GROUP, PROMPT_DEPLOYMENT
from prompt_operator.cli.plugin.exits import Exit, PluginError, near
from prompt_operator.cli.plugin.manifests import Document, read_manifests


def deployments_in(paths: Iterable[str]) -> list[Document]:
    """Return the PromptDeployments in files. Raises PluginError if there is none."""
    listed = list(paths)
    found = [d for path in listed for d in read_manifests(path) if is_of(d.value, PROMPT_DEPLOYMENT)]
    if not found:
        raise PluginError(
            Exit.USAGE,
            f"{', '.join(listed)}: holds no {PROMPT_DEPLOYMENT} of {API_VERSION}. Name another file with -f.",
        )
    return found


def is_of(value: Any, kind: str) -> bool:
    """Tell whether a manifest is of one of our kinds, in any version."""
    if not isinstance(value, Mapping):
        return False
    return value.get("kind") == kind and str(value.get("apiVersion")).partition("/")[0] == GROUP


def name_of(document: Document) -> str:
    """Return the name in a manifest; its generateName, or nothing, if it has none."""
    meta = document.value.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return str(meta.get("name") or meta.get("generateName") or "")


def prompt_of(document: Document) -> Mapping[str, Any]:
    """Return spec.prompt. Raises ContentError if there is none."""
    from prompt_operator.api.reasons import Reason  # noqa: PLC0415

    spec = document.value.get("spec")
    prompt = spec.get("prompt") if isinstance(spec, Mapping) else None
    if not isinstance(prompt, Mapping):
        raise ContentError(Reason.PromptInvalid, "spec.prompt is missing, or no object.")
    return prompt


def hash_of_document(document: Document) -> str:
    """Return the hash the operator will compute. Raises ContentError."""
    return content_of(prompt_of(document)).hash


def content_in_file(name: str, path: str) -> Mapping[str, Any]:
    """Return the content of one prompt in a file, in the form revisions hold. Raises PluginError."""
    documents = deployments_in([path])
    named = [d for d in documents if name_of(d) == name]
    if not named:
        names = [name_of(d) for d in documents]
        hint = near(name, names) or f" It holds {', '.join(names)}."
        raise PluginError(Exit.USAGE, f"{path} holds no {PROMPT_DEPLOYMENT} {name}.{hint}")
    document = named[-1]
    try:
        return canonical_members(prompt_of(document))
    except ContentError as error:
        line = document.line_of("spec", "prompt")
        raise PluginError(Exit.FAILED, f"{document.path}:{line}: {error}") from None
