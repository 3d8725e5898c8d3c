"""Reading the kubeconfig of the API server behind the proxy, and writing the one in front of it."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "faultproxy"


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """How to reach and trust the API server, and as whom; PEM bytes, empty if absent."""

    server: str
    ca: bytes
    verify: bool
    server_name: str
    client_cert: bytes
    client_key: bytes
    token: str

    def context(self, directory: Path, *, as_admin: bool) -> ssl.SSLContext:
        """Make the TLS context, with the client certificate only `as_admin`.

        A token has to travel without it: the API server would take the certificate and ignore the token.
        """
        context = ssl.create_default_context(cadata=self.ca.decode() or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if as_admin and self.client_cert:
            pem = directory / "upstream.pem"  # the only way into a context is through a file
            pem.touch(mode=0o600)
            pem.write_bytes(self.client_key + b"\n" + self.client_cert)
            context.load_cert_chain(pem)
            pem.unlink()
        return context


def read_kubeconfig(path: Path) -> Upstream:
    """Read the current context: a server with client certificate or token. Raises KubeconfigError."""
    content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    current = content.get("current-context")
    if not current:
        raise KubeconfigError(f"{path}: no current-context; set one with kubectl config use-context")
    context = _named(path, content, "contexts", "context", current)
    cluster = _named(path, content, "clusters", "cluster", context.get("cluster", ""))
    user = _named(path, content, "users", "user", context.get("user", "")) if context.get("user") else {}
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith("https://"):
        raise KubeconfigError(f"{path}: the server must be https://…, got {server!r}")
    token = user.get("token") or _inline(path, {"file": user.get("tokenFile")}, "file").decode().strip()
    upstream = Upstream(
        server=server,
        ca=_inline(path, cluster, "certificate-authority"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_name=str(cluster.get("tls-server-name", "")),
        client_cert=_inline(path, user, "client-certificate"),
        client_key=_inline(path, user, "client-key"),
        token=token,
    )
    if not upstream.client_cert and not upstream.token:
        raise KubeconfigError(f"{path}: the user needs a client certificate or a token; exec plugins are not supported")
    return upstream


def write_kubeconfig(path: Path, *, server: str, ca: bytes, token: str, namespace: str | None) -> Path:
    """Write a kubeconfig for clients of the proxy."""
    context = {"cluster": _NAME, "user": _NAME} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [
            {
                "name": _NAME,
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
            }
        ],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [{"name": _NAME, "context": context}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def _named(path: Path, content: dict[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    for entry in content.get(section) or []:
        if entry.get("name") == name:
            return entry.get(key) or {}
    raise KubeconfigError(f"{path}: {section} has no {name!r}")


def _inline(path: Path, section: dict[str, Any], key: str) -> bytes:
    """Return `KEY-data`, or what the file `KEY` (relative to the kubeconfig) holds, or nothing."""
    if section.get(f"{key}-data"):
        return base64.b64decode(section[f"{key}-data"])
    return (path.parent / section[key]).read_bytes() if section.get(key) else b""
