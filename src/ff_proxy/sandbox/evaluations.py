"""Evaluations for client SDKs, by the proxy's own engine."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.sandbox.environment import Document, Environment
from ff_proxy.sandbox.wire import evaluation_document, flag_record, segment_record, target_record

_Record = TypeVar("_Record")


class Evaluations:
    """Answers evaluation requests; an environment is compiled anew when it has changed."""

    def __init__(self) -> None:
        self._engines: Final[dict[EnvironmentId, tuple[Environment, int, Engine]]] = {}

    def every(self, environment: Environment, identifier: str, header: str | None) -> list[dict[str, str]]:
        """Every flag that yields a variation, as documents.

        Args:
            environment: whose flags.
            identifier: the target in the request's path.
            header: the ``Harness-Target`` header, if there is one.
        """
        results = self._engine(environment).evaluate_all(_target(environment, identifier, header))
        return [evaluation_document(result) for result in results if isinstance(result, Evaluation)]

    def one(self, environment: Environment, identifier: str, header: str | None, flag: str) -> dict[str, str]:
        """One flag as a document; ``RequestError`` 404 if it yields no variation."""
        result = self._engine(environment).evaluate(flag, _target(environment, identifier, header))
        if isinstance(result, NoEvaluation):
            raise RequestError(404, f"flag {flag!r} yields nothing: {result.reason.value}")
        return evaluation_document(result)

    def _engine(self, environment: Environment) -> Engine:
        held = self._engines.get(environment.info.id)
        if held is not None and held[0] is environment and held[1] == environment.revision:
            return held[2]
        engine = compile_engine(
            dict(_records(environment.flags, flag_record)),
            dict(_records(environment.segments, segment_record)),
            previous=held[2] if held is not None else None,
        )
        self._engines[environment.info.id] = (environment, environment.revision, engine)
        return engine


def _target(environment: Environment, identifier: str, header: str | None) -> Target:
    # spec/behaviour#targets
    described = target_record(_decoded(header)) if header else None
    if described is not None and described.identifier == identifier:
        return described
    return target_record(environment.targets.get(identifier)) or Target(identifier)


def _decoded(header: str) -> object:
    try:
        return msgspec.json.decode(base64.b64decode(header))
    except (ValueError, RecursionError):
        return None


def _records(
    documents: Mapping[str, Document], read: Callable[[Document], _Record]
) -> Iterator[tuple[str, _Record]]:
    """The documents that the engine can evaluate: a test may have put anything there."""
    for name, document in documents.items():
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            yield name, read(document)
