"""Installed by kubectl apply -k, the operator has the rights it needs, and not one more.

The embedded cluster has no nodes: the pod is admitted and stays Pending. So the operator runs outside of it, with a
token of the installed service account and the arguments of the installed Deployment.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from prompt_operator.cluster import Cluster
from prompt_operator.controller.preflight import RIGHTS
from tests.faultproxy import Fault, FaultProxy, Match, respond
from tests.support.installation import MANIFESTS, SYSTEM, Installation
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.rights import Rights, joined, refused, used, without
from tests.support.user import User, condition_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

POD = "prompt-operator-5d9c7b6f4-x2x8k"
ASKED: Rights = {(group, joined(name, sub)): set(verbs) for (group, name, sub), verbs in RIGHTS.items()}
#: What every authenticated user may ask: whether they have a right.
ASKING = {("authorization.k8s.io", "selfsubjectaccessreviews"): {"create"}}


@pytest.fixture(scope="module", params=["default", "namespaced"])
def installed(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """A cluster of its own, as what is installed for all namespaces would be seen by other tests.

    It enforces who may set which owner, as OpenShift does and other clusters do not.
    """
    enforcing = ["--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"]
    with Cluster.ephemeral(audit_log=True, apiserver_args=enforcing) as cluster:
        yield install(cluster, request.param)


def install(cluster: Cluster, way: str) -> Installation:
    user = User(cluster.kubectl, cluster.kubeconfig, "team")
    user.kubectl("create", "namespace", "team")
    if way == "namespaced":
        user.kubectl("apply", "--server-side", "-k", str(MANIFESTS.parent / "crds"))
        user.kubectl("label", "namespace", "team", "pod-security.kubernetes.io/enforce=restricted")
    made = Installation(cluster, way, SYSTEM if way == "default" else "team", user)
    made.apply()
    for kind in ("promptdeployments", "promptrevisions", "agentrollbacks"):
        user.kubectl("wait", "--for=condition=Established", f"crd/{kind}.promptoperator.io")
    return made


@pytest.fixture(scope="module")
def lived(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose operator has done everything it ever does."""
    directory = tmp_path_factory.mktemp(installed.way)
    with (
        pytest.MonkeyPatch.context() as environment,
        FaultProxy.in_front_of(installed.cluster.kubeconfig, directory=directory, token=installed.token()) as proxy,
    ):
        environment.setenv("POD_NAME", POD)
        with OperatorProcess(proxy.kubeconfig, directory / "log", *installed.arguments) as operator:
            live_through_everything(installed.user, proxy)
            assert operator.probe("/readyz")[0] == 200
            assert operator.stop() == 0
            yield installed


def live_through_everything(user: User, proxy: FaultProxy) -> None:
    ship_and_edit(user)
    roll_back_through_conflicts(user, proxy)
    heal(user)
    collect(user)
    clean_up_what_failed(user)
    meet_what_is_not_there_and_what_is_not_ours(user)


def ship_and_edit(user: User) -> None:
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    written = eventually(lambda: [e for e in user.events("support") if e["reason"] == "Shipped"], what="an event")
    assert written[0]["reportingInstance"] == POD


def roll_back_through_conflicts(user: User, proxy: FaultProxy) -> None:
    """Every refused write is followed by a read of what it was about."""
    written = [("agentrollbacks", "status"), ("promptrevisions", "status"), ("promptdeployments", "status")]
    faults = [
        proxy.arm(Fault(match=Match(method="PATCH", resource=name, subresource=sub), action=respond(409)))
        for name, sub in written
    ]
    user.create(rollback("back", ttlSecondsAfterFinished=1))
    for fault in faults:
        fault.wait()
    user.wait_live("support", "one")
    eventually(lambda: user.find("agentrollback", "back") is None, what="the finished AgentRollback is deleted")


def heal(user: User) -> None:
    before = user.get("configmap", "support-prompt")
    user.patch("configmap", "support-prompt", {"data": {"prompt.txt": "mine"}})
    user.wait_live("support", "one")
    user.patch("configmap", "support-prompt", {"data": {"prompt.txt": "for ever mine"}, "immutable": True})
    user.wait_live("support", "one")
    user.kubectl("delete", "configmap", "support-prompt")
    user.wait_live("support", "one")
    assert user.get("configmap", "support-prompt")["data"] == before["data"]


def collect(user: User) -> None:
    user.apply(deployment("brief", text="0", revisionHistoryLimit=2))
    for number in range(1, 5):
        user.wait_live("brief", str(number - 1))
        user.apply(deployment("brief", text=str(number), revisionHistoryLimit=2))
    user.wait_live("brief", "4")
    eventually(lambda: len(revisions(user, "brief")) == 2, what="only the newest revisions are kept")


