"""The chapter on gates: agents with traffic, a better prompt that ships by itself, and worse ones that are caught."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from prompt_operator.cli.demo.agents import MOST_SECONDS
from prompt_operator.cli.demo.stage import DemoError, Stage

_RATE: Final = 400  # sessions a second

_ADVICE: Final = """\
apiVersion: promptoperator.io/v1alpha1
kind: PromptDeployment
metadata:
  name: advice
spec:
  agent: shop-bot
  version: "{version}"
  prompt:
    text: {text}
  gates:
    abTest:                       # before it ships
      candidateWeight: 50         # percent of the sessions
      minDurationSeconds: 3       # where there is an audience: hours
      intervalSeconds: 1
      metrics:
      - name: solved
        source:
          http:
            url: http://127.0.0.1:{port}/experiments/advice/{{{{experiment}}}}
  monitoring:                     # afterwards
    durationSeconds: 300
    intervalSeconds: 1
    metrics:
    - name: solved
      margin: 0.05                # may lose 5 points, but not more
      source:
        http:
          url: http://127.0.0.1:{port}/live/advice/{{{{hash}}}}
"""
_FIRST, _BETTER, _WORSE = "Answer briefly.", "Answer, then name the next step.", "Answer in rhymes."
_PROMPT: Final = 'jsonpath={.data.prompt\\.txt}{"\\n"}'


def numbers_decide(stage: Stage) -> None:
    """Gates and monitoring, with nobody awake."""
    stage.chapter(
        "Let numbers decide",
        "Now with traffic: simulated customers talk to an agent, which counts how many of the sessions solved the "
        "problem. How likely that is depends on the prompt; the operator is not told, and has to measure it.",
    )
    if not stage.operator_is_here:
        stage.say(
            "This chapter is left out: the operator runs in the cluster, and cannot reach agents on this machine. "
            "The demo on the embedded cluster has it: prompt-operator demo"
        )
        return
    chances: dict[str, float] = {_FIRST: 0.7, _BETTER: 0.85, _WORSE: 0.55}
    _be_model(stage, chances)
    namespace = stage.kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}", show=False) or "default"
    shown = ["-m", "prompt_operator.cli.demo.agents", "--agent=shop-bot", "--model=model.json"]
    more = ["--kubeconfig", str(stage.kubeconfig), "--namespace", namespace, "--seconds", str(MOST_SECONDS)]
    with stage.beside(f"python {' '.join(shown)}", [sys.executable, *shown, *more]) as greeting:
        port = int(greeting()["port"])
        stage.file("advice.yaml", _ADVICE.format(version="1.0.0", text=_FIRST, port=port))
        stage.kubectl("apply", "-f", "advice.yaml")
        stage.wait_live("advice", "1.0.0")
        _a_better_one(stage, port)
        _a_worse_one(stage, port)
        _worse_later(stage, chances)


def _a_better_one(stage: Stage, port: int) -> None:
    stage.say(f"An edit: “{_BETTER}” Half of the sessions get it, until the numbers tell.")
    _edit(stage, "1.1.0", _BETTER, port)
    stage.wait("promptdeployment", "advice", lambda o: _report(o, "abReport").get("looks", 0) > 1, "looked at twice")
    stage.kubectl("prompt", "status", "advice", may_fail=True)
    stage.say("It is better, so it ships by itself. From now on it is compared with what was live before.")
    stage.wait_live("advice", "1.1.0")
    stage.wait("promptdeployment", "advice", _compared, "compared with what was live before")
    stage.kubectl("prompt", "explain", "advice")


def _a_worse_one(stage: Stage, port: int) -> None:
    stage.say(f"The next idea: “{_WORSE}”")
    _edit(stage, "1.2.0", _WORSE, port)
    stage.wait("promptdeployment", "advice", lambda o: o["status"].get("phase") == "ABFailed", "found worse")
    stage.wait("configmap", "advice-prompt", lambda o: "candidate.json" not in o["data"], "without the candidate")
    stage.kubectl("prompt", "status", "advice", may_fail=True)
    stage.say("It is worse, and nobody gets it any more. What everybody gets:")
    _served(stage, _BETTER)


def _worse_later(stage: Stage, chances: Mapping[str, float]) -> None:
    stage.say(
        "At night, the provider changes its language model, and the prompt that was better is not any more. All are "
        "asleep. The operator sees the numbers fall, and rolls back."
    )
    _be_model(stage, {**chances, _BETTER: 0.5})
    stage.wait("agentrollback", "advice-auto-2", lambda o: _phase(o) == "Succeeded", "finished")
    stage.wait_live("advice", "1.0.0")
    stage.kubectl("get", "agentrollback", "advice-auto-2")
    stage.kubectl("prompt", "history", "advice")
    _served(stage, _FIRST)


def _be_model(stage: Stage, chances: Mapping[str, float]) -> None:
    stage.file("model.json", json.dumps({"rate": _RATE, "chances": chances}, indent=2) + "\n")


def _edit(stage: Stage, version: str, text: str, port: int) -> None:
    """Apply an edit of a file that was shown before."""
    (stage.workdir / "advice.yaml").write_text(_ADVICE.format(version=version, text=text, port=port), encoding="utf-8")
    stage.kubectl("apply", "-f", "advice.yaml")


def _served(stage: Stage, wanted: str) -> None:
    served = stage.kubectl("get", "configmap", "advice-prompt", "-o", _PROMPT).strip()
    if served != wanted:
        raise DemoError(f"{wanted!r} was to be live, and {served!r} is")


def _report(deployment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = deployment.get("status", {}).get(name) or {}
    return found


def _compared(deployment: Mapping[str, Any]) -> bool:
    """Tell whether a look has read both what is live and what was before."""
    metrics = _report(deployment, "regressionMetric").get("metrics") or [{}]
    return bool(metrics[0].get("control")) and bool(metrics[0].get("candidate", {}).get("samples"))


def _phase(found: Mapping[str, Any]) -> object:
    return found.get("status", {}).get("phase")
