"""``ff-proxy explain``: why does this target get this variation? Every step, from an offline directory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import msgspec

from ff_proxy.commands.command_line import read_options
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option, options_of, required
from ff_proxy.config.reference import usage
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.evaluation import compile_engine, render
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.wire.config import read_feature, read_segment, read_target

SUMMARY: Final = "why a target gets a flag's variation, step by step, from an offline directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """The command's options."""

    config_dir: Path = required(
        kinds.PATH,
        "Offline directory that holds the environment (ff-proxy -generate-offline-config writes one)",
    )
    environment: str = option(
        kinds.TEXT, "", "Environment id; may be left out if the directory holds one only"
    )
    flag: str = required(kinds.TEXT, "Flag to evaluate")
    target: str = required(
        kinds.TEXT, "Identifier of the target; its attributes are used if the directory has it"
    )
    attributes: str = option(kinds.TEXT, "", "JSON object of attributes, instead of the known ones")


def explain(argv: Sequence[str], out: TextIO) -> ExitCode:
    """Run ``ff-proxy explain ARGV…``: the steps, then the outcome.

    Raises ``ConfigError`` for a command line that cannot be used or names what is not there, and
    ``OfflineDataError`` for a directory that cannot be read.
    """
    options = read_options(argv, ExplainOptions)
    if options is None:
        print(usage("ff-proxy explain", options_of(ExplainOptions), SUMMARY), file=out)
        return ExitCode.OK
    name = options.flag
    environment = _environment(options.config_dir, options.environment)
    flags = environment.config.flags
    if name not in flags:
        raise ConfigError(f"flag: the environment has no flag {name!r}{nearest(name, list(flags))}")
    engine = compile_engine(
        {key: read_feature(msgspec.json.decode(item.wire)) for key, item in flags.items()},
        {
            key: read_segment(msgspec.json.decode(item.wire))
            for key, item in environment.config.segments.items()
        },
    )
    target = _target(environment, options.target, options.attributes)
    print(f"environment {environment.config.id}, target {json.dumps(msgspec.to_builtins(target))}", file=out)
    print(render(engine.explain(name, target)), file=out)
    return ExitCode.OK


def _environment(root: Path, wanted: str) -> OfflineEnvironment:
    found: dict[str, OfflineEnvironment] = {}
    for reading in read_directory(root).readings:
        if reading.environment is not None:
            found[reading.environment.config.id] = reading.environment
    if wanted in found:
        return found[wanted]
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    known = ", ".join(sorted(found)) or "none that can be read (see ff-proxy validate)"
    raise ConfigError(f"environment: must be one of those in {root}: {known}")


def _target(environment: OfflineEnvironment, identifier: str, attributes: str) -> Target:
    known = {target.identifier: target for target in environment.targets}
    target = known.get(identifier, Target(identifier))
    if not attributes:
        return target
    try:
        doc = json.loads(attributes)
    except ValueError as error:
        raise ConfigError(f"attributes: not JSON: {error}") from error
    if not isinstance(doc, dict):
        raise ConfigError("attributes: must be a JSON object")
    described = read_target({"identifier": identifier, "name": target.name, "attributes": doc})
    assert described is not None  # noqa: S101  (it has an identifier)
    return described
