"""The fault proxy: its thread, its listener, and what tests call."""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from prompt_operator.cluster.pki import Authority

from .armed import Armed
from .gateway import Gateway, abort
from .kubeconfig import Upstream, read_kubeconfig, write_kubeconfig
from .tls import server_context
from .trace import Request, Trace
from .upstream import UpstreamAuth, UpstreamClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from .rules import Fault

_HOST = "127.0.0.1"
_MAX_LINE = 256 * 1024
# For what happens on the proxy's own loop, which never waits for anyone: reached only when the machine is stuck.
_PATIENCE = 60


class FaultProxy:
    """A TLS-terminating proxy in front of a kube-apiserver that records requests and injects faults.

    Runs in a thread of its own, so tests may block; its methods may be called from any thread and take effect before
    they return. Without an armed fault it is transparent, with these exceptions: a client certificate does not reach
    the API server (see `UpstreamAuth`), an answer other than a watch or a followed log is read whole before it is
    passed on, an API server that cannot be reached shows as a reset connection, and upgraded connections are refused.
    """

    def __init__(self, upstream: Upstream, *, auth: UpstreamAuth, directory: Path | None, token: str | None) -> None:
        self.trace = Trace()
        self._upstream = upstream
        self._auth = auth
        self._admin_token = secrets.token_urlsafe()  # no other process on this machine is to be admin by it
        self._own_directory = tempfile.TemporaryDirectory(prefix="faultproxy-") if directory is None else None
        self._directory = Path(self._own_directory.name) if self._own_directory else directory or Path()
        # Bound for the proxy's whole life and never listening: keeps the port ours while the proxy is down.
        self._reserved = _bound_socket(0)
        self.port: int = self._reserved.getsockname()[1]
        self.url = f"https://{_HOST}:{self.port}"
        pki = self._directory / f"faultproxy-{self.port}-pki"
        pki.mkdir(mode=0o700, exist_ok=True)
        self._authority = Authority.open(pki)
        self.kubeconfig = self.write_kubeconfig(self._directory / f"faultproxy-{self.port}.kubeconfig", token=token)
        self._thread = threading.Thread(target=self._run, name=f"faultproxy-{self.port}", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._listener: asyncio.Server | None = None

    @classmethod
    def in_front_of(
        cls,
        kubeconfig: Path,
        *,
        upstream_auth: UpstreamAuth = UpstreamAuth.CLIENT_TOKEN,
        directory: Path | None = None,
        token: str | None = None,
    ) -> FaultProxy:
        """Make a proxy, not yet started, in front of the API server of a kubeconfig's current context.

        `directory` takes the written files (default: a temporary one, removed at the end). `token` goes into
        `proxy.kubeconfig`; without one its users act as the user of `kubeconfig`.
        Raises KubeconfigError if the kubeconfig has neither a client certificate nor a token, or no https server.
        """
        return cls(read_kubeconfig(Path(kubeconfig)), auth=upstream_auth, directory=directory, token=token)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._gateway.errors:
            raise BaseExceptionGroup("the fault proxy failed inside", self._gateway.errors)

    def start(self) -> None:
        """Begin to listen; clients can connect when this returns."""
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise TimeoutError(f"the fault proxy did not start within {_PATIENCE} s")
        if self._failure is not None:
            self._clean_up()
            raise self._failure

    def close(self) -> None:
        """Reset all connections, wait for running callbacks, end the thread. Closing twice is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                raise TimeoutError(f"the fault proxy did not end within {_PATIENCE} s; is a callback still running?")
        self._clean_up()

    def write_kubeconfig(self, path: Path, *, token: str | None = None, namespace: str | None = None) -> Path:
        """Write one more kubeconfig that leads to the proxy, e.g. with the token of another service account."""
        return write_kubeconfig(
            path,
            server=self.url,
            ca=self._authority.ca_file.read_bytes(),
            token=token or self._admin_token,
            namespace=namespace,
        )

    def arm(self, fault: Fault) -> Armed:
        """Let a fault act from now on. Faults act in the order in which they were armed."""
        armed = Armed(fault, self._gateway, self._on_loop)
        self._on_loop(lambda: self._gateway.arm(armed))
        return armed

    def disarm_all(self) -> None:
        """Disarm every fault and let go what they hold back."""
        self._on_loop(self._gateway.disarm_all)

    def down(self) -> None:
        """Refuse connections and reset the open ones. What was received already still reaches the API server."""
        self._on_loop(self._go_down)

    def up(self) -> None:
        """Listen again, on the same port."""
        self._on_loop(self._listen)

    def watches(self) -> list[Request]:
        """Return the watches that are open at this moment, in the order in which they were opened."""
        found: list[Request] = []

        async def collect() -> None:
            found.extend(stream.request for stream in self._gateway.streams if stream.is_open)

        self._on_loop(collect)
        return found

    @property
    def errors(self) -> list[BaseException]:
        """What failed inside (callbacks, predicates, the proxy itself); raised at the end of the `with` block."""
        return list(self._gateway.errors)

    # The thread.

    def _on_loop(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine on the proxy's loop and wait for its end."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("predicates run on the proxy's loop and cannot call the proxy; use call(function)")
        if not self._thread.is_alive():
            raise RuntimeError("the fault proxy is not running; use it inside its `with` block")

        async def run() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(_PATIENCE)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by start(), or at the end
            self._failure = error
            if self._ready.is_set():
                self._gateway.errors.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        client = UpstreamClient(self._upstream, self._auth, self._admin_token, self._directory)
        self._gateway = Gateway(client, self.trace)
        self._context = server_context(self._authority)
        self._web = web.Server(
            self._gateway.handle,
            handler_cancellation=True,  # a client that ends its watch ends ours
            access_log=None,
            auto_decompress=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
        try:
            await self._listen()
            self._ready.set()
            await self._stop.wait()
        finally:
            if self._listener is not None:
                await self._go_down()
            await self._gateway.close()
            await self._web.shutdown(1)

    async def _listen(self) -> None:
        if self._listener is not None:
            raise RuntimeError("the fault proxy is up already")
        self._gateway.is_down = False
        self._listener = await self._loop.create_server(
            self._web, sock=_bound_socket(self.port), ssl=self._context, backlog=512, ssl_handshake_timeout=10
        )

    async def _go_down(self) -> None:
        if self._listener is None:
            raise RuntimeError("the fault proxy is down already")
        self._gateway.is_down = True
        self._listener.close()
        self._listener = None
        for connection in self._web.connections:
            if connection.transport is not None:
                abort(connection.transport)

    def _clean_up(self) -> None:
        self._reserved.close()
        if self._own_directory is not None:
            self._own_directory.cleanup()


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((_HOST, port))
    return bound
