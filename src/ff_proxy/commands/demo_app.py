"""The application of the demo: uses the real Harness Python SDK, and writes a line of JSON for each event.

Run as ``python -m ff_proxy.commands.demo_app URL KEY FLAG TARGET``. Lines: ``{"event": "ready"}``,
``{"event": "streaming"}``, ``{"event": "value", "value": …, "at": seconds of the monotonic clock}``.
"""

import json
import logging
import sys
import time
from typing import Any, Final

from featureflags.client import CfClient
from featureflags.config import Config
from featureflags.evaluations.auth_target import Target
from featureflags.util import log as sdk_log

_STREAMING: Final = "SDKCODE:5000:"
_LOOK_EVERY: Final = 0.001
_LOOK_RARELY: Final = 0.05
_EAGER_SECONDS: Final = 30.0


def _say(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


class _StreamWatch(logging.Handler):
    """Reports the SDK's stream, which the SDK only mentions in its log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a line of the SDK's log."""
        if _STREAMING in record.getMessage():
            _say("streaming")


def _run(url: str, key: str, flag: str, target: str) -> None:
    sdk_log.handlers.clear()
    sdk_log.setLevel(logging.INFO)
    sdk_log.addHandler(_StreamWatch())
    client = CfClient(key, config=Config(base_url=url, events_url=url))
    client.wait_for_initialization()
    if not client.is_initialized():
        sys.exit("the SDK could not be initialised")
    _say("ready")
    who = Target(identifier=target, name=target)
    value: object = None
    began = time.monotonic()
    while True:
        now = client.bool_variation(flag, who, False)
        if now != value:
            value = now
            _say("value", value=value, at=time.monotonic())
        # Precise while the demo measures; later, when a person watches, save processor time.
        time.sleep(_LOOK_EVERY if time.monotonic() - began < _EAGER_SECONDS else _LOOK_RARELY)


if __name__ == "__main__":
    _run(*sys.argv[1:])
