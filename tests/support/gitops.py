"""A GitOps tool that re-applies a manifest for ever, as Argo CD's self-heal does."""

import threading
import time
from types import TracebackType
from typing import Self

from tests.support.user import Json, KubectlError, User


class SyncLoop:
    """Applies the same manifest every so many seconds until the end of the block."""

    def __init__(self, user: User, manifest: Json, *, every: float, manager: str | None = "argocd-controller") -> None:
        self._user = user
        self._manifest = manifest
        self._every = every
        self._manager = manager
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.syncs = 0
        self.refusals: list[str] = []

    def wait_for_syncs(self, more: int) -> None:
        """Wait until so many more were begun and finished."""
        goal = self.syncs + more + 1
        while self.syncs < goal:
            time.sleep(0.05)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._user.apply(self._manifest, manager=self._manager, force=True)
            except KubectlError as error:
                self.refusals.append(str(error))
            self.syncs += 1
            self._stop.wait(self._every)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
