"""A Redis for the modules that use one."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the module; every test has a prefix of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    """A fleet of its own."""
    return uuid4().hex
