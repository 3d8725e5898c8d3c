"""What explain says of each gate and guard, by the operator's own rules."""

from datetime import timedelta
from typing import Any

import pytest

from prompt_operator.cli.plugin.exits import PluginError
from prompt_operator.cli.plugin.model import Prompt
from prompt_operator.cli.plugin.preview import goes_back_to, read_case
from prompt_operator.cli.plugin.steps import Explained, State, explained
from tests.unit.plugin.gate_reports import NOW, experiment, metric, regression, run
from tests.unit.plugin.objects import deployment, digest, revision

Json = dict[str, Any]
METRIC: Json = {"name": "solved", "source": {"http": {"url": "http://metrics.example"}}}
AB: Json = {"abTest": {"minDurationSeconds": 36000, "maxDurationSeconds": 172800, "metrics": [METRIC]}}
MONITORING: Json = {"metrics": [METRIC | {"margin": 0.02}]}


def whole(raw: Json) -> Json:
    """Add what the API server adds to every object."""
    meta = {"namespace": "team", "uid": "u1", "resourceVersion": "1", "creationTimestamp": "2026-11-23T12:00:00Z"}
    raw["metadata"] = meta | raw["metadata"] | {"creationTimestamp": "2026-11-23T12:00:00Z"}
    for owner in raw["metadata"].get("ownerReferences") or ():
        owner["controller"] = True
    return raw


def case_of(spec: Json, *revisions: Json, rollbacks: tuple[Json, ...] = (), **status: Any) -> tuple[Any, Prompt]:
    made = whole(deployment(1, "a", candidateRevision=len(revisions), **status))
    made["spec"] |= spec
    found = [whole(r) for r in revisions]
    return read_case(made, found, (), rollbacks, NOW), Prompt(made, found)


def explain(spec: Json, *revisions: Json, **status: Any) -> Explained:
    return explained(*case_of(spec, *revisions, **status))


def candidate(phase: str, **status: Any) -> Json:
    return revision(2, "b", shipped=0, version="1.1.0", status={"phase": phase, "stage": "Draft", **status})


def steps_of(found: Explained) -> dict[str, tuple[State, str]]:
    return {s.name: (s.state, s.text) for _, steps in found.parts for s in steps}


def test_gates_are_listed_in_the_order_they_are_passed():
    gates = {"tests": [{"name": "smoke", "cronJobName": "t"}], "approvals": {"required": 1}, **AB}
    found = explain({"gates": gates}, revision(1, "a"), candidate("Proposed"))
    title, steps = found.parts[0]
    assert title == "Candidate: revision 2 (1.1.0, bbbbbbbbbbbb), Proposed"
    assert [s.name for s in steps] == ["test smoke", "A/B test", "approvals", "quarantine", "target", "pause"]
    assert steps[0].text == "starts from CronJob t"
    assert steps[1].text == "begins after test smoke"
    assert found.next.startswith("Nothing; it goes on by itself")


def test_each_test_is_told_with_its_job_and_verdict():
    asked = [{"name": n, "cronJobName": "t"} for n in ("smoke", "long", "bad", "odd")]
    runs = [
        run(message="12 of 12"),
        run("long", None),
        run("bad", "Failed"),
        run("odd", "Errored", message="no CronJob"),
    ]
    found = steps_of(
        explain({"gates": {"tests": asked}}, revision(1, "a"), candidate("Proposed", abReport={"tests": runs}))
    )
    assert found["test smoke"] == (State.Done, "passed (Job support-3-smoke): 12 of 12")
    assert found["test long"] == (State.Waiting, "runs since 3m of at most 10m (Job support-3-long)")
    assert found["test bad"] == (State.Failed, "failed (Job support-3-bad)")
    assert found["test odd"] == (State.Failed, "cannot be run (Job support-3-odd): no CronJob")


def test_an_experiment_tells_samples_time_left_and_when_it_may_end():
    status = {"abReport": experiment()}
    state, text = steps_of(explain({"gates": AB}, revision(1, "a"), candidate("ABRunning", **status)))["A/B test"]
    assert state is State.Waiting
    assert text == (
        "Inconclusive, 301 of 1000 samples in each arm, 42h left, passes in 4h at the earliest, enough samples in about "
        "14h. solved: not enough samples yet"
    )


def test_approvals_name_who_and_how_many_are_missing_and_whose_word_does_nothing():
    said = [
        {"by": "alice", "hash": digest("b"), "verdict": "Approve"},
        {"by": "bob", "hash": digest("c"), "verdict": "Approve"},
    ]
    spec = {"gates": {"approvals": {"required": 2}}, "decisions": said}
    found = explain(spec, revision(1, "a"), candidate("ABPassed"))
    told = [(s.state, s.text) for s in found.parts[0][1] if s.name == "approvals"]
    assert told == [
        (State.Waiting, "1 of 2 (alice); 1 missing"),
        (State.Off, "bob said Approve about cccccccccccc, which does nothing here"),
    ]
    assert found.next == "Decide: kubectl prompt approve support, or kubectl prompt reject support"


