"""What people and tools break by hand is put right, what is not ours is left alone, and what was deleted goes wholly."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import yaml

from prompt_operator.cli.generate import crd_files
from tests.support.manifests import deployment, rollback
from tests.support.user import Json, KubectlError, User, condition_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]

CONFIG_MAP = "support-prompt"


@pytest.fixture
def shipped(user: User) -> User:
    """Versions one and two were shipped, two is live."""
    return _ship(user)


@pytest.fixture(scope="module")
def long_lived(team: User) -> User:
    """The same for a deployment that is harmed again and again."""
    return _ship(team)


def _ship(user: User) -> User:
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    return user


def _set_back(user: User) -> None:
    """Put the whole ConfigMap back to what it was for revision 1, as a restored backup does."""
    first = json.loads(user.kubectl("get", "prev", "support-1", "-o", "json"))
    old = user.live("support") | {
        "prompt.json": '{"text":"one"}',
        "prompt.txt": "one",
        "metadata.json": json.dumps(
            json.loads(user.live("support")["metadata.json"])
            | {
                "hash": first["spec"]["hash"],
                "revision": 1,
                "activatedTime": first["status"]["shippedTime"],
                "previousHash": "",
            }
        ),
    }
    annotations = {"promptoperator.io/hash": first["spec"]["hash"], "promptoperator.io/revision": "1"}
    user.patch("configmap", CONFIG_MAP, {"data": old, "metadata": {"annotations": annotations}})


def _spoil(patch: Json) -> Callable[[User], object]:
    return lambda user: user.patch("configmap", CONFIG_MAP, patch)


@pytest.mark.parametrize(
    ("harm", "is_tampering"),
    [
        (_spoil({"data": {"prompt.txt": "evil"}}), True),
        (_spoil({"data": {"prompt.json": '{"text":"evil"}', "prompt.txt": "evil"}}), True),
        (_spoil({"data": {"metadata.json": "{}"}}), True),
        (_spoil({"data": {"prompt.txt": None}}), True),
        (_spoil({"data": None}), True),
        (_spoil({"data": {"extra": "x"}}), True),
        (_spoil({"binaryData": {"extra": "eA=="}}), True),
        (_spoil({"data": {"prompt.txt": "evil"}, "immutable": True}), True),
        (_set_back, True),
        (lambda user: user.kubectl("delete", "configmap", CONFIG_MAP), True),
        (_spoil({"metadata": {"annotations": None}}), False),
        (_spoil({"metadata": {"labels": {"promptoperator.io/agent": "other"}}}), False),
        (_spoil({"metadata": {"labels": None}}), False),
    ],
    ids=[
        "text", "content", "record", "key removed", "emptied", "key added", "binary key added", "made immutable",
        "set back to an older version", "deleted", "annotations stripped", "label changed", "labels stripped",
    ],
)  # fmt: skip
def test_the_config_map_is_restored_at_once(long_lived: User, harm: Callable[[User], object], is_tampering: bool):
    before = long_lived.get("configmap", CONFIG_MAP)
    told = len(_restorations(long_lived))
    harm(long_lived)

    def is_whole(found: Json) -> bool:
        wanted = before["metadata"]
        return (
            found["data"] == before["data"]
            and "binaryData" not in found
            and found["metadata"].get("labels") == wanted["labels"]
            and found["metadata"].get("annotations") == wanted["annotations"]
        )

    long_lived.wait("configmap", CONFIG_MAP, is_whole, "the ConfigMap is as it was")
    if is_tampering:
        eventually(lambda: len(_restorations(long_lived)) == told + 1)
    pdep = long_lived.wait_settled("support")
    assert (pdep["status"]["activeRevision"], len(pdep["status"]["history"])) == (2, 2)


def test_the_revision_of_what_is_live_is_made_anew_when_it_is_deleted_and_nothing_ships(shipped: User):
    """Gates are asked for by now: proposed anew, the live prompt would have had to pass them, with an older one live."""
    shipped.apply(deployment(text="two", gates={"approvals": {"required": 1}}))
    shipped.wait_settled("support")
    before, lost = shipped.get("configmap", CONFIG_MAP), shipped.get("prev", "support-2")
    shipped.kubectl("delete", "promptrevision", "support-2")
    eventually(lambda: any(e["reason"] == "RevisionRestored" for e in shipped.events("support")))
    pdep, made = shipped.wait_settled("support"), shipped.get("prev", "support-2")
    assert shipped.get("configmap", CONFIG_MAP)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert (made["spec"]["hash"], made["spec"]["prompt"]) == (lost["spec"]["hash"], lost["spec"]["prompt"])
    assert made["status"]["stage"] == "Published"
    assert (pdep["status"]["activeRevision"], len(pdep["status"]["history"])) == (2, 2)
    shipped.create(rollback("back", "support"))
    shipped.wait_rollback("back")
    assert shipped.live("support")["prompt.txt"] == "one"


def _restorations(user: User) -> list[Json]:
    return [e for e in user.events("support") if e["reason"] == "ConfigMapRestored"]


def test_what_of_status_may_be_cleared_is_written_anew(shipped: User):
    before = shipped.wait_settled("support")["status"]
    kept = {"phase", "candidateRevision"}
    wiped = {"status": dict.fromkeys(k for k in before if k not in kept)}
    shipped.kubectl("patch", "pdep", "support", "--subresource=status", "--type=merge", "-p", json.dumps(wiped))
    assert _without_times(shipped.wait("pdep", "support", _is_complete)["status"]) == _without_times(before)


def test_all_of_status_is_rebuilt_from_revisions_rollbacks_and_the_config_map(shipped: User):
    shipped.apply(rollback("back", reason="worse"))
    shipped.wait_rollback("back")
    shipped.apply(deployment(text="three"))
    before = shipped.wait_live("support", "three")["status"]
    revisions = {r["metadata"]["name"]: r["status"] for r in shipped.listed("prev")}
    with lifecycle_rules_lifted(shipped):
        _wipe_status(shipped, "pdep", "support")
        after = shipped.wait("pdep", "support", _is_complete)["status"]
        assert _without_times(after) == _without_times(before)
        for name in revisions:
            _wipe_status(shipped, "prev", name)
            shipped.wait("prev", name, lambda o: o.get("status", {}).get("stage"), f"{name} has its status again")
    after_all = {r["metadata"]["name"]: r["status"] for r in shipped.listed("prev")}
    assert {n: s["stage"] for n, s in after_all.items()} == {n: s["stage"] for n, s in revisions.items()}
    assert {n: s["phase"] for n, s in after_all.items()} == {n: s["phase"] for n, s in revisions.items()}
    assert {n: s["shippedTime"] for n, s in after_all.items()} == {n: s["shippedTime"] for n, s in revisions.items()}
    assert shipped.live("support")["prompt.txt"] == "three"


def test_a_config_map_that_is_not_ours_is_never_touched_and_its_removal_ends_the_conflict(user: User):
    user.kubectl("create", "configmap", CONFIG_MAP, "--from-literal=mine=yes")
    foreign = user.get("configmap", CONFIG_MAP)
    user.apply(deployment(text="one"))
    pdep = user.wait_condition("support", "Stalled", "ConfigMapConflict")
    assert "Delete or rename it" in condition_of(pdep, "Stalled")["message"]
    assert user.get("configmap", CONFIG_MAP) == foreign
    # Looking like ours is not being ours.
    labels = {"app.kubernetes.io/managed-by": "prompt-operator", "promptoperator.io/deployment": "support"}
    user.patch("configmap", CONFIG_MAP, {"metadata": {"labels": labels}})
    user.apply(deployment(text="two"))
    user.wait_condition("support", "Stalled", "ConfigMapConflict")
    assert user.get("configmap", CONFIG_MAP)["data"] == {"mine": "yes"}
    user.kubectl("delete", "configmap", CONFIG_MAP)
    pdep = user.wait_live("support", "two")
    assert condition_of(pdep, "Stalled")["status"] == "False"


def test_one_without_our_labels_is_noticed_when_it_is_removed(user: User):
    user.kubectl("create", "configmap", CONFIG_MAP, "--from-literal=mine=yes")
    user.apply(deployment(text="one"))
    user.wait_condition("support", "Stalled", "ConfigMapConflict")
    user.kubectl("delete", "configmap", CONFIG_MAP)
    user.wait_live("support", "one")


def test_deleted_and_created_anew_at_once_it_waits_for_cleanup_and_then_ships(shipped: User):
    # A finalizer of somebody else's keeps what the garbage collector wants to remove, for as long as we look.
    shipped.patch("configmap", CONFIG_MAP, {"metadata": {"finalizers": ["example.com/hold"]}})
    shipped.kubectl("delete", "pdep", "support")
    shipped.apply(deployment(text="new"))
    pdep = shipped.wait(
        "pdep", "support", lambda o: condition_of(o, "Reconciling").get("reason") == "WaitingForCleanup"
    )
    assert condition_of(pdep, "Stalled")["status"] == "False"
    assert shipped.live("support")["prompt.txt"] == "two"
    shipped.patch("configmap", CONFIG_MAP, {"metadata": {"finalizers": None}})
    pdep = shipped.wait_live("support", "new")
    assert [h["revision"] for h in pdep["status"]["history"]] == [1]
    assert pdep["status"]["quarantinedHashes"] == []


def test_deleted_and_created_anew_many_times_it_ends_with_the_last_one(user: User):
    for number in range(4):
        user.apply(deployment(text=f"text {number}"))
        user.kubectl("delete", "pdep", "support", "--wait=false")
    user.apply(deployment(text="last"))
    pdep = user.wait_live("support", "last")
    owner = pdep["metadata"]["uid"]
    eventually(lambda: {_owner(r) for r in user.listed("prev")} == {owner}, what="nothing of the others is left")
    assert _owner(user.get("configmap", CONFIG_MAP)) == owner


def test_a_deleted_deployment_leaves_nothing_behind(shipped: User):
    shipped.apply(rollback("back"), rollback("further"))
    shipped.kubectl("delete", "pdep", "support")

    def is_gone() -> bool:
        return not shipped.listed("prev") and shipped.find("configmap", CONFIG_MAP) is None

    eventually(is_gone, what="revisions and ConfigMap are collected")
    finished = {name: shipped.wait_rollback(name)["status"] for name in ("back", "further")}
    assert all(s["phase"] in ("Succeeded", "Failed") for s in finished.values())


def test_a_revision_deleted_by_hand_costs_its_record_and_nothing_else(shipped: User):
    shipped.kubectl("delete", "prev", "support-1")
    shipped.wait_settled("support")
    shipped.apply(deployment(text="three"))
    pdep = shipped.wait_live("support", "three")
    assert [h["revision"] for h in pdep["status"]["history"]] == [3, 2, 1]
    shipped.kubectl("delete", "prev", "--all")
    shipped.patch("configmap", CONFIG_MAP, {"data": {"prompt.txt": "evil"}})
    pdep = shipped.wait_live("support", "three")
    assert pdep["status"]["activeRevision"] >= 3


@contextmanager
def lifecycle_rules_lifted(user: User) -> Iterator[None]:
    """Without the CRDs' rules: what a broken backup tool or an older CRD would let through."""
    names = ("promptdeployments", "promptrevisions")
    remove = [{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations"}]
    for name in names:
        user.kubectl("patch", "crd", f"{name}.promptoperator.io", "--type=json", "-p", json.dumps(remove))
    try:
        yield
    finally:
        for name in names:
            crd = yaml.safe_load(crd_files()[f"{name}.yaml"])
            user.apply(crd, manager="test", force=True)


def _wipe_status(user: User, kind: str, name: str) -> None:
    def wipe() -> bool:
        try:
            user.kubectl("patch", kind, name, "--subresource=status", "--type=json", "-p", _REMOVE_STATUS)
        except KubectlError as error:
            if "follows the lifecycle" not in str(error) and "only grows" not in str(error):
                raise
            return False  # the rules are still in force for a moment
        return True

    eventually(wipe, what="the status is wiped")


_REMOVE_STATUS = json.dumps([{"op": "remove", "path": "/status"}])


def _is_complete(obj: Json) -> bool:
    status = obj.get("status", {})
    return bool(status.get("history") and status.get("phase") and condition_of(obj, "Ready"))


def _without_times(status: Json) -> Json:
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status["conditions"]]
    return status | {"conditions": conditions}


def _owner(obj: Json) -> str:
    return obj["metadata"]["ownerReferences"][0]["uid"]
