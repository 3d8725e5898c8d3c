"""What the samples and the README tell users to write is taken by the API server, and does what they say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_operator.api.gates import Kind, PrometheusSource
from prompt_operator.evaluation.jobs import job_from
from prompt_operator.evaluation.sources.arms import numbers_of
from prompt_operator.evaluation.sources.prometheus import queries_of
from prompt_operator.evaluation.sources.templates import fill_query, fill_url
from tests.support.manifests import deployment
from tests.support.user import User

pytestmark = pytest.mark.integration
Json = dict[str, Any]

TOP = Path(__file__).parent.parent.parent
SAMPLES = sorted((TOP / "manifests" / "samples").glob("*.yaml"))
GATES = (TOP / "README.md").read_text(encoding="utf-8").partition("\n## Gates\n")[2].partition("\n## ")[0]
VALUES = {
    "agent": "support-bot",
    "arm": "candidate",
    "deployment": "support-answer",
    "experiment": "0123456789abcdef",
    "hash": "sha256:" + "0" * 64,
    "namespace": "default",
    "window": "3600s",
}


def sample(name: str) -> Json:
    found: Json = yaml.safe_load((TOP / "manifests" / "samples" / name).read_text(encoding="utf-8"))
    return found


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", GATES, re.MULTILINE | re.DOTALL)[0]


def metrics_of(spec: Json) -> list[Json]:
    return [*spec["gates"]["abTest"]["metrics"], *spec["monitoring"]["metrics"]]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_the_api_server_takes_every_sample(user: User, path: Path):
    made = json.loads(user.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(path)))
    written = sample(path.name)
    assert made["kind"] == written["kind"]
    if written["apiVersion"].startswith("promptoperator.io/"):
        assert made["spec"].items() >= {k: v for k, v in written["spec"].items() if isinstance(v, str)}.items()
        for part in ("gates", "monitoring"):
            assert holds(made["spec"].get(part), written["spec"].get(part)), f"something of {part} was dropped"


def holds(made: Any, written: Any) -> bool:
    """Whether all that was written is there; defaults may have come on top."""
    if isinstance(written, dict):
        return isinstance(made, dict) and all(k in made and holds(made[k], v) for k, v in written.items())
    if isinstance(written, list):
        return len(made) == len(written) and all(map(holds, made, written))
    return bool(made == written)


def test_the_example_of_gates_in_the_readme_is_taken_as_it_is_written(user: User):
    spec = yaml.safe_load(block("yaml"))["spec"]
    user.create(deployment("support", text="one", **spec))
    made = user.get("promptdeployment", "support")["spec"]
    assert holds({part: made[part] for part in spec}, spec)
    for metric in metrics_of(spec):
        assert "{{" not in fill_url(metric["source"]["http"]["url"], VALUES)


def test_the_answer_of_an_http_source_in_the_readme_is_read():
    answer = json.loads(block("json"))
    assert numbers_of(answer, "control", Kind.Proportion, "it") == {"samples": 120, "successes": 90}
    assert numbers_of(answer, "candidate", Kind.Proportion, "it") == {"samples": 31, "successes": 27}


def test_the_bucket_rule_of_the_readme_is_that_of_the_published_values():
    vectors = json.loads((TOP / "tests" / "unit" / "evaluation" / "bucket_vectors.json").read_text(encoding="utf-8"))
    rule = compile(block("python"), "README.md", "exec")
    for vector in vectors["vectors"]:
        names = {"experiment_id": vector["experimentId"], "session_key": vector["sessionKey"], "weight": 20}
        exec("from hashlib import sha256", names)
        exec(rule, names)
        assert names["bucket"] == vector["bucket"]
        assert names["use_candidate"] == (vector["bucket"] < 2000)


def test_the_sample_of_gates_names_the_sample_of_a_test_and_that_may_be_cloned():
    gates, cron_job = sample("promptdeployment-gates.yaml")["spec"]["gates"], sample("test-cronjob.yaml")
    [test] = gates["tests"]
    assert test["cronJobName"] == cron_job["metadata"]["name"]
    environment = {"PROMPT_CANDIDATE_PATH": "/prompts/candidate", "PROMPT_CURRENT_PATH": "/prompts/current"}
    job = job_from(
        cron_job, name="run", namespace="default", owner={}, deployment="support-answer", revision=2,
        test=test["name"], timeout_seconds=test["timeoutSeconds"], environment=environment, ttl_seconds=60,
    )  # fmt: skip
    [container] = job["spec"]["template"]["spec"]["containers"]
    used = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
    assert used == set(environment)
    assert {m["mountPath"] for m in container["volumeMounts"]} == set(environment.values())


def test_every_query_of_the_sample_can_be_filled_in_and_none_is_missing():
    asked = [m for m in metrics_of(sample("promptdeployment-gates.yaml")["spec"]) if "prometheus" in m["source"]]
    assert len(asked) == 2
    for metric in asked:
        source = PrometheusSource.model_validate(metric["source"]["prometheus"])
        queries = queries_of(source, Kind(metric.get("kind", "Proportion")))
        assert list(queries) == ["successes", "samples"]
        for query in queries.values():
            assert "{{" not in fill_query(query, VALUES)


def test_every_variable_that_the_readme_names_is_given_to_tests():
    module = (TOP / "operator" / "prompt_operator" / "evaluation" / "jobs.py").read_text(encoding="utf-8")
    named = set(re.findall(r"`\$?(PROMPT_[A-Z_]+)`", GATES))
    assert len(named) == 9
    assert all(f'"{name}"' in module for name in named)
