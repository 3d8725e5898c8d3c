"""How a command ends: one table of exit codes, and the one error that carries them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes. Scripts may rely on them."""

    OK = 0
    FAILED = 1
    NOT_YET = 2
    USAGE = 3
    NO_CLUSTER = 4
    NO_RIGHTS = 5
    DECLINED = 6
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; of status: ready",
    Exit.FAILED: "failed, stalled, or refused by the server; of lint: problems were found",
    Exit.NOT_YET: "not ready yet, or not within --timeout",
    Exit.USAGE: "wrong usage, unknown name, ambiguous prefix, unreadable file",
    Exit.NO_CLUSTER: "no kubectl, no such context, no answer, or the operator's CRDs are not installed",
    Exit.NO_RIGHTS: "the cluster does not let this user do that",
    Exit.DECLINED: "asked, and answered with no",
    Exit.INTERRUPTED: "interrupted",
}


class PluginError(Exception):
    """A sentence for people, what to do next included, and the code to exit with."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotFoundError(PluginError):
    """Something of that name is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.USAGE, message)


class ChangedError(PluginError):
    """What a change was made for was changed by somebody else at the same moment: look again, and try again."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.FAILED, message)


def exit_codes_text() -> str:
    """Return the table as the lines of a help text."""
    return "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())


def near(wanted: str, known: list[str]) -> str:
    """Return the sentence that names what may have been meant; empty if nothing is near."""
    import difflib  # noqa: PLC0415 - only where something went wrong

    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    close += [k for k in known if wanted and k.startswith(wanted) and k not in close][:3]
    return f" Did you mean {' or '.join(close[:3])}?" if close else ""
