"""A bounded memory that forgets what was not used."""

from ff_proxy.web.cache import Cache


def test_what_is_put_is_found() -> None:
    """By ``get``, and by the bare look-up while it is young."""
    cache: Cache[str, int] = Cache(10)
    cache.put("a", 1)
    assert (cache.get("a"), cache.recall("a"), cache.get("b")) == (1, 1, None)


def test_it_never_holds_more_than_its_capacity() -> None:
    """However much is put."""
    cache: Cache[int, int] = Cache(10)
    for number in range(1000):
        cache.put(number, number)
        assert len(cache) <= 10
    assert cache.get(999) == 999
    assert cache.get(0) is None


def test_what_is_used_stays() -> None:
    """Through any number of turns, and ``recall`` finds it again once it was used."""
    cache: Cache[int, int] = Cache(10)
    recall = cache.recall
    cache.put(-1, -1)
    for number in range(100):
        cache.put(number, number)
        assert cache.get(-1) == -1
        assert recall(-1) == -1


def test_weights_count() -> None:
    """An entry too heavy for a generation is not kept."""
    cache: Cache[str, str] = Cache(20, lambda key, value: len(key) + len(value))
    cache.put("a", "x" * 9)
    cache.put("b", "x" * 9)
    cache.put("c", "x" * 10)
    assert (cache.get("c"), cache.get("b")) == (None, "x" * 9)
    cache.put("d", "x" * 9)
    cache.put("e", "x" * 9)
    assert cache.get("a") is None


def test_putting_again_replaces() -> None:
    """Without counting twice."""
    cache: Cache[str, int] = Cache(4)
    for number in range(100):
        cache.put("a", number)
    cache.put("b", 1)
    assert (cache.get("a"), cache.get("b"), len(cache)) == (99, 1, 2)


def test_the_unwanted_are_forgotten() -> None:
    """Old and young; the weight is regained."""
    cache: Cache[int, int] = Cache(10)
    for number in range(8):
        cache.put(number, number)
    cache.keep(lambda value: value % 2 == 0)
    assert [number for number in range(8) if cache.get(number) is not None] == [0, 2, 4, 6]
    cache.drop(0)
    assert cache.get(0) is None
