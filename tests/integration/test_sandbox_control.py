"""The sandbox's control API over a real socket: what it shows and what it changes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ff_proxy.model.keys import hash_key
from tests.integration.sandbox_client import DEV, DEV_KEY, Client, client


@pytest.fixture
async def saas() -> AsyncIterator[Client]:
    """A client of a sandbox."""
    async with client() as made:
        yield made


async def test_it_says_what_there_is(saas: Client) -> None:
    """For whoever begins at the top."""
    contents = await saas.control("GET", "")
    assert contents["faults"] == "/sandbox/faults"


async def test_environments_are_described(saas: Client) -> None:
    """Everything that is needed to use one."""
    listed = await saas.control("GET", "/environments")
    assert [one["identifier"] for one in listed] == ["development", "production", "back_office"]
    one = await saas.control("GET", "/environments/development")
    assert one in listed
    assert one["id"] == DEV
    assert one["flags"]["dark_mode"] == "on"
    assert one["segments"] == ["beta_testers", "internal_staff", "europe", "enterprise_customers"]
    assert one["keys"][0] == {
        "name": "dev_server", "type": "Server", "text": DEV_KEY, "hash": hash_key(DEV_KEY),
    }  # fmt: skip


class TestFlip:
    @pytest.mark.parametrize("environment", ["development", DEV, ""])
    async def test_a_flag_is_toggled(self, saas: Client, environment: str) -> None:
        """In the environment that is named, or in the first that has it."""
        flipped = await saas.control("POST", "/flip", {"flag": "dark_mode", "environment": environment})
        assert flipped == {
            "environment": "development",
            "flag": "dark_mode",
            "state": "off",
            "serve": {"variation": "false"},
            "everyone": "",
            "version": 2,
        }
        assert saas.sandbox.state.find("production").flags["dark_mode"]["state"] == "on"

    async def test_a_variation_is_served(self, saas: Client) -> None:
        """And streams are told."""
        async with saas.listening() as stream:
            flipped = await saas.control("POST", "/flip", {"flag": "checkout_flow", "serve": "express"})
            assert flipped["serve"] == {"variation": "express"}
            assert b"checkout_flow" in (await stream.next() or b"")

    async def test_streams_may_be_left_untold(self, saas: Client) -> None:
        """As if the event had been lost."""
        async with saas.listening() as stream:
            await saas.control("POST", "/flip?announce=false", {"flag": "dark_mode"})
            await saas.control("POST", "/flip", {"flag": "new_search"})
            assert b"new_search" in (await stream.next() or b"")
        assert saas.sandbox.state.find("development").flags["dark_mode"]["state"] == "off"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"flag": "nothing"}, 404),
            ({"flag": "dark_mode", "environment": "nowhere"}, 404),
            ({"flag": "dark_mode", "serve": "maybe"}, 400),
            ({"flag": "dark_mode", "state": "open"}, 400),
            ({"flag": "dark_mode", "variation": "true"}, 400),
            ({}, 400),
        ],
    )
    async def test_what_cannot_be_done_is_refused(self, saas: Client, body: Any, status: int) -> None:
        """With an error that says why."""
        answer = await saas.http.post("/sandbox/flip", json=body)
        assert answer.status_code == status
        assert answer.json()["message"]


@pytest.mark.parametrize(
    "body", [b'{"flag": "\xff"}', b'{"unknown": ' + b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000]
)
@pytest.mark.parametrize(
    "path",
    [
        *(f"/sandbox/{name}" for name in ("environments", "flip", "set", "faults", "streams/cut", "down")),
        "/sandbox/environments/development/keys",
        "/client/auth",
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(saas: Client, path: str, body: bytes) -> None:
    """Broken characters, endless nesting, also where nobody looks: an answer, and no trace in the log."""
    answer = await saas.http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


class TestItems:
    async def test_a_flag_is_replaced_patched_and_deleted(self, saas: Client) -> None:
        """The identifier in the path counts, the version goes up by itself."""
        path = "/environments/development/flags/dark_mode"
        flag = await saas.control("GET", path)
        assert flag in await saas.control("GET", "/environments/development/flags")
        put = await saas.control("PUT", path, {**flag, "feature": "other", "kind": "string"})
        assert put == {"action": "patch", "domain": "flag", "identifier": "dark_mode", "version": 2}
        await saas.control("PATCH", path, {"offVariation": "true"})
        changed = await saas.control("GET", path)
        assert changed == {**flag, "kind": "string", "offVariation": "true", "version": 3}
        assert (await saas.control("DELETE", path))["action"] == "delete"
        assert (await saas.http.get(f"/sandbox{path}")).status_code == 404

    async def test_a_segment_is_created(self, saas: Client) -> None:
        """And announced."""
        async with saas.listening() as stream:
            put = await saas.control(
                "PUT", "/environments/development/segments/new", {"included": [], "rules": []}
            )
            assert put["action"] == "create"
            assert b'"target-segment"' in (await stream.next() or b"")

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    async def test_streams_may_be_left_untold(self, saas: Client, method: str) -> None:
        """Of any change."""
        async with saas.listening() as stream:
            path = "/environments/development/flags/dark_mode?announce=false"
            await saas.control(method, path, {})
            await saas.control("POST", "/flip", {"flag": "new_search"})
            assert b"new_search" in (await stream.next() or b"")

    async def test_other_kinds_do_not_exist(self, saas: Client) -> None:
        """404."""
        assert (await saas.http.get("/sandbox/environments/development/rules")).status_code == 404


class TestKeys:
    async def test_a_key_is_added_and_revoked(self, saas: Client) -> None:
        """One that is given, or one that is made up."""
        keys = "/environments/development/keys"
        made = await saas.control("POST", keys, {"name": "extra"})
        await saas.login(made["text"])
        await saas.control("POST", keys, {"name": "mine", "type": "Client", "key": "my-own-key"})
        await saas.login("my-own-key")
        assert len(await saas.control("GET", keys)) == 4
        await saas.control("DELETE", f"{keys}/extra")
        refused = await saas.http.post("/client/auth", json={"apiKey": made["text"]})
        assert refused.status_code == 403

    async def test_a_key_may_be_known_by_its_hash(self, saas: Client) -> None:
        """As in an offline directory."""
        await saas.control(
            "POST", "/environments/development/keys", {"name": "h", "hash": hash_key("unheard-of")}
        )
        await saas.login("unheard-of")


class TestTargets:
    async def test_targets_are_put_and_dropped(self, saas: Client) -> None:
        """Identifiers may hold slashes."""
        targets = "/environments/development/targets"
        put = await saas.control("PUT", f"{targets}/a/b", {"attributes": {"plan": "pro"}})
        assert put["identifier"] == "a/b"
        assert put in await saas.control("GET", targets)
        await saas.control("DELETE", f"{targets}/a/b")
        assert (await saas.http.delete(f"/sandbox{targets}/a/b")).status_code == 404


class TestEnvironments:
    async def test_one_is_added_used_and_removed(self, saas: Client) -> None:
        """With flags and keys of its own."""
        made = await saas.control(
            "POST",
            "/environments",
            {
                "identifier": "staging",
                "project": "online_shop",
                "flags": [{"feature": "f", "state": "on", "kind": "boolean"}],
                "keys": [{"name": "s", "key": "staging-key"}],
            },
        )
        headers = await saas.login("staging-key")
        listed = (await saas.http.get(f"/client/env/{made['id']}/feature-configs", headers=headers)).json()
        assert [flag["feature"] for flag in listed] == ["f"]
        async with saas.listening("staging-key") as stream:
            await saas.control("DELETE", "/environments/staging")
            assert await stream.next() is None
        assert (await saas.http.post("/client/auth", json={"apiKey": "staging-key"})).status_code == 403


class TestReceived:
    async def test_usage_is_shown_and_reset(self, saas: Client) -> None:
        """Sums, and posts as they came."""
        entry = {
            "count": 2,
            "attributes": [
                {"key": "featureIdentifier", "value": "f"},
                {"key": "variationIdentifier", "value": "true"},
                {"key": "target", "value": "t"},
            ],
        }
        await saas.http.post(
            f"/metrics/{DEV}?cluster=1", json={"metricsData": [entry]}, headers=await saas.login()
        )
        assert await saas.control("GET", "/usage") == {
            "posts": 1,
            "sums": [{"environment": DEV, "flag": "f", "variation": "true", "target": "t", "count": 2}],
        }
        (post,) = await saas.control("GET", "/usage/posts")
        assert (post["environment"], post["cluster"], post["body"]) == (DEV, "1", {"metricsData": [entry]})
        await saas.control("DELETE", "/usage")
        assert await saas.control("GET", "/usage") == {"posts": 0, "sums": []}

    async def test_requests_are_shown_and_reset(self, saas: Client) -> None:
        """The control API's own are not among them."""
        await saas.login()
        assert await saas.control("GET", "/requests") == {"auth": {"200": 1}}
        (recent,) = await saas.control("GET", "/requests/recent")
        assert (recent["method"], recent["path"], recent["environment"]) == ("POST", "/client/auth", DEV)
        await saas.control("DELETE", "/requests")
        assert await saas.control("GET", "/requests") == {}


