"""Lists: the first look at the cluster, and the sweep that finds what watches missed.

A deletion that falls into the gap between two watches is told by nobody, and a watch can go silent without an error. So
from time to time all names and versions are read, cheaply, and compared with what is known.
"""

from __future__ import annotations

import random
from typing import Final

import structlog

from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    CONFIG_MAPS,
    JOBS,
    LABEL_MANAGED_BY,
    LABEL_TEST_RUN,
    MANAGED_BY,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
)
from prompt_operator.controller.kube import KubeClient, Resource
from prompt_operator.controller.store import Store

log = structlog.get_logger(__name__)

#: In this order a deployment is decided on only when everything that bears on it is known.
KINDS = (PROMPT_REVISIONS, CONFIG_MAPS, JOBS, AGENT_ROLLBACKS, PROMPT_DEPLOYMENTS)
#: Label selectors, of kinds that are others' too. Jobs that metrics are read from are waited for elsewhere.
SELECTORS: Final = {
    CONFIG_MAPS: f"{LABEL_MANAGED_BY}={MANAGED_BY}",
    JOBS: f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_TEST_RUN}",
}


class Synchronizer:
    """Compares the store with the API server."""

    def __init__(self, client: KubeClient, store: Store, namespaces: tuple[str, ...]) -> None:
        self._client = client
        self._store = store
        self._namespaces = namespaces

    async def load(self) -> None:
        """Take in everything there is, and forget what is not there any more."""
        for plural in KINDS:
            for namespace in self._namespaces or (None,):
                seen: set[str] = set()
                snapshot = ""
                resource = Resource(plural, namespace)
                async for items, version in self._client.pages(resource, label_selector=_selector(plural)):
                    snapshot = version
                    for raw in items:
                        self._store.put(plural, raw)
                        seen.add(raw["metadata"]["uid"])
                self._forget_missing(plural, namespace, seen, snapshot)

    async def sweep(self) -> int:
        """Compare versions, read what is behind, forget what is gone; return how many objects were wrong."""
        wrong = 0
        for plural in KINDS:
            for namespace in self._namespaces or (None,):
                wrong += await self._sweep_kind(plural, namespace)
        if wrong:
            log.warning("watches had missed changes; they are known now", objects=wrong)
        return wrong

    async def _sweep_kind(self, plural: str, namespace: str | None) -> int:
        behind: list[tuple[str, str]] = []
        seen: set[str] = set()
        snapshot = ""
        pages = self._client.pages(Resource(plural, namespace), label_selector=_selector(plural), metadata_only=True)
        async for items, version in pages:
            snapshot = version
            for raw in items:
                meta = raw["metadata"]
                seen.add(meta["uid"])
                if not self._store.is_current(plural, meta["namespace"], meta["name"], meta["resourceVersion"]):
                    behind.append((meta["namespace"], meta["name"]))
        read = 0
        for ns, name in behind:
            found = await self._client.find(Resource(plural, ns), name)
            if found and not self._store.is_current(plural, ns, name, found["metadata"]["resourceVersion"]):
                self._store.put(plural, found)
                read += 1
        return read + self._forget_missing(plural, namespace, seen, snapshot)

    def _forget_missing(self, plural: str, namespace: str | None, seen: set[str], snapshot: str) -> int:
        """Forget what the list did not show, unless it is newer than the list."""
        within = (namespace,) if namespace else ()
        gone = [
            (ns, name, uid)
            for ns, name, uid, version in self._store.known(plural, within)
            if uid not in seen and version.isdigit() and snapshot.isdigit() and int(version) <= int(snapshot)
        ]
        for ns, name, uid in gone:
            self._store.remove(plural, ns, name, uid)
        return len(gone)


def jittered(seconds: float) -> float:
    """Spread a period by a tenth either way, so that replicas and restarts do not sweep together."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret


def _selector(plural: str) -> str:
    return SELECTORS.get(plural, "")
