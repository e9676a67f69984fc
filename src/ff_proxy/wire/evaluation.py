"""Writing evaluations: the four fields that client SDKs read, and nothing else.

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
_ANDROID_SAFE: Final = {'\\"': "\\u0022", "\\\\": "\\u005c"}
_encode: Final = msgspec.json.Encoder().encode


def encode_evaluation(evaluation: Evaluation, *, escape_json: bool = False) -> bytes:
    """Encode an evaluation as an object of ``flag``, ``kind``, ``value`` (always text) and ``identifier``.

    Args:
        evaluation: what to write.
        escape_json: encode the value of a JSON flag a second time (the option ``json-values=escaped``).
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
    """Encode text as a JSON string as the Go proxy does: ``<``, ``>``, ``&`` and line separators escaped."""
    return f'"{text.translate(_JSON_ESCAPES)}"'


def _plain_json(text: str) -> str:
    r"""Rewrite JSON without ``\"`` and ``\\``, which the Android SDK corrupts (spec/sdk-wire#trap-48)."""
    if "\\" not in text:
        return text
    try:
        decode_json(text.encode())
    except MalformedJson:
        return text  # not JSON: keep the author's text
    return _ESCAPE.sub(lambda escape: _ANDROID_SAFE.get(escape.group(), escape.group()), text)
