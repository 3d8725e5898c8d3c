"""Where scenarios are played: a namespace, a proxy, and an operator behind it."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prompt_operator.cluster import Cluster
from tests.faultproxy import FaultProxy, Match, Request
from tests.faults.api import Api
from tests.faults.scenarios import Point, Scenario
from tests.faults.snapshot import difference
from tests.support.metric_server import MetricServer
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import DEADLINE, eventually

_numbers = itertools.count(1)
#: Seconds without a write after which a run counts as quiet. Late writes are found by the runs that follow, too.
QUIET = 0.4
#: The options by which an operator may ask the stage's MetricServer.
METRICS_ALLOWED = ("--metric-source-allow", "127.0.0.0/8")


class Write(NamedTuple):
    """One write of a scenario, named the same in every run: the n-th with that label."""

    label: str
    nth: int

    def __str__(self) -> str:
        return self.label + (f" (no. {self.nth})" if self.nth > 1 else "")


class Reference(NamedTuple):
    """What a scenario does when nothing goes wrong."""

    writes: list[Write]
    state: str


class Stage:
    """One namespace with its operator. Not for use by several threads at once."""

    def __init__(
        self, api: Api, proxy: FaultProxy, operator: OperatorProcess, namespace: str, metrics: MetricServer
    ) -> None:
        self.metrics = metrics
        self.api = api
        self.proxy = proxy
        self.operator = operator
        self.namespace = namespace

    def point(self, scenario: Scenario) -> Point:
        """Make a fresh run of a scenario, prepared and at rest."""
        point = Point(self.api, self.namespace, f"p{next(_numbers):05}", scenario.suffixes, self.metrics.url)
        scenario.prepare(point)
        return point

    def writes(self, point: Point) -> list[Request]:
        """Return the writes that the operator tried for a run, in order."""
        return [request for request in self.proxy.trace.writes() if point.owns(request.resource.name)]

    def reference(self, scenario: Scenario) -> Reference:
        """Play a scenario undisturbed."""
        self.proxy.trace.clear()  # what is over needs not be searched again and again
        point = self.point(scenario)
        before = len(self.writes(point))
        scenario.act(point)
        if scenario.ends:
            eventually(lambda: point.phase() == scenario.ends, what=f"it ends {scenario.ends}", every=0.05)
        self._wait_quiet(point, more_than=before)
        writes = self.writes(point)[before:]
        assert all(request.applied for request in writes), [f"{r.label} {r.upstream_status}" for r in writes]
        seen: Counter[str] = Counter()
        named = []
        for request in writes:
            label = plain(request, point)
            seen[label] += 1
            named.append(Write(label, seen[label]))
        return Reference(named, point.state())

    def _wait_quiet(self, point: Point, more_than: int) -> None:
        eventually(lambda: len(self.writes(point)) > more_than, what="the operator acts", every=0.02)
        count = 0
        while count != (count := len(self.writes(point))):
            time.sleep(3 * QUIET)

    def match(self, point: Point, write: Write) -> Match:
        """Select one write of a run that is about to be played."""
        return Match(writes_only=True, nth=write.nth, where=lambda r: plain(r, point) == write.label)

    def check_end(self, point: Point, wanted: str, within: float = DEADLINE) -> None:
        """Wait until a run ended as the undisturbed one did, and see that nothing is written from then on."""
        state = ""

        def look() -> bool:
            nonlocal state
            state = point.state()
            return state == wanted

        try:
            eventually(look, within=within, every=0.1)
        except AssertionError:
            raise AssertionError(f"did not end as without faults:\n{difference(wanted, state)}") from None
        before = len(self.writes(point))
        time.sleep(QUIET)
        # One that is refused is the end of a repetition, of what was stored but not answered.
        late = [request.label for request in self.writes(point)[before:] if request.applied]
        assert not late, f"still writes: {late}"
        assert point.state() == wanted, f"did not stay so:\n{difference(wanted, point.state())}"


def plain(request: Request, point: Point) -> str:
    """Name a request as it is named in every run of the scenario."""
    return request.label.replace(point.prefix, "support")


@contextmanager
def stage(cluster: Cluster, api: Api, directory: Path, *options: str) -> Iterator[Stage]:
    """Set up a stage, its operator started."""
    namespace = api.create_namespace(f"faults-{next(_numbers)}")
    log = directory / f"{namespace}.log"
    options = ("--namespace", namespace, *METRICS_ALLOWED, *options)
    with FaultProxy.in_front_of(cluster.kubeconfig) as proxy, MetricServer(growing=False) as metrics:
        metrics.tell((1000, 500), (1000, 700))
        operator = OperatorProcess(proxy.kubeconfig, log, *options)
        try:
            operator.start()
            yield Stage(api, proxy, operator, namespace, metrics)
        finally:
            operator.kill()
