"""Everything people can do, in any order, with the operator stopped and started between any two writes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import actions
from prompt_operator.lifecycle.observed import Observed, Problem
from tests.property.profiles import MACHINE_EXAMPLES
from tests.property.promises import check_passed, check_rest, check_switch, check_write
from tests.property.world import GIT, PERSON, Key, Pending, World, h

DEPLOYMENTS = ("support", "triage")
names = st.sampled_from(DEPLOYMENTS)
texts = st.sampled_from("ABCD")
managers = st.sampled_from([GIT, PERSON, "flux", "kubectl-edit"])
labels = st.sampled_from(["", "", "1.0", "1.1"])


class Everything(RuleBasedStateMachine):
    """Nothing is remembered by the operator, so a restart at any point is the next step."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.undecided: dict[Key, Pending] = {}

    @initialize(text=texts, limit=st.sampled_from([1, 3, 50]))
    def two_prompts_of_one_agent(self, text: str, limit: int) -> None:
        for name in DEPLOYMENTS:
            self.world.create(name, text, agent="bot", limit=limit)

    # --- the operator ------------------------------------------------------------------------------------------------

    def _carry_out(self, pending: Pending) -> None:
        action, seen = pending.action, pending.seen
        may_switch = isinstance(action, actions.WriteConfigMap) and isinstance(seen, Observed)
        before = len(self.world.switches[seen.deployment.uid]) if may_switch else 0
        if not self.world.carry_out(pending) or action is None or not isinstance(seen, Observed):
            return
        check_write(self.world, pending.key[1], action)
        if isinstance(action, actions.WriteRevisionStatus):
            check_passed(self.world, seen, action)
        if isinstance(action, actions.WriteConfigMap) and len(self.world.switches[seen.deployment.uid]) > before:
            check_switch(self.world, seen, action)

    def _step(self, key: Key) -> bool:
        late = self.undecided.pop(key, None)
        pending = late or self.world.decide(key)
        self._carry_out(pending)
        return pending.action is not None or late is not None

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 6))):
            keys = self.world.all_keys()
            key = keys[data.draw(st.integers(0, 9)) % len(keys)]
            self._step(key)

    @rule(data=st.data())
    def decide_now_and_write_later(self, data: st.DataObject) -> None:
        keys = self.world.all_keys()
        key = keys[data.draw(st.integers(0, 9)) % len(keys)]
        self.undecided.setdefault(key, self.world.decide(key))

    @rule()
    def come_to_rest(self) -> None:
        for _ in range(300):
            if not sum(self._step(key) for key in self.world.all_keys()):
                break
        else:
            raise AssertionError(f"no rest: {self.world.applied[-6:]}")
        check_rest(self.world)

    @rule(seconds=st.sampled_from([1.0, 4000.0, -30.0]))
    def let_the_clock_run_or_step_back(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # --- people ------------------------------------------------------------------------------------------------------

    @rule(name=names, text=texts, label=labels)
    def edit(self, name: str, text: str, label: str) -> None:
        self.world.edit(name, text, version=label)

    @rule(name=names)
    def spoil(self, name: str) -> None:
        self.world.spoil(name, Problem(Reason.TemplateInvalid, "It does not parse."))

    @rule(name=names, text=texts, manager=managers)
    def set_target(self, name: str, text: str, manager: str) -> None:
        self.world.set_target(name, text, manager)

    @rule(name=names)
    def clear_target(self, name: str) -> None:
        self.world.set_target(name, "")

    @rule(name=names, text=texts, pin=st.one_of(st.none(), texts))
    def apply_from_git(self, name: str, text: str, pin: str | None) -> None:
        self.world.apply_from_git(name, text, pin)

    @rule(name=names, paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        self.world.pause(name, paused)

    @rule(name=names, revision=st.integers(1, 12))
    def release(self, name: str, revision: int) -> None:
        before = self.world.deployments[name].release_revision
        self.world.release(name, max(before, revision))

    @rule(
        name=names,
        to=st.one_of(st.none(), texts),
        seen=st.one_of(st.none(), texts),
        force=st.booleans(),
        clean=st.booleans(),
    )
    def roll_one_back(self, name: str, to: str | None, seen: str | None, force: bool, clean: bool) -> None:
        asked = {k: v for k, v in (("to", to), ("seen", seen)) if v}
        self.world.roll_back(name, force=force, cleanupFailed=clean, **asked)

    @rule(name=names, number=st.integers(1, 6))
    def roll_one_back_to_a_revision(self, name: str, number: int) -> None:
        self.world.roll_back(name, targetRevision=number)

    @rule(label=st.sampled_from([None, "1.0", "1.1"]))
    def roll_the_agent_back(self, label: str | None) -> None:
        self.world.roll_back(agent="bot", **({"targetVersion": label} if label else {}))

    @rule(data=st.data())
    def delete_a_rollback(self, data: st.DataObject) -> None:
        if self.world.rollbacks:
            self.world.delete_rollback(data.draw(st.sampled_from(sorted(self.world.rollbacks))))

    # --- damage ------------------------------------------------------------------------------------------------------

    @rule(name=names, whole=st.booleans())
    def lose_a_deployments_status(self, name: str, whole: bool) -> None:
        self.world.forget_status(name, whole=whole)

    @rule(name=names)
    def delete_the_config_map(self, name: str) -> None:
        self.world.delete_config_map(name)

    @rule(name=names)
    def delete_the_revision_of_what_is_live(self, name: str) -> None:
        self.come_to_rest()
        before = self.world.live(name), self.world.status(name)["activeRevision"]
        if f"{name}-{before[1]}" in self.world.revisions:
            self.world.delete_revision(f"{name}-{before[1]}")
        self.come_to_rest()
        assert (self.world.live(name), self.world.status(name)["activeRevision"]) == before

    @precondition(lambda self: self.world.config_maps)
    @rule(
        data=st.data(),
        how=st.sampled_from(["content", "record", "time", "label", "key", "immutable", "older", "candidate"]),
    )
    def tamper_with_a_config_map(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.config_maps)))
        held = self.world.config_maps[name]
        older = [c.view for c in self.world.old_config_maps if c.owner == held.owner]
        if how == "older" and older:
            found = data.draw(st.sampled_from(older))
            told = ("content_hash", "record", "labels", "annotations", "experiment", "candidate_hash")
            fields = {f: getattr(found, f) for f in told}
            self.world.tamper(name, **fields)
        changes = {
            "content": {"content_hash": h("tampered")},
            "record": {"record": {**held.view.record, "version": "9.9"}},
            "time": {"record": {**held.view.record, "activatedTime": "yesterday"}},
            "label": {"labels": {}},
            "key": {"whole": False, "foreign_keys": ("note",)},
            "immutable": {"immutable": True},
            "candidate": {"candidate_hash": h("tampered")},
        }
        self.world.tamper(name, **changes.get(how, {}))

    @rule(name=names, text=texts)
    def delete_and_create_anew(self, name: str, text: str) -> None:
        limit = self.world.deployments[name].revision_limit
        self.world.recreate(name, text, agent="bot", limit=limit)

    @rule()
    def collect_garbage(self) -> None:
        self.world.collect_garbage()

    def teardown(self) -> None:
        if not self.world.deployments:
            return
        self.world.collect_garbage()
        self.come_to_rest()


TestEverything = Everything.TestCase
TestEverything.settings = settings(max_examples=MACHINE_EXAMPLES, stateful_step_count=40)
