"""Jobs are cloned from CronJobs that agree to it, belong to the deployment, and have the prompts in every container."""

import copy
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prompt_operator.api import names
from prompt_operator.api.content import content_of
from prompt_operator.api.gates import JobSource, Metric, PrometheusSource, Source, TestGate
from prompt_operator.controller.sync import SELECTORS
from prompt_operator.evaluation import jobs
from prompt_operator.evaluation.jobs import JobRefusedError, job_from, prompt_config_maps, read_job
from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from prompt_operator.lifecycle.observed import Deployment

Json = dict[str, Any]
OWNER = {
    "apiVersion": names.API_VERSION,
    "kind": "PromptDeployment",
    "name": "support",
    "uid": "d-1",
    "controller": True,
}
HASH = "sha256:" + "ab" * 32


def cron_job(**job_spec: Any) -> Json:
    pod = {"restartPolicy": "Never", "containers": [{"name": "check", "image": "check:1"}]}
    return {
        "metadata": {"name": "check", "namespace": "team", "uid": "c-1", "labels": {"promptoperator.io/test": "true"}},
        "spec": {
            "schedule": "@yearly",
            "suspend": True,
            "jobTemplate": {
                "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
                "spec": {"backoffLimit": 0, "template": {"spec": pod}} | job_spec,
            },
        },
    }


def pod_of(cron: Json) -> Json:
    return cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def made(cron: Json, environment: Mapping[str, str] | None = None, **changes: Any) -> Json:
    given = {
        "name": "support-3-check",
        "namespace": "team",
        "owner": OWNER,
        "deployment": "support",
        "revision": 3,
        "test": "check",
        "timeout_seconds": 600,
        "environment": environment or {"PROMPT_CANDIDATE_HASH": HASH},
        "ttl_seconds": 60,
    }
    return job_from(cron, **(given | changes))


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    terms = [term.partition("=") for term in selector.split(",")]
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in terms)


# --- what is made -----------------------------------------------------------------------------------------------------


def test_a_job_is_cloned_as_kubectl_does_and_waits_for_its_prompts():
    cron = cron_job(completions=2, podFailurePolicy={"rules": []})
    before = copy.deepcopy(cron)
    job = made(cron)
    assert cron == before
    assert job["metadata"]["annotations"] == {"cronjob.kubernetes.io/instantiate": "manual", "note": "b"}
    assert job["metadata"]["labels"].items() >= {"team": "a"}.items()
    assert job["metadata"]["ownerReferences"] == [OWNER]
    spec = job["spec"]
    assert spec["suspend"] is True
    assert (spec["completions"], spec["backoffLimit"], spec["podFailurePolicy"]) == (2, 0, {"rules": []})
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (600, 60)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize(("of_template", "wanted"), [(None, 600), (30, 30), (3600, 600)])
def test_the_earlier_of_two_deadlines_holds(of_template: int | None, wanted: int):
    assert made(cron_job(activeDeadlineSeconds=of_template))["spec"]["activeDeadlineSeconds"] == wanted


def test_a_test_is_watched_by_the_operator_and_a_metric_is_not():
    test = made(cron_job())["metadata"]["labels"]
    metric = made(cron_job(), test="", metric="latency")["metadata"]["labels"]
    assert matches(SELECTORS["jobs"], test)
    assert not matches(SELECTORS["jobs"], metric)
    assert metric[names.LABEL_METRIC_RUN] == "latency"
    assert names.LABEL_REVISION not in metric


def test_a_metrics_job_ends_by_itself_where_nobody_is_left_to_let_it_go():
    spec = made(cron_job(), test="", metric="latency")["spec"]
    assert spec["suspend"] is False
    assert spec["activeDeadlineSeconds"]
    assert spec["ttlSecondsAfterFinished"]


def test_labels_of_the_template_do_not_replace_ours():
    cron = cron_job()
    cron["spec"]["jobTemplate"]["metadata"]["labels"] = dict.fromkeys(
        (names.LABEL_DEPLOYMENT, names.LABEL_TEST_RUN, names.LABEL_MANAGED_BY, names.LABEL_REVISION), "theirs"
    )
    assert "theirs" not in made(cron)["metadata"]["labels"].values()


