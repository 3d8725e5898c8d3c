"""The Jobs of tests and of metrics: cloned from a CronJob and given the prompts. Pure.

A Job is made as ``kubectl create job --from=cronjob/…`` makes one, so nobody gets pods they could not make themselves.
It differs in what testing a prompt needs: that of a test begins suspended, until its ConfigMaps are there (the pods of
a metric wait for them instead); it belongs to the PromptDeployment; every container gets the prompts mounted, and named
in its environment. Where the template sets a variable of the same name, ours wins, and stands first, so that others may
refer to it as ``$(PROMPT_REVISION)``.

Whoever may create Jobs in a namespace can make one that looks like ours in all but its uid: a test's result is worth
as much as the right to create Jobs there.
"""

from __future__ import annotations

import copy
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prompt_operator.api.content import content_of, hash_of
from prompt_operator.api.gates import Metric, TestGate
from prompt_operator.api.names import (
    ANNOTATION_HASH,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    LABEL_METRIC_RUN,
    LABEL_REVISION,
    LABEL_TEST,
    LABEL_TEST_RUN,
    MANAGED_BY,
    PROMPT_DEPLOYMENT,
    PROMPT_JSON,
    PROMPT_TXT,
    metric_run_name,
    test_run_name,
)
from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from prompt_operator.evaluation.sources.problem import SourceError
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.observed import Deployment, TestJob

Json = dict[str, Any]

_ARMS: Final = ("candidate", "current")
_TOP: Final = "/prompts"
CANDIDATE_PATH, CURRENT_PATH = (f"{_TOP}/{arm}" for arm in _ARMS)
_VOLUMES: Final = {f"prompt-{arm}": arm for arm in _ARMS}
_OF_METRICS: Final = 600
_OF_TESTS: Final = 86400


class JobError(SourceError):
    """A Job gives no result; the text is a sentence that says why and what to do, without prompts or answers."""


class JobRefusedError(JobError):
    """A Job is not started."""


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a test, or of a Job that a metric is read from."""

    namespace: str
    name: str
    deployment: str
    agent: str
    #: ownerReference of the PromptDeployment.
    owner: Mapping[str, Any]
    cron_job_name: str
    timeout_seconds: int
    #: Hashes of what is mounted as the candidate, and as what it is compared with; the latter can be empty.
    candidate_hash: str
    current_hash: str
    #: Number of the revision under test; 0 for a metric.
    revision: int = 0
    #: Name of the test, or of the metric: one of them is empty.
    test: str = ""
    metric: str = ""
    #: Variables besides those that every Job gets.
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of every container names."""
        return {
            "PROMPT_CANDIDATE_HASH": self.candidate_hash,
            "PROMPT_CURRENT_HASH": self.current_hash,
            "PROMPT_CANDIDATE_PATH": CANDIDATE_PATH,
            "PROMPT_CURRENT_PATH": CURRENT_PATH,
            "PROMPT_DEPLOYMENT": self.deployment,
            "PROMPT_NAMESPACE": self.namespace,
            "PROMPT_AGENT": self.agent,
            "PROMPT_REVISION": str(self.revision) if self.revision else "",
            **self.variables,
        }

    @property
    def ttl_seconds(self) -> int:
        """Seconds until Kubernetes removes the finished Job, if the operator has not: time enough to read it."""
        return _OF_TESTS if self.test else _OF_METRICS


def run_of_test(
    deployment: Deployment, owner: Mapping[str, Any], revision: int, test: TestGate, *, candidate: str, current: str
) -> JobRun:
    """Return the run of a test on a revision, with the hashes of what is under test and of what it is compared with."""
    return JobRun(
        namespace=deployment.namespace,
        name=test_run_name(deployment.name, revision, test.name),
        deployment=deployment.name,
        agent=deployment.agent,
        owner=owner,
        cron_job_name=test.cron_job_name,
        timeout_seconds=test.timeout_seconds,
        candidate_hash=candidate,
        current_hash=current,
        revision=revision,
        test=test.name,
        variables={"PROMPT_TEST": test.name},
    )


