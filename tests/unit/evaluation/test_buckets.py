"""Sessions are dealt out the same way by everybody."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from prompt_operator.evaluation.buckets import BUCKETS, bucket, is_candidate

VECTORS = json.loads((Path(__file__).parent / "bucket_vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: f"{v['experimentId']}:{v['sessionKey']}")
def test_the_published_vectors_hold(vector):
    assert bucket(vector["experimentId"], vector["sessionKey"]) == vector["bucket"]
    for weight, candidate in vector["candidateAtWeight"].items():
        assert is_candidate(vector["experimentId"], vector["sessionKey"], int(weight)) is candidate


def test_the_vectors_hold_what_implementations_disagree_over():
    given = [(v["experimentId"], v["sessionKey"]) for v in VECTORS["vectors"]]
    assert ("", "") in given
    assert any(not key for _, key in given)
    assert any(not key.isascii() for _, key in given)
    assert any(":" in key for _, key in given)
    assert any(ord(char) > 0xFFFF for _, key in given for char in key)
    assert {True, False} == {c for v in VECTORS["vectors"] for c in v["candidateAtWeight"].values()}


def test_a_weight_is_the_share_of_sessions_and_raising_it_moves_nobody_back():
    keys = [f"session-{n}" for n in range(20_000)]
    for weight in (1, 20, 50):
        share = sum(is_candidate("e1", key, weight) for key in keys) / len(keys)
        assert share == pytest.approx(weight / 100, abs=0.011)
    assert all(is_candidate("e1", key, 50) for key in keys if is_candidate("e1", key, 20))
    assert not any(is_candidate("e1", key, 0) for key in keys)
    assert all(is_candidate("e1", key, 100) for key in keys)


def test_another_experiment_deals_the_sessions_anew():
    both = Counter((is_candidate("e1", f"s{n}", 50), is_candidate("e2", f"s{n}", 50)) for n in range(20_000))
    assert all(share == pytest.approx(5000, abs=250) for share in both.values())
    assert all(0 <= bucket("e1", f"s{n}") < BUCKETS for n in range(1000))
