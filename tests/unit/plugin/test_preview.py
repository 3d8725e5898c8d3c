"""What a rollback is shown to do, and what is asked for so that nothing else is done."""

import io
from typing import Any

import pytest

from prompt_operator.api.agent_rollback import AgentRollbackSpec
from prompt_operator.cli.plugin.exits import PluginError
from prompt_operator.cli.plugin.model import Deployment
from prompt_operator.cli.plugin.output import Output
from prompt_operator.cli.plugin.preview import Preview, read_case
from prompt_operator.cli.plugin.status import next_steps
from prompt_operator.lifecycle.rollback_plan import RefusedError, plan
from tests.unit.plugin.gate_reports import NOW
from tests.unit.plugin.objects import deployment, digest, revision
from tests.unit.plugin.test_steps import whole

Json = dict[str, Any]
ONE: Json = {"promptDeploymentName": "support"}
AGENT: Json = {"agent": "support"}


def case_with(phase: str, *, live: int = 2) -> Any:
    """Versions up to ``live`` were live one after the other, and a candidate is in a phase."""
    letters = "abcd"
    candidate = revision(live + 1, letters[live], shipped=0, version="2.0", status={"phase": phase, "stage": "Draft"})
    shipped = [revision(n, letters[n - 1]) for n in range(1, live + 1)]
    made = deployment(live, letters[live - 1], phase=phase, candidateRevision=live + 1)
    return read_case(whole(made), [whole(r) for r in (*shipped, candidate)], (), (), NOW)


def preview_of(spec: Json, phase: str, *, live: int = 2) -> Preview:
    return Preview("team", plan(spec, [case_with(phase, live=live)]), {})


def printed(shown: Preview) -> str:
    stream = io.StringIO()
    shown.print(Output(stream))
    return stream.getvalue()


def test_a_switch_that_was_shown_is_asked_for_with_both_its_ends():
    pinned = preview_of(ONE, "Proposed").pinned(ONE)
    assert pinned == ONE | {"fromHash": digest("b"), "targetHash": digest("a")}
    AgentRollbackSpec.model_validate(pinned)
    (step,) = plan(pinned, [case_with("ABRunning")])
    assert (step.to.hash if step.to else "", step.rejects) == (digest("a"), None)


def test_a_switch_that_was_shown_is_refused_once_another_version_is_live():
    pinned = preview_of(ONE, "Proposed", live=3).pinned(ONE)
    with pytest.raises(RefusedError, match="is live in support, and not"):
        plan(pinned, [case_with("Proposed", live=2)])


@pytest.mark.parametrize("target", [{"targetRevision": 1}, {"targetHash": digest("a")}])
def test_a_target_that_was_given_gets_no_second_one(target: Json):
    assert preview_of(ONE | target, "ABRunning").pinned(ONE | target) == ONE | target | {"fromHash": digest("b")}


def test_an_agents_rollback_is_asked_for_as_it_was_given():
    assert preview_of(AGENT, "Proposed").pinned(AGENT) == AGENT


def test_a_rejection_of_the_candidate_alone_is_shown_as_that_with_the_way_back():
    shown = preview_of(ONE, "ABRunning")
    text = printed(shown)
    assert "unchanged; rejects 2.0 cccccccccccc (revision 3)" in text
    assert "support: what is live stays live: bbbbbbbbbbbb (revision 2)." in text
    assert "  kubectl prompt rollback support --to-hash aaaaaaaaaaaa\n" in text
    assert "unchanged: \n" not in text
    assert shown.question == "Reject the candidate under test?"
    assert shown.pinned(ONE) == ONE | {"fromHash": digest("b")}


def test_without_an_earlier_version_no_way_back_is_told():
    text = printed(preview_of(ONE, "ABRunning", live=1))
    assert "it has no earlier version to take what is live back to" in text
    assert "--to-hash" not in text


def test_what_a_spec_cannot_say_is_looked_at_again():
    shown = preview_of(ONE, "ABRunning")
    shown.check_still(ONE, lambda: preview_of(ONE, "ABRunning"))
    with pytest.raises(PluginError, match="has changed since it was shown"):
        shown.check_still(ONE, lambda: preview_of(ONE, "ABFailed"))
    with pytest.raises(PluginError, match="has changed since it was shown"):
        preview_of(AGENT, "Proposed").check_still(AGENT, lambda: preview_of(AGENT, "ABRunning"))
    preview_of(ONE, "Proposed").check_still(ONE, lambda: preview_of(ONE, "ABRunning"))  # the spec says it


@pytest.mark.parametrize(
    ("phase", "quarantined", "options"),
    [("Regressed", [], ""), ("ABRunning", [], " --to-hash aaaaaaaaaaaa"), ("ABRunning", [{"hash": digest("a")}], "")],
)
def test_taking_a_regression_back_names_a_target_where_a_rollback_would_reject_a_candidate(
    phase: str, quarantined: list[Json], options: str
):
    regressed = {"type": "Regressed", "status": "True", "reason": "AutoRollbackOff", "message": "It is worse."}
    more = {"previousHash": digest("a"), "quarantinedHashes": quarantined, "conditions": [regressed]}
    told = next_steps(Deployment(deployment(2, "b", phase=phase, **more)))
    assert told == [f"Take it back: kubectl prompt rollback support{options}"]