def test_every_container_has_the_prompts_read_only_and_named_in_its_environment():
    cron = cron_job()
    pod_of(cron)["initContainers"] = [{"name": "prepare", "image": "p:1", "volumeMounts": [], "env": []}]
    pod_of(cron)["containers"].append(
        {"name": "second", "image": "s:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    )
    pod_of(cron)["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod = made(cron)["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        mounted = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert mounted["/prompts/candidate"]["readOnly"]
        assert mounted["/prompts/current"]["readOnly"]
        assert container["env"] == [{"name": "PROMPT_CANDIDATE_HASH", "value": HASH}]
    assert pod["containers"][1]["volumeMounts"][0]["mountPath"] == "/data"
    sources = {v["name"]: v.get("configMap", {}).get("name") for v in pod["volumes"]}
    assert sources == {
        "data": None,
        "prompt-candidate": "support-3-check-candidate",
        "prompt-current": "support-3-check-current",
    }
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {"prompt-candidate", "prompt-current"}


def test_our_variables_win_and_stand_first_so_that_others_can_refer_to_them():
    cron = cron_job()
    theirs = [{"name": "PROMPT_CANDIDATE_HASH", "value": "x"}, {"name": "ARG", "value": "$(PROMPT_CANDIDATE_HASH)"}]
    pod_of(cron)["containers"][0]["env"] = theirs
    env = made(cron)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "PROMPT_CANDIDATE_HASH", "value": HASH}, theirs[1]]


def test_a_value_is_never_taken_for_a_reference():
    env = made(cron_job(), {"PROMPT_AGENT": "$(HOME) $$ $x"})["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "PROMPT_AGENT", "value": "$$(HOME) $$$$ $$x"}]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [None, {}, {"promptoperator.io/test": "false"}, {"promptoperator.io/test": "True"}])
def test_a_cron_job_without_the_label_is_refused(labels: Any):
    cron = cron_job()
    cron["metadata"]["labels"] = labels
    with pytest.raises(JobRefusedError, match="lacks the label"):
        made(cron)


@pytest.mark.parametrize("suspend", [None, False])
def test_a_cron_job_that_runs_by_its_schedule_is_refused(suspend: Any):
    cron = cron_job()
    cron["spec"]["suspend"] = suspend
    with pytest.raises(JobRefusedError, match="suspend to true"):
        made(cron)


def test_a_cron_job_that_is_being_deleted_is_refused():
    cron = cron_job()
    cron["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(JobRefusedError, match="being deleted"):
        made(cron)


@pytest.mark.parametrize("volume", ["prompt-candidate", "prompt-current"])
def test_a_volume_of_our_name_is_refused(volume: str):
    cron = cron_job()
    pod_of(cron)["volumes"] = [{"name": volume, "hostPath": {"path": "/etc"}}]
    with pytest.raises(JobRefusedError, match=f"volume {volume}, which is ours"):
        made(cron)


@pytest.mark.parametrize(
    "path", ["/prompts", "/prompts/", "//prompts/candidate", "/a/../prompts/x", "/prompts/current"]
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_mount_where_the_prompts_are_is_refused(kind: str, path: str):
    cron = cron_job()
    pod_of(cron)[kind] = [{"name": "evil", "volumeMounts": [{"name": "data", "mountPath": path}]}]
    pod_of(cron).setdefault("containers", [{"name": "check"}])
    with pytest.raises(JobRefusedError, match="/prompts"):
        made(cron)


def test_a_mount_that_only_begins_alike_is_allowed():
    cron = cron_job()
    pod_of(cron)["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/prompts-of-mine"}]
    assert made(cron)


def test_host_paths_are_the_users_own_matter():
    cron = cron_job()
    pod_of(cron)["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]
    assert made(cron)["spec"]["template"]["spec"]["volumes"][0] == {"name": "host", "hostPath": {"path": "/"}}


@pytest.mark.parametrize("containers", [None, []])
def test_a_template_without_a_container_is_refused(containers: Any):
    cron = cron_job()
    pod_of(cron)["containers"] = containers
    with pytest.raises(JobRefusedError, match="no container"):
        made(cron)


@pytest.mark.parametrize("spec", [{}, {"suspend": True}, {"suspend": True, "jobTemplate": None}])
def test_a_cron_job_with_nothing_in_it_is_refused_and_not_an_error(spec: Json):
    with pytest.raises(JobRefusedError):
        made({"metadata": {"labels": {"promptoperator.io/test": "true"}}, "spec": spec})


# --- runs -------------------------------------------------------------------------------------------------------------


def deployment() -> Deployment:
    return Deployment(
        namespace="team", name="support", uid="d-1", resource_version="1", generation=1, created="", deleting=False,
        agent="bot", environment="production", version="", change={}, content_hash="", content_problem=None,
        target_hash="", target_managers=(), paused=False, release_revision=0, revision_limit=50, status={},
    )  # fmt: skip


def test_the_environment_of_a_test_names_what_is_under_test():
    gate = TestGate(name="tone", cron_job_name="check", timeout_seconds=5)
    run = jobs.run_of_test(deployment(), OWNER, 3, gate, candidate=HASH, current="")
    assert run.name == "support-3-tone"
    assert run.environment == {
        "PROMPT_CANDIDATE_HASH": HASH,
        "PROMPT_CURRENT_HASH": "",
        "PROMPT_CANDIDATE_PATH": "/prompts/candidate",
        "PROMPT_CURRENT_PATH": "/prompts/current",
        "PROMPT_DEPLOYMENT": "support",
        "PROMPT_NAMESPACE": "team",
        "PROMPT_AGENT": "bot",
        "PROMPT_REVISION": "3",
        "PROMPT_TEST": "tone",
    }


def asked(control: bool = True) -> LookAsked:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    arm = ArmAsked(HASH, now - timedelta(hours=1), now)
    return LookAsked("team", "support", "bot", "exp", (), arm, arm if control else None)


def metric(source: Source) -> Metric:
    return Metric(name="latency", source=source)


OF_JOB = metric(Source(job=JobSource(cron_job_name="count", timeout_seconds=7)))


def test_a_metric_is_asked_for_one_experiment_and_one_span_of_time():
    run = jobs.run_of_metric(asked(), OF_JOB, OWNER)
    assert (run.cron_job_name, run.timeout_seconds, run.metric, run.test) == ("count", 7, "latency", "")
    said = run.environment
    assert said["PROMPT_EXPERIMENT"] == "exp"
    assert said["PROMPT_CANDIDATE_SINCE"] == said["PROMPT_CURRENT_SINCE"] == "2025-12-31T23:00:00.000000Z"
    assert said["PROMPT_CANDIDATE_UNTIL"] == "2026-01-01T00:00:00.000000Z"
    assert said["PROMPT_CURRENT_SECONDS"] == "3600"
    assert run.ttl_seconds < jobs.run_of_test(deployment(), OWNER, 1, TestGate(name="a", cron_job_name="b"), candidate=HASH, current="").ttl_seconds  # fmt: skip


def test_of_a_baseline_that_is_frozen_nothing_is_asked():
    run = jobs.run_of_metric(asked(control=False), OF_JOB, OWNER)
    assert (
        run.current_hash == run.environment["PROMPT_CURRENT_SINCE"] == run.environment["PROMPT_CURRENT_SECONDS"] == ""
    )


def test_another_source_has_no_job():
    other = metric(Source(prometheus=PrometheusSource(address="http://p:9090")))
    with pytest.raises(JobRefusedError, match="latency"):
        jobs.run_of_metric(asked(), other, OWNER)


# --- ConfigMaps -------------------------------------------------------------------------------------------------------

PROMPT = {"text": "You are {{persona}}.\n", "model": {"name": "m", "parameters": {"temperature": 0.2}}}
JOB = made(cron_job()) | {}
JOB["metadata"] |= {"uid": "j-1", "resourceVersion": "7"}


def test_the_config_maps_hold_the_bytes_that_were_hashed():
    candidate, current = prompt_config_maps(JOB, PROMPT, content_of({"text": "old"}).canonical)
    assert candidate["metadata"]["name"] == "support-3-check-candidate"
    assert current["metadata"]["name"] == "support-3-check-current"
    digest = hashlib.sha256(candidate["data"]["prompt.json"].encode()).hexdigest()
    assert (
        f"sha256:{digest}" == content_of(PROMPT).hash == candidate["metadata"]["annotations"]["promptoperator.io/hash"]
    )
    assert candidate["data"]["prompt.txt"] == PROMPT["text"]
    assert json.loads(current["data"]["prompt.json"]) == {"text": "old"}


def test_the_config_maps_go_with_the_job_and_the_operator_does_not_watch_them():
    for made_map in prompt_config_maps(JOB, PROMPT, None):
        meta = made_map["metadata"]
        assert meta["ownerReferences"] == [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "support-3-check", "uid": "j-1", "controller": True}
        ]
        assert not matches(SELECTORS["configmaps"], meta["labels"])
        assert made_map["immutable"]


def test_before_anything_is_live_the_current_prompt_is_an_empty_config_map():
    _, current = prompt_config_maps(JOB, PROMPT, None)
    assert current["data"] == {}
    assert current["metadata"]["annotations"] == {}


def test_a_prompt_of_messages_has_no_text_file():
    candidate, _ = prompt_config_maps(JOB, {"messages": [{"role": "user", "content": "x"}]}, None)
    assert set(candidate["data"]) == {"prompt.json"}


# --- reading ----------------------------------------------------------------------------------------------------------


def stored(suspend: bool = False, **status: Any) -> Json:
    raw = copy.deepcopy(JOB)
    raw["spec"]["suspend"] = suspend
    raw["status"] = status
    return raw


def condition(kind: str, reason: str = "", status: str = "True") -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": f"m {kind}", "lastTransitionTime": "T2"}


@pytest.mark.parametrize(
    ("raw", "state", "reason"),
    [
        (stored(suspend=True), "Suspended", ""),
        (stored(), "Running", ""),
        (stored(active=1, startTime="T1"), "Running", ""),
        (stored(conditions=[condition("Suspended", "JobSuspended", "False")]), "Running", ""),
        (stored(conditions=[condition("SuccessCriteriaMet")]), "Running", ""),
        (stored(conditions=[condition("FailureTarget", "DeadlineExceeded")]), "Running", "DeadlineExceeded"),
        (stored(conditions=[condition("Complete", "CompletionsReached")], completionTime="T2"), "Complete", ""),
        (stored(conditions=[condition("Failed", "BackoffLimitExceeded")]), "Failed", "BackoffLimitExceeded"),
        (stored(suspend=True, conditions=[condition("Failed", "DeadlineExceeded")]), "Failed", "DeadlineExceeded"),
        (stored(conditions=[condition("Failed", "x", "False")]), "Running", ""),
    ],
)
def test_the_state_of_a_job_follows_its_conditions(raw: Json, state: str, reason: str):
    job = read_job(raw)
    assert (job.state, job.reason) == (state, reason)
    assert (job.completion_time != "") == (state in ("Complete", "Failed"))
    assert (job.deployment, job.revision, job.test, job.owner_uid) == ("support", 3, "check", "d-1")


@pytest.mark.parametrize("revision", ["", "x", "-1", "1.5", "²", "99999999999999999999x"])
def test_somebody_elses_labels_are_no_error(revision: str):
    raw = stored()
    raw["metadata"]["labels"] = {names.LABEL_REVISION: revision, names.LABEL_TEST_RUN: "t"}
    raw["metadata"]["ownerReferences"] = [
        {"kind": "CronJob", "uid": "c", "controller": True},
        {"kind": "PromptDeployment"},
    ]
    job = read_job(raw)
    assert (job.revision, job.deployment, job.owner_uid) == (0, "", "")


def test_a_bare_job_is_read():
    job = read_job(
        {"metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1", "deletionTimestamp": "T"}}
    )
    assert (job.state, job.deleting, job.start_time) == ("Running", True, "")
