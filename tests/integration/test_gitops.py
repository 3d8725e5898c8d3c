"""A rollback that GitOps cannot undo: a loop re-applies the bad version, and it is never served again."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prompt_operator.api.content import content_of
from prompt_operator.cluster import Cluster
from tests.support.audit import AuditLog
from tests.support.gitops import SyncLoop
from tests.support.manifests import deployment, rollback
from tests.support.user import Json, User, condition_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


def hash_of(text: str) -> str:
    return content_of({"text": text}).hash


GOOD, BAD = deployment(text="good", targetHash=hash_of("good")), deployment(text="bad", targetHash=hash_of("bad"))


@contextmanager
def recorded(user: User, *names: str) -> Iterator[list[str]]:
    """Watch ConfigMaps and collect every text they ever held."""
    served: list[str] = []
    command = [
        str(user.binary),
        "--kubeconfig",
        str(user.kubeconfig),
        "--namespace",
        user.namespace,
        "get",
        "configmap",
    ]
    options = ["--watch", "--output-watch-events", "-o", 'jsonpath={.object.data.prompt\\.txt}{"\\n"}']
    watching = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert watching.stdout is not None
        served.extend(line.strip() for line in watching.stdout if line.strip())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield served
    finally:
        watching.terminate()
        watching.wait()
        reader.join()
        assert watching.stdout is not None
        watching.stdout.close()


def ship_both(user: User, manager: str | None = "argocd-controller") -> None:
    user.apply(GOOD, manager=manager, force=True)
    user.wait_live("support", "good")
    user.apply(BAD, manager=manager, force=True)
    user.wait_live("support", "bad")


@pytest.mark.parametrize(
    ("every", "manager", "named"),
    [(0.2, "argocd-controller", "argocd-controller"), (1.0, "argocd-controller", "argocd-controller"),
     (0.2, None, "kubectl-client-side-apply")],
)  # fmt: skip
def test_a_loop_that_pins_the_bad_version_never_gets_it_served_again(
    user: User, cluster: Cluster, every: float, manager: str | None, named: str
):
    ship_both(user, manager)
    with SyncLoop(user, BAD, every=every, manager=manager) as loop:
        loop.wait_for_syncs(1)
        audit = AuditLog(cluster.audit_log, user.namespace)
        user.apply(rollback("back", reason="it insulted a customer"))
        assert user.wait_rollback("back")["status"]["phase"] == "Succeeded"
        with recorded(user) as served:
            loop.wait_for_syncs(4)
            pdep = user.wait_condition("support", "TargetQuarantined", "TargetQuarantined")
            loop.wait_for_syncs(2)
        assert set(served) == {"good"}
    assert loop.refusals == []
    assert pdep["spec"]["targetHash"] == hash_of("bad")
    assert pdep["status"]["activeHash"] == hash_of("good")
    said = condition_of(pdep, "TargetQuarantined")["message"]
    assert named in said
    assert "revision 3 rolled back: it insulted a customer" in said
    assert "set spec.release.revision to 3" in said
    assert condition_of(pdep, "Stalled")["reason"] == "TargetQuarantined"
    assert condition_of(pdep, "Ready")["status"] == "False"
    written = audit.writes()
    assert written.count("patch promptdeployments support") == 1, written
    assert len([w for w in written if w.startswith("patch configmaps")]) == 1, written
    assert len([e for e in user.events("support") if e["reason"] == "TargetQuarantined"]) == 1


def test_a_loop_that_syncs_the_bad_prompt_without_a_target_never_gets_it_served_again(user: User, cluster: Cluster):
    for text in ("good", "bad"):
        user.apply(deployment(text=text), manager="argocd-controller")
        user.wait_live("support", text)
    with SyncLoop(user, deployment(text="bad"), every=0.2) as loop:
        user.apply(rollback("back"))
        user.wait_rollback("back")
        user.wait_condition("support", "Stalled", "PromptQuarantined")
        audit = AuditLog(cluster.audit_log, user.namespace)
        with recorded(user) as served:
            loop.wait_for_syncs(5)
        assert set(served) == {"good"}
    assert audit.writes(events=True) == []
    assert user.get("pdep", "support")["spec"]["targetHash"] == hash_of("good")


def test_release_ends_the_quarantine_and_what_git_asks_for_ships(user: User):
    quarantined(user)
    user.patch("pdep", "support", {"spec": {"release": {"revision": 3}}})
    pdep = user.wait_live("support", "bad")
    assert condition_of(pdep, "TargetQuarantined")["status"] == "False"
    assert pdep["status"]["quarantinedHashes"] == []


def test_another_hash_in_git_ends_the_condition_and_not_the_quarantine(user: User):
    quarantined(user)
    user.apply(GOOD, manager="argocd-controller", force=True)
    pdep = user.wait_settled("support")
    assert condition_of(pdep, "TargetQuarantined")["status"] == "False"
    assert condition_of(pdep, "Ready")["status"] == "True"
    assert [q["hash"] for q in pdep["status"]["quarantinedHashes"]] == [hash_of("bad")]


def test_a_forced_rollback_to_the_bad_version_ends_both(user: User):
    quarantined(user)
    user.apply(rollback("forth", targetHash=hash_of("bad"), force=True))
    user.wait_rollback("forth")
    pdep = user.wait_live("support", "bad")
    assert condition_of(pdep, "TargetQuarantined")["status"] == "False"
    assert condition_of(pdep, "Ready")["status"] == "True"


def test_a_fix_in_git_ships(user: User):
    quarantined(user)
    user.apply(deployment(text="fixed", targetHash=hash_of("fixed")), manager="argocd-controller", force=True)
    pdep = user.wait_live("support", "fixed")
    assert condition_of(pdep, "Ready")["status"] == "True"


def test_a_client_with_an_old_copy_is_refused(user: User):
    ship_both(user)
    old = json.dumps(user.get("pdep", "support"))
    user.apply(rollback("back"))
    user.wait_rollback("back")
    user.wait_live("support", "good")
    assert "the object has been modified" in user.refused("replace", "-f", "-", stdin=old)
    assert "the object has been modified" in user.refused("apply", "-f", "-", stdin=old)
    said = user.refused("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=old)
    assert "managedFields must be nil" in said or "the object has been modified" in said
    user.wait_settled("support")
    assert user.live("support")["prompt.txt"] == "good"


def quarantined(user: User) -> Json:
    """Bad was rolled back, and Git has set it once more."""
    ship_both(user)
    user.apply(rollback("back"))
    user.wait_rollback("back")
    user.wait_live("support", "good")
    user.apply(BAD, manager="argocd-controller", force=True)
    return user.wait_condition("support", "TargetQuarantined", "TargetQuarantined")
