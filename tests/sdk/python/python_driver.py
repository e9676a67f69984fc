"""Drives the Harness Python SDK: JSON lines in, JSON lines out (see tests/sdk/README.md)."""

import json
import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

from featureflags.client import CfClient
from featureflags.config import Config
from featureflags.evaluations.auth_target import Target
from featureflags.util import log as sdk_log

VARIATIONS = {
    "boolean": CfClient.bool_variation,
    "string": CfClient.string_variation,
    "int": CfClient.int_variation,
    "number": CfClient.number_variation,
    "json": CfClient.json_variation,
}

# The SDK offers no events: its numbered log codes are its public account of what happens.
LOGGED_EVENTS = {5000: "streaming", 5001: "disconnected"}


class Output:
    """Standard output, one whole line at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def emit(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # a pipe is there
            sys.__stdout__.flush()  # type: ignore[union-attr]  # likewise


class CodeHandler(logging.Handler):
    """Turns the SDK's log codes into events of the protocol."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        for code, event in LOGGED_EVENTS.items():
            if f"SDKCODE:{code}:" in text:
                self._output.emit({"event": event})


def target_of(wire: Mapping[str, Any]) -> Target:
    """The SDK's target for one of the protocol's."""
    fields = {name: wire[name] for name in ("name", "anonymous", "attributes") if name in wire}
    return Target(identifier=wire["identifier"], **fields)


def answer(client: CfClient, command: Mapping[str, Any]) -> Any:
    """The value that the SDK gives for a `variation` command."""
    variation = VARIATIONS[command["kind"]]
    return variation(client, command["flag"], target_of(command["target"]), command["default"])


def announce(client: CfClient, output: Output) -> None:
    """Says `ready` or `failed`, once the SDK knows which."""
    client.wait_for_initialization()
    if client.is_initialized():
        output.emit({"event": "ready"})
    else:
        output.emit({"event": "failed", "error": "the SDK did not initialise"})


def main() -> None:
    """Runs one client until `close` or the end of input."""
    output = Output()
    sys.stdout = sys.stderr  # the SDK prints tracebacks
    sdk_log.setLevel(logging.INFO)
    sdk_log.addHandler(CodeHandler(output))
    options = json.loads(sys.stdin.readline())
    client = CfClient(
        options["apiKey"],
        config=Config(
            base_url=options["baseUrl"],
            events_url=options["eventsUrl"],
            pull_interval=options["pollSeconds"],
            enable_stream=options["stream"],
        ),
    )
    threading.Thread(target=announce, args=(client, output), daemon=True).start()
    for line in sys.stdin:
        command = json.loads(line)
        if command["cmd"] == "close":
            if client.is_initialized():
                client.close()  # posts what was counted
            output.emit({"id": command["id"], "result": None})
            break
        try:
            output.emit({"id": command["id"], "result": answer(client, command)})
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises is the observation
            output.emit({"id": command["id"], "error": repr(error)})


if __name__ == "__main__":
    main()
