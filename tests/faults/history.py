"""The history of a namespace as the API server tells it, and what must hold of every state in it.

The record is made by watches that go past every proxy and every operator. The checks look at all kinds together, in
the order of resourceVersion, which is the order of the writes.
"""

import hashlib
import http.client
import json
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.faults.api import KINDS, Api, Json

HASH = "promptoperator.io/hash"
ROLLBACKS = ("Rollback", "AutoRollback")


@dataclass(frozen=True)
class Change:
    """One write of one object, or its deletion."""

    version: int
    kind: str
    type: str
    object: Json

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.type} {self.kind} {self.name} at {self.version}"


class Recorder:
    """Records every change of a namespace from now on, until `stop`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._changes: list[Change] = []
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._record, args=(api, kind, namespace), daemon=True) for kind in KINDS
        ]
        for thread in self._threads:
            thread.start()

    def _record(self, api: Api, kind: str, namespace: str) -> None:
        try:
            for event in api.watch(kind, namespace, since="0"):
                version = int(event["object"]["metadata"]["resourceVersion"])
                with self._lock:
                    self._changes.append(Change(version, kind, event["type"], event["object"]))
        except (TimeoutError, OSError, http.client.HTTPException) as error:
            self._error = error

    def changes(self) -> list[Change]:
        """Return what was recorded, in the order of writes. Raises when a watch ended, for then something is missing."""
        if self._error is not None:
            raise AssertionError("a watch of the recorder ended") from self._error
        with self._lock:
            return sorted(self._changes, key=lambda change: change.version)


@dataclass
class Checker:
    """Goes through a history once and collects every violation as a sentence."""

    violations: list[str] = field(default_factory=list)
    _targets: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _written: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _held: dict[str, tuple[str, str]] = field(default_factory=dict)
    _quarantined: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _published: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _made_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    _released: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def check(self, changes: list[Change]) -> list[str]:
        for change in changes:
            match change.kind:
                case "promptdeployments":
                    self._deployment(change)
                case "configmaps" if change.name.endswith("-prompt"):
                    self._config_map(change)
                case "promptrevisions":
                    self._revision(change)
        return self.violations

    def _blame(self, change: Change, what: str) -> None:
        self.violations.append(f"{change}: {what}")

    def _deployment(self, change: Change) -> None:
        if change.type == "DELETED":
            return
        spec, status = change.object["spec"], change.object.get("status") or {}
        if target := spec.get("targetHash"):
            self._targets[change.name].add(target)
        release = int((spec.get("release") or {}).get("revision") or 0)
        self._released[change.name] = max(release, self._released[change.name])
        active = status.get("activeHash")
        if active and active not in self._written[change.name]:
            self._blame(change, f"status.activeHash is {active}, which no ConfigMap held before")

    def _config_map(self, change: Change) -> None:
        deployment = change.name.removesuffix("-prompt")
        if change.type == "DELETED":
            self._held.pop(deployment, None)
            return
        meta, data = change.object["metadata"], change.object["data"]
        claimed = meta["annotations"].get(HASH)
        digest = f"sha256:{hashlib.sha256(data['prompt.json'].encode()).hexdigest()}"
        if digest == claimed:
            self._written[deployment].add(digest)
        if _last_writer(change.object) != "prompt-operator":
            self._held.pop(deployment, None)
            return  # somebody tampers; what the operator writes next is checked
        record = json.loads(data["metadata.json"])
        if not digest == claimed == record["hash"]:
            self._blame(change, f"holds {digest}, is annotated {claimed} and says {record['hash']}")
        before = self._held.get(deployment)
        if before and (before[0] == digest) != (before[1] == data["metadata.json"]):
            self._blame(change, "prompt and record did not change together")
        self._held[deployment] = (digest, data["metadata.json"])
        if digest not in self._targets[deployment]:
            self._blame(change, f"{digest} never was spec.targetHash before")
        began = self._quarantined[deployment].get(digest)
        if began is not None and began > self._released[deployment]:
            self._blame(change, f"{digest} is live again, which rollback revision {began} quarantined")

    def _revision(self, change: Change) -> None:
        spec, status = change.object["spec"], change.object.get("status") or {}
        deployment = spec["promptDeploymentName"]
        published = self._published[deployment]
        published.discard(change.name)
        if change.type == "DELETED":
            return
        if status.get("stage") == "Published":
            published.add(change.name)
            if len(published) > 1:
                self._blame(change, f"several are published: {sorted(published)}")
        if change.type == "ADDED" and spec["trigger"] in ROLLBACKS:
            # Going back to a version lifts its quarantine: only a forced rollback gets there.
            self._quarantined[deployment].pop(spec["hash"], None)
            self._quarantined[deployment][spec["baselineHash"]] = spec["revision"]
            made = (spec["cause"]["uid"], deployment)
            self._made_by[made] += 1
            if self._made_by[made] > 1:
                self._blame(change, f"AgentRollback {spec['cause']['name']} made a revision before")


def _last_writer(obj: Json) -> str:
    entries = obj["metadata"].get("managedFields") or ()
    newest = max((e for e in entries if e.get("time")), key=lambda e: e["time"], default={})
    newest_ones = {e["manager"] for e in entries if e.get("time") == newest.get("time")}
    return "prompt-operator" if newest_ones == {"prompt-operator"} else ", ".join(sorted(newest_ones))
