"""What the gates say of a candidate: tests, A/B test, approvals, and people's rejections. In this order, each once.

What a candidate passed it has passed: a gate that is added or changed later counts for candidates that have not come to
it. The numbers themselves are made elsewhere; here a report is only read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prompt_operator.api.gates import AbTest, Approval, Decision, OnInconclusive, TestGate
from prompt_operator.api.names import ANNOTATION_EXPERIMENT_STARTED, test_run_name
from prompt_operator.api.phases import TERMINAL, Phase, Trigger
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import MOST_TESTS, TestRun, Verdict
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.observed import PlannedRollback, Revision

#: What of an A/B test makes it another one when it is edited: samples taken under other rules do not count.
_IDENTITY: Final = ("candidateWeight", "significance", "metrics")
_ENDED: Final = (Verdict.Passed, Verdict.Failed)
#: How long after its time a Job is waited for: Kubernetes needs a while to end it, or its controller restarts.
LATE: Final = timedelta(minutes=5)
#: Reasons that are the code's own words: nobody's text is taken for one of them.
_OWN_WORDS: Final = frozenset({Reason.Superseded, Reason.Quarantined, Reason.TestsFailed})


@dataclass(frozen=True, slots=True)
class Experiment:
    """The candidate beside the live version."""

    id: str
    candidate: Revision
    weight: int
    #: When it began; empty until the ConfigMap was written.
    started: str

    @property
    def record(self) -> dict[str, object]:
        """What experiment.json says."""
        return {"id": self.id, "candidateHash": self.candidate.hash, "weight": self.weight}


def is_gated(case: Case, revision: Revision) -> bool:
    """Tell whether a candidate must pass tests and A/B test: a way back, and what passed before, need not."""
    if revision.is_rollback or revision.trigger is Trigger.Revert:
        return False
    if revision.trigger is Trigger.Change:
        return True
    earlier = [r for r in case.revisions if r.hash == revision.hash and r.number < revision.number]
    return not any(r.number in case.shipped_at or r.status.get("passedTime") for r in earlier)


def passed_tests_and_experiment(case: Case, revision: Revision) -> bool:
    """Tell whether a revision is through with its tests and its A/B test, or never had to take them."""
    if revision.status.get("passedTime") or revision.phase is Phase.ABPassed or not is_gated(case, revision):
        return True
    gates = case.deployment.gates
    return case.deployment.gates_problem is None and not gates.tests and gates.ab_test is None


def has_passed_gates(case: Case, revision: Revision) -> bool:
    """Tell whether a revision may ship: it was not rejected but for a newer one, and passed every gate.

    Nothing has where the gates cannot be read: what nobody understands is not passed.
    """
    if case.deployment.gates_problem or rejection_of(case, revision):
        return False
    if revision.phase in TERMINAL and revision.status.get("rejectionReason") != Reason.Superseded:
        return False
    if revision is case.unfinished and unfinished_phase(case, revision)[0] is not Phase.ABPassed:
        return False
    return passed_tests_and_experiment(case, revision) and is_approved(case, revision)


def may_be_proposed_again(case: Case, revision: Revision) -> bool:
    """Tell whether a person may have a superseded revision tried once more, gates and all."""
    superseded = revision.phase is Phase.Rejected and revision.status.get("rejectionReason") == Reason.Superseded
    return superseded and not rejection_of(case, revision)


# --- people ---------------------------------------------------------------------------------------------------------


def approvers_of(case: Case, revision: Revision) -> tuple[str, ...]:
    """Return who approved this very content."""
    return tuple(d.by for d in case.deployment.decisions if d.verdict is Approval.Approve and d.hash == revision.hash)


def rejection_of(case: Case, revision: Revision) -> Decision | None:
    """Return a person's rejection of this very content."""
    said = (d for d in case.deployment.decisions if d.verdict is Approval.Reject and d.hash == revision.hash)
    return next(said, None)


def is_for_approval(case: Case, revision: Revision) -> bool:
    """Tell whether people are asked about a revision: ways back need nobody, as gates are for what is new."""
    if case.deployment.gates.approvals is None or revision.trigger is Trigger.Revert or revision.is_rollback:
        return False
    others = (r for r in case.revisions if r.hash == revision.hash and r.number != revision.number)
    return not any(r.number in case.shipped_at for r in others)


def approvals_missing(case: Case, revision: Revision) -> int:
    """Return how many people must still approve."""
    wanted = case.deployment.gates.approvals
    if wanted is None or not is_for_approval(case, revision):
        return 0
    return max(0, wanted.required - len(set(approvers_of(case, revision))))


def is_approved(case: Case, revision: Revision) -> bool:
    """Tell whether enough people approved."""
    return approvals_missing(case, revision) == 0


def stale_decisions(case: Case) -> tuple[Decision, ...]:
    """Return people's words on what is neither the candidate nor live: they do nothing."""
    current = {case.live_hash, case.candidate.hash if case.candidate else ""}
    return tuple(d for d in case.deployment.decisions if d.hash not in current)


# --- tests ----------------------------------------------------------------------------------------------------------


