"""Policies of gates and monitoring: what is started, read, withdrawn and taken back. Used as ``policies`` says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from prompt_operator.api.gates import TestGate
from prompt_operator.api.names import test_run_name
from prompt_operator.api.phases import Phase
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import (
    Action,
    CreateRollback,
    DeleteJob,
    ReadTestOutcome,
    RunTest,
    WriteRevisionStatus,
)
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.deployment_status import events_of_revision
from prompt_operator.lifecycle.gates import overdue, recorded_test_runs, test_runs, tests_for, wanted_experiment
from prompt_operator.lifecycle.looks import pending_looks
from prompt_operator.lifecycle.monitoring import has_regressed, refusal_of, wanted_rollback, watch_of, way_back
from prompt_operator.lifecycle.observed import Revision, Setback
from prompt_operator.lifecycle.revision_status import wanted_status

#: How long after a refusal the same is tried again; nobody tells us that a CronJob has appeared, or a quota was raised.
TRY_AGAIN: Final = timedelta(seconds=10)
#: How long after a rollback its tests may begin: one that is asked for much later is not about it.
BEGIN_AFTER_ROLLBACK: Final = timedelta(hours=1)
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
            return WriteRevisionStatus(revision.name, wanted, events_of_revision(revision, wanted))
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
            if _must_wait(case, name):
                continue
            job = case.observed.jobs.get(name)
            if job and job.state in _ENDED:
                if name not in case.observed.test_outcomes:
                    return ReadTestOutcome(name)
            elif job is None or job.state == "Suspended":
                if (run and run.start_time) or not _may_begin(case, revision):
                    continue  # once it ran, it is neither made nor resumed again: that is somebody else's doing
                current = case.before_live if revision.number == case.live_number else case.live
                return RunTest(revision.name, test, revision.hash, current.revision.hash if current else "")
    return None


def stop_tests(case: Case) -> Action | None:
    """Delete the Jobs of tests that nobody waits for any more."""
    wanted = {
        test_run_name(case.deployment.name, revision.number, test.name)
        for revision in _under_test(case)
        for test in tests_for(case, revision)
        if not _has_ended(revision, test)
    }
    for job in case.observed.jobs.values():
        ours = job.test and job.name == test_run_name(case.deployment.name, job.revision, job.test)
        if ours and job.name not in wanted and job.state not in _ENDED and not job.deleting:
            return DeleteJob(job.name)
    return None


def roll_back_by_itself(case: Case) -> Action | None:
    """Create the AgentRollback that a regression calls for, or a person's rejection of what is live."""
    wanted, back = wanted_rollback(case), way_back(case)
    if wanted is None or back is None or _must_wait(case, wanted.name):
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
    moments += [min(setback.noticed, case.now) + TRY_AGAIN for setback in _setbacks(case)]
    return moments + list(_ends_of_patience(case))


def _under_test(case: Case) -> list[Revision]:
    """Return the revisions whose tests are of interest."""
    found = [case.unfinished] if case.unfinished and case.unfinished.phase in (None, Phase.Proposed) else []
    live = case.live.revision if case.live else None
    if live and live.is_rollback and live.status.get("phase"):
        found.append(live)
    return found


def _may_begin(case: Case, revision: Revision) -> bool:
    shipped = case.shipped_at.get(revision.number)
    return not revision.is_rollback or shipped is None or case.now < times.read(shipped) + BEGIN_AFTER_ROLLBACK


def _has_ended(revision: Revision, test: TestGate) -> bool:
    run = recorded_test_runs(revision).get(test.name)
    return run is not None and run.verdict in (Verdict.Passed, Verdict.Failed)


def _ends_of_patience(case: Case) -> Iterator[datetime]:
    """Yield when tests that run now are no longer waited for."""
    for revision in _under_test(case):
        runs = {run.name: run for run in test_runs(case, revision)}
        for test in tests_for(case, revision):
            run = runs.get(test.name)
            if run and run.verdict is None and (late := overdue(run, test)):
                yield late


def _setbacks(case: Case) -> Iterator[Setback]:
    """Yield what is to be tried again."""
    known, wanted = case.observed.setbacks, wanted_rollback(case)
    names = [
        test_run_name(case.deployment.name, revision.number, test.name)
        for revision in _under_test(case)
        for test in tests_for(case, revision)
        if not _has_ended(revision, test) and _may_begin(case, revision)
    ]
    names += [wanted.name] if wanted else []
    yield from (known[name] for name in names if name in known)


def _must_wait(case: Case, name: str) -> bool:
    setback = case.observed.setbacks.get(name)
    if setback is None or setback.noticed > case.now:  # the clock was set back: what is known is not waited for
        return False
    return case.now < setback.noticed + TRY_AGAIN