def run_of_metric(asked: LookAsked, metric: Metric, owner: Mapping[str, Any]) -> JobRun:
    """Return the run of the Job that one look reads one metric from. Raises JobRefusedError for another source.

    The environment names what the answer shall be about: the experiment, and for each arm the span of time, as RFC 3339
    and in seconds. Of a control that is known already nothing is said, and nothing is mounted.
    """
    source = metric.source.job
    if source is None:
        raise JobRefusedError(f"The metric {metric.name} is not read from a Job.")
    return JobRun(
        namespace=asked.namespace,
        name=metric_run_name(asked.deployment, asked.id, metric.name, times.written(asked.candidate.at)),
        deployment=asked.deployment,
        agent=asked.agent,
        owner=owner,
        cron_job_name=source.cron_job_name,
        timeout_seconds=source.timeout_seconds,
        candidate_hash=asked.candidate.hash,
        current_hash=asked.control.hash if asked.control else "",
        metric=metric.name,
        variables={
            "PROMPT_METRIC": metric.name,
            "PROMPT_EXPERIMENT": asked.id,
            **_span("CANDIDATE", asked.candidate),
            **_span("CURRENT", asked.control),
        },
    )


def _span(arm: str, asked: ArmAsked | None) -> dict[str, str]:
    said = (times.written(asked.since), times.written(asked.at), str(asked.window_seconds)) if asked else ("", "", "")
    return dict(zip((f"PROMPT_{arm}_SINCE", f"PROMPT_{arm}_UNTIL", f"PROMPT_{arm}_SECONDS"), said, strict=True))


# --- making ---------------------------------------------------------------------------------------------------------


def job_from(
    cron_job: Mapping[str, Any],
    *,
    name: str,
    namespace: str,
    owner: Mapping[str, Any],
    deployment: str,
    revision: int,
    test: str,
    timeout_seconds: int,
    environment: Mapping[str, str],
    ttl_seconds: int,
    metric: str = "",
) -> Json:
    """Return the Job to be created from a CronJob. Raises JobRefusedError where that must not be.

    Of the template's own deadline and ours the earlier holds. The CronJob itself is left as it was.
    """
    meta, spec = cron_job.get("metadata") or {}, cron_job.get("spec") or {}
    _check_consent(f"CronJob {meta.get('name')}", meta, spec)
    template = copy.deepcopy(spec.get("jobTemplate") or {})
    given, job = template.get("metadata") or {}, template.get("spec") or {}
    pod = (job.get("template") or {}).get("spec") or {}
    _check_room(f"CronJob {meta.get('name')}", pod)
    for kind in ("containers", "initContainers"):
        if pod.get(kind):
            pod[kind] = [_with_prompts(c, environment) for c in pod[kind]]
    pod["volumes"] = [*(pod.get("volumes") or ()), *_volumes(name)]
    # A reader that dies leaves a Job nobody looks for: not suspended, it ends at its deadline, and its TTL removes it.
    job["suspend"] = not metric
    job["activeDeadlineSeconds"] = min(timeout_seconds, job.get("activeDeadlineSeconds") or timeout_seconds)
    job["ttlSecondsAfterFinished"] = ttl_seconds
    ours = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_DEPLOYMENT: deployment}
    ours |= {LABEL_METRIC_RUN: metric} if metric else {LABEL_TEST_RUN: test, LABEL_REVISION: str(revision)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": (given.get("labels") or {}) | ours,
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"} | (given.get("annotations") or {}),
            "ownerReferences": [dict(owner)],
        },
        "spec": job,
    }


