"""What tests of Jobs share: CronJobs to clone, runs of a real PromptDeployment, and a runner with the operator's rights."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from prompt_operator.api.content import content_of
from prompt_operator.api.gates import JobSource, Metric, Source, TestGate
from prompt_operator.controller.intake import read_deployment
from prompt_operator.controller.jobs import JobRunner
from prompt_operator.controller.kube import KubeClient, configuration_of
from prompt_operator.controller.settings import Settings
from prompt_operator.delivery.config_map import owner_reference
from prompt_operator.evaluation.jobs import JobRun, run_of_metric, run_of_test
from prompt_operator.evaluation.readings import LookAsked
from tests.support.manifests import deployment
from tests.support.user import User
from tests.support.waiting import eventually

Json = dict[str, Any]
MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
CANDIDATE, CURRENT = ({"text": f"You are the {arm}.\n"} for arm in ("candidate", "current"))
CONTENTS = {content_of(prompt).hash: content_of(prompt).canonical for prompt in (CANDIDATE, CURRENT)}


def hash_of(prompt: Json) -> str:
    return content_of(prompt).hash


async def content_of_hash(wanted: str) -> bytes:
    return CONTENTS[wanted]


def cron_job(name: str = "check", *, label: str | None = "true", suspend: bool = True, **more: Any) -> Json:
    """A CronJob as a user writes it; what is not of the CronJob itself is of its Jobs."""
    container = {"name": "check", "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["true"]}
    container |= more.pop("container", {})
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    pod |= more.pop("pod", {})
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": {"promptoperator.io/test": label} if label else {}},
        "spec": {
            "schedule": "@yearly",
            "suspend": suspend,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}} | more},
        },
    }


class Stand:
    """A namespace with a PromptDeployment, and who acts there: an administrator, and the operator's service account."""

    def __init__(self, user: User, directory: Path) -> None:
        self.user = user
        user.create(deployment("support"))
        seen = read_deployment(user.get("promptdeployment", "support"), lambda _hash, _bytes: None)
        self.deployment = seen
        self.owner = owner_reference(seen)
        # Exactly what is installed in a namespace that is served alone.
        user.kubectl("apply", "-f", str(MANIFESTS / "base" / "serviceaccount.yaml"))
        user.kubectl("apply", "-f", str(MANIFESTS / "namespaced" / "role.yaml"))
        account = f"--serviceaccount={user.namespace}:prompt-operator"
        user.kubectl("create", "rolebinding", "prompt-operator", "--role=prompt-operator", account)
        self.kubeconfig = directory / "operator.kubeconfig"
        content = yaml.safe_load(user.kubeconfig.read_text(encoding="utf-8"))
        content["users"][0]["user"] = {"token": user.kubectl("create", "token", "prompt-operator").strip()}
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(content), encoding="utf-8")

    @asynccontextmanager
    async def runner(self, kind: Callable[..., KubeClient] = KubeClient, *extra: Any) -> AsyncIterator[JobRunner]:
        settings = Settings(kubeconfig=self.kubeconfig)
        client = kind(await configuration_of(settings), settings, *extra)
        runner = JobRunner(client)
        try:
            yield runner
        finally:
            await runner.close()
            await client.close()

    def test(self, name: str = "tone", *, timeout: int = 600, live: bool = True, cron: str = "check") -> JobRun:
        gate = TestGate(name=name, cron_job_name=cron, timeout_seconds=timeout)
        current = hash_of(CURRENT) if live else ""
        return run_of_test(self.deployment, self.owner, 3, gate, candidate=hash_of(CANDIDATE), current=current)

    def metric(self, asked: LookAsked, *, timeout: int = 600, cron: str = "check") -> JobRun:
        source = Source(job=JobSource(cron_job_name=cron, timeout_seconds=timeout))
        return run_of_metric(asked, Metric(name="latency", source=source), self.owner)

    # --- in place of the kubelet, which is not there ------------------------------------------------------------------

    def pod_of(self, job: str) -> Json:
        """Wait for the one pod of a Job."""
        selector = f"batch.kubernetes.io/job-name={job}"
        found = eventually(lambda: self.user.listed("pods", "-l", selector), what=f"a pod of {job}")
        assert len(found) == 1
        return found[0]

    def tell_of_pod(self, job: str, **status: Any) -> None:
        """Write the status of a Job's pod."""
        name = self.pod_of(job)["metadata"]["name"]
        self.user.patch("pod", name, {"status": status}, "--subresource=status")

    def end_pod(self, job: str, message: str = "", exit_code: int = 0) -> None:
        """Write that a Job's pod ended, with a termination message."""
        ended = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": message,
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:00:01Z",
        }
        container = {"name": "check", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
        self.tell_of_pod(
            job,
            phase="Failed" if exit_code else "Succeeded",
            containerStatuses=[container | {"state": {"terminated": ended}}],
        )


class CrashedError(Exception):
    """The process is no more."""


class DyingClient(KubeClient):
    """A real client, of a process that dies before or after its n-th write."""

    def __init__(self, configuration: Any, settings: Settings, last: int, *, answered: bool) -> None:
        super().__init__(configuration, settings)
        self._left, self._answered = last, answered

    async def request(self, method: str, path: str, **more: Any) -> Json:
        if method == "GET":
            return await super().request(method, path, **more)
        if self._left == 0 and not self._answered:
            raise CrashedError
        answer = await super().request(method, path, **more)
        if self._left == 0:
            raise CrashedError
        self._left -= 1
        return answer
