"""Prompts are content: they are in the kinds and in the ConfigMap, and nowhere else."""

import json

import pytest

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.user import User

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


CANARY = "canary-7f3a9c"


def test_no_prompt_text_is_in_logs_events_conditions_annotations_or_labels(user: User, operator: OperatorProcess):
    operator.options = (*operator.options, "--log-level", "debug")
    operator.start()
    user.kubectl("create", "configmap", "blocked-prompt", f"--from-literal=text={CANARY}")
    user.apply(
        deployment(text=f"{CANARY} one"),
        deployment("chat", prompt={"messages": [{"role": "system", "content": CANARY}], "tools": [{"name": CANARY}]}),
        deployment("blocked", text=CANARY),
        deployment("malformed", prompt={"text": f"{{{{{CANARY}", "templateFormat": "mustache"}),
        deployment("undeclared", prompt={"text": f"{CANARY} {{x}}", "templateFormat": "fstring"}),
        deployment("jinja", prompt={"text": f"{CANARY} {{% {CANARY} %}}", "templateFormat": "jinja2"}),
        deployment("number", prompt={"text": CANARY, "model": {"parameters": {"seed": 2**60}}}),
        manager="argocd-controller",
    )
    user.wait_live("support", f"{CANARY} one")
    user.apply(deployment(text=f"{CANARY} two"), manager="argocd-controller")
    user.wait_live("support", f"{CANARY} two")
    user.patch("configmap", "support-prompt", {"data": {"prompt.txt": f"{CANARY} by hand"}})
    user.wait_live("support", f"{CANARY} two")
    user.apply(rollback("back"))
    user.wait_rollback("back")
    for name, reason in {
        "blocked": "ConfigMapConflict",
        "malformed": "TemplateInvalid",
        "undeclared": "VariableUndeclared",
        "jinja": "TemplateInvalid",
        "number": "PromptInvalid",
    }.items():
        user.wait_condition(name, "Stalled", reason)
    assert operator.stop() == 0

    assert CANARY not in operator.log()
    assert CANARY not in json.dumps(user.listed("events.events.k8s.io"))
    for kind in ("promptdeployments", "promptrevisions", "agentrollbacks", "configmaps"):
        for obj in user.listed(kind):
            assert CANARY not in json.dumps([obj["metadata"], obj.get("status")]), f"{kind} {obj['metadata']['name']}"
