"""The bare client: sees a change, does the writes the operator does, in the operator's order, and nothing else.

No store, no decisions, no validation, no healing, no retries, no conflict handling: what a script would do. Run as a
process of its own, so that it pays for its own TLS and JSON as the operator does.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import bare_bodies as bodies
from tests.bench.api import APPLY, MERGE, Access, Api, Json, path_of
from tests.bench.bare_bodies import Known

USER_AGENT = "bare-client"
WORKERS = 16  # as many objects at once as the operator
REVISIONS = 50  # kept for each deployment, as by default


def digest_of(prompt: Json) -> str:
    canonical = json.dumps(prompt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


class Bare:
    """Lists, watches two kinds, and writes."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._known: dict[str, Known] = {}
        self._prompts: dict[str, Json] = {}
        self._begun: set[str] = set()
        self._workers = asyncio.Semaphore(WORKERS)
        self._tasks: set[asyncio.Task[None]] = set()

    def _path(self, plural: str, name: str = "", subresource: str = "", query: str = "") -> str:
        return path_of(self._namespace, plural, name, subresource) + query

    async def run(self) -> None:
        versions: dict[str, str] = {}
        listed: dict[str, list[Json]] = {"promptdeployments": []}
        for plural in ("promptdeployments", "promptrevisions", "configmaps", "agentrollbacks"):
            async for items, version in self._api.pages(self._path(plural)):
                versions[plural] = version
                for item in items:
                    self._remember(plural, item)
                    if plural == "promptdeployments":
                        listed[plural].append({"metadata": item["metadata"], "spec": item["spec"]})
        print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)  # noqa: T201
        for item in listed.pop("promptdeployments"):
            self._deployment(item)
        await asyncio.gather(*(self._watch(p, versions[p]) for p in ("promptdeployments", "agentrollbacks")))

    def _remember(self, plural: str, item: Json) -> None:
        meta = item["metadata"]
        if plural == "promptdeployments":
            known = Known(meta["name"], meta["uid"], meta["resourceVersion"])
            status = item.get("status") or {}
            known.observed = status.get("observedPromptHash", "")
            known.number = status.get("activeRevision", 0)
            known.live, known.previous = status.get("activeHash", ""), status.get("previousHash", "")
            known.candidate = status.get("candidateRevision", 0)
            known.history = status.get("history", [])
            self._known[known.name] = known
        elif plural == "promptrevisions":
            spec = item["spec"]
            known = self._known[spec["promptDeploymentName"]]
            known.revisions[spec["revision"]] = (meta["uid"], meta["resourceVersion"])
            known.shipped[spec["revision"]] = item["status"]["shippedTime"]
            self._prompts[spec["hash"]] = spec["prompt"]
        elif plural == "configmaps":
            if known_one := self._known.get(meta["name"].removesuffix("-prompt")):
                known_one.config_map = (meta["uid"], meta["resourceVersion"])
        else:
            self._begun.add(meta["uid"])

    async def _watch(self, plural: str, version: str) -> None:
        async for _, event in self._api.watch(self._path(plural), version):
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            if plural == "promptdeployments":
                self._deployment(event["object"])
            elif (uid := event["object"]["metadata"]["uid"]) not in self._begun:
                self._begun.add(uid)
                self._start(self._rollback(event["object"]))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"bare client: {error!r}", file=sys.stderr, flush=True)  # noqa: T201

    def _deployment(self, item: Json) -> None:
        meta = item["metadata"]
        known = self._known.setdefault(meta["name"], Known(meta["name"], meta["uid"], ""))
        digest = digest_of(item["spec"]["prompt"])
        if int(meta["resourceVersion"]) > int(known.version or 0):
            known.version = meta["resourceVersion"]
        if digest != known.observed:
            known.observed = digest
            self._prompts[digest] = item["spec"]["prompt"]
            self._start(self._edit(known, digest))

    # --- the writes -----------------------------------------------------------------------------------------------

    async def _edit(self, known: Known, digest: str) -> None:
        async with self._workers:
            known.candidate = known.number + 1
            await self._switch(known, digest, "Change")
            await self._tell(known.name, known.uid, "PromptDeployment", known.number)
            await self._collect(known)

    async def _rollback(self, item: Json) -> None:
        async with self._workers:
            meta = item["metadata"]
            known = self._known[item["spec"]["promptDeploymentName"]]
            begun, number = bodies.now(), known.number + 1
            body = bodies.identified("AgentRollback", meta["name"], meta["uid"], meta["resourceVersion"])
            body["status"] = bodies.rollback_status(known, number, start=begun)
            answer = await self._apply("agentrollbacks", meta["name"], body, "status")
            cause = {"name": meta["name"], "uid": meta["uid"]}
            await self._switch(known, known.previous, "Rollback", cause)
            body["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"]
            body["status"] = bodies.rollback_status(known, number, start=begun, end=bodies.now())
            await self._apply("agentrollbacks", meta["name"], body, "status")
            await self._tell(known.name, known.uid, "PromptDeployment", number)
            await self._tell(known.name, known.uid, "PromptDeployment", number)
            await self._tell(meta["name"], meta["uid"], "AgentRollback", number)
            await self._collect(known)

    async def _switch(self, known: Known, digest: str, trigger: str, cause: Json | None = None) -> None:
        prompt, old = self._prompts[digest], known.number
        known.number += 1
        made = await self._api.request(
            "POST", self._path("promptrevisions", query="?fieldManager=bare"),
            bodies.revision(known, digest, prompt, trigger, cause),
        )  # fmt: skip
        known.revisions[known.number] = (made["metadata"]["uid"], made["metadata"]["resourceVersion"])
        answer = await self._apply("promptdeployments", known.name, bodies.target(known, digest))
        known.version, generation = answer["metadata"]["resourceVersion"], answer["metadata"]["generation"]
        time = known.shipped[known.number] = bodies.now()
        await self._config_map(known, digest, prompt, time)
        known.previous, known.live = known.live, digest
        rolled_back = trigger == "Rollback"
        if old:
            status = bodies.revision_status(time, live=False, rolled_back=rolled_back, shipped=known.shipped[old])
            await self._revision_status(known, old, status)
        await self._revision_status(known, known.number, bodies.revision_status(time, live=True))
        body = bodies.identified("PromptDeployment", known.name, known.uid, known.version)
        body["status"] = bodies.deployment_status(known, generation, time, rolled_back=rolled_back)
        answer = await self._apply("promptdeployments", known.name, body, "status")
        known.version = answer["metadata"]["resourceVersion"]

    async def _apply(self, plural: str, name: str, body: Json, subresource: str = "") -> Json:
        path = self._path(plural, name, subresource, "?fieldManager=bare&force=true")
        return await self._api.request("PATCH", path, body, APPLY)

    async def _config_map(self, known: Known, digest: str, prompt: Json, time: str) -> None:
        body, query = bodies.config_map(known, self._namespace, digest, prompt, time), "?fieldManager=bare"
        if known.config_map is None:
            answer = await self._api.request("POST", self._path("configmaps", query=query), body)
        else:
            path = self._path("configmaps", f"{known.name}-prompt", query=query)
            answer = await self._api.request("PATCH", path, body, MERGE)
        known.config_map = (answer["metadata"]["uid"], answer["metadata"]["resourceVersion"])

    async def _revision_status(self, known: Known, number: int, status: Json) -> None:
        name, (uid, version) = f"{known.name}-{number}", known.revisions[number]
        body = bodies.identified("PromptRevision", name, uid, version) | {"status": status}
        answer = await self._apply("promptrevisions", name, body, "status")
        known.revisions[number] = (uid, answer["metadata"]["resourceVersion"])

    async def _tell(self, name: str, uid: str, kind: str, number: int) -> None:
        await self._api.request(
            "POST", self._path("events"), bodies.event(self._namespace, name, uid, kind, number)
        )  # fmt: skip

    async def _collect(self, known: Known) -> None:
        while len(known.revisions) > REVISIONS:
            oldest = min(known.revisions)
            uid, _ = known.revisions.pop(oldest)
            known.shipped.pop(oldest)
            body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
            await self._api.request("DELETE", self._path("promptrevisions", f"{known.name}-{oldest}"), body)


async def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--server", "--namespace"):
        parser.add_argument(option, required=True)
    for option in ("--ca", "--cert", "--key"):
        parser.add_argument(option, required=True, type=Path)
    args = parser.parse_args()
    async with Api(Access(args.server, args.ca, args.cert, args.key), USER_AGENT) as api:
        await Bare(api, args.namespace).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
