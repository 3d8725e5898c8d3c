"""A bare client of the API server that goes past the proxy: quick enough to look at state hundreds of times."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from prompt_operator.cluster import Cluster

Json = dict[str, Any]
GROUP: Final = "/apis/promptoperator.io/v1alpha1"
#: What the operator writes and reads in every lifecycle.
KINDS: Final = ("promptdeployments", "promptrevisions", "agentrollbacks", "configmaps")
_ROOTS: Final = dict.fromkeys(KINDS, GROUP) | {
    "configmaps": "/api/v1",
    "pods": "/api/v1",
    "jobs": "/apis/batch/v1",
    "cronjobs": "/apis/batch/v1",
}
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
#: Seconds after which a connection is not used again.
_IDLE: Final = 20.0


class ApiError(AssertionError):
    """The API server refused what a test asked of it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:2000]}")
        self.status = status


class Api:
    """Reads and writes as the cluster's admin. One connection for each thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._host = urlsplit(cluster.server)
        self._context = ssl.create_default_context(cafile=str(cluster.ca_file))
        self._context.load_cert_chain(cluster.client_cert, cluster.client_key)
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        try:
            return self.request("GET", self._path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def read(self, kind: str, namespace: str, name: str) -> Json:
        return self.request("GET", self._path(kind, namespace, name))

    def listed(self, kind: str, namespace: str, label: str = "") -> list[Json]:
        query = f"?{urlencode({'labelSelector': label})}" if label else ""
        return self.request("GET", self._path(kind, namespace) + query)["items"]

    def create(self, kind: str, namespace: str, body: Json) -> Json:
        return self.request("POST", self._path(kind, namespace), body)

    def apply(self, namespace: str, body: Json, manager: str = "git") -> Json:
        """Server-side apply, by force, as a GitOps tool does."""
        path = self._path("promptdeployments", namespace, body["metadata"]["name"])
        return self.request("PATCH", f"{path}?fieldManager={manager}&force=true", body, APPLY)

    def merge(self, kind: str, namespace: str, name: str, patch: Json, manager: str = "kubectl-edit") -> Json:
        return self.request("PATCH", f"{self._path(kind, namespace, name)}?fieldManager={manager}", patch, MERGE)

    def delete(self, kind: str, namespace: str, name: str, *, if_there: bool = False) -> None:
        try:
            self.request("DELETE", self._path(kind, namespace, name))
        except ApiError as error:
            if not (if_there and error.status == 404):
                raise

    def create_namespace(self, name: str) -> str:
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def watch(self, kind: str, namespace: str, since: str) -> Iterator[Json]:
        """Yield the raw events of one kind until the connection is closed; on a connection of its own."""
        connection = self._connect()
        connection.request("GET", f"{self._path(kind, namespace)}?watch=true&resourceVersion={since}")
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            yield json.loads(line)

    def request(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> Json:
        connection = self._connection()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except BaseException:
            self._local.connection = None
            raise
        self._local.used = time.monotonic()
        if response.status >= 400:
            raise ApiError(response.status, text)
        return json.loads(text)

    def _connection(self) -> http.client.HTTPSConnection:
        """Return the connection of this thread, or a new one when the server may have closed it meanwhile."""
        connection = getattr(self._local, "connection", None)
        if connection is None or time.monotonic() - self._local.used > _IDLE:
            connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> http.client.HTTPSConnection:
        assert self._host.hostname
        connection = http.client.HTTPSConnection(
            self._host.hostname, self._host.port, context=self._context, timeout=120
        )
        self._open.append(connection)
        return connection

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        return f"{_ROOTS[kind]}/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")
