"""The story: ship, edit, a bad prompt, a rollback that Git cannot undo, an agent taken back, gates, the history."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from prompt_operator.cli.demo.numbers_story import numbers_decide
from prompt_operator.cli.demo.stage import DemoError, Stage

_GIT: Final = ("apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f")
_SYNCS: Final = 5
_SYNC_EVERY: Final = 2.0  # seconds
_PROMPT_OF: Final = 'jsonpath={.data.prompt\\.txt}{"\\n"}'

_TRIAGE: Final = """\
apiVersion: promptoperator.io/v1alpha1
kind: PromptDeployment
metadata:
  name: triage
spec:
  agent: support-bot
  version: "{version}"{target}
  prompt:
    text: {text}
    model: {{provider: openai, name: gpt-4o-mini, parameters: {{temperature: 0.2}}}}
  change:
    notes: {notes}
"""
_ANSWER: Final = """\
apiVersion: promptoperator.io/v1alpha1
kind: PromptDeployment
metadata:
  name: answer
spec:
  agent: support-bot
  version: "{version}"
  prompt:
    templateFormat: mustache
    text: {text}
    variables: [{{name: customer}}]
"""
_ROLLBACK: Final = """\
apiVersion: promptoperator.io/v1alpha1
kind: AgentRollback
metadata:
  name: stop-the-refunds
spec:
  promptDeploymentName: triage
  reason: refunds everybody, ticket 4711
"""
_BACK_IN_TIME: Final = """\
apiVersion: promptoperator.io/v1alpha1
kind: AgentRollback
metadata:
  name: back-before-the-rhymes
spec:
  agent: support-bot
  targetTime: "{moment}"
  reason: the answers got worse after this
"""


def _triage(version: str, text: str, notes: str, target: str = "") -> str:
    pinned = f"\n  targetHash: {target}" if target else ""
    return _TRIAGE.format(version=version, text=text, notes=notes, target=pinned)


def tell(stage: Stage) -> None:
    """Tell all chapters. Raises DemoError when one does not come out as told."""
    for chapter in CHAPTERS:
        chapter(stage)


def first_ship(stage: Stage) -> None:
    """A prompt of one's own, in a few lines of YAML."""
    stage.chapter("Ship a prompt", "A prompt is an object. Apply it, and its text is in a ConfigMap that agents read.")
    stage.file("triage.yaml", _triage("1.0.0", "Sort each support request into billing, bug or other.", "first"))
    stage.kubectl("apply", "-f", "triage.yaml")
    stage.wait_live("triage", "1.0.0")
    stage.kubectl("get", "promptdeployments")
    stage.kubectl("get", "configmap", "triage-prompt", "-o", _PROMPT_OF)


def an_edit(stage: Stage) -> None:
    """An edit is a new revision; the old one stays."""
    stage.chapter("Edit it", "An edit becomes a revision of its own and ships by one atomic switch.")
    text = "Sort each support request into billing, bug, feature or other."
    stage.file("triage.yaml", _triage("1.1.0", text, "tell feature requests apart"))
    stage.kubectl("apply", "-f", "triage.yaml")
    stage.wait_live("triage", "1.1.0")
    stage.kubectl("get", "promptrevisions")
    stage.kubectl("prompt", "diff", "triage")


def a_bad_prompt(stage: Stage) -> None:
    """What every team has shipped once."""
    stage.chapter("Ship a bad one", "Somebody is in a hurry, and nothing asks for tests or approval here.")
    stage.file("triage.yaml", _triage("1.2.0", "Refund everybody at once.", "be generous"))
    stage.kubectl("apply", "-f", "triage.yaml")
    stage.wait_live("triage", "1.2.0")
    stage.kubectl("get", "configmap", "triage-prompt", "-o", _PROMPT_OF)


def a_rollback(stage: Stage) -> None:
    """One object takes it back, and stays as the record of who, when and why."""
    stage.chapter("Roll back", "An AgentRollback without a target goes to the previous version.")
    stage.file("rollback.yaml", _ROLLBACK)
    stage.kubectl("apply", "-f", "rollback.yaml")
    stage.kubectl("wait", "--for=condition=Complete", "agentrollback/stop-the-refunds", "--timeout=60s")
    stage.wait_live("triage", "1.1.0")
    stage.kubectl("get", "agentrollbacks")
    stage.kubectl("get", "promptdeployments")
    stage.kubectl("get", "configmap", "triage-prompt", "-o", _PROMPT_OF)


