"""Download a file over HTTP into a temporary one, checked against a SHA-256 before anybody may use it."""

import hashlib
import http.client
import queue
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

_CHUNK = 256 * 1024
_SMALL = 1024 * 1024  # bytes of a list of checksums, at most
_SCHEMES = ("https", "http")


class DownloadError(Exception):
    """Say why there is no such file, in one sentence for a person."""


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only where nobody on the way could have written it, or to the same host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        secure = old.scheme == new.scheme == "https"
        same_host = old.hostname == new.hostname and old.scheme in (new.scheme, "http")
        if not (secure or same_host):
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not followed: another host or no TLS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class Downloader:
    """Fetch from web servers, through the proxy of the environment if it names one.

    `timeout`: seconds a server may be silent. `least`: (bytes, seconds), the slowest that is put up with.
    """

    def __init__(self, *, timeout: float = 15.0, least: tuple[int, float] = (1024 * 1024, 20.0)) -> None:
        self._timeout = timeout
        self._least = least
        # By hand, since the usual opener also reads file: and ftp: addresses.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
            _CarefulRedirects(),
        ):
            self._opener.add_handler(handler)

    def text(self, url: str) -> str:
        """Return a small text file. Raises DownloadError."""
        out = bytearray()
        self._read(url, out.extend, lambda _done, _total: None, most=_SMALL)
        return out.decode("ascii", errors="replace")

    def file(self, url: str, sha256: str, target: Path, show: Callable[[int, int], None]) -> None:
        """Write a file whose SHA-256 is known; `show` gets bytes done and in all (0: unknown).

        Raises DownloadError, OSError when it cannot be written; whatever goes wrong, the target is then not there.
        """
        digest = hashlib.sha256()
        try:
            with target.open("wb") as out:

                def take(chunk: bytes) -> None:
                    digest.update(chunk)
                    out.write(chunk)

                self._read(url, take, show)
            _compare(url, digest.hexdigest(), sha256)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _read(
        self,
        url: str,
        take: Callable[[bytes], object],
        show: Callable[[int, int], None],
        most: int | None = None,
    ) -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "prompt-operator"})  # noqa: S310 - see the handlers
        try:
            answer = self._opener.open(request, timeout=self._timeout)
            assert answer is not None
            with answer:
                self._copy(url, answer, take, show, most)
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadError(f"{url} answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DownloadError(f"{url} cannot be read: {_reason(error)}") from error

    def _copy(
        self,
        url: str,
        answer: http.client.HTTPResponse,
        take: Callable[[bytes], object],
        show: Callable[[int, int], None],
        most: int | None,
    ) -> None:
        total = int(answer.headers.get("Content-Length") or 0)
        done = done_then = 0
        then = time.monotonic()
        least, window = self._least
        while chunk := answer.read1(_CHUNK):
            done += len(chunk)
            if most is not None and done > most:
                raise DownloadError(f"{url} is larger than {most} bytes, so it is not what it should be")
            take(chunk)
            show(done, total)
            now = time.monotonic()
            if now - then >= window:
                if done - done_then < least:
                    raise DownloadError(f"{url} comes too slowly: {done - done_then} bytes in {now - then:.0f} s")
                done_then, then = done, now
        if done < total:
            raise DownloadError(f"{url} broke off after {done} of {total} bytes")


def _compare(url: str, found: str, published: str) -> None:
    if found != published:
        raise DownloadError(f"{url} is refused: its SHA-256 is {found}, and the published one is {published}")


def unreachable(urls: Iterable[str], within: float) -> dict[str, str]:
    """Return which servers take no connection within some seconds, all asked at once, and why not.

    Looking a name up has no time limit of its own and can take half a minute, hence the threads.
    """
    asked = list(urls)
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    for url in asked:
        threading.Thread(target=lambda url=url: answers.put((url, _knock(url, within))), daemon=True).start()
    reasons: dict[str, str | None] = {}
    deadline = time.monotonic() + within
    while len(reasons) < len(asked):
        try:
            url, reason = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        reasons[url] = reason
    found = {url: reasons.get(url, f"no answer within {within:.0f} s") for url in asked}
    return {url: reason for url, reason in found.items() if reason is not None}


def _knock(url: str, within: float) -> str | None:
    """Connect to a server, or to the proxy that leads there; return why that failed."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        return "it is no http(s) address"
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=within):
            return None
    except (OSError, ValueError) as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
