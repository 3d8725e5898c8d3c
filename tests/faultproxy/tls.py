"""TLS of a server on loopback, by the authority that clusters have."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_operator.cluster.pki import Authority


def server_context(authority: Authority) -> ssl.SSLContext:
    """Make the context of a server on loopback; its key is written into the authority's directory."""
    pair = authority.server("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return context
