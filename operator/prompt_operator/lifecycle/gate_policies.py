"""Policies of gates and monitoring: what is started, read, withdrawn and taken back. Used as ``policies`` says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from prompt_operator.api.names import test_run_name
from prompt_operator.api.phases import Phase
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle.actions import (
    Action,
    CreateRollback,
    DeleteJob,
    ReadTestOutcome,
    RunTest,
    WriteRevisionStatus,
)
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import recorded_test_runs, tests_for, wanted_experiment
from prompt_operator.lifecycle.looks import pending_looks
from prompt_operator.lifecycle.monitoring import has_regressed, refusal_of, wanted_rollback, watch_of
from prompt_operator.lifecycle.observed import Revision, TestProblem
from prompt_operator.lifecycle.revision_status import wanted_status

#: Seconds until a test that could not be started is tried again; nobody tells us that a CronJob has appeared.
TRY_TEST_AGAIN: Final = 10.0
_ENDED: Final = ("Complete", "Failed")


def record_looks(case: Case) -> Action | None:
    """Write down what a look found before anything follows from it: the numbers stand in status first."""
    names = {e.id for e in (wanted_experiment(case),) if e} | {w.id for w in (watch_of(case),) if w}
    if not names & case.observed.looks.keys():
        return None
    for revision in (case.unfinished, case.live.revision if case.live else None):
        if revision is None:
            continue
        wanted = wanted_status(case, revision)
        if wanted is not None and any(
            wanted.get(m) != revision.status.get(m) for m in ("abReport", "regressionMetric")
        ):
            return WriteRevisionStatus(revision.name, wanted)
    return None


def run_tests(case: Case) -> Action | None:
    """Start the tests of the candidate, and of what a rollback brought back; read what the ended ones said."""
    for revision in _under_test(case):
        known = recorded_test_runs(revision)
        for test in tests_for(case, revision):
            run = known.get(test.name)
            if run and run.verdict in (Verdict.Passed, Verdict.Failed):
                continue
            name = test_run_name(case.deployment.name, revision.number, test.name)
            job = case.observed.jobs.get(name)
            if job and job.state in _ENDED:
                if name not in case.observed.test_outcomes:
                    return ReadTestOutcome(name)
            elif (job is None or job.state == "Suspended") and not _must_wait(case, name):
                if job is None and run and run.start_time:
                    continue  # it was deleted, which fails the test
                current = case.before_live if revision.number == case.live_number else case.live
                return RunTest(revision.name, test, revision.hash, current.revision.hash if current else "")
    return None


def stop_tests(case: Case) -> Action | None:
    """Delete the Jobs of tests that nobody waits for any more."""
    wanted = {
        test_run_name(case.deployment.name, revision.number, test.name)
        for revision in _under_test(case)
        for test in tests_for(case, revision)
    }
    for job in case.observed.jobs.values():
        ours = job.test and job.name == test_run_name(case.deployment.name, job.revision, job.test)
        if ours and job.name not in wanted and job.state not in _ENDED and not job.deleting:
            return DeleteJob(job.name)
    return None


def roll_back_by_itself(case: Case) -> Action | None:
    """Create the AgentRollback that a regression calls for, or a person's rejection of what is live."""
    wanted, back = wanted_rollback(case), case.previous_version
    if wanted is None or back is None:
        return None
    return CreateRollback(wanted.name, wanted.reason, wanted.requested_by, case.live_hash, back.revision.hash)


def take_looks(case: Case) -> Action | None:
    """Have the numbers looked at that are due."""
    for due, look in pending_looks(case):
        if due <= case.now and look.id not in case.observed.looking:
            return look
    return None


def next_moments(case: Case) -> list[datetime]:
    """Return when something is due by time alone."""
    moments = [due for due, look in pending_looks(case) if look.id not in case.observed.looking]
    if has_regressed(case) and (refusal := refusal_of(case)) and refusal.until:
        moments.append(refusal.until)
    moments += [min(p.noticed, case.now) + timedelta(seconds=TRY_TEST_AGAIN) for p in _problems(case)]
    return moments


def _under_test(case: Case) -> list[Revision]:
    """Return the revisions whose tests are of interest."""
    found = [case.unfinished] if case.unfinished and case.unfinished.phase in (None, Phase.Proposed) else []
    live = case.live.revision if case.live else None
    if live and live.is_rollback and live.status.get("phase"):
        found.append(live)
    return found


def _problems(case: Case) -> list[TestProblem]:
    names = {
        test_run_name(case.deployment.name, revision.number, test.name)
        for revision in _under_test(case)
        for test in tests_for(case, revision)
    }
    return [p for name, p in case.observed.test_problems.items() if name in names]


def _must_wait(case: Case, name: str) -> bool:
    problem = case.observed.test_problems.get(name)
    if problem is None or problem.noticed > case.now:  # the clock was set back: what is known is not waited for
        return False
    return case.now < problem.noticed + timedelta(seconds=TRY_TEST_AGAIN)
