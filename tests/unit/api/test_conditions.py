"""Conditions as the Kubernetes API conventions have them."""

from __future__ import annotations

from prompt_operator.api.conditions import Condition, ConditionType, stamped

READY = ConditionType.Ready
EARLIER, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def test_a_condition_carries_what_the_conventions_ask_for() -> None:
    (made,) = stamped([(READY, True, "TargetActive", "Revision 1 is live.")], (), 3, EARLIER)
    assert made == {
        "type": "Ready",
        "status": "True",
        "reason": "TargetActive",
        "message": "Revision 1 is live.",
        "observedGeneration": 3,
        "lastTransitionTime": EARLIER,
    }
    assert Condition.model_validate(made).as_json() == made


def test_the_transition_time_stays_while_the_status_stays() -> None:
    before = stamped([(READY, False, "Paused", "")], (), 1, EARLIER)
    (after,) = stamped([(READY, False, "Shipping", "other words")], before, 2, LATER)
    assert (after["lastTransitionTime"], after["reason"], after["observedGeneration"]) == (EARLIER, "Shipping", 2)


def test_the_transition_time_moves_with_the_status() -> None:
    before = stamped([(READY, False, "Paused", "")], (), 1, EARLIER)
    (after,) = stamped([(READY, True, "TargetActive", "")], before, 1, LATER)
    assert after["lastTransitionTime"] == LATER


def test_a_condition_that_lost_its_time_gets_one() -> None:
    (after,) = stamped([(READY, True, "TargetActive", "")], [{"type": "Ready", "status": "True"}], 1, LATER)
    assert after["lastTransitionTime"] == LATER


def test_a_message_fits_its_field() -> None:
    (made,) = stamped([(READY, True, "TargetActive", "x" * 5000)], (), 1, EARLIER)
    assert len(made["message"]) == 1024
