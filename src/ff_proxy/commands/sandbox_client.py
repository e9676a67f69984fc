"""Asking a running sandbox, for the commands that show and change it."""

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from ff_proxy.errors import RequestError, StartupError

URL: Final = "http://127.0.0.1:7100"
_PATIENCE: Final = 10.0


def ask(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The sandbox's answer; ``RequestError`` if it refuses, ``StartupError`` if there is none at ``url``."""
    try:
        # A sandbox is never behind an outbound proxy.
        with httpx2.Client(trust_env=False, timeout=_PATIENCE) as http:
            answer = http.request(method, f"{url}{path}", json=body)
            content = answer.json()
    except (httpx2.TransportError, ValueError) as error:
        raise StartupError(
            f"no sandbox answers at {url}; start one with ff-proxy sandbox, or say -url"
        ) from error
    if answer.status_code != httpx2.codes.OK:
        raise RequestError(answer.status_code, str(content.get("message", content)))
    return content


def in_words(flipped: Mapping[str, Any]) -> str:
    """What a change of a flag came to."""
    says = f"{flipped['flag']} in {flipped['environment']} is {flipped['state']}"
    if flipped["state"] == "on" and flipped["everyone"]:
        says += f", and everyone gets {flipped['everyone']}"
    elif flipped["state"] == "on":
        served = flipped["serve"] or {}
        says += f" and serves {served.get('variation') or 'by percentage'} by default"
    return f"{says} (version {flipped['version']})"
