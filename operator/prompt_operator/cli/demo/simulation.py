"""Simulated sessions with an agent: which prompt each one gets, how it ends, and the counts of that. No I/O.

It does what a real agent has to do for an A/B test, so it can be read as an example of that: deal sessions out by their
bucket, make the counters of both arms at 0, and count each session once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from prompt_operator.api.names import CANDIDATE_JSON, EXPERIMENT_JSON, LABEL_DEPLOYMENT, METADATA_JSON, PROMPT_JSON
from prompt_operator.evaluation.buckets import is_candidate
from prompt_operator.evaluation.readings import CANDIDATE, CONTROL

#: Sessions a second, for each prompt: a bound for what one process may do to a machine.
MOST_RATE: Final = 1000.0
OUTCOMES: Final = ("ok", "error")
_AT_ONCE: Final = 200
_TURNS: Final = 2


@dataclass(frozen=True, slots=True)
class Model:
    """Stands in for a language model: how likely an answer is good depends on what the prompt says."""

    #: Sessions a second.
    rate: float
    #: What a prompt may say → the chance of success of a session with it, from 0 to 1. The first that fits counts.
    chances: Mapping[str, float]
    otherwise: float = 0.5

    @classmethod
    def parse(cls, text: str) -> Model:
        """Read JSON. Raises ValueError for a chance that is none, or for more traffic than is allowed."""
        said = json.loads(text)
        model = cls(float(said["rate"]), {str(k): float(v) for k, v in said["chances"].items()})
        if wrong := [phrase for phrase, chance in model.chances.items() if not 0 <= chance <= 1]:
            raise ValueError(f"The chance of {wrong[0]!r} is not between 0 and 1.")
        if not 0 <= model.rate <= MOST_RATE:
            raise ValueError(f"A rate of {model.rate:g} sessions a second is not between 0 and {MOST_RATE:g}.")
        return model

    def chance(self, prompt: str) -> float:
        """Return how likely a session with this prompt succeeds."""
        return next((chance for phrase, chance in self.chances.items() if phrase in prompt), self.otherwise)


@dataclass(frozen=True, slots=True)
class Version:
    """One prompt, as the bytes that are hashed."""

    text: str

    @property
    def hash(self) -> str:
        """What names it in metrics."""
        return "sha256:" + sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Experiment:
    """The candidate beside the live prompt."""

    id: str
    weight: int
    candidate: Version


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the ConfigMap of one PromptDeployment holds."""

    namespace: str
    deployment: str
    live: Version
    previous_hash: str
    experiment: Experiment | None

    @classmethod
    def read(cls, config_map: Mapping[str, Any]) -> Prompts:
        """Read a ConfigMap. All keys are of one moment, since each switch is one update."""
        meta, data = config_map["metadata"], config_map["data"]
        experiment = None
        if EXPERIMENT_JSON in data:
            said = json.loads(data[EXPERIMENT_JSON])
            experiment = Experiment(said["id"], said["weight"], Version(data[CANDIDATE_JSON]))
        return cls(
            meta["namespace"],
            meta["labels"][LABEL_DEPLOYMENT],
            Version(data[PROMPT_JSON]),
            json.loads(data[METADATA_JSON]).get("previousHash") or "",
            experiment,
        )


@dataclass(frozen=True, slots=True)
class Series:
    """What is counted apart. Arm and experiment are empty for sessions that are in no experiment."""

    namespace: str
    deployment: str
    hash: str
    arm: str = ""
    experiment: str = ""


Counts = dict[str, int]


class SimulatedAgent:
    """Serves one prompt to many sessions at once, each of which has some turns and then succeeded or did not.

    With ``join_when_scraped`` it deals sessions out only after the zeros of both arms were read, as a Prometheus needs
    it: what a counter has when it is scraped first is not seen as an increase.
    """

    def __init__(self, prompts: Prompts, seed: str, *, join_when_scraped: bool = False) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation, that comes out the same again
        self._name = seed
        self._begun = 0
        self._sessions: list[tuple[str, int]] = []
        self._join_when_scraped = join_when_scraped
        self._joined = ""
        self.counts: dict[Series, Counts] = {}
        self.see(prompts)

    def see(self, prompts: Prompts) -> None:
        """Take in what the ConfigMap holds now, and make all counters that this brings at 0."""
        self.prompts = prompts
        self._count(prompts.live)
        if experiment := prompts.experiment:
            self._count(prompts.live, CONTROL)
            self._count(experiment.candidate, CANDIDATE)
            if not self._join_when_scraped:
                self._joined = experiment.id

    def scraped(self) -> None:
        """Know that somebody has read all counters that there are."""
        if self.prompts.experiment:
            self._joined = self.prompts.experiment.id

    def arm_of(self, session: str) -> str:
        """Return the arm of a session: always the same one, as long as the experiment is the same."""
        experiment = self.prompts.experiment
        if experiment is None or experiment.id != self._joined:
            return ""
        return CANDIDATE if is_candidate(experiment.id, session, experiment.weight) else CONTROL

    def work(self, model: Model, sessions: int) -> None:
        """Have about so many sessions come to their end."""
        for _ in range(sessions * _TURNS):
            while len(self._sessions) < _AT_ONCE:
                self._begun += 1
                self._sessions.append((f"{self._name}-{self._begun}", _TURNS))
            place = self._random.randrange(_AT_ONCE)
            session, turns = self._sessions[place]
            if turns > 1:
                self._sessions[place] = (session, turns - 1)
                continue
            self._end(model, session)
            self._sessions[place] = self._sessions[-1]
            self._sessions.pop()

    def _end(self, model: Model, session: str) -> None:
        """Count a session: once, since several counts of one session would not be independent of each other."""
        arm, experiment = self.arm_of(session), self.prompts.experiment
        version = experiment.candidate if arm == CANDIDATE and experiment else self.prompts.live
        succeeded = self._random.random() < model.chance(version.text)
        self._count(version, arm)["ok" if succeeded else "error"] += 1

    def _count(self, version: Version, arm: str = "") -> Counts:
        prompts = self.prompts
        name = prompts.experiment.id if arm and prompts.experiment else ""
        series = Series(prompts.namespace, prompts.deployment, version.hash, arm, name)
        return self.counts.setdefault(series, dict.fromkeys(OUTCOMES, 0))

    # --- what an http source is told ----------------------------------------------------------------------------------

    def of_experiment(self, name: str) -> dict[str, Counts]:
        """Return both arms of an experiment; nothing of one that it does not know."""
        return {series.arm: _told(counts) for series, counts in self.counts.items() if series.experiment == name != ""}

    def of_live(self, wanted: str) -> dict[str, Counts]:
        """Return what the live prompt did since it is live, or what the one before it did; nothing of any other.

        Monitoring asks for each of the two by its own hash. Samples of the test that the live one has passed are no
        part of what it is watched by: among those that pass are the lucky ones.
        """
        told = {}
        if wanted == self.prompts.live.hash:
            live = (
                counts for series, counts in self.counts.items() if series.hash == wanted and series.arm != CANDIDATE
            )
            told[CANDIDATE] = _told(_sum(live))
        if wanted == self.prompts.previous_hash:
            told[CONTROL] = _told(_sum(counts for series, counts in self.counts.items() if series.hash == wanted))
        return told


def _sum(several: Iterable[Counts]) -> Counts:
    kept = list(several)
    return {outcome: sum(counts[outcome] for counts in kept) for outcome in OUTCOMES}


def _told(counts: Mapping[str, int]) -> Counts:
    return {"samples": sum(counts.values()), "successes": counts.get("ok", 0)}
