"""The API without kubectl: one kept connection, for tests that send what kubectl would not, or very quickly."""

import http.client
import json
import ssl
from typing import Any, Self
from urllib.parse import urlsplit

from prompt_operator.cluster import Cluster

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Rest:
    """Sends requests as the admin of a cluster. Not safe to share between threads."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        context.load_cert_chain(str(cluster.client_cert), str(cluster.client_key))
        self._connection = http.client.HTTPSConnection(urlsplit(cluster.server).netloc, context=context, timeout=60)
        self._prefix = f"/apis/promptoperator.io/v1alpha1/namespaces/{namespace}/"

    def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, Any]:
        """Return the status and the answer. A path without a leading slash is one of our kinds in the namespace."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        target = path if path.startswith("/") else self._prefix + path
        self._connection.request(method, target, raw, {"Content-Type": kind, "User-Agent": "test"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def must(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Return the answer. Fails when the API server refuses."""
        status, answer = self.send(method, path, body, kind)
        assert status < 300, f"{method} {path}: {answer.get('message')}"
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
