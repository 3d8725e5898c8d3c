"""Reading Secrets for metric sources is a right that has to be granted, namespace by namespace."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from prompt_operator.api.gates import Metric
from prompt_operator.cluster import Cluster
from prompt_operator.controller.gate_execution import secret_reader
from prompt_operator.controller.kube import KubeClient, configuration_of
from prompt_operator.controller.settings import Settings
from prompt_operator.evaluation.readings import Reading
from prompt_operator.evaluation.sources.problem import SourceError
from tests.support.installation import MANIFESTS, SYSTEM
from tests.support.user import User
from tests.support.waiting import eventually
from tests.unit.evaluation.sources.places import answering, asked, http, reading, serving

pytestmark = pytest.mark.integration

PLACE = MANIFESTS / "metric-secrets"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")


def may(cluster: Cluster, of: str, verb: str, namespace: str, what: str = "secrets") -> bool:
    """Whether the operator that is installed in a namespace may do something in another one."""
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "-n", namespace, "auth", "can-i", verb, what]
    command.append(f"--as=system:serviceaccount:{of}:prompt-operator")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"


def test_each_way_to_install_the_operator_gains_the_right_to_get_secrets_of_this_namespace_and_nothing_else(
    cluster: Cluster, user: User
):
    for of in (SYSTEM, user.namespace):
        assert not any(may(cluster, of, verb, user.namespace) for verb in VERBS)
    user.kubectl("apply", "-k", str(PLACE))
    for of in (SYSTEM, user.namespace):
        eventually(lambda of=of: may(cluster, of, "get", user.namespace), what="the right is granted")
        assert [verb for verb in VERBS if may(cluster, of, verb, user.namespace)] == ["get"]
        assert not may(cluster, of, "get", "default")
        assert not may(cluster, of, "get", user.namespace, "serviceaccounts")
    assert not may(cluster, "default", "get", user.namespace)
    user.kubectl("delete", "-k", str(PLACE))
    eventually(lambda: not may(cluster, SYSTEM, "get", user.namespace), what="the right is taken back")


def test_no_installation_has_it_by_itself(user: User):
    for way in ("default", "namespaced", "base"):
        rendered = list(yaml.safe_load_all(user.kubectl("kustomize", str(MANIFESTS / way))))
        rules = [rule for one in rendered if one["kind"] in ("Role", "ClusterRole") for rule in one["rules"]]
        assert not [rule for rule in rules if "secrets" in rule["resources"]]


@pytest.fixture
def kubeconfig(cluster: Cluster, user: User, tmp_path: Path) -> Path:
    """What an operator has that is installed in the namespace of this test."""
    user.kubectl("create", "serviceaccount", "prompt-operator")
    content = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    content["users"][0]["user"] = {"token": user.kubectl("create", "token", "prompt-operator").strip()}
    path = tmp_path / "operator-kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    settings = Settings(kubeconfig=kubeconfig)
    client = KubeClient(await configuration_of(settings), settings)
    try:
        yield client
    finally:
        await client.close()


async def read(client: KubeClient, wanted: Metric, namespace: str) -> Reading:
    async with reading(secrets=secret_reader(client)) as reader:
        return await reader.read(asked(wanted, control=False, namespace=namespace), wanted)


async def test_a_source_is_read_with_a_token_once_the_right_the_secret_and_its_label_are_there(
    user: User, kubeconfig: Path
):
    async with client_of(kubeconfig) as client, serving(answering({"candidate": {"value": 7}})) as url:
        wanted = http(url, "Value", bearerToken={"name": "source", "key": "token"})

        async def problem() -> str:
            return (await read(client, wanted, user.namespace)).problem

        told = await problem()
        assert "The operator may not read Secret source (403): by default it has no right to any." in told
        assert told.endswith(f"kubectl apply -n {user.namespace} -k manifests/metric-secrets")
        user.kubectl("apply", "-k", str(PLACE))
        await _until_granted(client, user.namespace)
        assert (
            await problem()
            == f"There is no Secret source in namespace {user.namespace}. Create it, or correct the name."
        )
        user.kubectl("create", "secret", "generic", "source", "--from-literal=token=t0ken")
        said = (await problem()).rpartition("If it shall be: ")[2]
        assert said == "kubectl label secret source promptoperator.io/metric-source=true"
        user.kubectl(*said.split()[1:])
        assert await problem() == ""
        missing = http(url, "Value", bearerToken={"name": "source", "key": "other"})
        assert (await read(client, missing, user.namespace)).problem == "Secret source has no key other."


async def _until_granted(client: KubeClient, namespace: str) -> None:
    """The API server hears of a new role a moment after it took it."""
    async with asyncio.timeout(60):
        while True:
            try:
                await secret_reader(client)(namespace, "none", "none")
            except SourceError as error:
                if "403" not in str(error):
                    return
            await asyncio.sleep(0.1)
