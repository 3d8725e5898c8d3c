"""Run other programs so that a failure is a sentence and an interruption leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prompt_operator.cluster import components
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.progress import Progress
from prompt_operator.cluster.sources import control_plane_binaries

_LAST_LINES = 15
_END_WITHIN = 10.0  # seconds


class CommandError(ClusterError):
    """A program failed; `said` is what it wrote to standard error."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def run(
    command: Sequence[str | os.PathLike[str]],
    doing: str,
    *,
    timeout: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what a program writes. Raises CommandError when it fails or takes longer than `timeout` seconds.

    Interrupted, it ends the program and its children first. The program itself never sees a Ctrl-C.
    """
    words = [os.fspath(word) for word in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            code = None
        except BaseException:
            _end(process)
            raise
        out.seek(0)
        err.seek(0)
        said, complaint = out.read().decode(errors="replace"), err.read().decode(errors="replace").strip()
    if code != 0:
        how = f"exit code {code}" if code is not None else f"not done after {timeout:.0f} s"
        last = "\n  ".join((complaint or said.strip() or "(it wrote nothing)").splitlines()[-_LAST_LINES:])
        raise CommandError(f"{doing} failed ({how}):\n  {last}\nThe command was: {' '.join(words)}", complaint)
    return said


def _end(process: subprocess.Popen[bytes]) -> None:
    with undisturbed(), contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def afterwards(clean: Callable[[], None], progress: Progress) -> Iterator[None]:
    """Clean up after a block, whatever ended it, and let no second Ctrl-C stop that.

    Raises ClusterError of the cleaning after a block that went well; else it is told, and the first error goes on.
    """
    try:
        yield
    except BaseException:
        with undisturbed():
            try:
                clean()
            except ClusterError as error:
                progress.say(str(error))
        raise
    with undisturbed():
        clean()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold off requests to end for the length of a block. Does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def kubectl_binary(progress: Progress) -> Path:
    """Return the user's own kubectl, else the one of the embedded cluster."""
    own = shutil.which(components.KUBECTL)
    if own:
        return Path(own)
    return control_plane_binaries(progress, [components.KUBECTL]).binaries[components.KUBECTL]
