"""kopf as the watching runtime: every event goes into the store, and nothing else happens here.

Only low-level handlers are used. kopf's change-detecting handlers keep a copy of the whole spec in an annotation, which
ends at 256 KiB and repeats the prompt, and what fails in ``on.event`` is never retried; so these handlers cannot fail,
and all work is done from our own queue. No finalizer, no annotation and no status is ever written by kopf.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import kopf
import structlog
from kubernetes.aio.client import Configuration

from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    CONFIG_MAPS,
    GROUP,
    JOBS,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
    VERSION,
)
from prompt_operator.controller.kube import USER_AGENT
from prompt_operator.controller.settings import Settings
from prompt_operator.controller.store import Store
from prompt_operator.controller.sync import SELECTORS

log = structlog.get_logger(__name__)

WATCHED: Final = (
    (GROUP, VERSION, PROMPT_DEPLOYMENTS),
    (GROUP, VERSION, PROMPT_REVISIONS),
    (GROUP, VERSION, AGENT_ROLLBACKS),
    ("", "v1", CONFIG_MAPS),
    ("batch", "v1", JOBS),
)


class Backoffs:
    """Seconds between kopf's tries of one request: a few, short, with jitter, anew for each request."""

    def __iter__(self) -> Iterator[float]:
        for seconds in (0.1, 0.5, 1.0, 2.0, 3.0):
            yield seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


class Hearing:
    """When something was last heard from each watch, bookmarks included."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        #: Set when a watch had to begin anew with a list, which tells of no deletion meanwhile.
        self.listed_anew = asyncio.Event()
        #: The session of all watches. kopf closes it when it ends, and before it tells.
        self.session: aiohttp.ClientSession | None = None
        #: Whether kopf was left behind, still ending; its tasks never will.
        self.left_behind = False

    def heard(self, path: str) -> None:
        """Note that a watch made a sound."""
        self._heard[path] = time.monotonic()

    def listed(self, path: str) -> None:
        """Note that everything is listed; if there was a watch before, it was lost."""
        if path in self._heard:
            self.listed_anew.set()

    def forget(self) -> None:
        """Begin anew, as after all watches were started again."""
        self._heard.clear()

    def silent_for(self, paths: Iterable[str], since: float) -> float:
        """Return for how many seconds the most silent of the watches said nothing; one not begun counts from since."""
        now = time.monotonic()
        return max((now - self._heard.get(path, since) for path in paths), default=0.0)


def watch_paths(namespaces: tuple[str, ...]) -> list[str]:
    """Return the path of every watch there must be."""
    paths = []
    for group, version, plural in WATCHED:
        prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        paths += [f"{prefix}/namespaces/{ns}/{plural}" for ns in namespaces] or [f"{prefix}/{plural}"]
    return paths


_AFTER_ERROR: Final = 1.0  # seconds; an error that lasts must not become a storm of lists
_EXPIRED: Final = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'


def _is_fatal(line: bytes) -> bool:
    """Tell whether an event is an error that kopf does not recover from."""
    if b'"ERROR"' not in line[:20]:  # the type comes first; what is behind it is not worth parsing twice
        return False
    try:
        return bool(json.loads(line)["object"]["code"] != HTTPStatus.GONE)
    except (ValueError, KeyError, TypeError):
        return True


class _HeardStream:
    """The body of a watch, telling when a piece of it comes, and without what kopf does not survive.

    An error other than 410 or a line that is cut off makes kopf end all watches, and it may hang in doing so. So the
    first becomes a 410, at which kopf lists anew, and the second is left out, since the event comes again.
    """

    def __init__(self, stream: aiohttp.StreamReader, heard: Callable[[], None]) -> None:
        self._stream = stream
        self._heard = heard

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._stream.iter_chunked(size):
            self._heard()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if _is_fatal(line):
                    log.warning("a watch told of an error; it begins anew", error=line[:500].decode(errors="replace"))
                    await asyncio.sleep(_AFTER_ERROR * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret
                    yield _EXPIRED
                    return
            if whole := b"".join(line + b"\n" for line in lines):
                yield whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def build_registry(
    store: Store,
    configuration: Configuration,
    ssl_context: ssl.SSLContext,
    hearing: Hearing,
    settings: Settings,
    on_start: Callable[[], None],
) -> kopf.OperatorRegistry:
    """Register the routing of every kind into the store, and the login with a session of bounded connections.

    ``on_start`` is called each time after kopf has set itself up, signal handlers included.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def started(**_: Any) -> None:
        asyncio.get_running_loop().call_soon(on_start)  # not at once: what kopf has under way comes first

    for group, version, plural in WATCHED:

        async def route(event: kopf.RawEvent, plural: str = plural, **_: Any) -> None:
            raw: Any = event["object"]
            try:
                if event["type"] == "DELETED":
                    meta = raw["metadata"]
                    store.remove(plural, meta["namespace"], meta["name"], meta["uid"])
                else:
                    store.put(plural, raw)
            except (KeyError, ValueError, TypeError) as error:
                log.warning(
                    "ignored an object that is not what it should be",
                    plural=plural,
                    name=raw.get("metadata", {}).get("name"),
                    error=type(error).__name__,
                )

        kopf.on.event(group, version, plural, registry=registry, id=f"route-{plural}")(route)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        session = _session(configuration, ssl_context, hearing, len(watch_paths(settings.namespaces)))
        hearing.session = session
        return kopf.AiohttpSession(server=str(configuration.host), aiohttp_session=session)

    return registry