def test_guards_of_shipping_are_told_whether_they_hold_it_or_not():
    pinned = deployment(1, "a")
    pinned["metadata"]["managedFields"] = [
        {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:spec": {"f:targetHash": {}}}}
    ]
    case, prompt = case_of({"paused": True}, revision(1, "a"), candidate("ABPassed"))
    found = steps_of(explained(case, prompt))
    assert found["pause"] == (State.Failed, "paused: nothing ships")
    assert found["target"][0] is found["quarantine"][0] is State.Done

    pinned = whole(pinned)
    pinned["spec"]["targetHash"] = digest("a")
    revisions = [whole(revision(1, "a")), whole(candidate("ABPassed"))]
    found = steps_of(explained(read_case(pinned, revisions, (), (), NOW), Prompt(pinned, revisions)))
    assert found["target"] == (State.Failed, "argocd owns spec.targetHash, and names aaaaaaaaaaaa")


@pytest.mark.parametrize(
    ("monitoring", "trigger", "state", "part"),
    [
        ({"autoRollback": False}, "Change", State.Off, "AutoRollbackOff"),
        ({}, "Promotion", State.Failed, "PersonDecided"),
        ({}, "Change", State.Done, "no guard is against it, to revision 1 (aaaaaaaaaaaa)"),
    ],
)
def test_each_guard_of_the_automatic_rollback_is_told(monitoring: Json, trigger: str, state: State, part: str):
    live = revision(2, "b", trigger=trigger, status={"phase": "Monitoring", "stage": "Published"})
    found = steps_of(
        explain(
            {"monitoring": MONITORING | monitoring}, revision(1, "a"), live, activeRevision=2, activeHash=digest("b")
        )
    )
    assert found["automatic rollback"][0] is state
    assert part in found["automatic rollback"][1]
    assert found["monitoring"][0] is State.Waiting


def test_without_a_version_before_it_there_is_no_automatic_rollback():
    first = revision(1, "a", status={"phase": "Regressed", "stage": "Published"})
    found = steps_of(explain({"monitoring": MONITORING}, first, phase="Regressed"))
    assert found["monitoring"][0] is State.Failed
    assert found["automatic rollback"][1].startswith("NoPreviousVersion. ")


def watched(**report: Any) -> tuple[State, str]:
    ended = regression(endedTime="2026-11-23T17:59:48Z", **report)
    live = revision(2, "b", status={"phase": "Monitoring", "stage": "Published", "regressionMetric": ended})
    spec = {"monitoring": MONITORING}
    return steps_of(explain(spec, revision(1, "a"), live, activeRevision=2, activeHash=digest("b")))["monitoring"]


UNREAD: Json = metric(verdict="Errored", message="no answer", control=None, candidate=None)
NO_TRAFFIC: Json = metric(candidate={"hash": digest("b"), "samples": 0, "successes": 0})
A_VALUE: Json = metric(kind="Value", candidate={"hash": digest("b"), "value": 0.0})


@pytest.mark.parametrize(
    ("report", "state", "text"),
    [
        ({"verdict": "Passed", "message": "solved: not worse."}, State.Done, "solved: not worse."),
        ({"message": "solved: undecided."}, State.Done, "solved: undecided."),
        ({"metrics": [A_VALUE], "message": ""}, State.Done, "was watched to the end"),
        (
            {"metrics": [UNREAD], "verdict": "Errored", "message": "solved: no answer."},
            State.Failed,
            "its time is over, and no number of this version was ever read: solved: no answer.",
        ),
        (
            {"metrics": [NO_TRAFFIC], "message": "solved: the version has no traffic."},
            State.Failed,
            "its time is over, and no number of this version was ever read: solved: the version has no traffic.",
        ),
        (
            {"metrics": [], "verdict": "Errored", "message": ""},
            State.Failed,
            "its time is over, and no number of this version was ever read",
        ),
        (
            {"reason": "NoBaseline", "message": "solved: There is no baseline."},
            State.Failed,
            "its time is over, and nothing was found out: solved: There is no baseline.",
        ),
        (
            {"lastLookTime": None, "looks": 0, "verdict": None, "metrics": [], "message": "Nothing was watched."},
            State.Off,
            "Nothing was watched.",
        ),
    ],
)
def test_monitoring_that_ended_is_done_only_if_it_read_numbers(report: Json, state: State, text: str):
    assert watched(**report) == (state, text)


REJECTED_LIVE: Json = {"by": "alice", "hash": digest("a"), "verdict": "Reject", "reason": "It is rude."}
WORSE = "solved: 60.0 % of 100 against 80.0 % of 100; worse."


@pytest.mark.parametrize(
    ("phase", "status"),
    [
        ("ABFailed", {"abReport": experiment(verdict="Failed", message=WORSE)}),
        ("ABRunning", {"abReport": experiment(message=WORSE)}),
        ("Rejected", {"rejectionReason": "It is rude."}),
        ("Proposed", {"abReport": {"tests": [run(verdict="Errored", message="There is no CronJob t.")]}}),
    ],
)
def test_no_sentence_ends_twice(phase: str, status: Json):
    gates = AB | {"tests": [{"name": "smoke", "cronJobName": "t"}], "approvals": {"required": 1}}
    spec = {"gates": gates, "monitoring": MONITORING, "decisions": [REJECTED_LIVE]}
    live = revision(1, "a", status={"phase": "Regressed", "regressionMetric": regression(message=WORSE)})
    found = explain(spec, live, candidate(phase, **status), phase=phase)
    told = [found.next, *(text for _, text in steps_of(found).values())]
    assert any(WORSE in t or "rude." in t or "no CronJob" in t for t in told)
    assert [t for t in told if ".." in t] == []


def test_without_gates_that_is_said():
    found = explain({}, revision(1, "a"), candidate("ABPassed"))
    assert steps_of(found)["gates"] == (State.Off, "none are asked for: it ships by itself")


def test_a_candidate_that_ended_says_how():
    found = explain({}, revision(1, "a"), candidate("Rejected", rejectionReason="too blunt"))
    assert steps_of(found)["shipped"] == (State.Failed, "no: Rejected, too blunt")


def test_what_is_asked_of_a_spec_the_operator_has_not_seen_is_said_so():
    found = explain({}, revision(1, "a"), candidate("ABPassed"), observedGeneration=2)
    assert found.next.startswith("The operator has not looked at this spec yet")


def test_gates_that_cannot_be_read_are_told():
    found = steps_of(explain({"gates": {"abTest": {"metrics": 3}}}, revision(1, "a"), candidate("Proposed")))
    assert found["spec"][0] is State.Failed


def test_messages_are_made_safe_and_short():
    status = {"abReport": experiment(message="\x1b[2J" + "x" * 2000)}
    found = explain({"gates": AB}, revision(1, "a"), candidate("ABRunning", **status))
    assert all("\x1b" not in s.text and len(s.text) < 700 for _, steps in found.parts for s in steps)


def rejecting(letter: str, by: str = "alice") -> Json:
    return {"by": by, "hash": digest(letter), "verdict": "Reject"}


def two_were_live(*more: Json, spec: Json | None = None, **given: Any) -> Any:
    revisions = (revision(1, "a"), revision(2, "b"), *more)
    return case_of(spec or {}, *revisions, activeRevision=2, activeHash=digest("b"), **given)[0]


@pytest.mark.parametrize("phase", ["Proposed", "ABRunning", "ABPassed"])
def test_a_rejection_of_what_is_live_goes_back_whatever_the_candidate_is_at(phase: str):
    candidate = revision(3, "c", shipped=0, status={"phase": phase, "stage": "Draft"})
    assert goes_back_to(two_were_live(candidate, phase=phase), rejecting("b")).number == 1


def test_a_rejection_of_what_is_live_goes_back_to_nothing_that_a_person_rejects():
    spec = {"decisions": [rejecting("a", by="bob")]}
    with pytest.raises(PluginError, match="no earlier version was live that is neither quarantined nor rejected"):
        goes_back_to(two_were_live(spec=spec), rejecting("b"))
    assert goes_back_to(two_were_live(spec=spec), rejecting("b", by="bob")).number == 1  # their newer word replaces it


def test_a_rejection_that_would_do_nothing_is_refused_and_says_why():
    with pytest.raises(PluginError, match="bbbbbbbbbbbb is live in support now, and not aaaaaaaaaaaa"):
        goes_back_to(two_were_live(), rejecting("a"))
    failed = whole({"metadata": {"name": "support-reject-2"}, "status": {"phase": "Failed"}})
    with pytest.raises(PluginError, match="AgentRollback support-reject-2 came to nothing") as refused:
        goes_back_to(two_were_live(rollbacks=(failed,)), rejecting("b"))
    assert "kubectl prompt rollback support --to-hash aaaaaaaaaaaa" in str(refused.value)


def test_nothing_at_all_is_explained_without_a_stumble():
    made = whole(deployment())
    made.pop("status")
    found = explained(read_case(made, (), (), (), NOW + timedelta()), Prompt(made, []))
    assert found.parts == []
    assert found.next
