"""Contents of prompts by hash, within a bound of memory. What is not here is read from a revision."""

from __future__ import annotations

from collections import OrderedDict


class ContentCache:
    """Least recently used contents, bounded by bytes. A content that is larger than the bound is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._size = 0
        self._by_hash: OrderedDict[str, bytes] = OrderedDict()

    def put(self, content_hash: str, canonical: bytes) -> None:
        """Keep a content."""
        if content_hash in self._by_hash:
            self._by_hash.move_to_end(content_hash)
            return
        self._by_hash[content_hash] = canonical
        self._size += len(canonical)
        while self._size > self._max:
            _, evicted = self._by_hash.popitem(last=False)
            self._size -= len(evicted)

    def get(self, content_hash: str) -> bytes | None:
        """Return a content if it is here."""
        if content_hash in self._by_hash:
            self._by_hash.move_to_end(content_hash)
        return self._by_hash.get(content_hash)
