"""What a request to a Kubernetes API server is about, read from its method, path and query."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# A POST to one of these groups asks a question and stores nothing.
_REVIEW_GROUPS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})
# /namespaces/NAME/X is a subresource of the namespace for these two and a resource inside it for everything else.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Resource:
    """Name the object of a request as the API server does; an absent part is the empty string.

    All parts are empty for paths outside the resource tree (`/healthz`, `/apis`, `/openapi/v3`).
    `name` of a create is empty here, the path does not tell it.
    """

    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{kind} {self.name}".rstrip()


def parse_path(path: str) -> Resource:
    """Parse the path (without query) of a request; percent-encoding is undone part by part."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Resource()
    if rest[0] == "watch" and len(rest) > 1:  # the deprecated prefix form
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]
    name = rest[1] if len(rest) > 1 else ""
    return Resource(group, version, namespace, rest[0], name, "/".join(rest[2:]))


def query_value(query: str, key: str) -> str:
    """Return the first value of a query parameter, or the empty string."""
    return parse_qs(query, keep_blank_values=True).get(key, [""])[0]


def is_watch(method: str, path: str, query: str) -> bool:
    """Tell whether the request opens a watch."""
    if method != "GET":
        return False
    parts = path.strip("/").split("/")
    prefix = parts[2:3] if parts[0] == "api" else parts[3:4]
    return prefix == ["watch"] or query_value(query, "watch").lower() in {"true", "1"}


def is_write(method: str, resource: Resource, query: str) -> bool:
    """Tell whether the request would store something: dry runs, access reviews and issued tokens do not."""
    if method not in MUTATING or not resource.resource or resource.group in _REVIEW_GROUPS:
        return False
    return not query_value(query, "dryRun") and resource.subresource != "token"
