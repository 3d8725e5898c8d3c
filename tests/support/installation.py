"""The operator as kubectl installed it: what was applied, and who it is to the API server."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from prompt_operator.cluster import Cluster
from tests.support.user import Json, User
from tests.support.waiting import DEADLINE

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
SYSTEM = "prompt-operator-system"
#: (API group, resource with subresource) → verbs
Rights = dict[tuple[str, str], set[str]]


@dataclass(frozen=True)
class Installation:
    """One way to install, the namespace the operator is in, and an administrator in a namespace it serves."""

    cluster: Cluster
    way: str
    namespace: str
    user: User

    @property
    def account(self) -> str:
        return f"system:serviceaccount:{self.namespace}:prompt-operator"

    @property
    def inside(self) -> User:
        """An administrator in the operator's own namespace."""
        return User(self.cluster.kubectl, self.cluster.kubeconfig, self.namespace)

    @cached_property
    def deployment(self) -> Json:
        """The Deployment, as kustomize renders it."""
        rendered = yaml.safe_load_all(self.user.kubectl("kustomize", str(MANIFESTS / self.way)))
        return next(o for o in rendered if o["kind"] == "Deployment")

    @property
    def arguments(self) -> list[str]:
        """What the container's command is given, with the variables that Kubernetes would fill in."""
        container = self.deployment["spec"]["template"]["spec"]["containers"][0]
        return [a.replace("$(POD_NAMESPACE)", self.namespace) for a in container.get("args", [])]

    def kubectl(self, *args: str, kubeconfig: Path | None = None, stdin: str | None = None) -> tuple[str, str, int]:
        """Run kubectl as an administrator, or with another kubeconfig; return what it says, warns of, and its exit code."""
        command = [str(self.cluster.kubectl), "--kubeconfig", str(kubeconfig or self.cluster.kubeconfig), *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=DEADLINE)
        return done.stdout, done.stderr, done.returncode

    def apply(self, *options: str) -> str:
        """kubectl apply -k, as the README has it."""
        return self._manifests("apply", *options)

    def delete(self) -> str:
        return self._manifests("delete")

    def _manifests(self, verb: str, *options: str) -> str:
        place = [] if self.way == "default" else ["-n", self.namespace]
        said, warned, code = self.kubectl(verb, *place, "-k", str(MANIFESTS / self.way), *options)
        assert (warned, code) == ("", 0)
        return said

    def token(self, account: str = "prompt-operator") -> str:
        """A token of a service account in the operator's namespace, as its pod would have it."""
        return self.user.kubectl("-n", self.namespace, "create", "token", account, "--duration=2h").strip()

    def kubeconfig(self, path: Path, account: str = "prompt-operator") -> Path:
        """A kubeconfig with which one has the rights of that service account, and no other."""
        content = yaml.safe_load(self.cluster.kubeconfig.read_text(encoding="utf-8"))
        content["users"][0]["user"] = {"token": self.token(account)}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def requests(self) -> Iterator[Json]:
        """Every answered request of the operator's account, from the audit log; without those of a test by kubectl."""
        with self.cluster.audit_log.open(encoding="utf-8") as log:
            for line in log:
                entry = json.loads(line) if line.endswith("\n") else {}
                by_kubectl = entry.get("userAgent", "").startswith("kubectl")
                if entry.get("user", {}).get("username") == self.account and not by_kubectl:
                    yield entry

    def used(self) -> Rights:
        """The rights that the operator used."""
        found: Rights = {}
        for entry in self.requests():
            if about := entry.get("objectRef"):
                resource = joined(about["resource"], about.get("subresource"))
                add(found, about.get("apiGroup", ""), resource, entry["verb"])
        return found

    def granted(self, kubeconfig: Path, namespace: str) -> Rights:
        """The rights that the API server says the holder of a kubeconfig has in a namespace."""
        review: Any = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        arguments = ["create", "--validate=false", "-f", "-", "-o", "json"]
        said, warned, code = self.kubectl(*arguments, kubeconfig=kubeconfig, stdin=json.dumps(review))
        assert code == 0, warned
        found: Rights = {}
        for rule in json.loads(said)["status"]["resourceRules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        add(found, group, resource, verb)
        return found


def joined(resource: str, subresource: str | None) -> str:
    return f"{resource}/{subresource}" if subresource else resource


def add(rights: Rights, group: str, resource: str, verb: str) -> None:
    rights.setdefault((group, resource), set()).add(verb)