def clean_up_what_failed(user: User) -> None:
    for text in ("live before", "live"):
        user.apply(deployment("paused", text=text))
        user.wait_live("paused", text)
    for text in ("superseded", "waiting"):
        user.apply(deployment("paused", text=text, paused=True))
        user.wait_settled("paused")
    assert "Failed" in {r["status"]["stage"] for r in revisions(user, "paused")}
    user.create(rollback("clean", "paused", cleanupFailed=True))
    status = user.wait_rollback("clean")["status"]
    assert (status["phase"], status["cleanedUp"]) == ("Succeeded", ["paused-3"])
    assert "Failed" not in {r["status"]["stage"] for r in revisions(user, "paused")}


def meet_what_is_not_there_and_what_is_not_ours(user: User) -> None:
    user.create(rollback("lost", "nobody"))
    assert user.wait_rollback("lost")["status"]["phase"] == "Failed"
    user.kubectl("create", "configmap", "taken-prompt", "--from-literal=mine=yes")
    user.apply(deployment("taken"))
    user.wait_condition("taken", "Stalled", "ConfigMapConflict")
    assert user.live("taken") == {"mine": "yes"}
    user.kubectl("delete", "configmap", "taken-prompt")
    user.wait_live("taken", "You help.")


def revisions(user: User, name: str) -> list[dict]:
    return user.listed("promptrevisions", "-l", f"promptoperator.io/deployment={name}")


# --- rights -----------------------------------------------------------------------------------------------------------


def test_the_operator_does_all_its_work_and_is_refused_nothing(lived: Installation):
    requests = list(lived.requests())
    assert requests
    assert refused(requests) == []


def test_the_operator_uses_rights_it_asks_for_and_those_that_everybody_has(lived: Installation):
    """That it needs all of those it asks for is shown by all tests together, in test_rights."""
    roles = used(lived.requests())
    assert roles.keys() == {"prompt-operator", "system:basic-user"}
    assert without(roles["prompt-operator"], ASKED) == {}
    assert roles["system:basic-user"] == ASKING


def test_the_service_account_has_exactly_the_rights_the_operator_asks_for(installed: Installation, tmp_path: Path):
    of_operator = installed.told(installed.kubeconfig(tmp_path / "operator"), installed.user.namespace)
    of_anybody = installed.told(installed.kubeconfig(tmp_path / "anybody", "default"), installed.user.namespace)
    assert {
        key: verbs - of_anybody.get(key, set()) for key, verbs in of_operator.items() if verbs != of_anybody.get(key)
    } == ASKED


def test_outside_of_what_it_serves_the_operator_has_no_rights(installed: Installation, tmp_path: Path):
    installed.user.kubectl("create", "namespace", "other")
    of_operator = installed.told(installed.kubeconfig(tmp_path / "operator"), "other")
    of_anybody = installed.told(installed.kubeconfig(tmp_path / "anybody", "default"), "other")
    assert (of_operator == of_anybody) is (installed.way == "namespaced")


@pytest.mark.parametrize(
    "question",
    [
        "get secrets",
        "list secrets",
        "create promptdeployments.promptoperator.io",
        "delete promptdeployments.promptoperator.io",
        "patch promptrevisions.promptoperator.io",
        "patch agentrollbacks.promptoperator.io",
        "create pods",
        "create cronjobs.batch",
        "patch deployments.apps",
        "create serviceaccounts/token",
        "create rolebindings.rbac.authorization.k8s.io",
        "deletecollection configmaps",
        "get namespaces",
    ],
)
def test_the_operator_may_not(installed: Installation, tmp_path: Path, question: str):
    arguments = ["-n", installed.user.namespace, "auth", "can-i", *question.split()]
    said, _, code = installed.kubectl(*arguments, kubeconfig=installed.kubeconfig(tmp_path / "operator"))
    assert (said.strip(), code) == ("no", 1)


def test_who_may_edit_a_namespace_may_edit_its_prompts_but_no_record_and_no_status(installed: Installation):
    if installed.way == "namespaced":
        installed.user.kubectl("apply", "-k", str(MANIFESTS / "users"))
    for who in ("view", "edit", "admin"):
        installed.user.kubectl("create", "rolebinding", who, f"--clusterrole={who}", f"--user={who}")

    def may(who: str, verb: str, what: str) -> bool:
        kind, _, subresource = what.partition("/")
        asked = ["auth", "can-i", verb, f"{kind}.promptoperator.io", f"--subresource={subresource}", f"--as={who}"]
        return installed.kubectl("-n", installed.user.namespace, *asked)[0].strip() == "yes"

    own = ("promptdeployments", "agentrollbacks")
    eventually(lambda: may("admin", "create", own[0]), what="the roles are aggregated")
    for what in (*own, "promptrevisions"):
        assert [may(who, "watch", what) for who in ("view", "edit", "admin")] == [True, True, True], what
    for what in own:
        for verb in ("create", "update", "patch", "delete"):
            assert [may(who, verb, what) for who in ("view", "edit", "admin")] == [False, True, True], (verb, what)
    for what in ("promptrevisions", "promptdeployments/status", "agentrollbacks/status"):
        assert [may(who, "patch", what) for who in ("view", "edit", "admin")] == [False, False, False], what


