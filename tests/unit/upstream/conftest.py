"""Fixtures of this room's tests."""

import pytest

from tests.unit.upstream.world import World


@pytest.fixture
def world() -> World:
    """SaaS with one empty environment, an empty store, a stopped clock."""
    made = World()
    made.saas.environment()
    return made
