"""The checker finds what it is there to find."""

import hashlib
import json
from typing import Any

from tests.faults.history import Change, Checker


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def change(version: int, kind: str, name: str, type_: str = "MODIFIED", meta: Any = None, **rest: Any) -> Change:
    return Change(version, kind, type_, {"metadata": {"name": name, **(meta or {})}, **rest})


def target(version: int, text: str, **status: Any) -> Change:
    return change(version, "promptdeployments", "support", spec={"targetHash": digest(text)}, status=status)


def switch(version: int, text: str, claims: str | None = None, record: int = 0) -> Change:
    claimed = digest(claims or text)
    meta = {
        "annotations": {"promptoperator.io/hash": claimed},
        "managedFields": [{"manager": "prompt-operator", "time": "2026-01-01T00:00:00Z"}],
    }
    data = {"prompt.json": text, "metadata.json": json.dumps({"hash": claimed, "revision": record or version})}
    return change(version, "configmaps", "support-prompt", meta=meta, data=data)


def revision(version: int, number: int, text: str, stage: str = "", **spec: Any) -> Change:
    spec = {"trigger": "Change", "revision": number, "promptDeploymentName": "support", "hash": digest(text)} | spec
    return change(
        version, "promptrevisions", f"support-{number}", "ADDED", spec=spec, status={"stage": stage} if stage else {}
    )


def rolled_back(version: int, number: int, to: str, away: str) -> Change:
    cause = {"name": "back", "uid": "u"}
    return revision(version, number, to, trigger="Rollback", baselineHash=digest(away), cause=cause)


def blamed(*changes: Change) -> str:
    return " ".join(Checker().check(list(changes)))


def test_a_rightful_history_is_not_blamed():
    assert not blamed(
        revision(1, 1, "a"), target(2, "a"), switch(3, "a"), target(4, "a", activeHash=digest("a")),
        revision(5, 2, "b"), target(6, "b"), switch(7, "b"),
        rolled_back(8, 3, "a", away="b"), target(9, "a"), switch(10, "a"),
    )  # fmt: skip


def test_content_that_is_not_what_it_claims_is_blamed():
    assert "is annotated" in blamed(target(1, "a"), switch(2, "a", claims="b"))


def test_prompt_and_record_that_change_apart_are_blamed():
    assert "together" in blamed(target(1, "a"), switch(2, "a"), switch(3, "a"))


def test_a_switch_without_a_target_is_blamed():
    assert "never was spec.targetHash" in blamed(target(1, "a"), switch(2, "b"))


def test_a_quarantined_content_that_comes_back_is_blamed():
    history = (target(1, "b"), switch(2, "b"), rolled_back(3, 2, "a", away="b"), target(4, "a"), switch(5, "a"))
    assert "quarantined" in blamed(*history, switch(6, "b"))


def test_a_status_that_runs_ahead_is_blamed():
    assert "no ConfigMap held" in blamed(target(1, "a", activeHash=digest("a")), switch(2, "a"))


def test_two_published_revisions_are_blamed():
    assert "published" in blamed(revision(1, 1, "a", "Published"), revision(2, 2, "b", "Published"))


def test_a_rollback_that_acts_twice_is_blamed():
    assert "before" in blamed(rolled_back(1, 2, "a", away="b"), rolled_back(2, 3, "a", away="b"))
