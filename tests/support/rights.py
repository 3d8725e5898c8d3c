"""What an operator may do by its manifests, and what it did by the API server's audit log.

The audit log says of each request whether it was allowed, and by which role. So what is used of the installed role is
told apart from what everybody may do, such as to ask for one's own rights, and no list of either is needed here.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
#: (API group, resource with subresource) → verbs
Rights = dict[tuple[str, str], set[str]]

#: The service account of every installation, also of one whose names have a prefix.
ACCOUNT = re.compile(r"system:serviceaccount:[^:]+:(?:[^:]+-)?prompt-operator")
#: How the API server names, in the audit log, the role by which it allowed a request.
_ROLE = re.compile(r' of (?:Cluster)?Role "([^"]+)"')


def requests_of_operators(audit_log: Path, account: str = "") -> Iterator[Json]:
    """Every answered request of operators that run as their installed account, or of the one that is named.

    What a test does as that account by kubectl is not the operator's.
    """
    needle = 'prompt-operator"' if not account else f'"{account}"'
    with audit_log.open(encoding="utf-8") as log:
        for line in log:
            if needle not in line or not line.endswith("\n"):
                continue
            entry = json.loads(line)
            user = entry.get("user", {}).get("username", "")
            wanted = user == account if account else ACCOUNT.fullmatch(user)
            if wanted and not entry.get("userAgent", "").startswith("kubectl"):
                yield entry


def role_of(entry: Json) -> str:
    """The role that allowed a request; empty if none did."""
    found = _ROLE.search(entry.get("annotations", {}).get("authorization.k8s.io/reason", ""))
    return found[1] if found else ""


def right_of(entry: Json) -> tuple[str, str, str] | None:
    """The group, resource and verb of a request; None where it is about no resource, such as the list of kinds."""
    about = entry.get("objectRef")
    if not about:
        return None
    return about.get("apiGroup", ""), joined(about["resource"], about.get("subresource")), entry["verb"]


def used(entries: Iterable[Json]) -> dict[str, Rights]:
    """Role → the rights that requests used of it."""
    found: dict[str, Rights] = {}
    for entry in entries:
        if right := right_of(entry):
            add(found.setdefault(role_of(entry), {}), *right)
    return found


def refused(entries: Iterable[Json], besides: Rights | None = None) -> list[str]:
    """Requests that were refused for want of a right, or of a valid token; besides those for rights that are named."""
    return [
        f"{entry['verb']} {entry['requestURI']}: {entry['responseStatus']['code']}"
        for entry in entries
        if _lacked_a_right(entry) and not _is_among(right_of(entry), besides or {})
    ]


def _lacked_a_right(entry: Json) -> bool:
    """A quota or an admission policy answers 403, too: to somebody who has the right."""
    code = entry.get("responseStatus", {}).get("code")
    allowed = entry.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"
    return code == 401 or (code == 403 and not allowed)


def _is_among(right: tuple[str, str, str] | None, rights: Rights) -> bool:
    return right is not None and right[2] in rights.get(right[:2], ())


def granted(rules: Iterable[Mapping[str, Any]]) -> Rights:
    """The rights that the rules of a role grant."""
    found: Rights = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    add(found, group, resource, verb)
    return found


def joined(resource: str, subresource: str | None) -> str:
    return f"{resource}/{subresource}" if subresource else resource


def add(rights: Rights, group: str, resource: str, verb: str) -> None:
    rights.setdefault((group, resource), set()).add(verb)


def lines(rights: Rights) -> list[str]:
    """Rights as people say them: ``patch promptdeployments/status.promptoperator.io``."""
    named = ((verb, f"{resource}.{group}".rstrip(".")) for (group, resource), verbs in rights.items() for verb in verbs)
    return sorted(f"{verb} {resource}" for verb, resource in named)


def without(rights: Rights, taken: Rights) -> Rights:
    """Those rights that are not among others."""
    left = {key: verbs - taken.get(key, set()) for key, verbs in rights.items()}
    return {key: verbs for key, verbs in left.items() if verbs}
