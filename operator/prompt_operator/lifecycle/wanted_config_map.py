"""Whether the ConfigMap is what it shall be: what is live, and the candidate beside it while an A/B test runs."""

from __future__ import annotations

from prompt_operator.api.names import ANNOTATION_EXPERIMENT_STARTED
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case, annotations_of, labels_of
from prompt_operator.lifecycle.gates import wanted_experiment


def config_map_is_right(case: Case) -> bool:
    """Tell whether the ConfigMap says what is live, wholly and truthfully."""
    held, record = case.config_map, case.live_record
    if held is None or record is None or case.live is None:
        return False
    return (
        not case.config_map_is_tampered
        and held.record == record
        and all(held.labels.get(k) == v for k, v in labels_of(case.deployment).items())
        and all(held.annotations.get(k) == v for k, v in annotations_of(case.live.revision).items())
        and _experiment_is_right(case)
    )


def _experiment_is_right(case: Case) -> bool:
    wanted, held = wanted_experiment(case), case.config_map
    if held is None:
        return False
    noted = held.annotations.get(ANNOTATION_EXPERIMENT_STARTED, "")
    if wanted is None:
        return not held.experiment and not held.candidate_hash and not noted
    same = held.experiment == wanted.record and held.candidate_hash == wanted.candidate.hash
    return same and bool(wanted.started) and noted == wanted.started and times.is_written(noted)
