"""Which resource a path names: the raw one, since a decoded ``%2F`` is a slash like any other."""

import re
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from ff_proxy.model.keys import EnvironmentId


class Resource(Enum):
    """Everything that SDKs and operators ask for; the values are the route templates of PRODUCT §3."""

    AUTH = "/client/auth"
    FLAGS = "/client/env/{env}/feature-configs"
    FLAG = "/client/env/{env}/feature-configs/{id}"
    SEGMENTS = "/client/env/{env}/target-segments"
    SEGMENT = "/client/env/{env}/target-segments/{id}"
    EVALUATIONS = "/client/env/{env}/target/{target}/evaluations"
    EVALUATION = "/client/env/{env}/target/{target}/evaluations/{flag}"
    STREAM = "/stream"
    USAGE = "/metrics/{env}"
    HEALTH = "/health"
    LIVE = "/health/live"
    READY = "/health/ready"
    METRICS = "/metrics"


class Place(msgspec.Struct, frozen=True):
    """A resource and the identifiers in its path, percent-decoded once (PRODUCT §6.10).

    ``item`` is the flag's or segment's identifier, ``target`` the target's, ``target_sent`` the same as
    it was sent; each is empty where the resource has none.
    """

    resource: Resource
    environment: EnvironmentId = EnvironmentId("")
    item: str = ""
    target: str = ""
    target_sent: str = ""


_PATTERN: Final = re.compile(
    rb"/+(?:api/+1\.0/+)?(?:"
    rb"client/+env/+(?P<env>[^/]+)/+(?:"
    rb"(?P<flags>feature-configs)(?:/+(?P<flag>[^/]+))?"
    rb"|target-segments(?:/+(?P<segment>[^/]+))?"
    # A target's own slashes count: it is what stands before the last "/evaluations".
    rb"|target/(?P<target>.*)/evaluations(?:/+(?P<evaluated>[^/]+))?"
    rb")"
    rb"|metrics/+(?P<usage>[^/]+)"
    rb"|(?P<plain>client/+auth|stream|health/+live|health/+ready|health|metrics)"
    rb")/*",
    re.DOTALL,
)
_PLAIN: Final = {
    b"client/auth": Resource.AUTH,
    b"stream": Resource.STREAM,
    b"health": Resource.HEALTH,
    b"health/live": Resource.LIVE,
    b"health/ready": Resource.READY,
    b"metrics": Resource.METRICS,
}
_SLASHES: Final = re.compile(rb"/+")
_PREFIX: Final = re.compile(rb"/+(?:api/+1\.0(?=/))?/*")


def locate(path: bytes) -> Place | None:
    """The place that a raw path names, at the root or under ``/api/1.0``; ``None`` if it names none."""
    match = _PATTERN.fullmatch(path)
    if match is None:
        return None
    env, flags, flag, segment, target, evaluated, usage, plain = match.groups()
    if plain is not None:
        return Place(_PLAIN[_SLASHES.sub(b"/", plain)])
    if usage is not None:
        return Place(Resource.USAGE, EnvironmentId(decoded(usage)))
    environment = EnvironmentId(decoded(env))
    if target is not None:
        return _evaluation(environment, target, evaluated)
    if flags is not None:
        return _item(Resource.FLAGS, Resource.FLAG, environment, flag)
    return _item(Resource.SEGMENTS, Resource.SEGMENT, environment, segment)


def decoded(sent: bytes) -> str:
    """An identifier percent-decoded once; ``%`` that begins no escape and ``+`` stand for themselves."""
    return (unquote_to_bytes(sent) if b"%" in sent else sent).decode("utf-8", "replace")


def at_root(path: bytes) -> bytes:
    """The same path without doubled slashes in front and without ``/api/1.0``."""
    return _PREFIX.sub(b"/", path, count=1)


def _item(bulk: Resource, single: Resource, environment: EnvironmentId, sent: bytes | None) -> Place:
    return Place(bulk, environment) if sent is None else Place(single, environment, decoded(sent))


def _evaluation(environment: EnvironmentId, target: bytes, flag: bytes | None) -> Place:
    sent = target.decode("utf-8", "replace")
    if flag is None:
        return Place(Resource.EVALUATIONS, environment, "", decoded(target), sent)
    return Place(Resource.EVALUATION, environment, decoded(flag), decoded(target), sent)