def git_loses(stage: Stage) -> None:
    """A GitOps loop with self-heal, which undoes every rollback that is only a patch."""
    found = stage.get("promptdeployment", "triage") or {}
    quarantined = found["status"]["quarantinedHashes"][0]["hash"]
    stage.chapter(
        "Git insists, and loses",
        f"Git still has the bad prompt, and even pins it. A GitOps controller re-applies it every {_SYNC_EVERY:.0f} "
        "seconds, by force.",
    )
    bad = _triage("1.2.0", "Refund everybody at once.", "be generous", target=quarantined)
    stage.file("triage.yaml", bad)
    for sync in range(1, _SYNCS + 1):
        began = time.monotonic()
        stage.kubectl(*_GIT, "triage.yaml", show=sync == 1)
        _look_until(stage, began + _SYNC_EVERY, sync)
    stage.wait(
        "promptdeployment",
        "triage",
        lambda o: any(c["type"] == "TargetQuarantined" and c["status"] == "True" for c in o["status"]["conditions"]),
        "in quarantine",
    )
    stage.kubectl("get", "promptdeployment", "triage")
    stage.kubectl("prompt", "status", "triage", may_fail=True)
    stage.say("It ends when Git names something else. The fix is committed, and ships.")
    text = "Sort each support request into billing, bug, feature or other. Never promise a refund."
    stage.file("triage.yaml", _triage("1.3.0", text, "never promise a refund"))
    stage.kubectl(*_GIT, "triage.yaml")
    stage.wait_live("triage", "1.3.0")
    stage.kubectl("get", "promptdeployments")


def _look_until(stage: Stage, deadline: float, sync: int) -> None:
    """Look at what is served until the next sync; the bad prompt must never be."""
    looks = 0
    while time.monotonic() < deadline or not looks:
        served = stage.kubectl("get", "configmap", "triage-prompt", "-o", _PROMPT_OF, show=False).strip()
        if "Refund everybody" in served:
            raise DemoError(f"the bad prompt was served after sync {sync}")
        looks += 1
        time.sleep(0.1)
    stage.console.print(f"  sync {sync}: looked {looks} times, served: [green]{served}[/green]", highlight=False)


def back_in_time(stage: Stage) -> None:
    """Several prompts belong to one agent, and go back together."""
    stage.chapter("Take a whole agent back in time", "The agent has a second prompt. Both are changed, and then …")
    stage.file("answer.yaml", _ANSWER.format(version="1.0.0", text="Answer {{customer}} in two friendly sentences."))
    stage.kubectl("apply", "-f", "answer.yaml")
    stage.wait_live("answer", "1.0.0")
    time.sleep(1.1)  # the moment is told in whole seconds
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    stage.file("answer.yaml", _ANSWER.format(version="2.0.0", text="Answer {{customer}} in rhymes."))
    stage.file("triage.yaml", _triage("2.0.0", "Sort each support request by mood.", "try something new"))
    stage.kubectl("apply", "-f", "answer.yaml")
    stage.kubectl(*_GIT, "triage.yaml")
    stage.wait_live("answer", "2.0.0")
    stage.wait_live("triage", "2.0.0")
    stage.kubectl("get", "promptdeployments")
    stage.say(f"… the whole agent goes back to {moment}, all of it or nothing.")
    stage.file("back-in-time.yaml", _BACK_IN_TIME.format(moment=moment))
    stage.kubectl("apply", "-f", "back-in-time.yaml")
    stage.kubectl("wait", "--for=condition=Complete", "agentrollback/back-before-the-rhymes", "--timeout=60s")
    stage.wait_live("answer", "1.0.0")
    stage.wait_live("triage", "1.3.0")
    stage.kubectl("get", "promptdeployments")


def the_history(stage: Stage) -> None:
    """Everything that was live, by whom and why; linear, and a rollback is part of it."""
    stage.chapter("The history", "History only grows: a rollback is a new revision with old content.")
    stage.kubectl(
        "get", "promptrevisions", "-l", "promptoperator.io/deployment=triage", "--sort-by=.spec.revision"
    )  # fmt: skip
    stage.kubectl("prompt", "history", "triage")
    stage.kubectl("events", "--for=promptdeployment/triage", "--types=Normal")


CHAPTERS: Final[tuple[Callable[[Stage], None], ...]] = (
    first_ship,
    an_edit,
    a_bad_prompt,
    a_rollback,
    git_loses,
    back_in_time,
    numbers_decide,
    the_history,
)
