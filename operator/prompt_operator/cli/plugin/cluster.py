"""The cluster, seen through kubectl itself: every way of logging in that works for kubectl works here.

Nothing here remembers or interprets: objects go in and out as JSON, complaints come out as one error type.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    GROUP,
    LABEL_DEPLOYMENT,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
    VERSION,
)
from prompt_operator.cli.plugin.complaints import explain
from prompt_operator.cli.plugin.exits import Exit, PluginError

Json = dict[str, Any]

#: A one-off manager: the operator sets spec.targetHash over it, as over kubectl edit.
FIELD_MANAGER: Final = "kubectl-prompt"
_LARGEST_NAME: Final = 253
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


@dataclass(frozen=True, slots=True)
class Query:
    """One thing to read: an object by name, or a list."""

    resource: str
    name: str = ""
    selector: str = ""
    all_namespaces: bool = False
    #: What to do without the right to read it: None is given then, instead of an error.
    optional: bool = False

    def arguments(self) -> list[str]:
        """Return the arguments of kubectl."""
        found = ["get", _qualified(self.resource), "--output=json", "--show-managed-fields"]
        found += [f"--selector={self.selector}"] if self.selector else []
        found += ["--all-namespaces"] if self.all_namespaces else []
        return [*found, "--", self.name] if self.name else found


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster and namespace, as named by kubectl's own options."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    request_timeout: str = "60s"
    binary: str = field(default_factory=lambda: os.environ.get("KUBECTL") or "kubectl")

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, resource: str, name: str) -> Json:
        """Return one object. Raises PluginError, and NotFoundError if there is none of that name."""
        found: Json = self.read(Query(resource, check_name(name)))[0]
        return found

    def all_of(self, resource: str, *, selector: str = "", all_namespaces: bool = False) -> list[Json]:
        """Return all objects of a kind, in chunks as kubectl asks for them. Raises PluginError."""
        found: list[Json] = self.read(Query(resource, "", selector, all_namespaces))[0]
        return found

    def read(self, *queries: Query) -> list[Any]:
        """Read several things at once: an object for a query with a name, else a list. Raises PluginError.

        They are not one snapshot: each is as the API server had it when it was asked.
        """
        running = [self._start(query.arguments()) for query in queries]
        answers = [process.communicate() for process in running]
        found: list[Any] = []
        for query, process, (out, complaint) in zip(queries, running, answers, strict=True):
            if process.returncode:
                problem = self.explained(complaint)
                if not (query.optional and problem.code in (Exit.NO_RIGHTS, Exit.USAGE)):
                    raise problem
                found.append(None)
            else:
                read = json.loads(out)
                found.append(read if query.name else read["items"])
        return found

    def deployment_with_revisions(self, name: str) -> tuple[Json, list[Json]]:
        """Return a PromptDeployment and the revisions that say they are its own. Raises PluginError."""
        deployment, revisions = self.read(
            Query(PROMPT_DEPLOYMENTS, check_name(name)),
            Query(PROMPT_REVISIONS, selector=f"{LABEL_DEPLOYMENT}={name}" if len(name) <= 63 else ""),  # noqa: PLR2004
        )
        return deployment, revisions

    def raw(self, path: str) -> Json:
        """Return what the API server answers to a GET. Raises PluginError."""
        found: Json = json.loads(self._run(["get", f"--raw={path}"]))
        return found

    def stream(self, path: str) -> subprocess.Popen[str]:
        """Start to read an answer that has no end, such as a watch; whoever asks for it ends the process."""
        return self._start(["get", f"--raw={path}"], timeout="0")

    def who(self) -> str:
        """Return who the API server says one is. Raises PluginError."""
        review = json.loads(self._run(["auth", "whoami", "--output=json"]))
        return str(review["status"]["userInfo"].get("username") or "")

    def effective_namespace(self) -> str:
        """Return the namespace commands go to."""
        if self.namespace:
            return self.namespace
        out = self._run(["config", "view", "--minify", "--output=jsonpath={..namespace}"])
        return out.strip() or "default"

    def contexts(self) -> list[str]:
        """Return the names of the contexts of the kubeconfig; none if it cannot be read."""
        bare = Cluster(kubeconfig=self.kubeconfig, binary=self.binary)
        try:
            return bare._run(["config", "get-contexts", "--output=name"]).split()
        except PluginError:
            return []

    # --- writing ------------------------------------------------------------------------------------------------------

    def patch(self, resource: str, name: str, patch: Json) -> Json:
        """Apply a merge patch under our field manager; return the object after it. Raises PluginError."""
        arguments = ["patch", _qualified(resource), "--type=merge", f"--patch={json.dumps(patch)}", "--output=json"]
        out = self._run([*arguments, f"--field-manager={FIELD_MANAGER}", "--", check_name(name)])
        changed: Json = json.loads(out)
        return changed

    def patch_json(self, resource: str, name: str, operations: Sequence[Json]) -> Json:
        """Apply a JSON patch under our field manager; return the object after it.

        Raises ChangedError where a ``test`` of the patch does not hold, and PluginError.
        """
        arguments = ["patch", _qualified(resource), "--type=json", f"--patch={json.dumps(operations)}", "--output=json"]
        out = self._run([*arguments, f"--field-manager={FIELD_MANAGER}", "--", check_name(name)])
        changed: Json = json.loads(out)
        return changed

    def create(self, manifest: Json) -> Json:
        """Create an object under our field manager; return it as created. Raises PluginError."""
        arguments = ["create", "--filename=-", f"--field-manager={FIELD_MANAGER}", "--output=json"]
        created: Json = json.loads(self._run(arguments, json.dumps(manifest)))
        return created

    # --- kubectl ------------------------------------------------------------------------------------------------------

    def options(self, *, namespace: str = "") -> list[str]:
        """Return the options that make another kubectl go to the same cluster, for commands shown to people."""
        found = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        found += [f"--context={self.context}"] if self.context else []
        wanted = namespace or self.namespace
        return found + ([f"--namespace={wanted}"] if wanted else [])

    def _start(self, arguments: Sequence[str], *, timeout: str = "") -> subprocess.Popen[str]:
        binary = shutil.which(self.binary)
        if binary is None:
            raise PluginError(
                Exit.NO_CLUSTER, f"{self.binary} is not on PATH. Install kubectl, or set KUBECTL to where it is."
            )
        command = [binary, *self.options(), f"--request-timeout={timeout or self.request_timeout}", *arguments]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )

    def _run(self, arguments: Sequence[str], stdin: str = "") -> str:
        process = self._start(arguments)
        out, complaint = process.communicate(stdin)
        if process.returncode:
            raise self.explained(complaint)
        return out

    def explained(self, complaint: str) -> PluginError:
        """Turn what kubectl complained of into our error."""
        return explain(complaint, context=self.context, contexts=self.contexts)


def check_name(name: str) -> str:
    """Return a name that may stand on kubectl's command line. Raises PluginError."""
    if not name or len(name) > _LARGEST_NAME or not set(name) <= _NAME_CHARACTERS or name[0] in "-.":
        raise PluginError(
            Exit.USAGE, f"{name!r} cannot be the name of an object: lower-case letters, digits, '-' and '.' only."
        )
    return name


def _qualified(resource: str) -> str:
    if resource in (PROMPT_DEPLOYMENTS, PROMPT_REVISIONS, AGENT_ROLLBACKS):
        return f"{resource}.{VERSION}.{GROUP}"
    return resource
