"""The API and the pages over environments in memory."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.admin.ports import ReloadResult
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import read_directory
from tests.support.admin import AdminWorld
from tests.support.configs import ENVIRONMENT, config, flag, segment

RULES = [
    {
        "ruleId": "r1",
        "priority": 1,
        "clauses": [{"id": "c", "attribute": "plan", "op": "equal", "values": ["gold"]}],
        "serve": {"variation": "false"},
    }
]


async def test_status_says_what_is_served() -> None:
    """Status says what is served."""
    world = AdminWorld()
    await world.hold(config(flag("a"), flag("b"), segment()))
    await world.store.configs.set_status(
        ENVIRONMENT, UpstreamStatus(StreamState.DISCONNECTED, since=int((world.clock.wall() - 90) * 1000))
    )
    async with world.client() as http:
        status = (await http.get("/api/status")).json()
        listed = (await http.get("/api/environments")).json()
    assert (status["state"], status["version"], status["mode"]) == ("ready", "1.2.3", "online")
    assert status["environments"] == listed
    row = listed[0]
    assert (row["flags"], row["groups"], row["keys"], row["stream"]) == (2, 1, 1, "disconnected")
    assert row["dataAgeSeconds"] == pytest.approx(90, abs=1)


async def test_state_and_reasons_are_those_of_readiness() -> None:
    """State and reasons are those of readiness."""
    world = AdminWorld()
    async with world.client() as http:
        assert (await http.get("/api/status")).json()["state"] == "starting"
        world.readiness = Readiness(loaded=1, degraded=("the disk is <full>",))
        status = (await http.get("/api/status")).json()
        assert (status["state"], status["reasons"]) == ("degraded", ["the disk is <full>"])
        assert "the disk is &lt;full&gt;" in (await http.get("/")).text


async def test_changes_are_shown_place_by_place() -> None:
    """Changes are shown place by place."""
    world = AdminWorld()
    await world.hold(config(flag("a")))
    await world.hold(config(flag("a", on=False, version=2, rules=RULES), flag("b")))
    async with world.client() as http:
        changes = (await http.get(f"/api/environments/{ENVIRONMENT}/changes")).json()
        page = (await http.get(f"/environments/{ENVIRONMENT}")).text
    found = {one["identifier"]: one for one in changes}
    assert (found["a"]["action"], found["b"]["action"]) == ("changed", "new")
    places = {one["place"]: (one["before"], one["after"]) for one in found["a"]["differences"]}
    assert places["state"] == ("on", "off")
    assert any(place.startswith("rules") for place in places)
    assert "version" not in places
    assert "<del>on</del><ins>off</ins>" in page


async def test_explain_uses_what_sdks_have_sent_unless_it_is_told_otherwise() -> None:
    """Explain uses what sdks have sent unless it is told otherwise."""
    world = AdminWorld()
    await world.hold(config(flag("a", rules=RULES), flag("b")))
    await world.store.targets.put(ENVIRONMENT, Target("bob", "Bob", {"plan": "gold"}))
    async with world.client() as http:

        async def asked(**query: str) -> Any:
            return (await http.get("/api/explain", params=query)).json()

        assert (await asked(target="bob", flag="a"))["answers"][0]["variation"] == "false"
        assert (await asked(target="bob", flag="a"))["known"] is True
        other = await asked(target="bob", flag="a", attributes='{"plan":"silver"}')
        assert (other["answers"][0]["variation"], other["known"]) == ("true", False)
        everything = await asked(target="eve", environment="production")
        assert [(one["flag"], one["variation"]) for one in everything["answers"]] == [
            ("a", "true"),
            ("b", "true"),
        ]
        assert any("plan" in json.dumps(one["steps"]) for one in everything["answers"])
        page = (await http.get(f"/environments/{ENVIRONMENT}/target?identifier=bob")).text
        assert "plan is &#39;gold&#39;: equals &#39;gold&#39;" in page


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("target=x&attributes=no", 400),
        ("target=x&attributes=[]", 400),
        ("target=x&attributes=" + "[" * 50_000, 400),
        ("target=x&flag=nope", 404),
        ("target=x&environment=nope", 404),
    ],
)
async def test_an_invalid_request_is_reported(query: str, status: int) -> None:
    """A bad question is said."""
    world = AdminWorld()
    await world.hold(config(flag("a")))
    async with world.client() as http:
        answer = await http.get(f"/api/explain?{query}")
    assert answer.status_code == status
    assert len(answer.json()["error"]) < 500
    assert world.failures == []


async def test_the_snapshot_is_an_offline_directory_or_refused(tmp_path: Path) -> None:
    """The snapshot is an offline directory or refused."""
    world = AdminWorld()
    async with world.client() as http:
        assert (await http.get("/api/snapshot")).status_code == 503
        await world.hold(config(flag("a", rules=RULES), segment("beta", included=[{"identifier": "bob"}])))
        world.readiness = Readiness(loaded=1, pending=("environment other",))
        assert (await http.get("/api/snapshot")).status_code == 503
        world.readiness = None
        told = [
            Target("ana", "Ana", {"plan": "gold", "tags": ["a", None]}),
            Target("bob", "Bob", {}, anonymous=True),
        ]
        await world.store.targets.put_many(ENVIRONMENT, told)
        archive = (await http.get("/api/snapshot")).content
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(tmp_path, filter="data")
    (reading,) = read_directory(tmp_path).readings
    assert reading.environment is not None
    read, held = reading.environment.config, world.snapshots.all()[ENVIRONMENT]
    assert read.keys == held.keys
    assert {name: item.digest for name, item in read.flags.items()} == {
        name: part.item.digest for name, part in held._flags.items()
    }
    assert set(read.segments) == {"beta"}
    assert list(reading.environment.targets) == told


async def test_reload_says_what_has_changed_or_that_nothing_was() -> None:
    """Reload says what has changed or that nothing was."""
    world = AdminWorld()
    async with world.client() as http:
        world.reloaded = ReloadResult(changed=("log-level",), restart=("port",))
        assert (await http.post("/api/reload")).json() == {
            "changed": ["log-level"],
            "restart": ["port"],
            "problems": [],
        }
        world.reloaded = ReloadResult(problems=("port: not a number",))
        answer = await http.post("/api/reload")
        assert (answer.status_code, answer.json()["problems"]) == (409, ["port: not a number"])
        page = await http.post("/settings/reload")
        assert (page.status_code, "port: not a number" in page.text) == (409, True)


async def test_log_levels_change_for_all_and_for_one_environment() -> None:
    """Log levels change for all and for one environment."""
    world = AdminWorld()
    log = world.telemetry.logger("test")
    async with world.client() as http:
        log.debug("not yet")
        await http.post("/api/log-level", json={"level": "debug"})
        log.debug("now")
        await http.post("/api/log-level", json={"level": "ERROR", "environment": "e1"})
        log.info("quiet", environment="e1")
        log.info("loud", environment="e2")
        lines = [one["event"] for one in (await http.get("/api/logs")).json()]
        assert "now" in lines
        assert "loud" in lines
        assert "not yet" not in lines
        assert "quiet" not in lines
        only = (await http.get("/api/logs?environment=e2")).json()
        assert [one["event"] for one in only] == ["loud"]
        for body in (
            b"",
            b"[]",
            b'{"level":"LOUD"}',
            b'{"level":""}',
            b"\xff",
            b"{" * 70_000,
            b'{"x":' + b"[" * 60_000,
        ):
            assert (await http.post("/api/log-level", content=body)).status_code in {400, 413}
        assert (await http.get("/api/log-level")).json() == {
            "level": "DEBUG",
            "environments": {"e1": "ERROR"},
        }


async def test_openapi_describes_what_the_running_application_answers() -> None:
    """Openapi describes what the running application answers."""
    world = AdminWorld()
    await world.hold(config(flag("a"), segment()))
    async with world.client() as http:
        document = (await http.get("/api/openapi.json")).json()
        schemas = document["components"]["schemas"]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                asked = path.replace("{environment}", ENVIRONMENT).replace("{flag}", "a")
                body = b'{"level":"INFO"}' if "requestBody" in operation else None
                answer = await http.request(method, asked, content=body)
                assert answer.status_code == 200, (method, path)
                content = operation["responses"]["200"]["content"]
                (media_type,) = content
                assert answer.headers["content-type"] == media_type
                if media_type == "application/json":
                    conforms(answer.json(), content[media_type]["schema"], schemas)


def conforms(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:  # noqa: C901  (a case for each type)
    """Check the part of JSON Schema that the document uses."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        kinds = {one.get("type") for one in schema["anyOf"]}
        assert value is None or "null" not in kinds or len(kinds) > 1
        return
    match schema.get("type"):
        case "object":
            assert isinstance(value, dict)
            assert set(schema.get("required", ())) <= set(value)
            known = schema.get("properties")
            if known is not None:
                assert set(value) <= set(known)
                for name, one in value.items():
                    conforms(one, known[name], schemas)
        case "array":
            assert isinstance(value, list)
            for one in value:
                conforms(one, schema.get("items") or {}, schemas)
        case "string":
            assert isinstance(value, str)
        case "integer":
            assert isinstance(value, int)
        case "number":
            assert isinstance(value, int | float)
        case "boolean":
            assert isinstance(value, bool)
