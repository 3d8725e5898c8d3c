"""The users of the stand: many PromptDeployments, edits, rollbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tests.bench.api import GROUP, Api, Json, path_of

_FILLER = "Answer politely, cite the order number, and hand over to a person when you are not sure. "


def text_of(size: int, mark: str) -> str:
    """Return a prompt of about that many bytes, its own by the mark."""
    head = f"[{mark}] You are a support agent. "
    return (head + _FILLER * (size // len(_FILLER) + 1))[:size]


def name_of(index: int) -> str:
    return f"agent-{index:05d}"


def deployment(index: int, size: int) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "PromptDeployment",
        "metadata": {"name": name_of(index)},
        "spec": {"prompt": {"text": text_of(size, f"{index} first")}},
    }


def rollback(name: str, deployment_name: str) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "AgentRollback",
        "metadata": {"name": name},
        "spec": {"promptDeploymentName": deployment_name, "reason": "bench"},
    }


async def populate(api: Api, namespace: str, count: int, size: int) -> None:
    """Create PromptDeployments, 16 at a time."""
    waiting: Iterator[int] = iter(range(count))

    async def create() -> None:
        for index in waiting:
            await api.request("POST", path_of(namespace, "promptdeployments"), deployment(index, size))

    await asyncio.gather(*(create() for _ in range(16)))


async def unshipped(api: Api, namespace: str) -> list[str]:
    """Return the names of the deployments of which nothing is live."""
    found = []
    async for items, _ in api.pages(path_of(namespace, "promptdeployments")):
        found += [i["metadata"]["name"] for i in items if not (i.get("status") or {}).get("activeHash")]
    return found
