"""What the pods of a Job say: the report they end with, and why they do not start. Pure.

A termination message can be a piece of the log, where the pod asks for that; so of one that is no JSON object nothing
is shown or kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prompt_operator.api.content import MAX_SAFE_INTEGER
from prompt_operator.evaluation.sources.problem import LONGEST_QUOTE, shown

Json = dict[str, Any]

#: The kubelet cuts messages there.
MOST_BYTES: Final = 4096
MOST_LEVELS: Final = 20
#: Waiting for these is the ordinary way to start.
_ORDINARY: Final = ("", "ContainerCreating", "PodInitializing")
BROKEN: Final = "Its termination message is no JSON object."
UNFIT: Final = f"Its termination message has more than {MOST_LEVELS} levels, NaN, or integers beyond 2^53."


def termination_report(pods: Iterable[Mapping[str, Any]]) -> tuple[Json | None, str]:
    """Return the JSON object the newest ended pod left in its termination message, and what there is to say about it.

    Of several containers the first with a JSON object counts; init containers where no other ran. Members that are null
    are left out, since the Kubernetes API takes them for absent. What is said names a container that failed, and a
    message that is no JSON object, and never quotes a message.
    """
    ended = [(pod, found) for pod in pods if (found := _ended(pod))]
    if not ended:
        return None, ""
    _, states = max(ended, key=lambda e: (max(str(s["finishedAt"]) for _, s in e[1]), _created(e[0])))
    said = [_failure(name, state) for name, state in states if state.get("exitCode")]
    problem = ""
    for message in (str(state.get("message") or "") for _, state in states):
        if not message.strip():
            continue
        report, wrong = read_report(message)
        if report is not None:
            return report, " ".join(said)
        problem = problem or wrong
    return None, " ".join([*said, problem]).strip()


def read_report(message: str) -> tuple[Json | None, str]:
    """Return the JSON object that a termination message is, or None and the sentence that says what is wrong."""
    if len(message.encode(errors="replace")) > MOST_BYTES:
        return None, BROKEN
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None, BROKEN
    if not isinstance(value, dict):
        return None, BROKEN
    try:
        kept: Json = _kept(value, 1)
        json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # half a surrogate pair is one too
        return None, UNFIT
    return kept, ""


def _kept(value: Any, level: int) -> Any:
    if level > MOST_LEVELS:
        raise ValueError
    if isinstance(value, dict):
        return {k: _kept(v, level + 1) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_kept(v, level + 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise ValueError
    return value


def complaint(pods: Iterable[Mapping[str, Any]]) -> str:
    """Say what keeps the newest pod from running, or ended it without a container; empty when nothing does.

    Quotes Kubernetes, which names images, volumes and nodes there, and no content of prompts.
    """
    newest = max(pods, key=_created, default=None)
    return next(_complaints(newest), "") if newest else ""


def _complaints(pod: Mapping[str, Any]) -> Iterator[str]:
    status = pod.get("status") or {}
    name = (pod.get("metadata") or {}).get("name")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"Pod {name} finds no node: {_quoted(condition)}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in _ORDINARY:
            yield f"Container {container.get('name')} does not start: {_quoted(waiting)}"
    if status.get("phase") == "Failed" and status.get("reason"):
        yield f"Pod {name} failed: {_quoted(status)}"
    if status.get("phase") == "Pending":
        yield f"Pod {name} has not started; `kubectl describe pod {name}` may say why."


def _quoted(said: Mapping[str, Any]) -> str:
    parts = (str(said.get(k) or "") for k in ("reason", "message"))
    text = shown(": ".join(p for p in parts if p), LONGEST_QUOTE)
    return text if text.endswith((".", "…")) else f"{text}."


def _failure(container: str, state: Mapping[str, Any]) -> str:
    reason = str(state.get("reason") or "Error")
    return shown(f"Container {container} exited with {state['exitCode']} ({reason}).", LONGEST_QUOTE)


def _ended(pod: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return the terminated states of a pod's containers by their names; of a restarted one the last."""
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses"):
        states = []
        for container in status.get(kind) or ():
            for which in ("state", "lastState"):
                if (found := (container.get(which) or {}).get("terminated")) and found.get("finishedAt"):
                    states.append((str(container.get("name")), found))
                    break
        if states:
            return states
    return ()


def _created(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp") or "")
