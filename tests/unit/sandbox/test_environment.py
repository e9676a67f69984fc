"""An environment of the sandbox: documents, versions, keys."""

import pytest

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import Key, known_key

FLAG = {
    "feature": "dark_mode",
    "state": "on",
    "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
    "defaultServe": {"variation": "true"},
}


@pytest.fixture
def environment() -> Environment:
    """An environment with one flag and two keys."""
    return Environment(
        EnvironmentInfo(EnvironmentId("e1"), identifier="dev"),
        flags=[FLAG],
        keys=[known_key("main", "Server", "a-key"), Key("hashed", "Client", hash_key("b-key"))],
    )


class TestVersions:
    def test_a_document_without_a_version_starts_at_one(self, environment: Environment) -> None:
        """SDKs need an integer version from the beginning."""
        assert environment.flags["dark_mode"]["version"] == 1

    def test_every_put_bumps_the_version(self, environment: Environment) -> None:
        """The change says what the document now carries."""
        change = environment.put(Domain.FLAG, FLAG)
        assert change == Change(Action.PATCH, Domain.FLAG, "dark_mode", 2)
        assert environment.flags["dark_mode"]["version"] == 2

    def test_a_higher_version_in_the_document_is_kept(self, environment: Environment) -> None:
        """A test may jump ahead."""
        assert environment.put(Domain.FLAG, {**FLAG, "version": 40}).version == 40

    def test_a_lower_version_in_the_document_is_not_taken(self, environment: Environment) -> None:
        """Versions never fall."""
        environment.put(Domain.FLAG, {**FLAG, "version": 40})
        assert environment.put(Domain.FLAG, {**FLAG, "version": 3}).version == 41

    def test_a_recreated_document_starts_above_the_deleted_one(self, environment: Environment) -> None:
        """SDKs ignore versions that they have seen already."""
        deleted = environment.drop(Domain.FLAG, "dark_mode")
        created = environment.put(Domain.FLAG, FLAG)
        assert deleted.action is Action.DELETE
        assert created.action is Action.CREATE
        assert created.version > deleted.version > 1

    def test_the_document_given_is_not_changed(self, environment: Environment) -> None:
        """Seeds are shared between sandboxes."""
        environment.flip("dark_mode")
        assert "version" not in FLAG
        assert FLAG["state"] == "on"

    def test_segments_have_versions_of_their_own(self, environment: Environment) -> None:
        """A segment may be called like a flag."""
        environment.flip("dark_mode")
        assert environment.put(Domain.SEGMENT, {"identifier": "dark_mode"}).version == 1

    def test_every_change_moves_the_revision(self, environment: Environment) -> None:
        """What is compiled from an environment is kept until then."""
        seen = [environment.revision]
        environment.flip("dark_mode")
        seen.append(environment.revision)
        environment.drop(Domain.FLAG, "dark_mode")
        seen.append(environment.revision)
        assert len(set(seen)) == 3


class TestFlip:
    def test_alone_it_toggles(self, environment: Environment) -> None:
        """On becomes off becomes on."""
        environment.flip("dark_mode")
        assert environment.flags["dark_mode"]["state"] == "off"
        environment.flip("dark_mode")
        assert environment.flags["dark_mode"]["state"] == "on"

    def test_a_state_is_set(self, environment: Environment) -> None:
        """Saying on twice is on."""
        environment.flip("dark_mode", state="on")
        assert environment.flags["dark_mode"]["state"] == "on"

    def test_serving_a_variation_turns_the_flag_on(self, environment: Environment) -> None:
        """It would have no effect otherwise."""
        environment.flip("dark_mode", state="off")
        environment.flip("dark_mode", serve="false")
        assert environment.flags["dark_mode"]["state"] == "on"
        assert environment.flags["dark_mode"]["defaultServe"] == {"variation": "false"}

    def test_serving_and_a_state_go_together(self, environment: Environment) -> None:
        """The state that was asked for wins."""
        environment.flip("dark_mode", serve="false", state="off")
        assert environment.flags["dark_mode"]["state"] == "off"

    def test_an_unknown_variation_is_refused(self, environment: Environment) -> None:
        """The message names those that exist."""
        with pytest.raises(RequestError, match="true, false") as refusal:
            environment.flip("dark_mode", serve="maybe")
        assert refusal.value.status == 400
        assert environment.flags["dark_mode"]["version"] == 1

    def test_an_unknown_flag_is_refused(self, environment: Environment) -> None:
        """It is not created by accident."""
        with pytest.raises(RequestError) as refusal:
            environment.flip("light_mode")
        assert refusal.value.status == 404


