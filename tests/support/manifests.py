"""The YAML a user would write."""

from typing import Any

Json = dict[str, Any]
API = "promptoperator.io/v1alpha1"


def deployment(name: str = "support", text: str | None = "You help.", **spec: Any) -> Json:
    """A PromptDeployment. ``prompt`` replaces the text, any other keyword is a member of spec."""
    prompt = spec.pop("prompt", {"text": text})
    return {
        "apiVersion": API,
        "kind": "PromptDeployment",
        "metadata": {"name": name},
        "spec": {"prompt": prompt, **spec},
    }


def rollback(name: str, deployment: str | None = "support", **spec: Any) -> Json:
    """An AgentRollback of one deployment, or of an agent if one is named."""
    if "agent" not in spec:
        spec["promptDeploymentName"] = deployment
    return {"apiVersion": API, "kind": "AgentRollback", "metadata": {"name": name}, "spec": spec}
