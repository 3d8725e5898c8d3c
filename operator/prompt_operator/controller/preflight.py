"""What must be true before the controller can work: the kinds are served, and it has the rights it needs.

A controller that lacks the right to list one kind looks healthy and does nothing. So the rights are asked for, by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    CONFIG_MAPS,
    CRON_JOBS,
    GROUP,
    JOBS,
    PODS,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
    VERSION,
)
from prompt_operator.controller.kube import ApiError, KubeClient

_KINDS: Final = (PROMPT_DEPLOYMENTS, PROMPT_REVISIONS, AGENT_ROLLBACKS)
_READ: Final = ("get", "list", "watch")
#: (group, resource, subresource) → verbs. The RBAC manifests grant exactly these.
RIGHTS: Final[dict[tuple[str, str, str], tuple[str, ...]]] = {
    (GROUP, PROMPT_DEPLOYMENTS, ""): (*_READ, "patch"),
    (GROUP, PROMPT_DEPLOYMENTS, "status"): ("patch",),
    (GROUP, PROMPT_REVISIONS, ""): (*_READ, "create", "delete"),
    (GROUP, PROMPT_REVISIONS, "status"): ("patch",),
    (GROUP, AGENT_ROLLBACKS, ""): (*_READ, "create", "delete"),
    (GROUP, AGENT_ROLLBACKS, "status"): ("patch",),
    ("", CONFIG_MAPS, ""): (*_READ, "create", "patch", "delete"),
    ("batch", CRON_JOBS, ""): ("get",),
    ("batch", JOBS, ""): (*_READ, "create", "patch", "delete"),
    ("", PODS, ""): ("list",),
    ("events.k8s.io", "events", ""): ("create",),
}


class NotReadyError(Exception):
    """Something is missing that only a cluster administrator can add; the text says what, and how."""


async def check(client: KubeClient, namespaces: tuple[str, ...]) -> None:
    """Check that the kinds are served and every right is granted. Raises NotReadyError, ApiError, UnreachableError."""
    await _check_kinds(client)
    missing = [line async for line in _missing_rights(client, namespaces)]
    if missing:
        raise NotReadyError(
            f"The operator lacks rights: {'; '.join(missing)}. Grant them to its service account or user."
        )


async def _check_kinds(client: KubeClient) -> None:
    try:
        served = await client.request("GET", f"/apis/{GROUP}/{VERSION}")
    except ApiError as error:
        if error.status != 404:  # noqa: PLR2004
            raise
        served = {}
    names = {r.get("name") for r in served.get("resources") or ()}
    missing = [kind for kind in _KINDS if kind not in names]
    if missing:
        raise NotReadyError(
            f"The cluster does not serve {', '.join(missing)} of {GROUP}/{VERSION}. Install the CRDs: "
            "kubectl apply --server-side -f crds/"
        )


async def _missing_rights(client: KubeClient, namespaces: tuple[str, ...]) -> AsyncIterator[str]:
    for group, resource, subresource, verb, namespace in _asked(namespaces):
        attributes = {"group": group, "resource": resource, "verb": verb}
        if subresource:
            attributes["subresource"] = subresource
        if namespace:
            attributes["namespace"] = namespace
        answer = await client.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        if not (answer.get("status") or {}).get("allowed"):
            what = f"{resource}/{subresource}" if subresource else resource
            yield f"{verb} {what}{f' in {namespace}' if namespace else ' in all namespaces'}"


def _asked(namespaces: tuple[str, ...]) -> Iterator[tuple[str, str, str, str, str]]:
    for namespace in namespaces or ("",):
        for (group, resource, subresource), verbs in RIGHTS.items():
            for verb in verbs:
                yield group, resource, subresource, verb, namespace
