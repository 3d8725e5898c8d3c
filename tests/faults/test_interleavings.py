"""Everything at once, under delays and failures: what must never be seen, is never seen."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.faultproxy import Fault, FaultProxy, Match, cut, delay, drop_before, inject_error, lose_reply, respond
from tests.faults.api import Api
from tests.faults.history import Checker, Recorder
from tests.faults.stage import QUIET, Stage, stage
from tests.support.manifests import deployment, rollback
from tests.support.user import is_settled
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SECONDS = 30
NAMES = ("alpha", "beta")
TEXTS = tuple(f"text {number}" for number in range(6))


def test_no_state_that_must_not_be_is_ever_seen(cluster: Cluster, api: Api, tmp_path: Path):
    seed = random.randrange(2**32)
    with stage(cluster, api, tmp_path, "--resync", "5") as made:
        recorder = Recorder(api, made.namespace)
        with breaking(made.proxy, random.Random(seed)):
            live(made, random.Random(seed + 1))
        eventually(lambda: at_rest(made), within=120, what="at rest")
        violations = Checker().check(recorder.changes())
        assert not violations, f"seed {seed}:\n" + "\n".join(violations)
        assert len(recorder.changes()) > 100, "too little happened"


def live(stage: Stage, dice: random.Random) -> None:
    """Git writes, people roll back, and somebody tampers."""
    api, namespace = stage.api, stage.namespace
    end, rollbacks = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        name = dice.choice(NAMES)
        match dice.choices(("write", "one", "agent", "tamper", "delete"), (6, 3, 1, 1, 1))[0]:
            case "write":
                api.apply(namespace, deployment(name, dice.choice(TEXTS), agent="bot"))
            case "one":
                rollbacks += 1
                api.create("agentrollbacks", namespace, rollback(f"back-{rollbacks}", name))
            case "agent":
                rollbacks += 1
                api.create("agentrollbacks", namespace, rollback(f"back-{rollbacks}", agent="bot"))
            case "tamper" if api.get("configmaps", namespace, f"{name}-prompt"):
                patch = {"data": {"prompt.txt": "tampered"}}
                api.merge("configmaps", namespace, f"{name}-prompt", patch)
            case "delete":
                api.delete("configmaps", namespace, f"{name}-prompt", if_there=True)
        time.sleep(dice.expovariate(8))


@contextmanager
def breaking(proxy: FaultProxy, dice: random.Random) -> Iterator[None]:
    """Break requests and watches at random, until the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(dice.expovariate(5)):
            action = dice.choice(
                [respond(409), respond(429, retry_after=1), respond(500), lose_reply(), drop_before()]
                + [delay(dice.uniform(0, 0.5)) for _ in range(4)]
                + [cut(), cut(after=1), inject_error(410), inject_error(500)]
            )
            fault = Fault(match=Match(), action=action)
            if not fault.on_watch:
                fault = Fault(match=Match(writes_only=True), action=action)
            proxy.arm(fault)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        proxy.disarm_all()


def at_rest(stage: Stage) -> bool:
    """Tell whether all is settled and finished, and nothing was written for a while."""
    before = len(stage.proxy.trace.writes())
    time.sleep(3 * QUIET)
    settled = all(is_settled(d) for d in stage.api.listed("promptdeployments", stage.namespace))
    phases = [r.get("status", {}).get("phase") for r in stage.api.listed("agentrollbacks", stage.namespace)]
    finished = all(phase in ("Succeeded", "Failed") for phase in phases)
    return settled and finished and len(stage.proxy.trace.writes()) == before
