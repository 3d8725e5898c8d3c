"""The operator as kubectl installed it: what was applied, and who it is to the API server."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from prompt_operator.cluster import Cluster
from tests.support.elsewhere import Elsewhere, own_name
from tests.support.rights import Json, Rights, granted, requests_of_operators
from tests.support.user import User
from tests.support.waiting import DEADLINE

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
SYSTEM = "prompt-operator-system"
#: Rights that no installation has by itself: without them the operator is refused, and says so.
GRANTED_APART = granted(
    yaml.safe_load((MANIFESTS / "metric-secrets" / "role.yaml").read_text(encoding="utf-8"))["rules"]
)


@dataclass(frozen=True)
class Installation:
    """One way to install, the namespace the operator is in, and an administrator in a namespace it serves."""

    cluster: Cluster | Elsewhere
    way: str
    namespace: str
    user: User
    #: A kustomization that changes what is installed, such as by a prefix of its names.
    overlay: Path | None = None
    prefix: str = ""

    @property
    def name(self) -> str:
        """Of its service account, role and binding."""
        return f"{self.prefix}prompt-operator"

    @property
    def account(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def inside(self) -> User:
        """An administrator in the operator's own namespace."""
        return User(self.cluster.kubectl, self.cluster.kubeconfig, self.namespace)

    @cached_property
    def rendered(self) -> list[Json]:
        """What manifests/… installs, as kustomize renders it."""
        return list(yaml.safe_load_all(self.user.kubectl("kustomize", str(MANIFESTS / self.way))))

    @property
    def deployment(self) -> Json:
        return next(o for o in self.rendered if o["kind"] == "Deployment")

    @property
    def grants(self) -> Rights:
        """The rights that its role grants, as the manifests have it."""
        kind = "ClusterRole" if self.way == "default" else "Role"
        role = next(o for o in self.rendered if o["kind"] == kind and o["metadata"]["name"] == "prompt-operator")
        return granted(role["rules"])

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

    def delete(self, *options: str) -> str:
        return self._manifests("delete", *options)

    def _manifests(self, verb: str, *options: str) -> str:
        place = [] if self.way == "default" else ["-n", self.namespace]
        said, warned, code = self.kubectl(verb, *place, "-k", str(self.overlay or MANIFESTS / self.way), *options)
        assert (warned, code) == ("", 0)
        return said

    def token(self, account: str = "") -> str:
        """A token of a service account in the operator's namespace, its own by default, as its pod would have it."""
        return self.user.kubectl(
            "-n", self.namespace, "create", "token", account or self.name, "--duration=24h"
        ).strip()

    def kubeconfig(self, path: Path, account: str = "") -> Path:
        """A kubeconfig with which one has the rights of that service account, and no other."""
        content = yaml.safe_load(self.cluster.kubeconfig.read_text(encoding="utf-8"))
        content["users"][0]["user"] = {"token": self.token(account)}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def requests(self) -> Iterator[Json]:
        """Every answered request of the operator's account, from the audit log; without those of a test by kubectl."""
        return requests_of_operators(self.cluster.audit_log, self.account)

    def told(self, kubeconfig: Path, namespace: str) -> Rights:
        """The rights that the API server says the holder of a kubeconfig has in a namespace."""
        review: Any = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        arguments = ["create", "--validate=false", "-f", "-", "-o", "json"]
        said, warned, code = self.kubectl(*arguments, kubeconfig=kubeconfig, stdin=json.dumps(review))
        assert code == 0, warned
        return granted(json.loads(said)["status"]["resourceRules"])


@contextlib.contextmanager
def installed(cluster: Cluster | Elsewhere, way: str, namespace: str, directory: Path) -> Iterator[Installation]:
    """Install the operator by kubectl apply -k, to be run beside the cluster with the rights that it has by that.

    `default` goes into a namespace that it brings, `namespaced` into the one that is named. In a cluster that is not
    ours alone, the names are those of this run, only rights are installed, and they are removed.
    """
    user = User(cluster.kubectl, cluster.kubeconfig, namespace)
    if isinstance(cluster, Elsewhere):
        home = own_name(cluster, SYSTEM) if way == "default" else namespace
        prefix = f"{home}-" if way == "default" else ""
        made = Installation(cluster, way, home, user, rights_only(way, directory, home, prefix), prefix)
    else:
        made = Installation(cluster, way, SYSTEM if way == "default" else namespace, user)
    try:
        made.apply("--server-side")
        yield made
    finally:
        if isinstance(cluster, Elsewhere):
            made.delete("--ignore-not-found")


def rights_only(way: str, directory: Path, namespace: str, prefix: str) -> Path:
    """A kustomization of a way to install that brings a service account and its rights, and nothing for other people."""
    overlay = directory / "rights-only"
    overlay.mkdir()
    unwanted = [{"kind": "CustomResourceDefinition"}, {"kind": "Deployment"}]
    unwanted.append({"kind": "ClusterRole", "name": "prompt-operator-(view|edit)"})
    deletion = {"$patch": "delete", "apiVersion": "any/v1", "kind": "Any", "metadata": {"name": "any"}}
    kustomization = {
        "resources": [os.path.relpath((MANIFESTS / way).resolve(), overlay.resolve())],
        "namespace": namespace,
        "namePrefix": prefix,
        "patches": [{"target": target, "patch": json.dumps(deletion)} for target in unwanted],
    }
    (overlay / "kustomization.yaml").write_text(json.dumps(kustomization), encoding="utf-8")
    return overlay
