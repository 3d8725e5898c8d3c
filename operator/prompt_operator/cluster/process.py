"""Processes of ours, told apart from later ones that got the same pid."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state and start time (clock ticks since boot) of a process, None without such a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name stands in parentheses and may hold anything, so the fields start after the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


@dataclass(frozen=True)
class ProcessId:
    """A pid with what makes it unique: when it started, and in which boot of the machine."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Identify a running process; None when there is none."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat[1], _boot_id())

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Read what `to_json` wrote; None for anything else."""
        if not isinstance(data, dict):
            return None
        pid, start_time, boot_id = data.get("pid"), data.get("start_time"), data.get("boot_id")
        if isinstance(pid, int) and isinstance(start_time, int) and isinstance(boot_id, str):
            return cls(pid, start_time, boot_id)
        return None

    def to_json(self) -> dict[str, int | str]:
        return asdict(self)

    def is_alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and stat[1] == self.start_time and stat[0] not in "ZX" and self.boot_id == _boot_id()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this very process; does nothing when it is gone, never hits a later one of the same pid."""
        with contextlib.suppress(ProcessLookupError):
            try:
                handle = os.pidfd_open(self.pid)
            except ProcessLookupError:
                return
            except OSError:  # a sandbox that does not allow or know the call
                if self.is_alive():
                    os.kill(self.pid, number)
                return
            try:
                # Checked after opening: from here on the handle cannot come to mean another process.
                if self.is_alive():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def wait_gone(processes: Iterable[ProcessId], seconds: float) -> list[ProcessId]:
    """Wait until none of them runs; return those that still do after that many seconds."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.is_alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [process for process in left if process.is_alive()]
    return left


def die_with_parent() -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel kill the child when its parent dies, however it dies.

    The kernel ties this to the parent's thread, so only a single-threaded parent may use it. No effect but on Linux.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: little is safe between fork and exec
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return arm
