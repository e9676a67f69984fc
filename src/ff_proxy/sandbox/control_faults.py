"""The control API for received requests and usage, and for faults of streams and answers."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute

from ff_proxy.errors import RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.control_routes import control_route, read_body
from ff_proxy.sandbox.faults import EVERY_ROUTE, Fault
from ff_proxy.sandbox.received import ReceivedRequest, UsagePost
from ff_proxy.sandbox.running import RunningSandbox


class WhichStreams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The streams of one environment (id or identifier), or all."""

    environment: str = ""


class Cut(WhichStreams, frozen=True):
    """How to end streams: at the end of the response, or with RST."""

    how: Literal["eof", "reset"] = "eof"


class Chunk(WhichStreams, frozen=True, kw_only=True):
    """Any text to send as one HTTP chunk."""

    text: str


class Down(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to be unreachable.

    ``refuse`` closes the listening socket, this API's too, so it needs ``seconds``; ``reset`` and ``hang``
    take connections and break them or leave them waiting, until ``/sandbox/up``.
    """

    how: Literal["refuse", "reset", "hang"] = "reset"
    seconds: float | None = None


class FaultControl:
    """Its handlers over one sandbox."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            control_route("GET", "/settings", self._settings),
            control_route("PATCH", "/settings", self._set),
            control_route("GET", "/usage", self._usage),
            control_route("DELETE", "/usage", self._reset_usage),
            control_route("GET", "/usage/posts", self._posts),
            control_route("GET", "/requests", self._counts),
            control_route("DELETE", "/requests", self._reset_requests),
            control_route("GET", "/requests/recent", self._recent),
            control_route("GET", "/streams", self._streams),
            control_route("POST", "/streams/cut", self._cut),
            control_route("POST", "/streams/mute", self._mute),
            control_route("POST", "/streams/unmute", self._unmute),
            control_route("POST", "/streams/send", self._send),
            control_route("GET", "/faults", self._faults),
            control_route("POST", "/faults", self._add_fault),
            control_route("DELETE", "/faults", self._clear_faults),
            control_route("POST", "/down", self._down),
            control_route("POST", "/up", self._up),
        ]

    async def _settings(self, _: Request) -> object:
        return self._sandbox.state.settings

    async def _set(self, request: Request) -> object:
        settings = self._sandbox.state.settings
        given = await read_body(request, dict[str, object])
        try:
            wanted = msgspec.convert({**msgspec.to_builtins(settings), **given}, type(settings), strict=True)
        except msgspec.ValidationError as error:
            raise RequestError(400, f"the settings cannot be used: {error}") from error
        for name in settings.__struct_fields__:
            setattr(settings, name, getattr(wanted, name))
        return settings

    async def _usage(self, _: Request) -> dict[str, object]:
        return {"posts": self._sandbox.usage.received, "sums": self._sandbox.usage.sums()}

    async def _posts(self, _: Request) -> list[UsagePost]:
        return list(self._sandbox.usage.posts())

    async def _reset_usage(self, _: Request) -> dict[str, object]:
        self._sandbox.usage.reset()
        return {}

    async def _counts(self, _: Request) -> dict[str, dict[str, int]]:
        return self._sandbox.journal.counts()

    async def _recent(self, _: Request) -> list[ReceivedRequest]:
        return list(self._sandbox.journal.recent())

    async def _reset_requests(self, _: Request) -> dict[str, object]:
        self._sandbox.journal.reset()
        return {}

    async def _streams(self, _: Request) -> dict[str, object]:
        streams = self._sandbox.streams
        return {
            "open": streams.count(),
            "environments": {name: streams.count(name) for name in self._sandbox.state.environments},
        }

    async def _cut(self, request: Request) -> dict[str, object]:
        cut = await read_body(request, Cut)
        return {"cut": self._sandbox.streams.cut(self._meant(cut), cut.how)}

    async def _mute(self, request: Request) -> dict[str, object]:
        self._sandbox.streams.mute(self._meant(await read_body(request, WhichStreams)))
        return {}

    async def _unmute(self, request: Request) -> dict[str, object]:
        self._sandbox.streams.unmute(self._meant(await read_body(request, WhichStreams)))
        return {}

    async def _send(self, request: Request) -> dict[str, object]:
        chunk = await read_body(request, Chunk)
        self._sandbox.streams.send(self._meant(chunk), chunk.text.encode())
        return {}

    async def _faults(self, _: Request) -> list[Fault]:
        return self._sandbox.faults.listing()

    async def _add_fault(self, request: Request) -> list[Fault]:
        self._sandbox.faults.add(await read_body(request, Fault))
        return self._sandbox.faults.listing()

    async def _clear_faults(self, request: Request) -> list[Fault]:
        self._sandbox.clear_faults(request.query_params.get("route"))
        return self._sandbox.faults.listing()

    async def _down(self, request: Request) -> dict[str, object]:
        down = await read_body(request, Down)
        if down.how == "refuse":
            if down.seconds is None:
                raise RequestError(400, "refuse needs seconds: this API is refused as well meanwhile")
            self._sandbox.listener.refuse(down.seconds)
            return {}
        self._sandbox.faults.add(Fault(route=EVERY_ROUTE, connection=down.how))
        if down.how == "hang":
            self._sandbox.streams.mute()
        else:
            self._sandbox.streams.cut(how="reset")
        return {}

    async def _up(self, _: Request) -> dict[str, object]:
        self._sandbox.clear_faults()
        self._sandbox.streams.unmute()
        return {}

    def _meant(self, which: WhichStreams) -> EnvironmentId | None:
        return self._sandbox.state.find(which.environment).info.id if which.environment else None
