"""A user with kubectl, working in one namespace."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.waiting import DEADLINE, eventually

Json = dict[str, Any]


class KubectlError(AssertionError):
    """kubectl refused; its words are the message."""


class User:
    """Does what a user does, by the commands a user types."""

    def __init__(self, kubectl: Path, kubeconfig: Path, namespace: str) -> None:
        self.binary = kubectl
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace; return what it prints. Raises KubectlError with what it complains of."""
        command = [str(self.binary), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=DEADLINE)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *manifests: Json, manager: str | None = None, force: bool = False) -> str:
        """kubectl apply -f -, server-side under a manager if one is named, else client-side."""
        args = ["apply", "-f", "-"]
        if manager:
            args += ["--server-side", "--field-manager", manager] + (["--force-conflicts"] if force else [])
        return self.kubectl(*args, stdin=yaml.safe_dump_all(manifests))

    def create(self, *manifests: Json) -> str:
        return self.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def refused(self, *args: str, stdin: str | None = None) -> str:
        """Run a command that must be refused; return the refusal."""
        try:
            said = self.kubectl(*args, stdin=stdin)
        except KubectlError as error:
            return str(error)
        raise AssertionError(f"was not refused: {said}")

    def refused_apply(self, *manifests: Json, server_side: bool = True) -> str:
        args = ["apply", "-f", "-"] + (["--server-side"] if server_side else [])
        return self.refused(*args, stdin=yaml.safe_dump_all(manifests))

    def patch(self, kind: str, name: str, patch: Json, *options: str) -> str:
        return self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *options)

    def get(self, kind: str, name: str) -> Json:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def find(self, kind: str, name: str) -> Json | None:
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def listed(self, kind: str, *options: str) -> list[Json]:
        return json.loads(self.kubectl("get", kind, "-o", "json", *options))["items"]

    def events(self, about: str) -> list[Json]:
        return self.listed("events.events.k8s.io", "--field-selector", f"regarding.name={about}")

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wait(
        self, kind: str, name: str, holds: Callable[[Json], Any], what: str = "", within: float = DEADLINE
    ) -> Json:
        """Wait until an object exists and something holds of it; return it."""
        seen: list[Json] = []

        def look() -> bool:
            found = self.find(kind, name)
            seen[:] = [found] if found else []
            return bool(found and holds(found))

        try:
            eventually(look, within=within, what=what or f"{kind}/{name}")
        except AssertionError as error:
            status = seen[0].get("status") if seen else "absent"
            raise AssertionError(f"{error}\n{json.dumps(status, indent=1)[:4000]}") from None
        return seen[0]

    def wait_live(self, name: str, text: str) -> Json:
        """Wait until the ConfigMap holds a text, and status and conditions say so of the current generation."""
        self.wait(
            "configmap", f"{name}-prompt", lambda o: o["data"].get("prompt.txt") == text, f"{name} holds {text!r}"
        )
        return self.wait_settled(name)

    def wait_settled(self, name: str) -> Json:
        """Wait until the status speaks of the current generation and nothing is in progress."""
        return self.wait("promptdeployment", name, is_settled, f"{name} is settled")

    def wait_condition(self, name: str, condition: str, reason: str) -> Json:
        def holds(o: Json) -> bool:
            found = condition_of(o, condition)
            return o["status"].get("observedGeneration") == o["metadata"]["generation"] and (
                found.get("status") == "True" and found.get("reason") == reason
            )

        return self.wait(
            "promptdeployment", name, lambda o: "status" in o and holds(o), f"{name}: {condition} {reason}"
        )

    def wait_rollback(self, name: str) -> Json:
        """Wait until an AgentRollback is finished."""
        return self.wait(
            "agentrollback",
            name,
            lambda o: o.get("status", {}).get("phase") in ("Succeeded", "Failed"),
            f"AgentRollback {name} is finished",
        )

    def live(self, name: str) -> Mapping[str, str]:
        """The data of the ConfigMap."""
        return self.get("configmap", f"{name}-prompt")["data"]


def condition_of(obj: Json, kind: str) -> Json:
    """One condition of an object; empty if it has none of that type."""
    return next((c for c in obj.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def is_settled(obj: Json) -> bool:
    status = obj.get("status") or {}
    return (
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and condition_of(obj, "Reconciling").get("status") == "False"
    )
