"""Where ``explain`` finds its answer: a directory, a data directory, Redis, or a running proxy."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import msgspec

from ff_proxy.app.process import command_context
from ff_proxy.commands.admin_client import AdminClient, is_admin_address
from ff_proxy.commands.proxy_client import ProxyClient, bearer, open_transport, segment, target_header
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option, required
from ff_proxy.config.records import RedisStoreOptions, SqliteStoreOptions
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, MalformedJson, UpstreamMalformed, UpstreamRefused
from ff_proxy.evaluation import Explanation, compile_engine
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo
from ff_proxy.model.evaluation import NoEvaluation
from ff_proxy.model.feature import FeatureConfig, Segment
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.store.sqlite.reading import stored_environments, stored_target
from ff_proxy.wire.config import read_feature, read_segment
from ff_proxy.wire.values import decode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySource:
    """An offline directory."""

    config_dir: Path = required(
        kinds.PATH, "Offline directory to look into (ff-proxy -generate-offline-config writes one)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySource:
    """A running proxy: its port for SDKs, or its admin address."""

    url: str = required(kinds.URL, "Address of a running proxy to ask: its admin address, or where SDKs ask")
    api_keys: tuple[SdkKey, ...] = option(
        kinds.KEYS,
        (),
        "With url, where SDKs ask: SDK key of the environment; of several, that of the wanted one",
    )
    admin_token: Secret | None = option(
        kinds.SECRET, None, "With url, at the admin address: its token, if it has one"
    )


Source = DirectorySource | SqliteStoreOptions | RedisStoreOptions | ProxySource


@dataclass(frozen=True, slots=True)
class Question:
    """What to explain: an environment by id or identifier (empty: the only one), a flag, and a target.

    ``described`` is whether the target's attributes were given; otherwise those known at the place count.
    ``and_rules`` is the proxy's option of this name.
    """

    environment: str
    flag: str
    target: Target
    described: bool
    and_rules: bool = True


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """How a running proxy evaluates the flag for the target; ``variation`` is ``None`` if it yields none."""

    variation: str | None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The environment, the target as it is known there, and the explanation.

    ``told`` is what SDKs get from a proxy if that differs from the outcome; ``note`` says why it may.
    """

    place: str
    environment: EnvironmentInfo
    target: Target
    explanation: Explanation
    note: str = ""
    told: ProxyAnswer | None = None


async def look_up(source: Source, question: Question) -> Found:
    """Find what is asked for.

    Raises ``ConfigError`` for an environment or flag that is not there, and otherwise what the place raises.
    """
    match source:
        case DirectorySource():
            return await asyncio.to_thread(_in_directory, source.config_dir, question)
        case SqliteStoreOptions():
            return await asyncio.to_thread(_in_data_directory, source.directory, question)
        case RedisStoreOptions():
            return await _in_redis(source, question)
        case ProxySource():
            return await _in_proxy(source, question)


def _in_directory(root: Path, question: Question) -> Found:
    found: dict[EnvironmentId, OfflineEnvironment] = {
        reading.environment.config.id: reading.environment
        for reading in read_directory(root).readings
        if reading.environment is not None
    }
    place = f"offline directory {root}"
    infos = [one.config.info for one in found.values()]
    environment = found[_chosen(question.environment, infos, place, hint=" (see ff-proxy validate)")]
    known = {target.identifier: target for target in environment.targets}
    return _found(place, environment.config, question, known.get(question.target.identifier))


def _in_data_directory(directory: Path, question: Question) -> Found:
    found = {config.id: config for config in stored_environments(directory)}
    place = f"data directory {directory}"
    chosen = found[_chosen(question.environment, [config.info for config in found.values()], place)]
    return _found(place, chosen, question, stored_target(directory, chosen.id, question.target.identifier))


async def _in_redis(options: RedisStoreOptions, question: Question) -> Found:
    # Importing its client takes time, which only this source should cost.
    from ff_proxy.app.redis_store import redis_store  # noqa: PLC0415  (see above)

    place = f"Redis {options.address}, prefix {options.prefix}"
    async with redis_store(options, command_context()) as store:
        names = await store.configs.environments()
        configs = [await store.configs.environment(name) for name in names]
        found = {config.id: config for config in configs if config is not None}
        chosen = found[_chosen(question.environment, [config.info for config in found.values()], place)]
        known = await store.targets.get(chosen.id, question.target.identifier)
    return _found(place, chosen, question, known)


