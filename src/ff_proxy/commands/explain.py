"""``ff-proxy explain``: why does this target get this variation? Every step, from an offline directory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from ff_proxy.commands.command_line import read_options, usage
from ff_proxy.config import kinds
from ff_proxy.config.given import nearest
from ff_proxy.config.option import Option
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.evaluation import compile_engine, render
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.wire.config import read_feature, read_segment, read_target

_GROUP: Final = "Explain"

# fmt: off
CONFIG_DIR: Final = Option(
    "config-dir", _GROUP, kinds.FILE, None,
    "Offline directory that holds the environment (ff-proxy -generate-offline-config writes one)",
)
ENVIRONMENT: Final = Option(
    "environment", _GROUP, kinds.TEXT, "",
    "Environment id; may be left out if the directory holds one only",
)
FLAG: Final = Option(
    "flag", _GROUP, kinds.TEXT, "",
    "Flag to evaluate",
)
TARGET: Final = Option(
    "target", _GROUP, kinds.TEXT, "",
    "Identifier of the target; one of the directory's targets brings its attributes along",
)
ATTRIBUTES: Final = Option(
    "attributes", _GROUP, kinds.TEXT, "",
    "JSON object of attributes, in place of those known",
)
# fmt: on
OPTIONS: Final[tuple[Option[Any], ...]] = (CONFIG_DIR, ENVIRONMENT, FLAG, TARGET, ATTRIBUTES)


def explain(argv: Sequence[str], out: TextIO) -> ExitCode:
    """Run ``ff-proxy explain ARGV…``: the steps, then the outcome.

    Raises ``ConfigError`` for a command line that cannot be used or names what is not there, and
    ``OfflineDataError`` for a directory that cannot be read.
    """
    settings = read_options(argv, OPTIONS)
    if settings is None:
        print(usage("ff-proxy explain", OPTIONS), file=out)
        return ExitCode.OK
    root, name, identifier = settings[CONFIG_DIR], settings[FLAG], settings[TARGET]
    if root is None or not name or not identifier:
        given = {CONFIG_DIR.flag: root, FLAG.flag: name, TARGET.flag: identifier}
        raise ConfigError(*(f"{flag}: required" for flag, value in given.items() if not value))
    environment = _environment(root, settings[ENVIRONMENT])
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
    target = _target(environment, identifier, settings[ATTRIBUTES])
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
