"""What every store promises about the signing secret (store/protocol.py)."""

from ff_proxy.model.keys import Secret
from ff_proxy.store.protocol import Store


async def test_the_first_candidate_is_everyones_secret(store: Store) -> None:
    """Later candidates are not taken (spec/behaviour#token-secrets)."""
    assert await store.secrets.auth_secret(Secret("first")) == Secret("first")
    assert await store.secrets.auth_secret(Secret("second")) == Secret("first")