def tests_for(case: Case, revision: Revision) -> tuple[TestGate, ...]:
    """Return the tests that are run on a revision: all on a candidate, some after a rollback."""
    tests = tuple(case.deployment.gates.tests or ())
    if revision.is_rollback:
        is_live = revision.number == case.live_number
        return tuple(t for t in tests if t.run_after_rollback) if is_live else ()
    return tests if is_gated(case, revision) else ()


def test_runs(case: Case, revision: Revision) -> list[TestRun]:
    """Return what is known of the tests of a revision, in the order they are asked for."""
    recorded = recorded_test_runs(revision)
    if not revision.is_rollback and revision.phase not in (None, Phase.Proposed):
        return list(recorded.values())
    runs: dict[str, TestRun] = {}
    for test in tests_for(case, revision):
        if found := _test_run(case, revision, test, recorded.get(test.name)):
            runs[test.name] = found
    # Tests that are no longer asked for are told of as long as there is room.
    return list((runs | {name: run for name, run in recorded.items() if name not in runs}).values())[:MOST_TESTS]


def overdue(run: TestRun, test: TestGate) -> datetime | None:
    """Return from when on a test that began counts as one that will never end."""
    return times.read(run.start_time) + timedelta(seconds=test.timeout_seconds) + LATE if run.start_time else None


def recorded_test_runs(revision: Revision) -> dict[str, TestRun]:
    """Return what status remembers of the tests of a revision, by name."""
    recorded = (revision.status.get("abReport") or {}).get("tests") or ()
    return {str(t.get("name")): TestRun.model_validate(t) for t in recorded}


def _test_run(case: Case, revision: Revision, test: TestGate, known: TestRun | None) -> TestRun | None:
    if known and known.verdict in _ENDED:
        return known
    name = test_run_name(case.deployment.name, revision.number, test.name)
    job, problem = case.observed.jobs.get(name), case.observed.setbacks.get(name)
    begun = known.start_time if known else None
    run = TestRun(name=test.name, job_name=name, start_time=begun)
    if job is None and begun:
        why = "Its Job was deleted before anybody read how it ended, which passes nothing."
        return _judged(run, Verdict.Failed, why)
    if job is None or (job.state == "Suspended" and not begun):
        return _judged(run, Verdict.Errored, problem.message) if problem else run if job else None
    if job.state == "Suspended":
        return _judged(run, Verdict.Errored, f"Job {name} was suspended by somebody, and goes on when it is resumed.")
    run = run.model_copy(update={"start_time": begun or job.start_time or times.seconds(case.now)})
    outcome = case.observed.test_outcomes.get(name)
    if job.state not in ("Complete", "Failed"):
        late = overdue(run, test)
        if late is None or case.now < late:
            return run
        why = f"Job {name} has not ended, long after its {test.timeout_seconds} s. Does the Job controller run?"
        return _judged(run, Verdict.Failed, why)
    if outcome is None:
        return _judged(run, Verdict.Errored, problem.message) if problem else run
    why = ": ".join(part for part in (job.reason, outcome.message or job.message) if part)
    return run.model_copy(
        update={
            "verdict": Verdict.Passed if job.state == "Complete" else Verdict.Failed,
            "message": (outcome.message if job.state == "Complete" else why or "Its Job failed.")[:1024],
            "completion_time": job.completion_time or times.seconds(case.now),
            "report": dict(outcome.report) if outcome.report is not None else None,
        }
    )


def _judged(run: TestRun, verdict: Verdict, why: str) -> TestRun:
    return run.model_copy(update={"verdict": verdict, "message": why[:1024]})


# --- the A/B test ---------------------------------------------------------------------------------------------------


def experiment_id(case: Case, candidate: Revision, test: AbTest) -> str:
    """Return the name of an experiment: another one for another candidate, baseline, split or question."""
    asked = {k: v for k, v in test.as_json().items() if k in _IDENTITY}
    parts = (case.deployment.uid, candidate.number, case.live_number, json.dumps(asked, sort_keys=True))
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]


def wanted_experiment(case: Case) -> Experiment | None:
    """Return the experiment that the ConfigMap shall hold, as far as status records: no verdict, no end."""
    candidate, test = case.unfinished, case.deployment.gates.ab_test
    if candidate is None or test is None or case.live is None or case.config_map_blocked:
        return None
    if candidate.phase is not Phase.ABRunning:
        if passed_tests_and_experiment(case, candidate) or case.deployment.paused:
            return None
        if _before_experiment(case, candidate) is not None:
            return None
    if rejection_of(case, candidate) or rejected_by_rollback(case, candidate):
        return None
    name = experiment_id(case, candidate, test)
    return Experiment(name, candidate, test.candidate_weight, _started(case, candidate, name))


