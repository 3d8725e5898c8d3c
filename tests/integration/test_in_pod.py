"""In a pod the operator finds the cluster by the files and variables that the kubelet puts there."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from kubernetes.aio.config import incluster_config

from prompt_operator.cluster import Cluster
from prompt_operator.controller.kube import KubeClient, NoClusterError, configuration_of
from prompt_operator.controller.settings import Settings
from tests.support.installation import MANIFESTS
from tests.support.manifests import deployment
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


class Later(datetime):
    """The clock two minutes from now; a token file is read again after one."""

    @classmethod
    def now(cls, *_):
        return datetime.now() + timedelta(minutes=2)  # noqa: DTZ005 - as the client library has it


@pytest.fixture
def mounted(cluster: Cluster, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the service account as a pod has it, though at another place."""
    user.kubectl("create", "serviceaccount", "robot")
    (tmp_path / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
    (tmp_path / "token").write_text(user.kubectl("create", "token", "robot").strip())
    server = urlsplit(cluster.server)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    return tmp_path


async def username(client: KubeClient) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    return str(answer["status"]["userInfo"]["username"])


async def test_a_rotated_token_is_taken_up_without_a_restart(
    mounted: Path, user: User, monkeypatch: pytest.MonkeyPatch
):
    client = KubeClient(await configuration_of(Settings()), Settings())
    try:
        assert await username(client) == f"system:serviceaccount:{user.namespace}:robot"
        user.kubectl("create", "serviceaccount", "successor")
        (mounted / "token").write_text(user.kubectl("create", "token", "successor").strip())
        assert await username(client) == f"system:serviceaccount:{user.namespace}:robot"
        monkeypatch.setattr(incluster_config, "datetime", SimpleNamespace(datetime=Later, timedelta=timedelta))
        assert await username(client) == f"system:serviceaccount:{user.namespace}:successor"
    finally:
        await client.close()


async def test_outside_of_a_pod_and_without_a_kubeconfig_it_says_what_to_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NoClusterError, match="Name a file with --kubeconfig"):
        await configuration_of(Settings())


def test_the_operator_ships_a_prompt_with_nothing_but_its_service_account(mounted: Path, user: User):
    user.kubectl("apply", "-k", str(MANIFESTS / "namespaced"))
    user.kubectl("create", "rolebinding", "robot", "--role=prompt-operator", f"--serviceaccount={user.namespace}:robot")
    where = f"c.SERVICE_TOKEN_FILENAME={str(mounted / 'token')!r}; c.SERVICE_CERT_FILENAME={str(mounted / 'ca.crt')!r}"
    program = f"import kubernetes.aio.config.incluster_config as c; {where}; from prompt_operator.cli.main import main; main()"
    options = ["run", "--namespace", user.namespace, "--health-host", "127.0.0.1", "--health-port", "0"]
    with (mounted / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", program, *options], stdout=log, stderr=log)
    try:
        eventually(lambda: '"event": "ready"' in (mounted / "log").read_text(), what="the operator is ready")
        user.apply(deployment(text="from within"))
        user.wait_live("support", "from within")
    finally:
        process.terminate()
        process.wait(timeout=30)
