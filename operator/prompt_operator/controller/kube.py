"""The API client: the official package's asyncio half, behind the few verbs the controller needs.

Objects go in and out as plain JSON. Nothing is retried here: a failed write makes the object be decided on anew, which
is the only retry that cannot act on what is no longer true.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from prompt_operator import __version__
from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    CONFIG_MAPS,
    CRON_JOBS,
    FIELD_MANAGER,
    GROUP,
    JOBS,
    PODS,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
    SECRETS,
    VERSION,
)
from prompt_operator.controller.settings import Settings

Json = dict[str, Any]
PatchType = Literal["application/apply-patch+yaml", "application/merge-patch+json"]
USER_AGENT: Final = f"prompt-operator/{__version__}"

_GROUP_PREFIX: Final = {
    CONFIG_MAPS: "/api/v1",
    SECRETS: "/api/v1",
    PODS: "/api/v1",
    JOBS: "/apis/batch/v1",
    CRON_JOBS: "/apis/batch/v1",
    "events": "/apis/events.k8s.io/v1",
    PROMPT_DEPLOYMENTS: f"/apis/{GROUP}/{VERSION}",
    PROMPT_REVISIONS: f"/apis/{GROUP}/{VERSION}",
    AGENT_ROLLBACKS: f"/apis/{GROUP}/{VERSION}",
}


class ApiError(Exception):
    """An answer of the API server that is not a success, as the sentence it gave."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class UnreachableError(Exception):
    """The API server did not answer, so whether a write happened is unknown."""


class NoClusterError(Exception):
    """There is no usable kubeconfig, and no service account either."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of a kind live."""

    plural: str
    namespace: str | None = None

    def path(self, name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the collection."""
        parts = [_GROUP_PREFIX[self.plural]]
        if self.namespace is not None:
            parts += ["namespaces", self.namespace]
        parts += [p for p in (self.plural, name, subresource) if p]
        return "/".join(parts)


async def configuration_of(settings: Settings) -> Configuration:
    """Load how to reach the cluster. Raises NoClusterError with what to do about it."""
    configuration = Configuration()
    try:
        if settings.kubeconfig is not None:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(settings.kubeconfig), context=settings.context, client_configuration=configuration
            )
        else:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        where = f"kubeconfig {settings.kubeconfig}" if settings.kubeconfig else "the pod's service account"
        why = str(error).rstrip(".")
        raise NoClusterError(
            f"Cannot use {where}: {why}. Name a file with --kubeconfig (and --context), or run in a pod."
        ) from error
    configuration.connection_pool_maxsize = settings.connections
    # Asked of the environment once. Else aiohttp reads it, and ~/.netrc, in a thread for every request: 1 ms of each.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.proxy = configuration.proxy or _proxy_of_environment(str(configuration.host))
    return configuration


def _proxy_of_environment(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY and NO_PROXY (in either case) ask for."""
    url = urlsplit(server)
    if not url.hostname or proxy_bypass(url.hostname):
        return None
    return getproxies().get(url.scheme)


def _ignore(_method: str, _code: str) -> None:
    """Count nothing."""


class KubeClient:
    """Reads and writes objects. Raises ApiError for a refusal, UnreachableError when there was no answer."""

    def __init__(
        self, configuration: Configuration, settings: Settings, on_answer: Callable[[str, str], None] = _ignore
    ) -> None:
        self._on_answer = on_answer
        self._api = ApiClient(configuration)
        self._timeout = aiohttp.ClientTimeout(total=settings.request_timeout)
        self._page_size = settings.page_size

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """How the API server is trusted, and the client certificate if there is one."""
        context: ssl.SSLContext = self._api.rest_client.ssl_context
        return context

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: Resource, name: str) -> Json:
        """Read one object."""
        return await self.request("GET", resource.path(name))

    async def find(self, resource: Resource, name: str) -> Json | None:
        """Read one object, or None if there is none of that name."""
        try:
            return await self.get(resource, name)
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004
                return None
            raise

    async def pages(
        self, resource: Resource, *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[tuple[list[Json], str]]:
        """Read all objects, a page at a time, with the resourceVersion that all pages together show."""
        query: dict[str, str] = {"limit": str(self._page_size)}
        if label_selector:
            query["labelSelector"] = label_selector
        accept = "application/json"
        if metadata_only:
            accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        while True:
            page = await self.request("GET", resource.path(), query=query, accept=accept)
            meta = page.get("metadata") or {}
            yield page.get("items") or [], str(meta.get("resourceVersion") or "")
            token = meta.get("continue")
            if not token:
                return
            query["continue"] = token

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> Json:
        """Create an object."""
        return await self.request("POST", resource.path(), query={"fieldManager": FIELD_MANAGER}, body=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        patch_type: PatchType,
        subresource: str = "",
        force: bool = False,
    ) -> Json:
        """Change an object by a server-side apply or a merge patch."""
        query = {"fieldManager": FIELD_MANAGER}
        if patch_type == "application/apply-patch+yaml":
            query["force"] = "true" if force else "false"
        path = resource.path(name, subresource)
        return await self.request("PATCH", path, query=query, body=body, content_type=patch_type)

    async def delete(self, resource: Resource, name: str, *, uid: str) -> None:
        """Delete this very object, not a namesake."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self.request("DELETE", resource.path(name), body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Send one request and read its JSON answer."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": USER_AGENT}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self._api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=self._timeout
            )
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_answer(method, "<error>")
            raise UnreachableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        self._on_answer(method, str(response.status))
        if response.status >= 400:  # noqa: PLR2004
            raise _refusal(response.status, response.headers.get("Retry-After"), data)
        answer: Json = json.loads(data)
        return answer


def _refusal(status: int, retry_after: str | None, data: bytes) -> ApiError:
    try:
        said = json.loads(data)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, str(said.get("reason") or ""), str(said.get("message") or "")[:1000], wait)
