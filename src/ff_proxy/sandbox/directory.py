"""Environments for the sandbox from an offline directory."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.environment import EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.sandbox.environment import Document, Environment
from ff_proxy.sandbox.keys import Key, known_key
from ff_proxy.sandbox.seed.build import stable_id
from ff_proxy.sandbox.state import DEFAULT_ACCOUNT, DEFAULT_ORGANIZATION


def environments_in(root: Path) -> tuple[list[Environment], list[Problem]]:
    """Every environment below ``root``, and what is odd about the directory without keeping it from use.

    Blocks. Keys are hashed there, so each environment takes the keys it always had, and a server key of
    the sandbox's own: ``sandbox-<identifier>-server-key``. What a directory does not say of an environment
    (and it may not even say its name) is made up, so that the admin API can tell them apart.

    Raises ``OfflineDataError`` for a directory without environments or with one that is broken.
    """
    reading = read_directory(root)
    problems = [*reading.problems, *(problem for one in reading.readings for problem in one.problems)]
    for problem in problems:
        if problem.severity is Severity.BROKEN:
            raise problem.as_error()
    found = [one.environment for one in reading.readings if one.environment is not None]
    if not found:
        raise OfflineDataError(str(root), "there is no environment in it: no directory called env-…")
    return _distinct(found), problems


def _distinct(found: Iterable[OfflineEnvironment]) -> list[Environment]:
    taken: set[str] = set()
    made = []
    for environment in found:
        info = _completed(environment.config.info, taken)
        taken.add(info.identifier)
        made.append(_made(environment, info))
    return made


def _completed(info: EnvironmentInfo, taken: Iterable[str]) -> EnvironmentInfo:
    identifier = info.identifier if info.identifier not in {"", *taken} else info.id
    project = info.project_identifier or "sandbox"
    organization = info.organization_identifier or DEFAULT_ORGANIZATION
    return EnvironmentInfo(
        id=EnvironmentId(info.id),
        identifier=identifier,
        project=stable_id("project", project),
        project_identifier=project,
        organization=stable_id("organization", organization),
        organization_identifier=organization,
        # One sandbox is one account, wherever the environments came from.
        account=DEFAULT_ACCOUNT,
        cluster=info.cluster,
    )


def _made(environment: OfflineEnvironment, info: EnvironmentInfo) -> Environment:
    config = environment.config
    own = known_key("sandbox", "Server", f"sandbox-{info.identifier}-server-key")
    return Environment(
        info,
        flags=map(_document, config.flags.values()),
        segments=map(_document, config.segments.values()),
        targets=(
            {
                "identifier": target.identifier,
                "name": target.name or target.identifier,
                "anonymous": target.anonymous,
                "attributes": dict(target.attributes),
                "segments": [],
            }
            for target in environment.targets
        ),
        keys=[own, *(Key(f"key_{key[:8]}", "Server", key) for key in sorted(config.keys))],
    )


def _document(item: Item) -> Document:
    document: Document = msgspec.json.decode(item.wire)
    return document
