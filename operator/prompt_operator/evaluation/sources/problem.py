"""What keeps a metric from being read, as a sentence people can act on."""

from __future__ import annotations

from typing import Final

#: Characters of a problem; what a foreign server said is cut much shorter.
LONGEST: Final = 600
LONGEST_QUOTE: Final = 200


class SourceError(Exception):
    """A metric cannot be read; the text is a sentence that says why and what to do.

    Also what is passed in (reading of Secrets, running of Jobs) raises it, for what it wants to be shown. The text must
    hold no credentials, prompts or answers.
    """


class NoDataError(SourceError):
    """The source is well and has no numbers of what was asked for: nothing was counted, or no longer is."""


def shown(text: str, longest: int = LONGEST) -> str:
    """Return a text as one printable line of at most ``longest`` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: longest * 4]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