class TestItems:
    def test_a_document_without_its_identifier_is_refused(self, environment: Environment) -> None:
        """It could not be found again."""
        with pytest.raises(RequestError, match="feature"):
            environment.put(Domain.FLAG, {"identifier": "x"})

    def test_dropping_what_does_not_exist_is_refused(self, environment: Environment) -> None:
        """No event may be made of it."""
        with pytest.raises(RequestError) as refusal:
            environment.drop(Domain.SEGMENT, "nobody")
        assert refusal.value.status == 404


class TestTargets:
    def test_the_name_defaults_to_the_identifier(self, environment: Environment) -> None:
        """SDKs need a name."""
        environment.put_target({"identifier": "ann"})
        assert environment.targets["ann"]["name"] == "ann"

    def test_what_is_not_given_stays(self, environment: Environment) -> None:
        """A proxy registers targets of which it may know less."""
        environment.put_target({"identifier": "ann", "name": "Ann", "attributes": {"plan": "pro"}})
        environment.put_target({"identifier": "ann", "name": None, "attributes": {"plan": "free"}})
        assert environment.targets["ann"]["name"] == "Ann"
        assert environment.targets["ann"]["attributes"] == {"plan": "free"}

    def test_a_target_without_identifier_is_refused(self, environment: Environment) -> None:
        """The .NET SDK sends a blank one."""
        with pytest.raises(RequestError):
            environment.put_target({"identifier": ""})


@pytest.mark.parametrize("name", ["main", "a-key", hash_key("a-key")])
def test_a_key_is_revoked_by_name_text_or_hash(environment: Environment, name: str) -> None:
    """Whoever revokes it knows one of the three."""
    assert environment.revoke(name).name == "main"
    assert [key.name for key in environment.keys] == ["hashed"]


@pytest.mark.parametrize("name", ["c-key", ""])
def test_an_unknown_key_cannot_be_revoked(environment: Environment, name: str) -> None:
    """Nor does an empty text mean the key whose text is unknown."""
    with pytest.raises(RequestError):
        environment.revoke(name)


class TestSet:
    RULED = FLAG | {"rules": [{"ruleId": "r", "clauses": [], "serve": {"variation": "true"}}]}

    def test_everyone_gets_a_variation_until_the_rules_are_taken_up(self, environment: Environment) -> None:
        """Whatever they say; and they are all there afterwards."""
        environment.put(Domain.FLAG, self.RULED)
        environment.flip("dark_mode", state="off")
        environment.set("dark_mode", "false")
        flag = environment.flags["dark_mode"]
        assert (flag["state"], flag["defaultServe"], flag["rules"]) == ("on", {"variation": "false"}, [])
        assert environment.everyone_gets("dark_mode") == "false"
        environment.set("dark_mode", "true")
        assert environment.everyone_gets("dark_mode") == "true"
        environment.set("dark_mode", "rules")
        assert environment.everyone_gets("dark_mode") == ""
        flag = environment.flags["dark_mode"]
        assert {**flag, "version": 0} == {
            **self.RULED,
            "version": 0,
            "variationToTargetMap": [],
            "prerequisites": [],
        }

    def test_the_state_can_be_set(self, environment: Environment) -> None:
        """Twice the same is the same."""
        for state in ("off", "off", "on"):
            environment.set("dark_mode", state)
            assert environment.flags["dark_mode"]["state"] == state

    def test_a_new_document_decides_again(self, environment: Environment) -> None:
        """Who writes a flag anew wants it as it is written."""
        environment.set("dark_mode", "false")
        environment.put(Domain.FLAG, FLAG)
        assert environment.everyone_gets("dark_mode") == ""

    def test_another_value_is_refused(self, environment: Environment) -> None:
        """With what is possible."""
        with pytest.raises(RequestError, match="on, off, rules, or a variation: true, false"):
            environment.set("dark_mode", "maybe")
