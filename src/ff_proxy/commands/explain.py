"""``ff-proxy explain``: why a target gets a variation, step by step."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TextIO

import msgspec

from ff_proxy.commands.command_line import json_option, read_command
from ff_proxy.commands.explain_sources import (
    DirectorySource,
    Found,
    ProxyAnswer,
    ProxySource,
    Question,
    Source,
    look_up,
)
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import Values, one_of, option, required
from ff_proxy.config.records import RedisStoreOptions, SqliteStoreOptions
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.evaluation import display_name, render
from ff_proxy.model.target import Target
from ff_proxy.runtime.event_loop import run_until_stopped
from ff_proxy.runtime.signals import Stop
from ff_proxy.wire.config import read_target

_PLACES: Final[Mapping[str, type[Any]]] = {
    "config-dir": DirectorySource,
    "data-dir": SqliteStoreOptions,
    "redis-address": RedisStoreOptions,
    "url": ProxySource,
}
# Secrets may come from the environment, which lists of processes do not show.
_FROM_ENVIRONMENT: Final = ("api-keys", "admin-token", "redis-username", "redis-password")


def _place(values: Values) -> type[Any] | None:
    """The record of the place to look at, if exactly one is given."""
    given = _given(values)
    return _PLACES[given[0]] if len(given) == 1 else None


def _one_place(values: Values) -> Iterable[str]:
    given = _given(values)
    if len(given) != 1:
        said = ", ".join(given) or "explain"
        yield f"{said}: name one place to look at: -config-dir, -data-dir, -redis-address or -url"


def _given(values: Values) -> list[str]:
    return [flag for flag in _PLACES if values.given(flag)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """The command's options."""

    flag: str = required(kinds.TEXT, "Flag to evaluate")
    target: str = required(kinds.TEXT, "Identifier of the target; its attributes are used if they are known")
    attributes: str = option(kinds.TEXT, "", "JSON object of attributes, instead of the known ones")
    environment: str = option(
        kinds.TEXT, "", "Environment, by id or identifier; may be left out if there is only one"
    )
    source: Source = one_of(
        _place, DirectorySource, SqliteStoreOptions, RedisStoreOptions, ProxySource, default=DirectorySource
    )
    and_rules: bool = option(kinds.BOOLEAN, True, "As the proxy's own option: evaluate groups with AND rules")
    json: bool = json_option()


def explain(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy explain ARGV…``: the steps, then the outcome; ``None`` if help is requested.

    Raises ``ConfigError`` for an invalid command line, or an unknown environment or flag; and
    ``OfflineDataError``, ``StoreError`` or ``UpstreamError`` if the place cannot be read.
    """
    command = read_command(
        argv, ExplainOptions, words=0, environ=environ, variables=_FROM_ENVIRONMENT, rule=_one_place
    )
    if command is None:
        return None
    options, _ = command
    return run_until_stopped(partial(_run, options, out), unfinished=ExitCode.CRASH)


async def _run(options: ExplainOptions, out: TextIO, _: Stop) -> ExitCode:
    question = Question(
        options.environment,
        options.flag,
        _target(options.target, options.attributes),
        described=bool(options.attributes),
        and_rules=options.and_rules,
    )
    found = await look_up(options.source, question)
    if options.json:
        write_json(out, _record(found))
        return ExitCode.OK
    name = f" ({found.environment.identifier})" if found.environment.identifier else ""
    target = json.dumps(msgspec.to_builtins(found.target))
    write_text(out, f"environment {found.environment.id}{name}, from {found.place}", f"target {target}")
    *steps, outcome = render(found.explanation).splitlines()
    if found.told is not None:
        outcome = f"=> {display_name(options.flag)}: {_words(found.told)} (as the proxy answers)"
    write_text(out, *steps, *([f"note: {found.note}"] if found.note else ()), outcome)
    return ExitCode.OK


def _words(answer: ProxyAnswer) -> str:
    return (
        "no variation" if answer.variation is None else f"{display_name(answer.variation)} = {answer.value!r}"
    )


def _record(found: Found) -> Mapping[str, object]:
    outcome: object = found.explanation.outcome
    if found.told is not None:
        told = found.told
        outcome = {"flag": found.explanation.outcome.flag, "variation": told.variation, "value": told.value}
    return {
        "source": found.place,
        "environment": {"id": found.environment.id, "identifier": found.environment.identifier},
        "target": found.target,
        "steps": found.explanation.steps,
        "notes": [found.note] if found.note else [],
        "outcome": outcome,
    }


def _target(identifier: str, attributes: str) -> Target:
    if not attributes:
        return Target(identifier)
    try:
        doc = json.loads(attributes)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"attributes: not JSON: {error}") from error
    if not isinstance(doc, dict):
        raise ConfigError("attributes: must be a JSON object")
    described = read_target({"identifier": identifier, "attributes": doc})
    assert described is not None  # noqa: S101  (it has an identifier)
    return described
