"""The sandbox's environments as one account."""

import pytest

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import Key, known_key
from ff_proxy.sandbox.state import SandboxState

FLAG = {"feature": "f", "state": "on"}


@pytest.fixture
def state() -> SandboxState:
    """Two environments, the flag in the second only."""
    return SandboxState(
        [
            Environment(
                EnvironmentInfo(EnvironmentId("id-1"), identifier="dev"),
                keys=[known_key("k", "Server", "key-1")],
            ),
            Environment(
                EnvironmentInfo(EnvironmentId("id-2"), identifier="prod"),
                flags=[FLAG],
                keys=[Key("k", "Client", hash_key("key-2"))],
            ),
        ]
    )


@pytest.mark.parametrize("name", ["id-2", "prod"])
def test_an_environment_is_found_by_id_and_by_identifier(state: SandboxState, name: str) -> None:
    """People type the one, programs know the other."""
    assert state.find(name).info.identifier == "prod"


def test_an_unknown_environment_is_not_found(state: SandboxState) -> None:
    """404, as everything that does not exist."""
    with pytest.raises(RequestError) as refusal:
        state.find("staging")
    assert refusal.value.status == 404


def test_a_flag_is_found_where_it_is(state: SandboxState) -> None:
    """Without an environment, the first that has it."""
    assert state.with_flag("f").info.identifier == "prod"
    with pytest.raises(RequestError):
        state.with_flag("g")


@pytest.mark.parametrize(("key", "identifier"), [("key-1", "dev"), ("key-2", "prod")])
def test_a_key_authenticates_by_its_hash(state: SandboxState, key: str, identifier: str) -> None:
    """Whether or not its text is known here."""
    found = state.authenticate(key)
    assert found is not None
    assert found[0].info.identifier == identifier


@pytest.mark.parametrize("key", ["", "key-3", hash_key("key-1")])
def test_other_texts_authenticate_nobody(state: SandboxState, key: str) -> None:
    """A hash is not a key."""
    assert state.authenticate(key) is None


def test_listeners_hear_of_a_change_when_it_is_in_place(state: SandboxState) -> None:
    """SDKs fetch right after the event."""
    heard: list[tuple[str, Change, str]] = []
    state.subscribe(lambda env, change: heard.append((env, change, state.find("prod").flags["f"]["state"])))
    state.flip("prod", "f")
    assert heard == [("id-2", Change(Action.PATCH, Domain.FLAG, "f", 2), "off")]


def test_an_unannounced_change_is_made_and_not_heard(state: SandboxState) -> None:
    """As if the event had been lost on its way."""
    heard: list[Change] = []
    state.subscribe(lambda _, change: heard.append(change))
    state.flip("prod", "f", announce=False)
    state.put("prod", Domain.SEGMENT, {"identifier": "s"}, announce=False)
    state.drop("prod", Domain.FLAG, "f", announce=False)
    assert heard == []
    assert "s" in state.find("prod").segments
    assert "f" not in state.find("prod").flags


def test_who_has_unsubscribed_hears_no_more(state: SandboxState) -> None:
    """A closed sandbox leaves nothing behind in a state that lives on."""
    heard: list[Change] = []
    unsubscribe = state.subscribe(lambda _, change: heard.append(change))
    unsubscribe()
    state.flip("prod", "f")
    assert heard == []


def test_a_removed_environment_knows_no_keys(state: SandboxState) -> None:
    """It is gone for authentication, too."""
    state.remove("prod")
    assert state.authenticate("key-2") is None
