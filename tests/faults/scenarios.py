"""What a user does, to be interrupted at every write that follows from it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.api import Api, Json
from tests.faults.snapshot import snapshot
from tests.support.manifests import deployment, rollback
from tests.support.user import is_settled
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Point:
    """One run of a scenario: deployments of its own in a namespace, their names beginning with a prefix."""

    api: Api
    namespace: str
    prefix: str
    suffixes: tuple[str, ...] = ("",)

    @property
    def deployments(self) -> list[str]:
        return [f"{self.prefix}{suffix}" for suffix in self.suffixes]

    @property
    def rollback_name(self) -> str:
        return f"{self.prefix}-back"

    def owns(self, name: str) -> bool:
        """Tell whether an object of that name belongs to this run. Prefixes have the same length."""
        return name.startswith(self.prefix)

    def write(self, text: str, version: str = "", suffix: str = "") -> None:
        """Do what Git does: apply the whole PromptDeployment."""
        spec: Json = {"version": version} if version else {}
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

    def roll_back(self, **spec: str) -> None:
        if len(self.suffixes) > 1:
            spec["agent"] = self.prefix
        body = rollback(self.rollback_name, self.prefix, reason="it was worse", **spec)
        self.api.create("agentrollbacks", self.namespace, body)

    def state(self) -> str:
        return snapshot(self.api, self.namespace, self.prefix, self.deployments, [self.rollback_name])


@dataclass(frozen=True)
class Scenario:
    """What is there before, and what the user does then."""

    name: str
    prepare: Callable[[Point], None]
    act: Callable[[Point], None]
    suffixes: tuple[str, ...] = ("",)


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


SCENARIOS = (
    Scenario("first ship", _nothing, lambda p: p.write("one", "1.0.0")),
    Scenario("edit", _ship_one, lambda p: p.write("two", "2.0.0")),
    Scenario("rollback", _ship_two, lambda p: p.roll_back()),
    Scenario("rollback of an agent of three", _ship_two, lambda p: p.roll_back(), ("-a", "-b", "-c")),
    Scenario("git revert", _ship_two, lambda p: p.write("one", "1.0.0")),
    Scenario("healing of an edited ConfigMap", _ship_two, _tamper),
    Scenario("healing of a deleted ConfigMap", _ship_two, _delete_config_map),
)
