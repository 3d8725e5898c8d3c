"""Read what `--cluster` was given: embedded, kind, or KUBECONFIG[:CONTEXT]."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from prompt_operator.cluster.errors import ClusterError

METAVAR: Final = "embedded|kind|KUBECONFIG[:CONTEXT]"
_NEAR = 3


@dataclass(frozen=True)
class Embedded:
    """A control plane started for the purpose."""

    def __str__(self) -> str:
        return "embedded"


@dataclass(frozen=True)
class Kind:
    """A cluster made and removed by the `kind` command."""

    def __str__(self) -> str:
        return "kind"


@dataclass(frozen=True)
class Existing:
    """A cluster that somebody else runs."""

    kubeconfig: Path
    context: str

    def __str__(self) -> str:
        return f"context {self.context!r} of {self.kubeconfig}"


Choice = Embedded | Kind | Existing


def parse(text: str) -> Choice:
    """Return what is meant. Raises ClusterError for a file or a context that does not exist.

    A file of the name `kind` or `embedded` is written `./kind`. Without CONTEXT it is the current one of that file.
    """
    if text == "embedded":
        return Embedded()
    if text == "kind":
        return Kind()
    for path, context in _splits(text):
        if path.is_file():
            return Existing(path.absolute(), _context(path, context))
    raise ClusterError(f"There is no kubeconfig {text!r}. --cluster takes {METAVAR}.")


def _splits(text: str) -> Iterator[tuple[Path, str]]:
    """Both a file's name and a context's may have colons in them: the longest name that is a file counts."""
    end = len(text)
    while end > 0:
        yield Path(text[:end]).expanduser(), text[end + 1 :]
        end = text.rfind(":", 0, end)


def _context(path: Path, wanted: str) -> str:
    config = _load(path)
    names = [
        str(entry["name"]) for entry in config.get("contexts") or [] if isinstance(entry, dict) and "name" in entry
    ]
    context = wanted or str(config.get("current-context") or "")
    if not context:
        raise ClusterError(f"{path} has no current context. Name one: --cluster {path}:CONTEXT ({_listed(names)}).")
    if context not in names:
        near = difflib.get_close_matches(context, names, _NEAR)
        meant = f"Did you mean {_listed(near)}?" if near else f"It has {_listed(names)}."
        raise ClusterError(f"{path} has no context {context!r}. {meant}")
    return context


def _load(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ClusterError(f"{path} cannot be read as a kubeconfig: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("contexts") or [], list):
        raise ClusterError(f"{path} is not a kubeconfig.")
    return config


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no contexts at all"
