"""Tokens and CA certificates of sources, from Secrets of the namespace they are used in."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from prompt_operator.api.gates import SecretKey
from prompt_operator.api.names import GROUP
from prompt_operator.evaluation.sources.problem import SourceError

#: Given namespace, name and key; returns the value, or raises SourceError with the sentence to show.
ReadSecret = Callable[[str, str, str], Awaitable[bytes]]

#: A Secret must carry this, with "true". Else whoever may edit a PromptDeployment, and may not read Secrets, could have
#: the operator send any of them to a server of theirs.
LABEL: Final = f"{GROUP}/metric-source"
#: Seconds that a value is used for: how long after its change an old token may be sent. A refused token is read anew.
KEPT_FOR: Final = 60.0
_MOST_KEPT: Final = 1024


def value_in(secret: Mapping[str, Any], key: str) -> bytes:
    """Return the value of a key of a Secret as the API has it, if the Secret is meant for metric sources."""
    meta = secret.get("metadata") or {}
    name = meta.get("name")
    if (meta.get("labels") or {}).get(LABEL) != "true":
        raise SourceError(
            f"Secret {name} is not meant for metric sources. If it shall be: kubectl label secret {name} {LABEL}=true"
        )
    try:
        return base64.b64decode((secret.get("data") or {})[key], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise SourceError(f"Secret {name} has no key {key}.") from None


def refused(status: int, namespace: str, name: str) -> SourceError:
    """Return what to say when the API server answered the reading of a Secret with an error."""
    if status == 403:  # noqa: PLR2004
        return SourceError(
            f"The operator may not read Secret {name} (403): by default it has no right to any. Grant it in namespace "
            f"{namespace}: kubectl apply -n {namespace} -k manifests/metric-secrets"
        )
    if status == 404:  # noqa: PLR2004
        return SourceError(f"There is no Secret {name} in namespace {namespace}. Create it, or correct the name.")
    return SourceError(f"Secret {name} cannot be read: the API server answered {status}.")


@lru_cache(maxsize=64)
def context_of(certificates: bytes | None) -> ssl.SSLContext:
    """Return how a server is verified: by these certificates alone, or by the system's for None."""
    if certificates is None:
        return ssl.create_default_context()
    problem = SourceError("What caCertificate names are no certificates in PEM.")
    if b"BEGIN CERTIFICATE" not in certificates:  # nothing at all would mean the system's
        raise problem
    try:
        return ssl.create_default_context(cadata=certificates.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise problem from None


class Credentials:
    """Reads each value once in a while, however many sources use it."""

    def __init__(self, read: ReadSecret) -> None:
        self._read = read
        self._kept: dict[tuple[str, str, str], tuple[float, asyncio.Future[bytes]]] = {}

    async def token(self, namespace: str, where: SecretKey | None) -> str:
        """Return the token to send, or nothing if none is named."""
        if where is None:
            return ""
        token = (await self._value(namespace, where)).strip()
        if not token or not all(0x21 <= byte <= 0x7E for byte in token):  # noqa: PLR2004 - visible ASCII
            raise SourceError(f"Key {where.key} of Secret {where.name} holds no token: one word of visible characters.")
        return token.decode("ascii")

    async def tls(self, namespace: str, where: SecretKey | None) -> ssl.SSLContext:
        """Return how the server is verified."""
        return context_of(None if where is None else await self._value(namespace, where))

    def forget(self, namespace: str, where: SecretKey | None) -> None:
        """Read a value anew the next time, since the server did not take it."""
        if where is not None:
            self._kept.pop((namespace, where.name, where.key), None)

    async def close(self) -> None:
        """Stop reading."""
        reading = [future for _, future in self._kept.values() if not future.done()]
        self._kept.clear()
        for future in reading:
            future.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _value(self, namespace: str, where: SecretKey) -> bytes:
        key = (namespace, where.name, where.key)
        now = asyncio.get_running_loop().time()
        until, future = self._kept.get(key, (0.0, None))
        if future is None or now >= until or _failed(future):
            future = asyncio.ensure_future(self._read(*key))
            future.add_done_callback(_failed)  # so that it counts as seen, whoever still waits
            self._kept.pop(key, None)
            while len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (now + KEPT_FOR, future)
        return await asyncio.shield(future)


def _failed(future: asyncio.Future[bytes]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
