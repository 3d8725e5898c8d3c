"""Objects as they are needed to act: read anew, deleted, and contents of prompts by their hash."""

from __future__ import annotations

from typing import Final

from prompt_operator.api.content import ContentError, content_of, hash_of, short_hash
from prompt_operator.api.names import CONFIG_MAPS, PROMPT_DEPLOYMENTS, PROMPT_JSON, PROMPT_REVISIONS, config_map_name
from prompt_operator.controller.kube import ApiError, KubeClient, Resource
from prompt_operator.controller.store import Store
from prompt_operator.lifecycle.observed import Observed

NOT_FOUND: Final = 404
CONFLICT: Final = 409


class StaleError(Exception):
    """What was decided on is no longer true. It has been refreshed; decide anew."""


class ContentMissingError(Exception):
    """Nothing holds the content of a hash, so nothing can be written."""


class Objects:
    """The API server and the store, kept together."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client = client
        self._store = store

    async def refresh(self, plural: str, namespace: str, name: str) -> None:
        """Read an object anew, and forget it if it is gone."""
        found = await self._client.find(Resource(plural, namespace), name)
        known = self._store.uid_of(plural, namespace, name)
        if known and (found is None or found["metadata"]["uid"] != known):
            self._store.remove(plural, namespace, name, known)
        if found is not None:
            self._store.put(plural, found)

    async def delete(self, plural: str, namespace: str, name: str, uid: str) -> None:
        """Delete this very object, and forget it."""
        try:
            await self._client.delete(Resource(plural, namespace), name, uid=uid)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
            await self.refresh(plural, namespace, name)
        self._store.remove(plural, namespace, name, uid)

    async def content(self, observed: Observed, content_hash: str) -> bytes:
        """Return a content, and make sure that it is the one of that hash."""
        kept = self._store.contents.get(content_hash)
        if kept is None:
            kept = await self._read_content(observed, content_hash)
            self._store.contents.put(content_hash, kept)
        if hash_of(kept) != content_hash:
            raise ContentMissingError(f"the content kept for {short_hash(content_hash)} is another one")
        return kept

    async def _read_content(self, observed: Observed, content_hash: str) -> bytes:
        deployment = observed.deployment
        sources = [(PROMPT_REVISIONS, r.name) for r in reversed(observed.revisions) if r.hash == content_hash]
        if deployment.content_hash == content_hash:
            sources.append((PROMPT_DEPLOYMENTS, deployment.name))
        for plural, name in sources:
            found = await self._client.find(Resource(plural, deployment.namespace), name)
            try:
                content = content_of(found["spec"]["prompt"]) if found else None
            except ContentError:
                continue
            if content and content.hash == content_hash:
                return content.canonical
        if observed.config_map and observed.config_map.content_hash == content_hash:
            found = await self._client.find(
                Resource(CONFIG_MAPS, deployment.namespace), config_map_name(deployment.name)
            )
            held = str(((found or {}).get("data") or {}).get(PROMPT_JSON) or "").encode()
            if hash_of(held) == content_hash:
                return held
        raise ContentMissingError(
            f"no revision of {deployment.name} holds the content of {short_hash(content_hash)}; it was deleted"
        )
