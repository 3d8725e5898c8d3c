"""Requests with the credentials of a source, which never show up in what is said about them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from yarl import URL

from prompt_operator.api.gates import Access
from prompt_operator.evaluation.sources.credentials import Credentials
from prompt_operator.evaluation.sources.fetching import Answer, Fetcher, Request
from prompt_operator.evaluation.sources.problem import SourceError
from prompt_operator.evaluation.sources.turns import Asking

_REFUSALS: Final = (401, 403)
_HIDDEN: Final = "(token)"


class Asker:
    """Asks servers as a source says: with its token, trust and timeout."""

    def __init__(self, fetcher: Fetcher, credentials: Credentials) -> None:
        self._fetcher = fetcher
        self._credentials = credentials

    async def ask(self, who: Asking, access: Access, url: URL, form: Mapping[str, str] | None = None) -> Answer:
        """Send one request, and return whatever answer it gets; a SourceError says why there is none."""
        namespace, timeout = who[0], float(access.timeout_seconds)
        try:
            async with asyncio.timeout(timeout):
                tls = await self._credentials.tls(namespace, access.ca_certificate)
                token = await self._credentials.token(namespace, access.bearer_token)
        except TimeoutError:
            raise SourceError(f"The Secrets of the source could not be read within {timeout:g} s.") from None
        try:
            answer = await self._fetcher.fetch(Request(who, url, timeout, tls, form, token))
        except SourceError as error:
            raise SourceError(str(error).replace(token, _HIDDEN) if token else str(error)) from None
        if token and answer.status in _REFUSALS:
            self._credentials.forget(namespace, access.bearer_token)
        # Some servers repeat what they were sent.
        return replace(answer, body=answer.body.replace(token.encode(), _HIDDEN.encode())) if token else answer

    async def close(self) -> None:
        """Close all connections."""
        await self._credentials.close()
        await self._fetcher.close()
