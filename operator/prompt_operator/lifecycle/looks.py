"""When the numbers are looked at: exactly, spread over the interval, and unshaken by restarts and clocks that jump."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from prompt_operator.api.gates import AbTest, Monitoring
from prompt_operator.api.phases import Phase
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import Span, TakeLook
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import ab_report, deadline_of, wanted_experiment
from prompt_operator.lifecycle.monitoring import regression_report, watch_of


@dataclass(frozen=True, slots=True)
class Schedule:
    """Looks at one experiment or one live version: at one phase of each interval, and at the end."""

    id: str
    started: datetime
    interval: timedelta
    end: datetime
    last: datetime | None

    def due(self, now: datetime) -> datetime:
        """Return when the next look is due.

        A look that was missed, as while the operator was down, is due at once, and only once. The phase comes from the
        id, so that a thousand tests that began together do not ask together. A last look in the future, as after the
        clock was set back, is not waited for.
        """
        spread = int(self.id[:8], 16) % max(1, int(self.interval.total_seconds()))
        first = self.started + timedelta(seconds=spread)
        if self.last is None:
            return min(first, self.end) if self.end > self.started else first
        if self.last > now + self.interval:
            return now
        passed = max(0, (self.last - first) // self.interval + 1)
        following = first + passed * self.interval
        return min(following, self.end) if self.last < self.end else following


def pending_looks(case: Case) -> list[tuple[datetime, TakeLook]]:
    """Return what is to be looked at and when, both for the candidate under test and for what is watched."""
    found = (_at_experiment(case), _at_live(case))
    return [pending for pending in found if pending]


def _at_experiment(case: Case) -> tuple[datetime, TakeLook] | None:
    candidate, test = case.unfinished, case.deployment.gates.ab_test
    experiment = wanted_experiment(case)
    if candidate is None or test is None or experiment is None or not experiment.started:
        return None
    if candidate.phase is not Phase.ABRunning or case.live is None:
        return None
    report = ab_report(case, candidate)
    started = times.read(experiment.started)
    schedule = _schedule(experiment.id, started, test, deadline_of(test, report), report.get("lastLookTime"))
    look = TakeLook(
        id=experiment.id,
        revision=candidate.name,
        config=test,
        candidate=Span(candidate.hash, started, case.now),
        control=Span(case.live_hash, started, case.now),
        previous=report,
    )
    return schedule.due(case.now), look


def _at_live(case: Case) -> tuple[datetime, TakeLook] | None:
    watch = watch_of(case)
    if watch is None or case.live is None or case.live.revision.phase is not Phase.Monitoring:
        return None
    report = regression_report(case, watch.live.revision)
    if report.get("endedTime"):
        return None
    started = times.read(watch.live.time)
    schedule = _schedule(watch.id, started, watch.config, watch.ends, report.get("lastLookTime"))
    frozen = bool(report.get("metrics")) and all(m.get("control") for m in report["metrics"])
    control = None
    if watch.baseline and not frozen:
        control = Span(watch.baseline.revision.hash, watch.baseline_since, started)
    look = TakeLook(
        id=watch.id,
        revision=watch.live.revision.name,
        config=watch.config,
        candidate=Span(case.live_hash, started, case.now),
        control=control,
        previous=report,
    )
    return schedule.due(case.now), look


def _schedule(name: str, started: datetime, config: AbTest | Monitoring, end: datetime, last: object) -> Schedule:
    interval = timedelta(seconds=config.interval_seconds)
    return Schedule(name, started, interval, end, times.read(str(last)) if last else None)
