"""Which sessions get the candidate: sticky, without any state, the same in every language.

tests/unit/evaluation/bucket_vectors.json has values that any other implementation can be checked against.
"""

from __future__ import annotations

from hashlib import sha256

BUCKETS = 10_000


def bucket(experiment_id: str, session_key: str) -> int:
    """Return the bucket of a session, from 0 to 9999: SHA-256 of ``id:key`` in UTF-8, as one number, modulo 10000.

    Another experiment deals the sessions anew. Raises UnicodeEncodeError for text with a lone surrogate.
    """
    return int(sha256(f"{experiment_id}:{session_key}".encode()).hexdigest(), 16) % BUCKETS


def is_candidate(experiment_id: str, session_key: str, weight: int) -> bool:
    """Tell whether a session gets the candidate, for a weight in percent."""
    return bucket(experiment_id, session_key) < weight * (BUCKETS // 100)
