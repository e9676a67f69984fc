"""Asks the OFREP provider for Python: JSON lines in, JSON lines out (see tests/sdk/README.md)."""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext


def main(base_url: str, key: str) -> None:
    """Runs one client until the end of input."""
    api.set_provider(OFREPProvider(base_url, headers_factory=lambda: {"X-API-Key": key}))
    client = api.get_client()
    calls = {
        "boolean": client.get_boolean_details,
        "string": client.get_string_details,
        "integer": client.get_integer_details,
        "float": client.get_float_details,
        "object": client.get_object_details,
    }
    for line in sys.stdin:
        asked = json.loads(line)
        context = asked["context"]
        who = EvaluationContext(context.pop("targetingKey", None), context)
        details = calls[asked["kind"]](asked["flag"], asked["fallback"], who)  # type: ignore[operator]  # by kind
        answer = {
            "value": details.value,
            "reason": details.reason,
            "variant": details.variant,
            "errorCode": details.error_code,
        }
        print(json.dumps(answer), flush=True)  # noqa: T201  # a command's output
    api.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
