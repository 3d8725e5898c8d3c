"""Facts about the machine, without which no figure means anything."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path


def facts() -> dict[str, object]:
    """Return cores, memory, load and how fast a small write is durable, in milliseconds."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    p50, p99 = _fdatasync()
    return {
        "cores": os.cpu_count(),
        "memoryGiB": round(memory / 2**30, 1),
        "loadAverage": [round(load, 2) for load in os.getloadavg()],
        "fdatasyncP50Ms": p50,
        "fdatasyncP99Ms": p99,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _fdatasync(samples: int = 200) -> tuple[float, float]:
    taken = []
    with tempfile.TemporaryDirectory() as directory:
        fd = os.open(Path(directory) / "file", os.O_WRONLY | os.O_CREAT)
        try:
            for _ in range(samples):
                os.write(fd, b"x" * 2300)  # as etcd measures a disk
                start = time.perf_counter()
                os.fdatasync(fd)
                taken.append((time.perf_counter() - start) * 1000)
        finally:
            os.close(fd)
    return round(statistics.median(taken), 3), round(percentile(taken, 99), 3)


def percentile(samples: list[float], percent: float) -> float:
    """Return the nearest-rank percentile. Raises IndexError without samples."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
