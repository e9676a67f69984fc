"""Evaluations for client SDKs: with the product's own engine, for the target as it described itself."""

import base64
import binascii
from typing import Final

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.evaluation import NoEvaluation
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.sandbox.environment import Environment
from ff_proxy.wire.config import read_feature, read_segment, read_target


class Evaluations:
    """Answers evaluation requests; an environment is compiled anew when it has changed."""

    def __init__(self) -> None:
        self._engines: Final[dict[EnvironmentId, tuple[Environment, int, Engine]]] = {}

    def every(self, environment: Environment, identifier: str, header: str | None) -> bytes:
        """Every flag that yields a variation, as the wire's JSON array.

        Args:
            environment: whose flags.
            identifier: the target in the request's path.
            header: the ``Harness-Target`` header, if there is one.
        """
        return self._engine(environment).evaluate_all_json(_target(environment, identifier, header))[0]

    def one(self, environment: Environment, identifier: str, header: str | None, flag: str) -> bytes:
        """One flag as the wire's JSON object; ``RequestError`` 404 if it yields no variation."""
        result = self._engine(environment).evaluate_json(flag, _target(environment, identifier, header))
        if isinstance(result, NoEvaluation):
            raise RequestError(404, f"flag {flag!r} yields nothing: {result.reason.value}")
        return result

    def _engine(self, environment: Environment) -> Engine:
        held = self._engines.get(environment.info.id)
        if held is not None and held[0] is environment and held[1] == environment.revision:
            return held[2]
        engine = compile_engine(
            {name: read_feature(document) for name, document in environment.flags.items()},
            {name: read_segment(document) for name, document in environment.segments.items()},
            previous=held[2] if held is not None else None,
        )
        self._engines[environment.info.id] = (environment, environment.revision, engine)
        return engine


def _target(environment: Environment, identifier: str, header: str | None) -> Target:
    # PRODUCT §3 "Targets": the header if it means the target in the path, what is known, the identifier.
    described = read_target(_decoded(header)) if header else None
    if described is not None and described.identifier == identifier:
        return described
    return read_target(environment.targets.get(identifier)) or Target(identifier)


def _decoded(header: str) -> object:
    try:
        return msgspec.json.decode(base64.b64decode(header))
    except (binascii.Error, ValueError):
        return None