class TestStreams:
    async def test_they_are_counted_cut_muted_and_written_to(self, saas: Client) -> None:
        """All of them or those of one environment."""
        async with saas.listening() as stream:
            assert (await saas.control("GET", "/streams"))["open"] == 1
            await saas.control("POST", "/streams/send", {"text": "junk", "environment": "development"})
            assert await stream.next() == b"junk"
            await saas.control("POST", "/streams/mute", {"environment": "development"})
            await saas.control("POST", "/flip", {"flag": "dark_mode"})
            await saas.control("POST", "/streams/unmute", {"environment": "development"})
            assert await stream.next() == b":\n\n"
            assert await saas.control("POST", "/streams/cut", {"environment": "production"}) == {"cut": 0}
            assert await saas.control("POST", "/streams/cut", {"environment": DEV}) == {"cut": 1}
            assert await stream.next() is None


class TestSettings:
    async def test_they_are_shown_and_changed_one_by_one(self, saas: Client) -> None:
        """What is not named stays."""
        before = await saas.control("GET", "/settings")
        after = await saas.control("PATCH", "/settings", {"pageSizeLimit": 2})
        assert after == {**before, "pageSizeLimit": 2}
        assert saas.sandbox.state.settings.page_size_limit == 2

    @pytest.mark.parametrize("body", [{"pageSizeLimit": "two"}, {"pageSize": 2}, {"pageSizeLimit": 0}])
    async def test_nonsense_is_refused(self, saas: Client, body: Any) -> None:
        """And changes nothing."""
        before = await saas.control("GET", "/settings")
        assert (await saas.http.patch("/sandbox/settings", json=body)).status_code == 400
        assert await saas.control("GET", "/settings") == before