def _check_consent(which: str, meta: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    if (meta.get("labels") or {}).get(LABEL_TEST) != "true":
        raise JobRefusedError(f'{which} lacks the label {LABEL_TEST}: "true", by which its owner agrees to be cloned.')
    if spec.get("suspend") is not True:
        raise JobRefusedError(f"{which} runs by its schedule. Set its spec.suspend to true: it is a template only.")
    if meta.get("deletionTimestamp"):
        raise JobRefusedError(f"{which} is being deleted.")


def _check_room(which: str, pod: Mapping[str, Any]) -> None:
    containers = [*(pod.get("containers") or ()), *(pod.get("initContainers") or ())]
    if not pod.get("containers"):
        raise JobRefusedError(f"The template of {which} has no container.")
    for volume in pod.get("volumes") or ():
        if volume.get("name") in _VOLUMES:
            raise JobRefusedError(f"The template of {which} has a volume {volume['name']}, which is ours. Rename it.")
    for container in containers:
        for mount in container.get("volumeMounts") or ():
            path = "/" + posixpath.normpath(str(mount.get("mountPath") or "/")).lstrip("/")
            if path == _TOP or path.startswith(f"{_TOP}/"):
                raise JobRefusedError(f"A container of {which} mounts a volume at {_TOP}, which is ours. Move it.")


def _with_prompts(container: Mapping[str, Any], environment: Mapping[str, str]) -> Json:
    mounts = [{"name": v, "mountPath": f"{_TOP}/{arm}", "readOnly": True} for v, arm in _VOLUMES.items()]
    # Kubernetes would replace $(NAME) in a value; $$ is how it writes a dollar.
    ours = [{"name": key, "value": value.replace("$", "$$")} for key, value in environment.items()]
    others = [e for e in container.get("env") or () if e.get("name") not in environment]
    return {**container, "env": ours + others, "volumeMounts": [*(container.get("volumeMounts") or ()), *mounts]}


def _volumes(job: str) -> list[Json]:
    return [{"name": v, "configMap": {"name": f"{job}-{arm}"}} for v, arm in _VOLUMES.items()]


def prompt_config_maps(
    job: Mapping[str, Any], candidate: bytes | Mapping[str, Any], current: bytes | Mapping[str, Any] | None
) -> list[Json]:
    """Return the ConfigMaps that a Job mounts, owned by it: ``<job>-candidate`` and ``<job>-current``.

    Contents are canonical bytes, or as in spec.prompt. ``prompt.json`` has the bytes that were hashed, ``prompt.txt``
    the text of a text prompt; without a current version its ConfigMap is empty. The operator's own watch of ConfigMaps
    does not see them.
    """
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k in (LABEL_DEPLOYMENT, LABEL_TEST_RUN)}
    made = []
    for arm, content in zip(_ARMS, (candidate, current), strict=True):
        canonical = content if isinstance(content, bytes) else content_of(content).canonical if content else b""
        made.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": f"{meta['name']}-{arm}",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": {ANNOTATION_HASH: hash_of(canonical)} if canonical else {},
                    "ownerReferences": [owner],
                },
                "data": _data(canonical),
                "immutable": True,
            }
        )
    return made


def _data(canonical: bytes) -> dict[str, str]:
    if not canonical:
        return {}
    text = json.loads(canonical).get("text")
    return {PROMPT_JSON: canonical.decode()} | ({PROMPT_TXT: text} if text is not None else {})


# --- reading --------------------------------------------------------------------------------------------------------


def read_job(raw: Mapping[str, Any]) -> TestJob:
    """Read a Job. Labels that are not as we write them are read as empty, so that nobody's Job stops the controller."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = meta.get("labels") or {}
    revision = str(labels.get(LABEL_REVISION) or "")
    true = {str(c.get("type")): c for c in status.get("conditions") or () if c.get("status") == "True"}
    # FailureTarget tells why before the pods are gone, Failed after.
    why = true.get("Failed") or true.get("FailureTarget") or {}
    state = "Suspended" if spec.get("suspend") else "Running"
    state = "Complete" if "Complete" in true else "Failed" if "Failed" in true else state
    ended = status.get("completionTime") or (true.get("Failed") or {}).get("lastTransitionTime")
    return TestJob(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        owner_uid=controller_uid(meta.get("ownerReferences") or (), PROMPT_DEPLOYMENT),
        deployment=str(labels.get(LABEL_DEPLOYMENT) or ""),
        revision=int(revision) if revision.isascii() and revision.isdigit() else 0,
        test=str(labels.get(LABEL_TEST_RUN) or ""),
        state=state,
        reason=str(why.get("reason") or ""),
        message=str(why.get("message") or ""),
        start_time=str(status.get("startTime") or ""),
        completion_time=str(ended or ""),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def controller_uid(owners: Iterable[Mapping[str, Any]], kind: str) -> str:
    """Return the uid of the controller of an object, if it is of a kind; else nothing."""
    return next((str(o.get("uid")) for o in owners if o.get("controller") and o.get("kind") == kind), "")
