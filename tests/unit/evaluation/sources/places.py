"""What tests of sources ask, and real servers on loopback that answer as badly as told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from prompt_operator.api.gates import Metric
from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.reader import SourceReader

CONTROL_HASH = "sha256:" + "c" * 64
CANDIDATE_HASH = "sha256:" + "d" * 64
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOOPBACK = AddressRules.parse(["127.0.0.0/8", "::1"])
TOKEN = "t0p-s3cret-t0ken"

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]
RawAnswerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def metric(kind: str = "Proportion", name: str = "quality", **source: Any) -> Metric:
    return Metric.model_validate({"name": name, "kind": kind, "source": source})


def prometheus(address: str, kind: str = "Proportion", **more: Any) -> Metric:
    """A metric whose queries say which arm and number they are for."""
    names = ("successes", "samples", "sum", "sumOfSquares", "value")
    queries = {name: f'{name}{{arm="{{{{arm}}}}",hash="{{{{hash}}}}"}}' for name in names}
    return metric(kind, prometheus={"address": address, **queries, **more})


def http(url: str, kind: str = "Proportion", **more: Any) -> Metric:
    return metric(kind, http={"url": url, **more})


def asked(*metrics: Metric, control: bool = True, **more: Any) -> LookAsked:
    since = AT - timedelta(hours=1)
    return LookAsked(
        namespace=more.get("namespace", "team"),
        deployment=more.get("deployment", "support"),
        agent="bot",
        id=more.get("id", "support-7"),
        metrics=metrics,
        candidate=more.get("candidate", ArmAsked(CANDIDATE_HASH, since, AT)),
        control=ArmAsked(CONTROL_HASH, more.get("control_since", since), AT) if control else None,
    )


def sample(value: Any, time: float = AT.timestamp(), **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [time, value]}


def vector(*samples: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What Prometheus answers to an instant query."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}, **more}


@dataclass
class Secrets:
    """Secrets of the API, and how often they were read."""

    values: Mapping[tuple[str, str, str], bytes] = field(default_factory=dict)
    reads: list[tuple[str, str, str]] = field(default_factory=list)

    async def __call__(self, namespace: str, name: str, key: str) -> bytes:
        self.reads.append((namespace, name, key))
        return self.values[namespace, name, key]


async def no_job(_asked: LookAsked, _metric: Metric) -> Mapping[str, Any]:
    raise AssertionError("no Job was asked for")


@asynccontextmanager
async def reading(
    rules: AddressRules = LOOPBACK, secrets: Any = None, run_job: Any = no_job, **more: Any
) -> AsyncIterator[SourceReader]:
    reader = SourceReader(secrets or Secrets(), run_job, rules, **more)
    try:
        yield reader
    finally:
        await reader.close()


@asynccontextmanager
async def serving(answer: Answerer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers every request by the same handler; its URL."""
    server = web.Server(answer)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(answer: RawAnswerer, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server of bytes, which need not be HTTP; its URL."""
    running: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(guarded, host, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take connections and never say a word."""
    await asyncio.Event().wait()


def answering(said: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Answerer:
    """Answer every request alike."""
    body = said if isinstance(said, (bytes, str)) else json.dumps(said)

    async def answer(_request: web.Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else body.encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=data, status=status, content_type=content_type, headers=names)

    return answer