# --- what is applied --------------------------------------------------------------------------------------------------


def test_applying_again_changes_nothing_by_either_kind_of_apply(installed: Installation):
    pods = eventually(lambda: installed.inside.listed("pods"), what="the pod is made")
    assert outcomes(installed.apply()) == {"unchanged"}
    for _ in range(2):
        assert outcomes(installed.apply("--server-side")) == {"serverside-applied"}
    installed.apply()
    assert outcomes(installed.apply()) == {"unchanged"}
    assert [p["metadata"]["uid"] for p in installed.inside.listed("pods")] == [p["metadata"]["uid"] for p in pods]


def outcomes(said: str) -> set[str]:
    """What kubectl says of each object: the last word of each line."""
    return {line.rsplit(" ", 1)[1] for line in said.splitlines()}


def test_the_pod_is_admitted_under_restricted_pod_security_without_a_warning(installed: Installation):
    template = installed.deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "try"},
        "spec": template["spec"],
    }
    arguments = ["-n", installed.namespace, "create", "--dry-run=server", "-f", "-"]
    _, warned, code = installed.kubectl(*arguments, stdin=json.dumps(pod))
    assert (warned, code) == ("", 0)
    labels = installed.user.get("namespace", installed.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_exists_and_holds_one_token_of_its_own_account_and_nothing_else(installed: Installation):
    admin = installed.inside
    pods = eventually(lambda: admin.listed("pods"), what="the pod is made")
    assert [p["status"]["phase"] for p in pods] == ["Pending"]
    spec = pods[0]["spec"]
    assert spec["serviceAccountName"] == "prompt-operator"
    assert [list(v) for v in spec["volumes"]] == [["name", "projected"]]
    assert not admin.get("serviceaccount", "prompt-operator")["automountServiceAccountToken"]


def test_an_overlay_names_another_image_and_another_namespace(installed: Installation, tmp_path: Path):
    overlay = {
        "resources": [os.path.relpath(MANIFESTS / installed.way, tmp_path)],
        "namespace": "prompts",
        "images": [{"name": "prompt-operator", "newName": "example.test/team/operator", "newTag": "7"}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    objects = list(yaml.safe_load_all(installed.kubectl("kustomize", str(tmp_path))[0]))
    image = next(o for o in objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "example.test/team/operator:7"
    assert {o["metadata"]["namespace"] for o in objects if "namespace" in o["metadata"]} == {"prompts"}
    bindings = [o for o in objects if o["kind"].endswith("Binding")]
    assert [b["subjects"][0].get("namespace", "prompts") for b in bindings] == ["prompts"]
    assert {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"} <= {"prompts"}


# --- what is deleted --------------------------------------------------------------------------------------------------


@pytest.fixture
def left_behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[User]:
    """A user whose prompt was live when the operator was taken out of the cluster again by kubectl delete -k."""
    with Cluster.ephemeral(audit_log=True) as cluster:
        made = install(cluster, request.param)
        with OperatorProcess(made.kubeconfig(tmp_path / "kubeconfig"), tmp_path / "log", *made.arguments) as operator:
            made.user.apply(deployment(text="one"), deployment("short-lived"))
            made.user.wait_live("support", "one")
            made.user.wait_live("short-lived", "You help.")
            operator.stop()
        if request.param == "default":
            wait_for_garbage_collector(made.user)
        made.delete()
        yield made.user


def wait_for_garbage_collector(user: User) -> None:
    """It looks for new kinds every half a minute; until then it does not hear that their objects are deleted."""
    user.kubectl("delete", "promptdeployment", "short-lived")
    gone = "what is owned by a deleted PromptDeployment is deleted"
    eventually(lambda: user.find("configmap", "short-lived-prompt") is None, within=150, what=gone)


def installed_objects(user: User) -> str:
    kinds = "namespaces,crds,clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,deployments,pods"
    return user.kubectl("get", "-A", "-l", "app.kubernetes.io/part-of=prompt-operator", "-o", "name", kinds)


@pytest.mark.parametrize("left_behind", ["default"], indirect=True)
def test_deleting_everything_takes_the_kinds_and_so_every_prompt_and_what_was_made_of_it(left_behind: User):
    eventually(lambda: installed_objects(left_behind) == "", what="nothing of the operator is left")
    assert left_behind.find("namespace", SYSTEM) is None
    eventually(lambda: left_behind.find("configmap", "support-prompt") is None, what="the ConfigMap is gone")


@pytest.mark.parametrize("left_behind", ["namespaced"], indirect=True)
def test_deleting_the_namespaced_operator_leaves_prompts_and_what_agents_read(left_behind: User):
    eventually(lambda: installed_objects(left_behind) == "", what="nothing of the operator is left")
    assert left_behind.live("support")["prompt.txt"] == "one"
    assert condition_of(left_behind.get("promptdeployment", "support"), "Ready")["status"] == "True"
