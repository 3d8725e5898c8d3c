"""What gates and monitoring live on, in the model: Jobs of tests, looks at the numbers, AgentRollbacks of the operator's own.

Jobs are objects of the cluster. What was read of them, and looks, live in the operator's process: a restart loses them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from prompt_operator.api.gates import AbTest, Decision, Gates, Monitoring
from prompt_operator.api.names import AUTO_ROLLBACK, UNVERIFIED, auto_rollback_name, rejection_name, test_run_name
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle import actions, times
from prompt_operator.lifecycle.observed import Look, Observed, Revision, Rollback, Setback, TestJob, TestOutcome
from tests.property.cluster import Cluster

METRIC = {"name": "resolved", "source": {"http": {"url": "http://numbers"}}}
AB_TEST = {"minDurationSeconds": 0, "maxDurationSeconds": 3600, "intervalSeconds": 60, "metrics": [METRIC]}
MONITORING = {"intervalSeconds": 60, "durationSeconds": 3600, "cooldownSeconds": 7200, "metrics": [METRIC]}


def a_test(name: str = "smoke", **more: Any) -> dict[str, Any]:
    return {"name": name, "cronJobName": f"{name}-jobs"} | more


def gates(**given: Any) -> Gates:
    """Return gates as they stand in a manifest: tests, abTest, approvals."""
    return Gates.model_validate(given)


def monitoring(**more: Any) -> Monitoring:
    return Monitoring.model_validate(MONITORING | more)


class Evidence(Cluster):
    """A cluster in which tests run and numbers are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, TestJob] = {}
        self.said: dict[str, tuple[str, Any]] = {}  # uid of a Job → message and report of its pod
        self.missing_cron_jobs: set[str] = set()
        #: Kinds of actions that the API server refuses.
        self.refused: set[type[actions.Action]] = set()
        #: A start is cut off once the Job is made, before it is let go.
        self.cut_off_starts = False
        self.outcomes: defaultdict[str, dict[str, TestOutcome]] = defaultdict(dict)
        self.problems: defaultdict[str, dict[str, Setback]] = defaultdict(dict)
        self.looks: defaultdict[str, dict[str, Look]] = defaultdict(dict)
        self.looking: defaultdict[str, dict[str, actions.TakeLook]] = defaultdict(dict)
        self.looks_taken: list[actions.TakeLook] = []
        #: When each thing was looked at, but for looks that were lost.
        self.moments: set[tuple[str, datetime]] = set()
        #: What every look finds at once; None leaves them open until ``end_looks``.
        self.verdict: Callable[[actions.TakeLook], Verdict] | None = None
        self.owned_rollbacks: dict[str, str] = {}
        # What really happened, for those who hold decisions against it.
        self.tests_passed: set[tuple[str, int, str]] = set()
        self.looks_passed: set[tuple[str, str]] = set()
        #: (uid, hash) of what was seen to pass tests and A/B test.
        self.passed: set[tuple[str, str]] = set()

    # --- people and time ---------------------------------------------------------------------------------------------

    def ask(self, name: str, **given: Any) -> None:
        """Set spec.gates whole."""
        self._spec(name, gates=gates(**given))

    def watch(self, name: str, **more: Any) -> None:
        self._spec(name, monitoring=monitoring(**more))

    def say(self, name: str, by: str, verdict: str, text: str, reason: str = "") -> None:
        """Write one person's decision, in place of their earlier one."""
        others = tuple(d for d in self.deployments[name].decisions if d.by != by)
        said = Decision(by=by, hash=self._hash(text), verdict=verdict, reason=reason)  # type: ignore[arg-type]
        self._spec(name, decisions=(*others, said))

    def approve(self, name: str, by: str, text: str) -> None:
        self.say(name, by, "Approve", text)

    def reject(self, name: str, by: str, text: str, reason: str = "") -> None:
        self.say(name, by, "Reject", text, reason)

    def take_back(self, name: str, by: str) -> None:
        self._spec(name, decisions=tuple(d for d in self.deployments[name].decisions if d.by != by))

    def job_of(self, name: str, number: int, test: str = "smoke") -> str:
        return test_run_name(name, number, test)

    def end_job(self, job: str, state: str = "Complete", said: str = "", report: Any = None) -> None:
        """Let a running Job end, Complete or Failed."""
        known = self.jobs[job]
        assert known.state == "Running", known
        self.jobs[job] = replace(
            known, state=state, resource_version=self._rv(), completion_time=times.seconds(self.now),
            reason="" if state == "Complete" else "BackoffLimitExceeded", message=said,
        )  # fmt: skip
        self.said[known.uid] = (said, report)
        if state == "Complete":
            self.tests_passed.add((known.owner_uid, known.revision, known.test))

    def delete_job(self, job: str) -> None:
        known = self.jobs.pop(job)
        self.outcomes[known.deployment].pop(job, None)

    def restart(self) -> None:
        """Lose all that lives in the operator's process."""
        for name in list(self.looking):
            self.end_looks(name, None)
        for memory in (self.outcomes, self.problems, self.looks):
            memory.clear()

    def recreate(self, name: str, text: str, **spec: Any) -> None:
        super().recreate(name, text, **spec)
        for memory in (self.outcomes, self.problems, self.looks):
            memory.pop(name, None)

    def collect_garbage(self) -> None:
        super().collect_garbage()
        alive = {d.uid for d in self.deployments.values()}
        for name in [n for n, j in self.jobs.items() if j.owner_uid not in alive]:
            self.delete_job(name)
        for name in [n for n, uid in self.owned_rollbacks.items() if uid not in alive]:
            self.rollbacks.pop(name, None)
            del self.owned_rollbacks[name]

    def end_looks(self, name: str, verdict: Verdict | str | None) -> int:
        """End the open looks of a deployment with a verdict, or lose them; returns how many there were."""
        open_ones = list(self.looking.pop(name, {}).values())
        for asked in open_ones:
            if verdict is None:
                self.moments.discard((asked.id, asked.candidate.at))
            else:
                self.looks[name][asked.id] = self.look_of(asked, verdict)
        return len(open_ones)

    def look_of(self, asked: actions.TakeLook, verdict: Verdict | str) -> Look:
        """Return what a look finds."""
        return Look(asked.id, self._report(asked, Verdict(verdict)))

    def _report(self, asked: actions.TakeLook, verdict: Verdict) -> Mapping[str, Any]:
        at = times.written(max(self.now, asked.candidate.at))
        if verdict is Verdict.Passed and isinstance(asked.config, AbTest):
            self.looks_passed.add((asked.id, asked.candidate.hash))
        previous = dict(asked.previous)
        frozen = next(iter(previous.get("metrics") or ()), {}).get("control")
        control = {"hash": asked.control.hash, "samples": 100.0, "successes": 90.0} if asked.control else frozen
        candidate = {"hash": asked.candidate.hash, "samples": 100.0, "successes": 50.0}
        failures = previous.get("consecutiveFailures", 0) + 1 if verdict is Verdict.Failed else 0
        metric = {
            "name": "resolved", "role": "Primary", "kind": "Proportion", "direction": "HigherIsBetter", "margin": 0.0,
            "verdict": verdict, "candidate": candidate, "consecutiveFailures": failures,
        } | ({"control": control} if control else {})  # fmt: skip
        said = {
            "verdict": verdict, "message": f"It {verdict}.", "lastLookTime": at, "metrics": [metric],
            "looks": int(previous.get("looks") or 0) + 1,
        }  # fmt: skip
        watching = {} if isinstance(asked.config, AbTest) else {"consecutiveFailures": failures}
        return {k: v for k, v in previous.items() if k != "tests"} | said | watching

    # --- what the controller sees ------------------------------------------------------------------------------------

    def evidence_of(self, name: str) -> dict[str, Any]:
        uid = self.deployments[name].uid
        prefixes = (f"{name}-auto-", f"{name}-reject-")
        return {
            "jobs": {n: j for n, j in self.jobs.items() if j.deployment == name and j.owner_uid == uid},
            "test_outcomes": dict(self.outcomes.get(name, {})),
            "setbacks": dict(self.problems.get(name, {})),
            "looks": dict(self.looks.get(name, {})),
            "looking": frozenset(self.looking.get(name, {})),
            "own_rollbacks": {n: r.phase for n, r in self.rollbacks.items() if n.startswith(prefixes)},
        }

    @staticmethod
    def requested_by(rollback: Rollback) -> str:
        """Return who asked, which counts only on what is named as the operator names its own."""
        claimed, name = (
            str(rollback.spec.get("requestedBy") or ""),
            str(rollback.spec.get("promptDeploymentName") or ""),
        )
        _, _, number = rollback.name.rpartition("-")
        if claimed and number.isdigit():
            own = auto_rollback_name if claimed == AUTO_ROLLBACK else rejection_name
            if rollback.name == own(name, int(number)):
                return claimed
        return UNVERIFIED

    # --- what the operator does --------------------------------------------------------------------------------------

    def do(self, seen: Observed, action: actions.Action) -> bool:
        """Carry out an action of gates and monitoring; returns whether it wrote something."""
        name, uid = seen.deployment.name, seen.deployment.uid
        if type(action) in self.refused:
            self.problems[name][self._about(seen, action)] = Setback("The quota is used up.", self.now)
            return False
        match action:
            case actions.RunTest():
                return self._run_test(seen, action)
            case actions.ReadTestOutcome(job=job):
                if job in self.jobs:
                    said, report = self.said[self.jobs[job].uid]
                    self.outcomes[name][job] = TestOutcome(said, report)
                return False
            case actions.DeleteJob(job=job):
                assert self.jobs[job].owner_uid == uid, "a Job that is not ours was deleted"
                self.delete_job(job)
            case actions.TakeLook():
                assert action.id not in self.looking.get(name, {}), "looked at twice at once"
                assert (action.id, action.candidate.at) not in self.moments, "looked at twice at one moment"
                self.moments.add((action.id, action.candidate.at))
                self.looks_taken.append(action)
                self.looking[name][action.id] = action
                if self.verdict:
                    self.end_looks(name, self.verdict(action))
                return False
            case actions.CreateRollback():
                return self._create_rollback(seen, action)
            case _:
                raise AssertionError(f"a PromptDeployment does not write {action}")
        return True

    @staticmethod
    def _about(seen: Observed, action: actions.Action) -> str:
        match action:
            case actions.RunTest():
                number = next(r.number for r in seen.revisions if r.name == action.revision)
                return test_run_name(seen.deployment.name, number, action.test.name)
            case actions.ReadTestOutcome():
                return action.job
            case actions.CreateRollback():
                return action.name
            case _:
                raise AssertionError(f"nobody refuses {action}")

    def _run_test(self, seen: Observed, action: actions.RunTest) -> bool:
        d = seen.deployment
        revision: Revision = self.revisions[action.revision]
        name = test_run_name(d.name, revision.number, action.test.name)
        known = self.jobs.get(name)
        if action.test.cron_job_name in self.missing_cron_jobs or (known and known.owner_uid != d.uid):
            self.problems[d.name][name] = Setback(f"There is no CronJob {action.test.cron_job_name}.", self.now)
            return False
        assert action.candidate_hash == revision.hash, "the wrong version was tested"
        self.problems[d.name].pop(name, None)
        if known and known.state != "Suspended":
            return False
        state = "Suspended" if self.cut_off_starts and not known else "Running"
        self.jobs[name] = TestJob(
            namespace="team", name=name, uid=known.uid if known else self._uid(), resource_version=self._rv(),
            owner_uid=d.uid, deployment=d.name, revision=revision.number, test=action.test.name, state=state, reason="",
            message="", start_time=times.seconds(self.now) if state == "Running" else "", completion_time="",
            deleting=False,
        )  # fmt: skip
        return True

    def _create_rollback(self, seen: Observed, action: actions.CreateRollback) -> bool:
        d = self.deployments[seen.deployment.name]
        if action.name in self.rollbacks:
            return False
        live = self.revisions[f"{d.name}-{self.switches[d.uid][-1][0]}"]
        if action.requested_by == AUTO_ROLLBACK:
            assert live.status["phase"] == "Regressed", "rolled back by itself before that was recorded"
            assert live.status["regressionMetric"]["verdict"] == "Failed", "rolled back by itself on other than Failed"
            assert not live.is_rollback, "a rollback was rolled back by itself"
            assert seen.deployment.monitoring
            assert seen.deployment.monitoring.auto_rollback
        else:
            said = {(x.by, x.hash) for x in seen.deployment.decisions if x.verdict == "Reject"}
            assert (action.requested_by, action.from_hash) in said, (
                "rolled back in the name of somebody who did not ask"
            )
        self.roll_back(
            d.name, name=action.name, fromHash=action.from_hash, targetHash=action.target_hash, reason=action.reason,
            requestedBy=action.requested_by,
        )  # fmt: skip
        self.owned_rollbacks[action.name] = d.uid
        self.problems[d.name].pop(action.name, None)
        return True