def _started(case: Case, candidate: Revision, name: str) -> str:
    """Return when an experiment began: as status says, else as the ConfigMap that began it does."""
    report = candidate.status.get("abReport") or {}
    if report.get("id") == name and (began := str(report.get("startedTime") or "")):
        # A clock that was set back by more than a look: how long it ran is unknown, so it begins anew.
        test = case.deployment.gates.ab_test
        if test is None or times.read(began) - case.now <= timedelta(seconds=test.interval_seconds):
            return began
    held = case.config_map
    if held and held.experiment.get("id") == name and held.candidate_hash == candidate.hash:
        noted = held.annotations.get(ANNOTATION_EXPERIMENT_STARTED)
        if times.is_written(noted) and str(noted) <= times.written(case.now):
            return str(noted)
    return ""


def ab_report(case: Case, revision: Revision) -> dict[str, Any]:
    """Return the report of a revision without its tests: as recorded, or as the newest look at its experiment says."""
    recorded: Mapping[str, Any] = revision.status.get("abReport") or {}
    report = {k: v for k, v in recorded.items() if k != "tests"}
    experiment = wanted_experiment(case) if revision is case.unfinished else None
    if experiment is None or not experiment.started:
        return report
    if (report.get("id"), report.get("startedTime")) != (experiment.id, experiment.started):
        report = {
            "id": experiment.id,
            "startedTime": experiment.started,
            "candidateWeight": experiment.weight,
            "looks": 0,
            "message": "The candidate is beside the live version; no look was taken yet.",
        }
    look = case.observed.looks.get(experiment.id)
    if look and is_newer(look.report, report):
        report = {k: v for k, v in look.report.items() if k != "tests"}
    return report


def is_newer(look: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Tell whether a look goes on from what is known: counted, since clocks step back, and of the same beginning.

    A look that was under way while its test was ended and begun anew is none of the new one.
    """
    same = look.get("startedTime") == known.get("startedTime")
    return same and int(look.get("looks") or 0) > int(known.get("looks") or 0)


def deadline_of(test: AbTest, report: Mapping[str, Any]) -> datetime:
    """Return when an experiment has lasted as long as it may."""
    return times.read(str(report["startedTime"])) + timedelta(seconds=test.max_duration_seconds)


# --- all together ---------------------------------------------------------------------------------------------------


def rejected_by_rollback(case: Case, candidate: Revision) -> PlannedRollback | None:
    """Return the running AgentRollback that only rejects this candidate, if one does."""
    return next((row for row in case.observed.rollbacks if row.rejects == candidate.number), None)


def _in_words(reason: str, otherwise: str) -> str:
    """Return a person's reason, told apart from the reasons that mean something to programs."""
    if not reason:
        return otherwise
    return f"{otherwise}: {reason}"[:1024] if reason in _OWN_WORDS else reason[:1024]


def unfinished_phase(case: Case, revision: Revision) -> tuple[Phase, str]:
    """Return the phase of a revision that is not live yet, and the reason if it is rejected."""
    if revision is not case.candidate:
        return Phase.Rejected, Reason.Superseded
    if revision.hash in case.quarantine:
        return Phase.Rejected, Reason.Quarantined
    if revision.hash == case.live_hash:
        return Phase.Shipped, ""  # its content is live as another revision; the ConfigMap stays untouched
    if word := rejection_of(case, revision):
        return Phase.Rejected, _in_words(word.reason, f"Rejected by {word.by}")
    if rollback := rejected_by_rollback(case, revision):
        return Phase.Rejected, _in_words(rollback.reason, f"Rejected by AgentRollback {rollback.name}")
    if revision.phase is Phase.ABPassed or passed_tests_and_experiment(case, revision):
        return Phase.ABPassed, ""
    if revision.phase is not Phase.ABRunning and (stopped := _before_experiment(case, revision)):
        return stopped
    return _experiment_phase(case, revision)


def _before_experiment(case: Case, revision: Revision) -> tuple[Phase, str] | None:
    """Return where a candidate stands that has not passed its tests; None when it has."""
    if case.deployment.gates_problem:
        return Phase.Proposed, ""
    runs = {t.name: t for t in test_runs(case, revision)}
    verdicts = [runs[t.name].verdict if t.name in runs else None for t in tests_for(case, revision)]
    if Verdict.Failed in verdicts:
        return Phase.Rejected, Reason.TestsFailed
    return None if all(v is Verdict.Passed for v in verdicts) else (Phase.Proposed, "")


def _experiment_phase(case: Case, revision: Revision) -> tuple[Phase, str]:
    test = case.deployment.gates.ab_test
    if case.deployment.gates_problem is None and (test is None or case.live is None):
        return Phase.ABPassed, ""
    report, experiment = ab_report(case, revision), wanted_experiment(case)
    if test is None or experiment is None or not experiment.started:
        return (revision.phase or Phase.Proposed), ""  # what an earlier experiment found out decides nothing
    match report.get("verdict"):
        case Verdict.Passed:
            return Phase.ABPassed, ""
        case Verdict.Failed:
            return Phase.ABFailed, ""
    deadline = deadline_of(test, report)
    looked = report.get("lastLookTime")
    over = case.now >= deadline and looked and times.read(str(looked)) >= deadline
    if over and test.on_inconclusive is OnInconclusive.Fail:
        return Phase.ABFailed, ""
    return Phase.ABRunning, ""
