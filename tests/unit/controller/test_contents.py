"""The content cache keeps to its bound."""

from prompt_operator.controller.contents import ContentCache


def test_the_least_recently_used_content_goes_first():
    cache = ContentCache(max_bytes=10)
    cache.put("a", b"aaaa")
    cache.put("b", b"bbbb")
    assert cache.get("a") == b"aaaa"
    cache.put("c", b"cccc")
    assert cache.get("b") is None
    assert cache.get("a") == b"aaaa"
    assert cache.get("c") == b"cccc"


def test_a_content_larger_than_the_bound_is_not_kept_and_does_no_harm():
    cache = ContentCache(max_bytes=3)
    cache.put("a", b"aaaa")
    assert cache.get("a") is None
    cache.put("b", b"bb")
    assert cache.get("b") == b"bb"


def test_a_content_that_is_put_twice_counts_once():
    cache = ContentCache(max_bytes=8)
    for _ in range(5):
        cache.put("a", b"aaaa")
    cache.put("b", b"bbbb")
    assert cache.get("a") == b"aaaa"
