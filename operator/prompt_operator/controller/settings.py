"""Every setting of the controller, with its unit and when to change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How the controller runs."""

    kubeconfig: Path | None = None
    """Kubeconfig file; None means the service account of the pod the controller runs in."""

    context: str | None = None
    """Context of the kubeconfig; None means its current one."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; none means all, which needs cluster-wide rights."""

    workers: int = 16
    """Objects worked on at once. More helps only where the API server is slow to answer and has capacity to spare."""

    connections: int = 24
    """Connections to the API server for reads and writes; watches have their own, one for each kind and namespace."""

    request_timeout: float = 30.0
    """Seconds until a request counts as lost. Longer than the API server's own slowest answer to a list page."""

    page_size: int = 200
    """Objects in a page of a list. Prompts can be large: 200 of 256 KiB are 50 MB on the wire."""

    content_cache_bytes: int = 64 * 1024 * 1024
    """Memory for contents of prompts. What does not fit is read again from its revision when it is needed."""

    retry_first: float = 0.05
    """Seconds until a failed object is tried again; doubled with each failure, with jitter."""

    retry_most: float = 30.0
    """Most seconds between two tries of a failed object."""

    resync_every: float = 600.0
    """Seconds between two comparisons of the store with the API server, which find what watches missed. Jittered."""

    stale_after: float = 90.0
    """Seconds without a sound from a watch until /readyz fails."""

    deaf_after: float = 180.0
    """Seconds without a sound from a watch until /healthz fails. The API server sends a bookmark about every 60 s."""

    metric_source_allow: tuple[str, ...] = ()
    """Networks (CIDR) that metric sources may be in beyond the usual ones. Loopback, link-local, multicast and reserved
    addresses and those of clouds' metadata services are refused, since whoever may edit a PromptDeployment names what
    the operator asks. Change it for a source in the operator's own pod, or on a machine of your own: 127.0.0.1/32."""

    health_host: str = "0.0.0.0"  # noqa: S104 - probes come from the kubelet
    """Address of /healthz and /readyz."""

    health_port: int = 8080
    """Their port; 0 picks a free one, which is logged."""
