"""People, Jobs, numbers and damage in any order, where candidates have gates and what is live is watched."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from prompt_operator.api.reports import Verdict
from tests.property.evidence import AB_TEST, a_test, monitoring
from tests.property.profiles import MACHINE_EXAMPLES
from tests.property.test_machine import DEPLOYMENTS, Everything, names, texts

TESTS = st.sampled_from([[], [a_test()], [a_test(runAfterRollback=True)], [a_test(), a_test("long")]])
AB_TESTS = st.sampled_from([None, AB_TEST, AB_TEST | {"candidateWeight": 50}, AB_TEST | {"onInconclusive": "Hold"}])
APPROVALS = st.sampled_from([None, None, {"required": 1}, {"required": 2}])
MONITORINGS = st.sampled_from([None, {}, {"autoRollback": False}, {"cooldownSeconds": 0}, {"cooldownSeconds": 100000}])
verdicts = st.sampled_from([*Verdict, None])


def gates_of(tests: list[Any], ab_test: Any, approvals: Any) -> dict[str, Any]:
    given = {"tests": tests, "abTest": ab_test, "approvals": approvals}
    return {k: v for k, v in given.items() if v}


class Gated(Everything):
    """All that the machine without gates does, and what gates add to it."""

    @initialize(
        text=texts,
        limit=st.sampled_from([1, 3, 50]),
        tests=TESTS,
        ab=AB_TESTS,
        approvals=APPROVALS,
        watched=MONITORINGS,
    )
    def two_prompts_of_one_agent(
        self, text: str, limit: int, tests: list[Any], ab: Any, approvals: Any, watched: Any
    ) -> None:
        super().two_prompts_of_one_agent(text, limit)
        self.come_to_rest()
        for name in DEPLOYMENTS:
            self.world.ask(name, **gates_of(tests, ab, approvals))
            if watched is not None:
                self.world.watch(name, **watched)

    # --- people ------------------------------------------------------------------------------------------------------

    @rule(name=names, tests=TESTS, ab=AB_TESTS, approvals=APPROVALS)
    def change_gates(self, name: str, tests: list[Any], ab: Any, approvals: Any) -> None:
        self.world.ask(name, **gates_of(tests, ab, approvals))

    @rule(name=names, watched=MONITORINGS)
    def change_monitoring(self, name: str, watched: Any) -> None:
        self.world.set(name, monitoring=None if watched is None else monitoring(**watched))

    @rule(
        name=names,
        by=st.sampled_from(["alice", "bob"]),
        text=texts,
        verdict=st.sampled_from(["Approve", "Approve", "Reject"]),
    )
    def decide(self, name: str, by: str, text: str, verdict: str) -> None:
        self.world.say(name, by, verdict, text, "because")

    @rule(name=names, by=st.sampled_from(["alice", "bob"]))
    def take_a_decision_back(self, name: str, by: str) -> None:
        self.world.take_back(name, by)

    # --- Jobs and numbers --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.jobs)
    @rule(data=st.data(), how=st.sampled_from(["Complete", "Complete", "Complete", "Failed", "deleted"]))
    def end_a_job(self, data: st.DataObject, how: str) -> None:
        job = self.world.jobs[data.draw(st.sampled_from(sorted(self.world.jobs)))]
        if how == "deleted":
            self.world.delete_job(job.name)
        elif job.state == "Running":
            self.world.end_job(job.name, how, "said", {"score": 1})

    @rule(missing=st.booleans(), cut_off=st.booleans())
    def have_trouble_starting_jobs(self, missing: bool, cut_off: bool) -> None:
        self.world.missing_cron_jobs = {"smoke-jobs"} if missing else set()
        self.world.cut_off_starts = cut_off

    @rule(name=names, verdict=verdicts)
    def end_looks(self, name: str, verdict: Verdict | None) -> None:
        self.world.end_looks(name, verdict)

    @rule(name=names, verdict=verdicts)
    def let_time_pass_and_look(self, name: str, verdict: Verdict | None) -> None:
        self.world.pass_time(61)
        self._step(("deployment", name))
        self.come_to_rest()
        self.world.end_looks(name, verdict)

    @rule(name=names, text=texts, people=st.integers(0, 2), verdict=st.sampled_from(["Passed", "Passed", "Failed"]))
    def edit_and_see_it_through(self, name: str, text: str, people: int, verdict: str) -> None:
        """Edit, end every Job and look, and have people approve: what most edits go through, if nobody interferes."""
        self.world.edit(name, text)
        self.world.missing_cron_jobs = set()
        for by in ("alice", "bob")[:people]:
            self.world.approve(name, by, text)
        for _ in range(3):
            self.come_to_rest()
            for job in [j for j in self.world.jobs.values() if j.deployment == name and j.state == "Running"]:
                self.world.end_job(job.name)
            self.world.pass_time(61)
            self.come_to_rest()
            self.world.end_looks(name, verdict)

    @rule(name=names, steps=st.integers(0, 12))
    def have_it_regress_and_stop_on_the_way(self, name: str, steps: int) -> None:
        self.world.pass_time(61)
        self.come_to_rest()
        self.world.end_looks(name, "Failed")
        for _ in range(steps):
            for key in self.world.all_keys():
                self._step(key)
        self.world.restart()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(name=names)
    def lose_a_candidates_status(self, name: str) -> None:
        """Lose all of it that the CRD's rules let somebody clear; what it had found out is found out anew."""
        candidates = [
            r for r in self.world.observe(name).revisions if r.status.get("phase") in ("ABRunning", "Proposed")
        ]
        if candidates:
            self.world.forget_revision_status(candidates[-1].name)


TestGated = Gated.TestCase
TestGated.settings = settings(max_examples=MACHINE_EXAMPLES, stateful_step_count=50)
