"""Names to addresses, checked, without ever blocking what asks for other names.

getaddrinfo blocks a thread for as long as a dead DNS server makes it, which cannot be cut short. asyncio's own threads
are few (six on two cores) and everybody's, so a few dead names would stop the whole operator; hence own threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.problem import SourceError

T = TypeVar("T")
Lookup = Callable[[str, int, socket.AddressFamily], list[tuple[Any, ...]]]

#: Lookups at once. aiohttp shares one among all that ask for the same host and port.
MOST_LOOKUPS: Final = 64


def system_lookup(host: str, port: int, family: socket.AddressFamily) -> list[tuple[Any, ...]]:
    """Ask the system: /etc/hosts, DNS and whatever else it is configured to ask."""
    flags = getattr(socket, "AI_ADDRCONFIG", 0)
    return list(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags))


class CheckedResolver(AbstractResolver):
    """Resolves names; raises SourceError for a name that has any forbidden address, OSError for one that has none."""

    def __init__(self, rules: AddressRules, lookup: Lookup = system_lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._slots = asyncio.Semaphore(MOST_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        async with self._slots:
            found = await _in_thread(lambda: self._lookup(host, port, family))
        results = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=of,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of, _, protocol, _, address in found
        ]
        for result in results:
            if refusal := self._rules.refusal(result["host"]):
                raise SourceError(f"{host} resolves to {result['host']}, {refusal}")
        return results

    async def close(self) -> None:
        """Leave what runs to end by itself."""


async def _in_thread(work: Callable[[], T]) -> T:
    """Run in a thread that nobody waits for at exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            told: tuple[T | None, Exception | None] = (work(), None)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            told = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name="metric-source-lookup", daemon=True).start()
    return await done
