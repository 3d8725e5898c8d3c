"""The probes tell a controller that is deaf or stuck from one that has nothing to do."""

import time

import pytest

from prompt_operator.controller.health import Health
from prompt_operator.controller.queue import WorkQueue
from prompt_operator.controller.settings import Settings
from prompt_operator.controller.watching import Hearing, watch_paths

SETTINGS = Settings(namespaces=("a", "b"), stale_after=90.0, deaf_after=180.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


@pytest.fixture
def hearing(clock: Clock) -> Hearing:
    return Hearing()


@pytest.fixture
def health(hearing: Hearing) -> Health:
    made = Health(SETTINGS, hearing, WorkQueue(retry_first=1, retry_most=1))
    made.waits_for = ""
    made.watching()
    return made


def test_what_a_controller_waits_for_makes_it_unready_and_not_ill(health: Health):
    health.waits_for = "the CRDs are missing"
    assert health.unreadiness() == "the CRDs are missing"
    assert health.illness() == ""


def test_one_silent_watch_of_many_makes_it_unready_first_and_ill_later(health: Health, hearing: Hearing, clock: Clock):
    *others, silent = watch_paths(SETTINGS.namespaces)
    for seconds, ready, well in ((80, True, True), (100, False, True), (200, False, False)):
        clock.now = 1000.0 + seconds
        for path in others:
            hearing.heard(path)
        assert (not health.unreadiness(), not health.illness()) == (ready, well)
    hearing.heard(silent)
    assert health.unreadiness() == ""


def test_without_watches_there_is_no_silence(health: Health, clock: Clock):
    health.not_watching()
    clock.now += 1000
    assert health.illness() == ""


async def test_work_that_takes_for_ever_makes_it_ill(hearing: Hearing, clock: Clock):
    queue: WorkQueue[str] = WorkQueue(retry_first=1, retry_most=1)
    health = Health(SETTINGS, hearing, queue)
    queue.add("a")
    await queue.take()
    clock.now += 301
    assert "301 s" in health.illness()
