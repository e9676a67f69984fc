"""What Harness may answer to doctor, and what doctor makes of it."""

import asyncio
from collections.abc import Callable

import pytest

from ff_proxy.commands.doctor import harness
from ff_proxy.commands.doctor.findings import Finding, Outcome
from ff_proxy.commands.doctor.harness import AccountChecks, Identity
from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.keys import SdkKey
from tests.support.doctor import findings_of, the_trouble, trouble
from tests.support.saas import (
    HTML,
    KEY,
    FakeSaas,
    FakeStream,
    admin_api,
    client_api,
    error,
    flag_doc,
    segment_doc,
)

OTHER = SdkKey("another-server-key")


def world() -> FakeSaas:
    """One environment with a flag and a group."""
    saas = FakeSaas()
    environment = saas.environment()
    environment.put_flag(flag_doc())
    environment.put_segment(segment_doc())
    return saas


async def examined(
    saas: FakeSaas,
    *keys: SdkKey,
    account: str = "acme",
    play: Callable[[FakeStream], None] | None = None,
    stream: bool = True,
) -> list[Finding]:
    """What doctor finds; ``play`` is what happens on the stream once it is open."""
    checks = AccountChecks(
        Identity(keys or (KEY,), account), client_api(saas), admin_api(saas), stream=stream, listen=0.05
    )

    async def follow() -> None:
        while not saas.streams:  # noqa: ASYNC110  (the fake sets no event)
            await asyncio.sleep(0)
        (play or (lambda stream: stream.say(":\n\n")))(saas.streams[0])

    playing = asyncio.create_task(follow())
    try:
        return await findings_of(*checks.checks())
    finally:
        playing.cancel()


async def test_a_good_account() -> None:
    """A line for each key, and for each environment its keys, flags and stream."""
    found = await examined(world())
    assert [one.check for one in found] == [
        f"key 1 of 1 (#{KEY.hash[:6]})",
        "admin listing production",
        "flags production",
        "stream production",
    ]
    assert [one.outcome for one in found] == [Outcome.OK] * 4
    assert found[2].text == "1 flags, 1 target groups"
    assert found[3].text.startswith("first byte after 0.0 s, the next")
    assert KEY.reveal() not in str(found)


async def test_a_refused_key_is_named_by_place_and_hash() -> None:
    """The others' environments are looked at all the same."""
    found = await examined(world(), OTHER, KEY)
    assert f"key 1 of 2 (#{OTHER.hash[:6]})" in {one.check for one in trouble(found)}
    assert the_trouble(found).startswith("problem Harness refuses it (POST http://client.test")
    assert "copy the environment's server SDK key again" in the_trouble(found)
    assert OTHER.reveal() not in str(found)


async def test_a_key_of_another_account() -> None:
    """With both accounts."""
    found = await examined(world(), account="other")
    assert "it is a key of account acme, and account-identifier is other" in the_trouble(found)


async def test_without_a_good_key_nothing_else_is_asked() -> None:
    """Nor reported as broken."""
    found = await examined(world(), OTHER)
    assert [one.outcome for one in found] == [Outcome.PROBLEM, *[Outcome.SKIPPED] * 3]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HTML, "is client-service the address of Harness, with its path?"),
        (error(500), "see the line of client-service above"),
        (UpstreamUnavailable("POST http://x: no answer in time"), "no answer in time"),
    ],
)
async def test_authentication_that_does_not_work(answer: object, said: str) -> None:
    """A page of somebody else, a failure, silence."""
    saas = world()
    saas.always["/client/auth"] = answer  # type: ignore[assignment]  # a reply or an error
    assert said in the_trouble(await examined(saas))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error(401), "admin-service-token is not valid, or has expired"),
        (error(403), "check account-identifier and org-identifier"),
        (error(404), "check account-identifier and org-identifier"),
        (HTML, "is admin-service the address of Harness, with its path /gateway/cf?"),
    ],
)
async def test_an_admin_listing_that_is_refused(answer: object, said: str) -> None:
    """A wrong token is told from a wrong organisation."""
    saas = world()
    saas.always["/admin/apikey"] = answer  # type: ignore[assignment]  # a reply or an error
    assert said in the_trouble(await examined(saas))


async def test_a_listing_without_our_key() -> None:
    """It is the listing of something else."""
    saas = world()
    next(iter(saas.environments.values())).hashes[:] = ["0" * 64]
    assert "is org-identifier that of the key's project?" in the_trouble(await examined(saas))


async def test_flags_that_cannot_be_fetched() -> None:
    """The request is named."""
    saas = world()
    saas.always["/client/env/{env}/feature-configs"] = error(503)
    assert "feature-configs: answered 503" in the_trouble(await examined(saas))


@pytest.mark.parametrize(
    ("heartbeat", "play", "said"),
    [
        (False, lambda _: None, "problem it opened, but no byte came within 0 s: a firewall"),
        (True, lambda _: None, "warning first byte after 0.0 s, then nothing for 0 s"),
        (False, lambda stream: stream.end(), "problem it opened, but no byte came, and it ended"),
        (True, lambda stream: stream.end(), "problem first byte after 0.0 s, and it ended"),
        (True, lambda stream: stream.say(":\n\n:\n\n:\n\n"), "then several records at once"),
        (
            True,
            lambda stream: stream.end(UpstreamUnavailable("GET http://x/stream: Connection reset by peer")),
            "problem GET http://x/stream: Connection reset by peer: a firewall",
        ),
    ],
)
async def test_streams_that_something_holds_back(
    heartbeat: bool, play: Callable[[FakeStream], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most common case: a middlebox that waits, collects or cuts."""
    monkeypatch.setattr(harness, "FIRST_BYTE_SECONDS", 0.05)
    saas = world()
    saas.heartbeat = heartbeat
    found = the_trouble(await examined(saas, play=play))
    assert said in found
    assert "flag-stream-enabled=false" in found


async def test_a_stream_that_is_no_stream() -> None:
    """A page, or a refusal."""
    saas = world()
    saas.always["/stream"] = HTML
    assert "answered text/html, not a stream" in the_trouble(await examined(saas))
    saas.always["/stream"] = error(403)
    assert "Harness refuses it" in the_trouble(await examined(saas))


async def test_polling_needs_no_stream() -> None:
    """flag-stream-enabled=false is no trouble."""
    saas = world()
    found = await examined(saas, stream=False)
    assert not trouble(found)
    assert saas.count("/stream") == 0
