"""Writing evaluations: the four fields that client SDKs take, and nothing else (sdk-contract.md §4.3)."""

from typing import Final

import msgspec

from ff_proxy.model.evaluation import Evaluation
from ff_proxy.model.feature import Kind
from ff_proxy.wire.text import clean_text

_JSON_ESCAPES: Final = str.maketrans(
    {code: f"\\u{code:04x}" for code in (*range(0x20), 0x2028, 0x2029, *map(ord, "<>&"))}
    | {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)

_encode: Final = msgspec.json.Encoder().encode


def encode_evaluation(evaluation: Evaluation, *, escape_json: bool = False) -> bytes:
    """An evaluation → one JSON object of ``flag``, ``kind``, ``value`` (always text) and ``identifier``.

    Args:
        evaluation: what to write.
        escape_json: a JSON flag's value is encoded once more (PRODUCT §2 ``json-values=escaped``).
    """
    escape = escape_json and evaluation.kind == Kind.JSON
    fields = {
        "flag": evaluation.flag,
        "kind": evaluation.kind,
        "value": json_string(evaluation.value) if escape else evaluation.value,
        "identifier": evaluation.variation,
    }
    try:
        return _encode(fields)
    except UnicodeEncodeError:
        return _encode(clean_text(fields))


def json_string(text: str) -> str:
    """A text as a JSON string in the Go proxy's form: ``<``, ``>``, ``&`` and line separators escaped."""
    return f'"{text.translate(_JSON_ESCAPES)}"'
