"""Writing evaluations: the four fields that client SDKs take, and nothing else.

See spec/sdk-wire#evaluations.
"""

import re
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.evaluation import Evaluation
from ff_proxy.model.feature import Kind
from ff_proxy.wire.text import clean_text
from ff_proxy.wire.values import decode_json

_JSON_ESCAPES: Final = str.maketrans(
    {code: f"\\u{code:04x}" for code in (*range(0x20), 0x2028, 0x2029, *map(ord, "<>&"))}
    | {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)

_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)
_UNSPOILT: Final = {'\\"': "\\u0022", "\\\\": "\\u005c"}
_encode: Final = msgspec.json.Encoder().encode


def encode_evaluation(evaluation: Evaluation, *, escape_json: bool = False) -> bytes:
    """An evaluation → one JSON object of ``flag``, ``kind``, ``value`` (always text) and ``identifier``.

    Args:
        evaluation: what to write.
        escape_json: a JSON flag's value is encoded once more (the option
        ``json-values=escaped``).
    """
    value = clean_text(evaluation.value)
    if evaluation.kind == Kind.JSON:
        value = json_string(value) if escape_json else _plain_json(value)
    return _encode(
        {
            "flag": clean_text(evaluation.flag),
            "kind": clean_text(evaluation.kind),
            "value": value,
            "identifier": clean_text(evaluation.variation),
        }
    )


def json_string(text: str) -> str:
    """A text as a JSON string in the Go proxy's form: ``<``, ``>``, ``&`` and line separators escaped."""
    return f'"{text.translate(_JSON_ESCAPES)}"'


def _plain_json(text: str) -> str:
    r"""The same JSON without ``\"`` and ``\\``, which the Android SDK spoils before it parses (trap 48)."""
    if "\\" not in text:
        return text
    try:
        decode_json(text.encode())
    except MalformedJson:
        return text  # what is no JSON stays as somebody wrote it
    return _ESCAPE.sub(lambda escape: _UNSPOILT.get(escape.group(), escape.group()), text)
