"""The control API for what is served: environments, flags, segments, targets and keys."""

import uuid
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Change, Domain
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.sandbox.control_routes import control_route, is_announced, read_body
from ff_proxy.sandbox.environment import IDENTIFIER_FIELD, Document, Environment
from ff_proxy.sandbox.keys import Key, KeyType, known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed.build import identity
from ff_proxy.sandbox.state import DEFAULT_ORGANIZATION

_DOMAINS: Final = {"flags": Domain.FLAG, "segments": Domain.SEGMENT}


class Flip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a flip; with only ``flag``, its state is toggled."""

    flag: str
    environment: str = ""
    state: Literal["on", "off"] | None = None
    serve: str = ""


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a set; ``value`` is a variation for everyone, ``on``, ``off`` or ``rules``."""

    flag: str
    value: str
    environment: str = ""


class Flipped(msgspec.Struct, frozen=True):
    """The flag after a flip or set."""

    environment: str
    flag: str
    state: str
    serve: object
    everyone: str
    version: int


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to add: by its text in ``key``, by ``hash`` alone, or generated."""

    name: str
    type: KeyType = "Server"
    key: str = ""
    hash: str = ""

    def made(self) -> Key:
        """The key itself."""
        if self.hash:
            return Key(self.name, self.type, SdkKeyHash(self.hash))
        return known_key(self.name, self.type, self.key or str(uuid.uuid4()))


class NewEnvironment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment to add; other fields are generated or empty."""

    identifier: str
    id: str = ""
    project: str = "sandbox"
    organization: str = DEFAULT_ORGANIZATION
    cluster: str = "1"
    flags: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    targets: list[dict[str, Any]] = []
    keys: list[NewKey] = []


class ConfigControl:
    """Its handlers over one sandbox."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        self._state = sandbox.state

    def routes(self) -> list[BaseRoute]:
        """Its routes; ``{kind}`` is ``flags`` or ``segments``."""
        one = "/environments/{environment}"
        target = one + "/targets/{identifier:path}"
        item = one + "/{kind}/{identifier:path}"
        return [
            control_route("GET", "/environments", self._environments),
            control_route("POST", "/environments", self._add_environment),
            control_route("GET", one, self._environment),
            control_route("DELETE", one, self._remove_environment),
            control_route("POST", "/flip", self._flip),
            control_route("POST", "/set", self._set),
            control_route("GET", one + "/keys", self._keys),
            control_route("POST", one + "/keys", self._add_key),
            control_route("DELETE", one + "/keys/{key}", self._revoke_key),
            control_route("GET", one + "/targets", self._targets),
            control_route("PUT", target, self._put_target),
            control_route("DELETE", target, self._drop_target),
            control_route("GET", one + "/{kind}", self._items),
            control_route("GET", item, self._item),
            control_route("PUT", item, self._put_item),
            control_route("PATCH", item, self._patch_item),
            control_route("DELETE", item, self._drop_item),
        ]

    async def _environments(self, _: Request) -> list[dict[str, object]]:
        return [self._described(environment) for environment in self._state.environments.values()]

    async def _environment(self, request: Request) -> dict[str, object]:
        return self._described(self._asked(request))

    async def _add_environment(self, request: Request) -> dict[str, object]:
        new = await read_body(request, NewEnvironment)
        environment = Environment(
            identity(
                new.id or str(uuid.uuid4()),
                new.identifier,
                new.project,
                cluster=new.cluster,
                organization=new.organization,
                account=self._state.account,
            ),
            flags=new.flags,
            segments=new.segments,
            targets=new.targets,
            keys=[key.made() for key in new.keys],
        )
        self._state.add(environment)
        return self._described(environment)

    async def _remove_environment(self, request: Request) -> dict[str, object]:
        self._sandbox.remove(request.path_params["environment"])
        return {}

    async def _flip(self, request: Request) -> Flipped:
        flip = await read_body(request, Flip)
        environment = self._with(flip.flag, flip.environment)
        change = self._state.flip(
            environment.info.id,
            flip.flag,
            state=flip.state,
            serve=flip.serve,
            announce=is_announced(request),
        )
        return _flipped(environment, change)

    async def _set(self, request: Request) -> Flipped:
        wanted = await read_body(request, Setting)
        environment = self._with(wanted.flag, wanted.environment)
        announce = is_announced(request)
        return _flipped(
            environment, self._state.set(environment.info.id, wanted.flag, wanted.value, announce=announce)
        )

    async def _keys(self, request: Request) -> list[Key]:
        return self._asked(request).keys

    async def _add_key(self, request: Request) -> Key:
        key = (await read_body(request, NewKey)).made()
        self._asked(request).keys.append(key)
        return key

    async def _revoke_key(self, request: Request) -> Key:
        return self._sandbox.revoke(request.path_params["environment"], request.path_params["key"])

    async def _targets(self, request: Request) -> list[Document]:
        return list(self._asked(request).targets.values())

    async def _put_target(self, request: Request) -> Document:
        environment = self._asked(request)
        identifier = request.path_params["identifier"]
        environment.put_target({**await read_body(request, Document), "identifier": identifier})
        return environment.targets[identifier]

    async def _drop_target(self, request: Request) -> dict[str, object]:
        if self._asked(request).targets.pop(request.path_params["identifier"], None) is None:
            raise RequestError(404, "no such target")
        return {}

    async def _items(self, request: Request) -> list[Document]:
        return list(self._asked(request).items(_domain(request)).values())

    async def _item(self, request: Request) -> Document:
        return self._asked(request).item(_domain(request), request.path_params["identifier"])

    async def _put_item(self, request: Request) -> Change:
        document = await read_body(request, Document)
        return self._put(request, document)

    async def _patch_item(self, request: Request) -> Change:
        document = await self._item(request)
        # The version is incremented unless the patch sets it.
        return self._put(request, {**document, "version": 0, **await read_body(request, Document)})

    async def _drop_item(self, request: Request) -> Change:
        identifier = request.path_params["identifier"]
        environment = request.path_params["environment"]
        return self._state.drop(environment, _domain(request), identifier, announce=is_announced(request))

    def _put(self, request: Request, document: Document) -> Change:
        domain = _domain(request)
        named = {**document, IDENTIFIER_FIELD[domain]: request.path_params["identifier"]}
        return self._state.put(
            request.path_params["environment"], domain, named, announce=is_announced(request)
        )

    def _with(self, flag: str, environment: str) -> Environment:
        return self._state.find(environment) if environment else self._state.with_flag(flag)

    def _asked(self, request: Request) -> Environment:
        return self._state.find(request.path_params["environment"])

    def _described(self, environment: Environment) -> dict[str, object]:
        info = environment.info
        return {
            "id": info.id,
            "identifier": info.identifier,
            "project": info.project_identifier,
            "organization": info.organization_identifier,
            "account": info.account,
            "cluster": info.cluster,
            "keys": environment.keys,
            "flags": {name: document.get("state") for name, document in environment.flags.items()},
            "segments": list(environment.segments),
            "targets": len(environment.targets),
            "streams": self._sandbox.streams.count(info.id),
        }


def _flipped(environment: Environment, change: Change) -> Flipped:
    document = environment.flags[change.identifier]
    return Flipped(
        environment.info.identifier,
        change.identifier,
        document["state"],
        document.get("defaultServe"),
        environment.everyone_gets(change.identifier),
        change.version,
    )


def _domain(request: Request) -> Domain:
    try:
        return _DOMAINS[request.path_params["kind"]]
    except KeyError:
        raise RequestError(404, f"there are {' and '.join(_DOMAINS)} here, and keys and targets") from None
