"""What becomes of a promotion: the operator's own rules, applied to what is in the cluster now. Pure.

The operator decides again when it acts.
"""

from __future__ import annotations

from prompt_operator.api.phases import Phase
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import (
    approvals_missing,
    has_passed_gates,
    may_be_proposed_again,
    passed_tests_and_experiment,
    rejection_of,
)


def refusal(case: Case, target: str) -> str:
    """Say why a version would not ship by being promoted; empty where it may, or where nobody knows that content."""
    source = case.newest_with.get(target)
    if source is None:
        return ""
    if said := rejection_of(case, source):
        return f"was rejected by {said.by}" + (f" ({said.reason})" if said.reason else "")
    may = case.was_live(target) or has_passed_gates(case, source) or may_be_proposed_again(case, source)
    if may or source is case.unfinished or target in case.quarantine:
        return ""
    if source.phase is Phase.ABFailed:
        return "failed its A/B test, and never was live"
    if source.phase is not Phase.Rejected:
        return ""
    why = source.status.get("rejectionReason") or source.status.get("message")
    return "was rejected" + (f" ({why})" if why else "") + ", and never was live"


def gates_ahead(case: Case, target: str) -> list[str]:
    """Name the gates that a version must pass before it ships; none for one that was live."""
    source, gates = case.newest_with.get(target), case.deployment.gates
    if source is None or case.was_live(target):
        return []
    ahead = []
    if not passed_tests_and_experiment(case, source):
        ahead += [f"test {test.name}" for test in gates.tests or ()] if source.phase is not Phase.ABRunning else []
        ahead += ["the A/B test"] if gates.ab_test and case.live else []
    if missing := approvals_missing(case, source):
        ahead.append(f"{missing} approval{'s' if missing > 1 else ''}")
    return ahead