def _session(
    configuration: Configuration, ssl_context: ssl.SSLContext, hearing: Hearing, watches: int
) -> aiohttp.ClientSession:
    async def authenticate_and_listen(
        request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        settings: Any = await configuration.auth_settings()
        for auth in settings.values():
            if auth["in"] == "header" and auth["value"]:
                request.headers[auth["key"]] = auth["value"]
        response = await handler(request)
        path = request.url.path
        if request.url.query.get("watch") != "true":
            hearing.listed(path)
        elif response.ok:
            hearing.heard(path)
            response.content = _HeardStream(response.content, lambda: hearing.heard(path))  # type: ignore[assignment]
        return response

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=watches + 4, ssl=ssl_context),
        proxy=configuration.proxy,
        headers={"User-Agent": USER_AGENT},
        middlewares=(authenticate_and_listen,),
    )


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no essence of an object, as no handler asks for changes; kopf would copy every object it sees, deeply."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings, each for a measured reason."""
    result = kopf.OperatorSettings()
    result.peering.standalone = True  # a stranger's peering object must not pause us
    result.scanning.disabled = True  # the kinds are known and checked before; no cluster-wide watch of CRDs
    result.persistence.diffbase_storage = _NoDiffBase()
    result.posting.enabled = False  # events are told by us, once, after the write
    for plural, selector in SELECTORS.items():
        result.watching.label_selectors[plural] = selector
    result.watching.chunk_size = settings.page_size
    result.watching.inactivity_timeout = 75  # seconds; the API server sends a bookmark about every 60
    result.watching.reconnect_backoff = 0.1
    result.queueing.worker_limit = None  # a limit here blocks by idle workers; our own queue bounds the work
    # Seconds a worker keeps the last event of an object in memory: at 1 s, a start at 1,000 objects takes 22 MiB more.
    result.queueing.idle_timeout = 0.1
    # kopf may end by an error and be started anew, but would have left a timer that kills this process for that.
    result.process.ultimate_exiting_timeout = None
    result.networking.request_timeout = settings.request_timeout
    result.networking.error_backoffs = Backoffs()
    return result


class WatchesLostError(Exception):
    """kopf ended its watches without saying so."""


_GIVE_UP_AFTER: Final = 5.0  # seconds that kopf has to end


async def _until_lost(hearing: Hearing) -> None:
    """Wait until the watches have had no session for two looks in a row: a new login takes less."""
    lost = 0
    while lost < 2:  # noqa: PLR2004
        await asyncio.sleep(1.0)
        lost = lost + 1 if hearing.session is not None and hearing.session.closed else 0


async def watch(registry: kopf.OperatorRegistry, settings: Settings, hearing: Hearing, stop: asyncio.Event) -> None:
    """Watch until told to stop. Raises what kopf cannot recover from, such as a watch that is refused.

    When one watch fails, kopf ends them all, and often waits for ever for one that tries to log in once more. So it
    is not waited for: WatchesLostError.
    """
    hearing.session = None
    # A stop flag of kopf's would do, but it takes its own waiting for the flag for a hung task: 5 s at every exit.
    stopping = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=kopf_settings(settings),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
        )
    )
    lost = asyncio.create_task(_until_lost(hearing))
    try:
        await asyncio.wait([stopping, watching, lost], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        lost.cancel()
        watching.cancel()
        await asyncio.wait([watching], timeout=_GIVE_UP_AFTER)
        hearing.left_behind |= not watching.done()
    if watching.done() and not watching.cancelled():
        watching.result()  # without an error only by a signal that came while kopf was starting
    elif not stop.is_set():
        raise WatchesLostError("kopf ended its watches")
