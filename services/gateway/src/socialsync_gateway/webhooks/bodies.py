"""Reading a webhook body: strict about JSON, lenient about what Postgres cannot hold."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

REPLACEMENT = "\ufffd"
_INTEGER_BITS = 63  # what JSON writers agree on
_FLOAT_BITS = 1024


def load_body(body: bytes) -> Any:
    """The parsed body. NUL and lone surrogates, which are JSON but not text, become U+FFFD.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            # orjson refuses lone surrogates, which the standard allows; refusing the body would lose its messages
            if b"\\ud" not in body.lower():
                raise
            return _clean(json.loads(body, parse_constant=_refuse))
        return _clean(value) if b"\\u0000" in body else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value.replace("\x00", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        return float(value) if value.bit_length() < _FLOAT_BITS else str(value)
    if isinstance(value, list):
        return [_clean(part) for part in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(part) for key, part in value.items()}
    return value
