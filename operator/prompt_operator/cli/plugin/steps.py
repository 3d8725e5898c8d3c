"""Each gate and guard of a prompt and how it stands: the operator's own rules, applied to what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from prompt_operator.api.content import short_hash
from prompt_operator.api.phases import TERMINAL, Phase
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import Verdict
from prompt_operator.cli.plugin import figures, moments, sanitize
from prompt_operator.cli.plugin.model import Prompt
from prompt_operator.cli.plugin.status import next_steps, why_not_ready
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import (
    approvals_missing,
    approvers_of,
    recorded_test_runs,
    rejection_of,
    stale_decisions,
    tests_for,
)
from prompt_operator.lifecycle.monitoring import GUARDS, Refusal
from prompt_operator.lifecycle.observed import Revision

_LONGEST: Final = 400


class State(StrEnum):
    """How a gate or guard stands."""

    Done = "Done"
    Failed = "Failed"
    Waiting = "Waiting"
    Off = "Off"


@dataclass(frozen=True, slots=True)
class Step:
    """One gate or guard."""

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """All gates and guards of a prompt, in the order they are passed."""

    parts: Sequence[tuple[str, Sequence[Step]]]
    next: str

    def as_json(self) -> dict[str, Any]:
        """Return it as data."""
        told = [
            {"about": title, "steps": [{"name": s.name, "state": s.state.value, "text": s.text} for s in steps]}
            for title, steps in self.parts
        ]
        return {"parts": told, "next": self.next}


def explained(case: Case, prompt: Prompt) -> Explained:
    """Explain a prompt."""
    candidate = case.candidate
    parts: list[tuple[str, Sequence[Step]]] = []
    if candidate:
        title = f"Candidate: {_told(candidate)}, {candidate.phase or Phase.Proposed}"
        ships = candidate.number not in case.shipped_at and candidate.phase not in TERMINAL
        guards = list(_ship_guards(case, prompt, candidate)) if ships else [_fate(case, candidate)]
        parts.append((title, [*_gates(case, candidate), *guards]))
    if case.live:
        live = case.live.revision
        parts.append((f"Live: {_told(live)}", [*_watch(case, live), *_rollback_guards(case, live)]))
    return Explained(parts, _next(case, prompt, [s for _, steps in parts for s in steps]))


# --- before it ships ------------------------------------------------------------------------------------------------


def _gates(case: Case, candidate: Revision) -> Iterator[Step]:
    gates = case.deployment.gates
    if not (gates.tests or gates.ab_test or gates.approvals) and not case.deployment.gates_problem:
        yield Step("gates", State.Off, "none are asked for: it ships by itself")
        return
    tests = list(_tests(case, candidate))
    yield from tests
    experiment = _experiment(case, candidate, after=[s.name for s in tests if s.state is not State.Done])
    if experiment:
        yield experiment
    yield from _approvals(case, candidate)


def _tests(case: Case, candidate: Revision) -> Iterator[Step]:
    runs = recorded_test_runs(candidate)
    for test in tests_for(case, candidate):
        name, run = f"test {test.name}", runs.pop(test.name, None)
        if run is None:
            past = candidate.phase not in (None, Phase.Proposed)
            text = "was asked for later, and not of this one" if past else f"starts from CronJob {test.cron_job_name}"
            yield Step(name, State.Off if past else State.Waiting, text)
        else:
            since = moments.age(run.start_time or "", case.now)
            state = {Verdict.Passed: State.Done, Verdict.Failed: State.Failed, Verdict.Errored: State.Failed}
            told = {Verdict.Passed: "passed", Verdict.Failed: "failed", Verdict.Errored: "cannot be run"}
            running = f"runs since {since} of at most {moments.span(test.timeout_seconds)}" if since else "waits"
            text = told.get(run.verdict, running) if run.verdict else running
            said = f": {_short(run.message)}" if run.message else ""
            yield Step(
                name, state.get(run.verdict, State.Waiting) if run.verdict else State.Waiting,
                f"{text} (Job {run.job_name}){said}",
            )  # fmt: skip
    for run in runs.values():
        yield Step(f"test {run.name}", State.Off, f"{run.verdict or 'no verdict'}, and is asked for no more")


def _experiment(case: Case, candidate: Revision, after: Sequence[str]) -> Step | None:
    test, report = case.deployment.gates.ab_test, candidate.status.get("abReport") or {}
    verdict, said = report.get("verdict"), _short(report.get("message"))
    if candidate.phase is Phase.ABFailed or verdict == Verdict.Failed:
        return Step("A/B test", State.Failed, said or "failed")
    if test is None:
        return None
    if verdict == Verdict.Passed and candidate.phase is not Phase.ABRunning:
        return Step("A/B test", State.Done, said or "passed")
    if candidate.status.get("passedTime") or candidate.phase not in (None, Phase.Proposed, Phase.ABRunning):
        return Step("A/B test", State.Off, "was skipped" if candidate.phase is not Phase.Rejected else "did not end")
    if case.live is None:
        return Step("A/B test", State.Off, "is skipped: nothing is live to compare with")
    if not report.get("startedTime"):
        return Step("A/B test", State.Waiting, f"begins after {', '.join(after)}" if after else "begins next")
    return Step("A/B test", State.Waiting, _so_far(case, report))


def _so_far(case: Case, report: Mapping[str, Any]) -> str:
    test = case.deployment.gates.ab_test
    assert test is not None
    metrics = [m for m in report.get("metrics") or () if isinstance(m, Mapping)]
    counts = [figures.number((m.get(arm) or {}).get("samples")) for m in metrics for arm in ("control", "candidate")]
    have = min((c for c in counts if c is not None), default=0.0)
    wanted = [figures.number(m.get("requiredSamplesPerArm")) or 0.0 for m in metrics]
    need = max([float(test.min_samples_per_arm), *wanted])
    parts = [str(report.get("verdict") or "no look yet"), f"{have:.0f} of {need:.0f} samples in each arm"]
    if started := moments.read(str(report.get("startedTime"))):
        left = started + timedelta(seconds=test.max_duration_seconds) - case.now
        parts.append(f"{moments.span(int(left.total_seconds()))} left" if left > timedelta() else "its time is over")
        least = started + timedelta(seconds=test.min_duration_seconds) - case.now
        if least > timedelta():
            parts.append(f"passes in {moments.span(int(least.total_seconds()))} at the earliest")
    if estimate := moments.read(str(report.get("estimatedCompletionTime") or "")):
        away = estimate - case.now
        parts.append(f"enough samples in about {moments.span(int(away.total_seconds()))}" if away > timedelta() else "")
    said = _short(report.get("message"))
    return ", ".join(p for p in parts if p) + (f". {said}" if said else "")


def _approvals(case: Case, candidate: Revision) -> Iterator[Step]:
    wanted = case.deployment.gates.approvals
    rejection = rejection_of(case, candidate)
    if rejection:
        why = f": {_short(rejection.reason)}" if rejection.reason else ""
        yield Step("decisions", State.Failed, f"{rejection.by} rejects it{why}")
    if wanted is None:
        return
    missing, people = approvals_missing(case, candidate), approvers_of(case, candidate)
    by = f" ({', '.join(people)[:_LONGEST]})" if people else ""
    text = f"{len(people)} of {wanted.required}{by}" + (f"; {missing} missing" if missing else "")
    if not missing and len(people) < wanted.required:
        text = "not needed: this content was live before"
    yield Step("approvals", State.Waiting if missing else State.Done, text)
    for word in stale_decisions(case):
        yield Step(
            "approvals",
            State.Off,
            f"{word.by} said {word.verdict} about {short_hash(word.hash)}, which does nothing here",
        )


def _ship_guards(case: Case, prompt: Prompt, candidate: Revision) -> Iterator[Step]:
    d = case.deployment
    for problem in (d.content_problem, d.gates_problem):
        if problem:
            yield Step("spec", State.Failed, _short(problem.message))
    if rollback := case.quarantine.get(candidate.hash):
        yield Step("quarantine", State.Failed, f"rolled back by revision {rollback.number}")
    else:
        yield Step("quarantine", State.Done, "none")
    pinned = case.pinned_by if d.target_hash and d.target_hash != candidate.hash else ""
    pinned = "a rollback, which took it from who had pinned it," if case.pin_was_taken else pinned
    yield (
        Step("target", State.Failed, f"{pinned} owns spec.targetHash, and names {short_hash(d.target_hash)}")
        if pinned
        else Step("target", State.Done, "nobody else holds spec.targetHash")
    )
    yield Step("pause", State.Failed, "paused: nothing ships") if d.paused else Step("pause", State.Done, "not paused")
    stalled = prompt.deployment.condition("Stalled")
    known = (Reason.TestNotRunnable, Reason.GatesInvalid, Reason.TargetQuarantined)
    if prompt.deployment.holds("Stalled") and stalled.get("reason") not in known:
        yield Step("operator", State.Failed, _short(stalled.get("message")))


def _fate(case: Case, candidate: Revision) -> Step:
    if candidate.number in case.shipped_at:
        by = f" by {candidate.status['approvedBy']}" if candidate.status.get("approvedBy") else ""
        return Step("shipped", State.Done, f"{moments.age(case.shipped_at[candidate.number], case.now)} ago{by}")
    why = candidate.status.get("rejectionReason") or candidate.status.get("message") or ""
    return Step("shipped", State.Failed, f"no: {candidate.phase}{f', {_short(why)}' if why else ''}")


# --- after it shipped -----------------------------------------------------------------------------------------------


def _watch(case: Case, live: Revision) -> Iterator[Step]:
    watch, report = case.deployment.monitoring, live.status.get("regressionMetric") or {}
    said = _short(report.get("message"))
    if live.phase is Phase.Regressed:
        yield Step("monitoring", State.Failed, said or "has regressed")
    elif watch is None or live.is_rollback:
        yield Step("monitoring", State.Off, "what a rollback brought is not watched" if watch else "not asked for")
    elif report.get("endedTime"):
        yield _watched(report, said)
    else:
        shipped = case.live.time if case.live else ""
        ends = times.read(shipped) + timedelta(seconds=watch.duration_seconds) - case.now
        left = f"{moments.span(int(ends.total_seconds()))} left" if ends > timedelta() else "about to end"
        failures = int(figures.number(report.get("consecutiveFailures")) or 0)
        worse = f", worse at {failures} of {watch.consecutive_failures} looks in a row" if failures else ""
        verdict = report.get("verdict") or "no look yet"
        yield Step("monitoring", State.Waiting, f"{verdict}, {left}{worse}" + (f". {said}" if said else ""))


def _watched(report: Mapping[str, Any], said: str) -> Step:
    """Tell of monitoring whose time is over: numbers that never came are not called good ones."""
    if not report.get("lastLookTime"):
        return Step("monitoring", State.Off, said or "nothing was watched")
    arms = [m.get("candidate") for m in report.get("metrics") or () if isinstance(m, Mapping)]
    read = any(
        figures.number(arm.get("samples")) or figures.number(arm.get("value")) is not None
        for arm in arms
        if isinstance(arm, Mapping)
    )
    blind = report.get("verdict") == Verdict.Errored or report.get("reason") == Reason.NoBaseline
    if report.get("verdict") == Verdict.Passed or (read and not blind):
        return Step("monitoring", State.Done, said or "was watched to the end")
    found = "nothing was found out" if read else "no number of this version was ever read"
    return Step("monitoring", State.Failed, f"its time is over, and {found}{f': {said}' if said else ''}")


def _rollback_guards(case: Case, live: Revision) -> Iterator[Step]:
    if case.deployment.monitoring is None or live.is_rollback:
        return
    found = [refusal for guard in GUARDS if (refusal := guard(case, live))]
    if not found:
        back = case.previous_version
        to = f", to {_told(back.revision)}" if back else ""
        yield Step("automatic rollback", State.Done, f"no guard is against it{to}")
    for refusal in found:
        yield Step("automatic rollback", _state_of(refusal), f"{refusal.reason}. {refusal.message}")


def _state_of(refusal: Refusal) -> State:
    if refusal.reason is Reason.AutoRollbackOff:
        return State.Off
    return State.Waiting if refusal.until else State.Failed


# --- what to do -----------------------------------------------------------------------------------------------------


def _next(case: Case, prompt: Prompt, steps: Sequence[Step]) -> str:
    d = prompt.deployment
    if not d.is_observed:
        return why_not_ready(d)
    if told := next_steps(d):
        return told[0]
    open_ones = [s for s in steps if s.state is State.Waiting]
    if any(s.name == "approvals" for s in open_ones) and len(open_ones) == 1:
        return f"Decide: kubectl prompt approve {d.name}, or kubectl prompt reject {d.name}"
    if d.holds("Stalled"):
        return str(d.condition("Stalled").get("message"))
    if any(s.name not in ("monitoring", "automatic rollback") for s in open_ones) or case.unfinished:
        return f"Nothing; it goes on by itself. Follow it with: kubectl prompt watch {d.name}"
    return "Nothing."


def _told(revision: Revision) -> str:
    return f"revision {revision.number} ({', '.join(p for p in (revision.version, short_hash(revision.hash)) if p)})"


def _short(text: Any) -> str:
    said = sanitize.line(text).strip() if isinstance(text, str) else ""
    return said if len(said) <= _LONGEST else said[:_LONGEST] + "..."
