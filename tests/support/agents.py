"""Simulated agents with traffic, run as a process, and the model behind them, which a test may change at any time."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.waiting import eventually


class Counted(NamedTuple):
    """What agents counted themselves."""

    samples: int
    successes: int


class LanguageModel:
    """What agents ask: how likely a session succeeds with a prompt that says something, and how many there are."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self._rate = rate
        self._chances: dict[str, float] = {}
        self._write()

    def set(self, phrase: str, chance: float) -> None:
        self._chances[phrase] = chance
        self._write()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"rate": self._rate, "chances": self._chances}), encoding="utf-8")
        new.replace(self.path)


class AgentProcess:
    """Agents that read their prompts from a cluster and are scraped at ``address``."""

    def __init__(
        self, kubeconfig: Path, namespace: str, agent: str, model: LanguageModel, seed: str, log_file: Path, *more: str
    ) -> None:
        command = [sys.executable, "-m", "prompt_operator.cli.demo.agents", "--kubeconfig", str(kubeconfig)]
        command += ["--namespace", namespace, "--agent", agent, "--model", str(model.path), "--seed", seed, *more]
        self._command = command
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self.address = f"127.0.0.1:{eventually(self._port, what='the agents listen')}"
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=30)

    def _port(self) -> int:
        assert self._process is not None
        said = self._log_file.read_text(encoding="utf-8")
        assert self._process.poll() is None, f"the agents ended:\n{said[-3000:]}"
        return int(json.loads(said.splitlines()[0])["port"]) if "\n" in said else 0

    def of_experiment(self, deployment: str, experiment: str) -> dict[str, Counted]:
        """Return what this process counted in each arm of an experiment."""
        return _counted(self.asked(f"/experiments/{deployment}/{experiment}"))

    def of_live(self, deployment: str, wanted: str) -> dict[str, Counted]:
        """Return what this process counted of a version since it is live, and before that of the previous one."""
        return _counted(self.asked(f"/live/{deployment}/{wanted}"))

    def asked(self, path: str) -> Any:
        """Return what an http source is answered."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.loads(answer.read())


def _counted(answer: dict[str, dict[str, int]]) -> dict[str, Counted]:
    return {arm: Counted(**counts) for arm, counts in answer.items()}
