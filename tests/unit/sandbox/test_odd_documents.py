"""Documents may be anything: what people write by hand, or what a test has put there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ff_proxy.commands import sandbox_flags
from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.control_config import Flipped
from ff_proxy.sandbox.environment import Environment, default_variation, is_on, variations_of
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed.build import identity
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["on", "off", "true", "identifier"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["identifier", "variation", "value"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ("state", "kind", "name", "variations", "defaultServe", "offVariation", "rules")
FLAGS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ANYTHING))


@given(FLAGS)
def test_any_flag_can_be_looked_at_and_changed(flag: dict[str, Any]) -> None:
    """What has a known form is found; a change that makes no sense is refused."""
    environment = Environment(identity("e1", "e1", "p"), flags=[{**flag, "feature": "f"}])
    for value in ("on", "off", "rules", "true"):
        try:
            environment.set("f", value)
        except RequestError:
            assert value not in variations_of(flag)
    before = is_on(environment.item(Domain.FLAG, "f"))
    environment.flip("f")
    assert is_on(environment.item(Domain.FLAG, "f")) is not before


@given(FLAGS)
def test_any_flag_can_be_listed(flag: dict[str, Any]) -> None:
    """And what a change of it came to is said."""
    described = sandbox_flags._described({**flag, "feature": "f"})
    assert len(list(sandbox_flags._lines([described]))) == 1
    assert sandbox_flags._in_words(Flipped("e", "f", "on", flag.get("defaultServe"), "", 1))


def test_what_people_write_by_hand() -> None:
    """As docs/offline.md has it."""
    flag = {"state": True, "variations": ["a", {"identifier": "b"}], "defaultServe": "b"}
    assert (is_on(flag), variations_of(flag), default_variation(flag)) == (True, ["a", "b"], "b")


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """One with an environment without flags."""
    async with serve(SandboxState([Environment(identity("e1", "e1", "p"))])) as running:
        yield running


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flag=FLAGS)
async def test_any_flag_leaves_the_page_usable(sandbox: RunningSandbox, flag: dict[str, Any]) -> None:
    """A switch for each flag, whatever it is."""
    sandbox.state.put("e1", Domain.FLAG, {**flag, "feature": "f"})
    async with httpx2.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        assert (await http.get("/")).status_code == 200
        listed = await http.get("/sandbox/environments/e1/flags")
        assert json.loads(listed.text)[0]["feature"] == "f"
