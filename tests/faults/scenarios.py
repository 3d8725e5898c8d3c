"""What a user does, to be interrupted at every write that follows from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prompt_operator.api.content import content_of
from prompt_operator.api.names import auto_rollback_name, rejection_name
from tests.faults.api import Api, Json
from tests.faults.snapshot import snapshot
from tests.support.manifests import deployment, rollback
from tests.support.user import is_settled
from tests.support.waiting import eventually


def hash_of_text(text: str) -> str:
    """Return the hash of a prompt that is one text."""
    return content_of({"text": text}).hash


@dataclass(frozen=True)
class Point:
    """One run of a scenario: deployments of its own in a namespace, their names beginning with a prefix."""

    api: Api
    namespace: str
    prefix: str
    suffixes: tuple[str, ...] = ("",)
    #: Endpoint that tells of a candidate that does better, see MetricServer.
    metrics: str = ""

    @property
    def deployments(self) -> list[str]:
        return [f"{self.prefix}{suffix}" for suffix in self.suffixes]

    @property
    def rollback_name(self) -> str:
        return f"{self.prefix}-back"

    def owns(self, name: str) -> bool:
        """Tell whether an object of that name belongs to this run. Prefixes have the same length."""
        return name.startswith(self.prefix)

    def write(self, text: str, version: str = "", suffix: str = "", **more: Any) -> None:
        """Do what Git does: apply the whole PromptDeployment."""
        spec: Json = {"version": version} if version else {}
        spec |= more
        if len(self.suffixes) > 1:
            spec["agent"] = self.prefix
        self.api.apply(self.namespace, deployment(f"{self.prefix}{suffix}", text, **spec))

    def ship(self, text: str, version: str = "") -> None:
        """Write, and wait until it is live everywhere."""
        for suffix in self.suffixes:
            self.write(text, version, suffix)
        for name in self.deployments:
            eventually(lambda name=name: self.holds(name, text), what=f"{name} holds {text!r}", every=0.02)

    def holds(self, name: str, text: str) -> bool:
        held = self.api.get("configmaps", self.namespace, f"{name}-prompt")
        settled = held and is_settled(self.api.read("promptdeployments", self.namespace, name))
        return bool(settled) and held["data"].get("prompt.txt") == text

    def read(self) -> Json:
        return self.api.read("promptdeployments", self.namespace, self.prefix)

    def phase(self) -> str:
        return str((self.read().get("status") or {}).get("phase"))

    def roll_back(self, **spec: str) -> None:
        if len(self.suffixes) > 1:
            spec["agent"] = self.prefix
        body = rollback(self.rollback_name, self.prefix, reason="it was worse", **spec)
        self.api.create("agentrollbacks", self.namespace, body)

    def state(self) -> str:
        rollbacks = [self.rollback_name, rejection_name(self.prefix, 2), auto_rollback_name(self.prefix, 2)]
        state = snapshot(self.api, self.namespace, self.prefix, self.deployments, rollbacks)
        return state.replace(self.metrics, "<metrics>") if self.metrics else state


@dataclass(frozen=True)
class Scenario:
    """What is there before, and what the user does then."""

    name: str
    prepare: Callable[[Point], None]
    act: Callable[[Point], None]
    suffixes: tuple[str, ...] = ("",)
    #: The phase it ends in, where nothing is written for a while before.
    ends: str = ""


def _nothing(_: Point) -> None:
    pass


def _ship_one(point: Point) -> None:
    point.ship("one", "1.0.0")


def _ship_two(point: Point) -> None:
    point.ship("one", "1.0.0")
    point.ship("two", "2.0.0")


def _tamper(point: Point) -> None:
    patch = {"data": {"prompt.txt": "tampered", "added": "x"}}
    point.api.merge("configmaps", point.namespace, f"{point.prefix}-prompt", patch)


def _delete_config_map(point: Point) -> None:
    point.api.delete("configmaps", point.namespace, f"{point.prefix}-prompt")


def _approvals(*people: str) -> Json:
    words = [{"by": by, "hash": hash_of_text("two"), "verdict": "Approve"} for by in people]
    return {"gates": {"approvals": {"required": 1}}} | ({"decisions": words} if words else {})


def _wait_for_approval(point: Point) -> None:
    point.ship("one", "1.0.0")
    point.write("two", "2.0.0", **_approvals())
    eventually(
        lambda: point.phase() == "ABPassed" and is_settled(point.read()), what="approval is waited for", every=0.02
    )


def _reject(point: Point) -> None:
    word = {"by": "alice", "hash": hash_of_text("two"), "verdict": "Reject", "reason": "rude"}
    point.write("two", "2.0.0", decisions=[word])


def _metric(point: Point, **more: Any) -> Json:
    metric = {"name": "solved", "source": {"http": {"url": point.metrics}}} | more
    return {"metrics": [metric], "intervalSeconds": 1}


def _test(point: Point) -> None:
    """Edit under an A/B test that the first look passes."""
    test = {"candidateWeight": 50, "minDurationSeconds": 0} | _metric(point)
    point.write("two", "2.0.0", gates={"abTest": test})


def _regress(point: Point) -> None:
    """Edit under a monitoring that the first look fails."""
    watched = {"durationSeconds": 1, "consecutiveFailures": 1} | _metric(point, margin=0.01, direction="LowerIsBetter")
    point.write("two", "2.0.0", monitoring=watched)


SCENARIOS = (
    Scenario("first ship", _nothing, lambda p: p.write("one", "1.0.0")),
    Scenario("edit", _ship_one, lambda p: p.write("two", "2.0.0")),
    Scenario("rollback", _ship_two, lambda p: p.roll_back()),
    Scenario("rollback of an agent of three", _ship_two, lambda p: p.roll_back(), ("-a", "-b", "-c")),
    Scenario("git revert", _ship_two, lambda p: p.write("one", "1.0.0")),
    Scenario("healing of an edited ConfigMap", _ship_two, _tamper),
    Scenario("healing of a deleted ConfigMap", _ship_two, _delete_config_map),
    Scenario("approval", _wait_for_approval, lambda p: p.write("two", "2.0.0", **_approvals("alice"))),
    Scenario("rejection of what is live", _ship_two, _reject),
    Scenario("A/B test", _ship_one, _test, ends="Shipped"),
    Scenario("regression", _ship_one, _regress, ends="RolledBack"),
)
