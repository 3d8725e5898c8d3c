"""Which version is meant: a revision, a version label, the beginning of a hash, or a word."""

from __future__ import annotations

import re
from typing import Final

from prompt_operator.api.content import hash_matches, short_hash
from prompt_operator.cli.plugin.exits import Exit, NotFoundError, PluginError, near
from prompt_operator.cli.plugin.model import Prompt, Version

_LEAST_DIGITS: Final = 8
_LISTED: Final = 10
FULL_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")


def find(prompt: Prompt, wanted: str) -> Version:
    """Return the revision that is meant.

    ``wanted`` is ``live``, ``previous``, ``candidate``, a number, a version label or a prefix of a hash; ``revision:``,
    ``version:`` or ``sha256:`` in front says which. Of several revisions with the same content the newest is meant, one
    that was live before one that was not. Raises PluginError if there is none, or if two different contents are meant.
    """
    if wanted in ("live", "previous", "candidate"):
        return _by_word(prompt, wanted)
    kind, _, value = wanted.partition(":")
    found: dict[str, list[Version]] = {}
    if kind != wanted and kind in ("revision", "version", "sha256"):
        found = _by_kind(prompt, kind, value)
    else:
        for one in ("revision", "version", "sha256"):
            for content, revisions in _by_kind(prompt, one, wanted).items():
                found.setdefault(content, []).extend(revisions)
    if not found:
        raise _unknown(prompt, wanted)
    if len(found) > 1:
        listed = "; ".join(_best(prompt, revisions).told() for revisions in list(found.values())[:_LISTED])
        raise PluginError(
            Exit.USAGE,
            f"{wanted} may mean {listed}. Give more digits, or say revision:N, version:LABEL or sha256:DIGITS.",
        )
    return _best(prompt, next(iter(found.values())))


def by_revision(prompt: Prompt, number: int) -> Version:
    """Return a revision by its number. Raises NotFoundError."""
    return find(prompt, f"revision:{number}")


def _by_word(prompt: Prompt, word: str) -> Version:
    found = {"live": prompt.live, "previous": prompt.previous, "candidate": prompt.candidate}[word]
    if found is None:
        why = {
            "live": "Nothing is live yet.",
            "previous": "There is no earlier version that was live.",
            "candidate": "There is no candidate.",
        }[word]
        raise NotFoundError(f"{prompt.name}: {why} See: kubectl prompt versions {prompt.name}")
    return found


def _by_kind(prompt: Prompt, kind: str, value: str) -> dict[str, list[Version]]:
    if kind == "revision":
        hits = [r for r in prompt.revisions if value.isdigit() and r.number == int(value)]
    elif kind == "version":
        hits = [r for r in prompt.revisions if value and r.version == value]
    else:
        digits = value.lower()
        usable = len(digits) >= _LEAST_DIGITS and re.fullmatch(r"[0-9a-f]{8,64}", digits)
        hits = [r for r in prompt.revisions if usable and hash_matches(r.hash, digits)]
    found: dict[str, list[Version]] = {}
    for revision in hits:
        found.setdefault(revision.hash, []).append(revision)
    return found


def _best(prompt: Prompt, revisions: list[Version]) -> Version:
    live = prompt.deployment.live_number
    return max(revisions, key=lambda r: (r.number == live, bool(r.shipped), r.number))


def _unknown(prompt: Prompt, wanted: str) -> NotFoundError:
    digits = wanted.removeprefix("sha256:").lower()
    begins = sorted({r.hash for r in prompt.revisions if digits and hash_matches(r.hash, digits)})
    if begins and len(digits) < _LEAST_DIGITS:
        listed = ", ".join(short_hash(h) for h in begins[:_LISTED])
        return NotFoundError(f"{wanted} is too short for a hash: give at least {_LEAST_DIGITS} digits ({listed}).")
    labels = [r.version for r in prompt.revisions if r.version]
    known = list(dict.fromkeys([*labels, *(r.short for r in prompt.revisions)]))
    kind, _, rest = wanted.partition(":")
    value = rest if rest and kind in ("revision", "version", "sha256") else wanted
    if kind == "revision" or (value.isdigit() and len(value) < _LEAST_DIGITS and kind == wanted):
        numbers = ", ".join(str(r.number) for r in prompt.revisions[-_LISTED:]) or "none"
        return NotFoundError(f"{prompt.name} has no revision {value}; it has {numbers}.")
    hint = near(value, known) or f" See: kubectl prompt versions {prompt.name}"
    return NotFoundError(f"{prompt.name} has no version {value}.{hint}")
