"""Metric sources that answer anything but usable numbers: none ships a candidate, and none takes back what is live.

The numbers are overwhelming both ways, so that whoever takes a bad answer for a good one decides at the first look.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.operator_process import OperatorProcess
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration]
Json = dict[str, Any]

BEFORE = {"samples": 100_000, "successes": 50_000}
AFTER = {"samples": 100_000, "successes": 90_000}
MEGABYTE = b" " * 2**20


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """Where no other operator acts."""
    return quiet_cluster


def counts(candidate: object, control: object = BEFORE) -> Callable[[int], bytes]:
    body = json.dumps({"control": control, "candidate": candidate}).encode()
    return lambda _: body


def shrinking(asked: int) -> bytes:
    """Nothing to tell apart at the first look, which asks twice for monitoring; then a difference, and ever less."""
    left = max(0, 40 - asked)
    if asked <= 2:
        return counts({"samples": 40, "successes": 20}, {"samples": 40, "successes": 20})(0)
    return counts({"samples": left, "successes": left}, {"samples": left, "successes": 0})(0)


def vector(*values: str, age: float = 0) -> Callable[[int], bytes]:
    """Answer like Prometheus: a sample of a series each, as old as `age` seconds."""

    def answer(_: int) -> bytes:
        at = time.time() - age
        result = [{"metric": {"pod": str(n)}, "value": [at, value]} for n, value in enumerate(values)]
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    return answer


#: What is answered to the n-th question, and what status has to say of it.
ANSWERS: dict[str, tuple[Callable[[int], bytes], str]] = {
    "nothing": (lambda _: b"{}", "candidate"),
    "text": (lambda _: b"all is well", "JSON"),
    "nan": (counts(AFTER | {"successes": float("nan")}), "JSON"),
    "words": (counts(AFTER | {"successes": "most"}), "successes"),
    "too-many": (counts({"samples": 100_000, "successes": 200_000}), "successes"),
    "negative": (counts(AFTER | {"successes": -1}), "successes"),
    "no-traffic": (counts({"samples": 0, "successes": 0}), "0 samples"),
    "error": (counts(AFTER), "500"),
    "elsewhere": (counts(AFTER), "redirect"),
    "late": (counts(AFTER), "within 1 s"),
    "huge": (counts(AFTER), "bytes"),
    "shrinking": (shrinking, "fell from"),
    "no-result": (vector(), "no data"),
    "two-results": (vector("100000", "90000"), "more than one series"),
    "no-number": (vector("NaN"), "NaN"),
    "cached": (vector("100000", age=3600), "older than asked for"),
}
PROMETHEUS = ("no-result", "two-results", "no-number", "cached")


@contextmanager
def bad_server() -> Iterator[tuple[str, Counter[str]]]:
    """Serve every bad answer under its name; yield the address, and how often each was asked for."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            case, _, owner = self.path.partition("?")[0].strip("/").partition("/")
            asked[f"{case}/{owner.partition('/')[0]}"] += 1
            with suppress(OSError):  # the other side hangs up on what is late or huge
                self._answer(case, asked[f"{case}/{owner.partition('/')[0]}"])

        def do_POST(self) -> None:
            self.do_GET()

        def _answer(self, case: str, nth: int) -> None:
            body = counts(AFTER)(0) if case == "good" else ANSWERS[case][0](nth)
            if case == "late":
                time.sleep(3)
            self.send_response({"error": 500, "elsewhere": 302}.get(case, 200))
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/good/redirected")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(100 * len(MEGABYTE) + len(body) if case == "huge" else len(body)))
            self.end_headers()
            for _ in range(100 if case == "huge" else 0):
                self.wfile.write(MEGABYTE)
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def metric(url: str, case: str, owner: str) -> Json:
    at = f"{url}/{case}/{owner}"
    if case in PROMETHEUS:
        source = {"prometheus": {"address": at, "samples": "a", "successes": "b"}}
    else:
        source = {"http": {"url": at, "timeoutSeconds": 1}}
    return {"name": "solved", "margin": 0.01, "source": source}


def compared(url: str, case: str) -> Json:
    """Better by far, if the numbers were to be believed."""
    asked = {"candidateWeight": 50, "minDurationSeconds": 0, "intervalSeconds": 1, "minSamplesPerArm": 10}
    return {"gates": {"abTest": asked | {"metrics": [metric(url, case, "compared")]}}}


def watched(url: str, case: str) -> Json:
    """Worse by far, if the numbers were to be believed."""
    asked = {"intervalSeconds": 1, "minSamples": 10, "consecutiveFailures": 1}
    return {"monitoring": asked | {"metrics": [metric(url, case, "watched") | {"direction": "LowerIsBetter"}]}}


def looked_at(user: User, name: str, report: str, looks: int) -> Json:
    def holds(pdep: Json) -> bool:
        return bool((pdep["status"].get(report) or {}).get("looks", 0) >= looks)

    return dict(user.wait("promptdeployment", name, holds, f"{looks} looks")["status"])


def test_the_live_prompt_never_changes_because_of_bad_numbers(user: User, operator: OperatorProcess):
    operator.options = (*operator.options, "--metric-source-allow", "127.0.0.0/8")
    operator.start()
    names = [f"{case}-{kind.__name__}" for case, kind in itertools.product(("good", *ANSWERS), (compared, watched))]
    for name in names:
        user.apply(deployment(name, text="one"))
    for name in names:
        user.wait_live(name, "one")
    with bad_server() as (url, asked):
        for case, kind in itertools.product(("good", *ANSWERS), (compared, watched)):
            user.apply(deployment(f"{case}-{kind.__name__}", text="two", **kind(url, case)))
        user.wait_live("good-compared", "two")
        user.wait("promptdeployment", "good-watched", lambda o: o["status"].get("phase") == "RolledBack", "rolled back")
        for case, (_, says) in ANSWERS.items():
            under_test = looked_at(user, f"{case}-compared", "abReport", 3)
            assert (case, under_test["phase"], user.live(f"{case}-compared")["prompt.txt"]) == (
                case,
                "ABRunning",
                "one",
            )
            [found] = under_test["abReport"]["metrics"]
            assert says in found["message"], case
            shipped = looked_at(user, f"{case}-watched", "regressionMetric", 3)
            assert (case, shipped["phase"], user.live(f"{case}-watched")["prompt.txt"]) == (case, "Monitoring", "two")
            [found] = shipped["regressionMetric"]["metrics"]
            assert says in found["message"], case
        assert not [key for key in asked if key.startswith("good/redirected")], "a redirect was followed"
        bad = {f"{case}/{kind.__name__}" for case in ANSWERS for kind in (compared, watched)}
        eventually(lambda: all(asked[key] >= 3 for key in bad), what="every bad source was asked again and again")
    assert user.listed("agentrollbacks") == [user.get("agentrollback", "good-watched-auto-2")]
