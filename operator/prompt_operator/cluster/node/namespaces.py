"""The few system calls that Python's standard library lacks."""

import ctypes
import os
import signal
from pathlib import Path

NEW_MOUNTS = 0x00020000
NEW_PROCESSES = 0x20000000
NEW_NETWORK = 0x40000000

BIND = 0x1000
RECURSIVE = 0x4000
SLAVE = 0x80000
SHARED = 0x100000

_PR_SET_PDEATHSIG = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process into new namespaces; of processes, only its children. Raises OSError."""
    if _libc().unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"new namespaces are refused: {os.strerror(number)}")


def mount(source: Path | str, target: Path | str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount something, or change how a mount spreads. Raises OSError."""
    words = [os.fsencode(word) for word in (source, target, kind)]
    if _libc().mount(words[0], words[1], words[2], ctypes.c_ulong(flags), os.fsencode(data)):
        number = ctypes.get_errno()
        raise OSError(number, f"mounting {kind or source} on {target} failed: {os.strerror(number)}")


def die_with_creator() -> None:
    """Have the kernel kill this process when the thread that forked it is gone."""
    if _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