async def _in_proxy(source: ProxySource, question: Question) -> Found:
    async with open_transport() as transport:
        client = ProxyClient(transport, source.url)
        if await is_admin_address(client):
            return await _at_admin_address(client, source, question)
        if not source.api_keys:
            raise ConfigError(
                f"api-keys: {source.url} is not an admin address; to ask it like an SDK, pass an SDK key"
            )
        sessions = [(await client.authenticate(key)) for key in source.api_keys]
        infos = {info.id: info for _, info in sessions}
        chosen = _chosen(question.environment, list(infos.values()), f"the proxy {source.url}")
        token = next(token for token, info in sessions if info.id == chosen)
        headers = bearer(token)
        base = f"/client/env/{segment(chosen)}"
        rules = {"rules": "v2"} if question.and_rules else {}
        flags = await _listed(client, f"{base}/feature-configs", headers)
        groups = await _listed(client, f"{base}/target-segments", headers, rules)
        answer = await _answer(client, base, headers, question)
    explanation = _explained(
        question,
        {record.identifier: record for record in map(read_feature, flags)},
        {record.identifier: record for record in map(read_segment, groups)},
        question.target,
    )
    found = Found(f"the proxy {source.url}", infos[chosen], question.target, explanation)
    outcome = explanation.outcome
    variation = None if isinstance(outcome, NoEvaluation) else outcome.variation
    if variation == answer.variation:
        return found
    why = "it knows attributes of the target that are not known here: give them with -attributes"
    if question.described:
        why = "has the flag changed just now, or is its option and-rules another? Ask again"
    said = answer.variation or "no variation"
    note = f"these steps lead to {variation or 'no variation'}, and the proxy says {said}: {why}"
    return replace(found, note=note, told=answer)


async def _at_admin_address(client: ProxyClient, source: ProxySource, question: Question) -> Found:
    place = f"the proxy at {source.url}"
    admin = AdminClient(client, source.admin_token)
    chosen = _chosen(question.environment, await admin.environments(), place)
    environment, target, explanation = await admin.explain(
        chosen, question.flag, question.target, described=question.described
    )
    return Found(place, environment, target, explanation)


async def _listed(
    client: ProxyClient, path: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None
) -> list[bytes]:
    reply = await client.get(path, headers, query)
    listed = _decoded(reply.body)
    if reply.status != HTTPStatus.OK or not isinstance(listed, list):
        raise UpstreamMalformed(f"{client.url}{path} answered {reply.status}, not a list: is it ready?")
    return [msgspec.json.encode(entry) for entry in listed]


async def _answer(
    client: ProxyClient, base: str, headers: Mapping[str, str], question: Question
) -> ProxyAnswer:
    """The proxy's evaluation, with the attributes that it knows or those that were given."""
    described = target_header(question.target) if question.described else {}
    path = f"{base}/target/{segment(question.target.identifier)}/evaluations/{segment(question.flag)}"
    reply = await client.get(path, {**headers, **described})
    doc = _decoded(reply.body)
    if reply.status == HTTPStatus.OK and isinstance(doc, dict):
        return ProxyAnswer(str(doc.get("identifier")), str(doc.get("value")))
    if reply.status == HTTPStatus.NOT_FOUND:
        return ProxyAnswer(None)
    raise UpstreamRefused(f"{client.url}{path} answered {reply.status}", status=reply.status)


def _decoded(body: bytes) -> object:
    try:
        return decode_json(body, max_lenient_bytes=len(body))
    except MalformedJson:
        return None


def _found(place: str, config: EnvironmentConfig, question: Question, known: Target | None) -> Found:
    target = question.target
    if known is not None:
        target = known if not question.described else msgspec.structs.replace(target, name=known.name)
    flags = {name: read_feature(item.wire) for name, item in config.flags.items()}
    segments = {name: read_segment(item.wire) for name, item in config.segments.items()}
    return Found(place, config.info, target, _explained(question, flags, segments, target))


def _explained(
    question: Question, flags: Mapping[str, FeatureConfig], segments: Mapping[str, Segment], target: Target
) -> Explanation:
    if question.flag not in flags:
        hint = nearest(question.flag, list(flags))
        raise ConfigError(f"flag: the environment has no flag {question.flag!r}{hint}")
    return compile_engine(flags, segments, and_rules=question.and_rules).explain(question.flag, target)


def _chosen(wanted: str, infos: Sequence[EnvironmentInfo], place: str, hint: str = "") -> EnvironmentId:
    """The wanted environment, by id or else by identifier; if none is wanted, the only one there is."""
    if not infos:
        raise ConfigError(f"environment: there is none that can be read in {place}{hint}")
    found = [info.id for info in infos if info.id == wanted]
    found = found or [info.id for info in infos if not wanted or info.identifier == wanted]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{info.id} ({info.identifier or 'no identifier'})" for info in infos)
    what = "several have that identifier, name one by its id" if found and wanted else "must be one of those"
    raise ConfigError(f"environment: {what} in {place}: {names}")
