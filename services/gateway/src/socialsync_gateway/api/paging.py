"""Cursor pagination: a page ends with an opaque cursor of its last row's sort key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query

from socialsync_common.db import Row
from socialsync_gateway.problems import ProblemError

MAX_BIGINT = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=200, description="Items of a page")]
Cursor = Annotated[
    str | None, Query(max_length=1000, description="The `next` of the page before; absent: the first page")
]


def encode_cursor(*key: Any) -> str:
    """base64url, without padding, of the key's values as a JSON array."""
    return base64.urlsafe_b64encode(orjson.dumps(key, default=str)).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, *parsers: Callable[[Any], Any]) -> tuple[Any, ...] | None:
    """The key's values, one parser each.

    Raises:
        ProblemError: 400 where the cursor is not one that this list gave out.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(values, list):
            raise TypeError
        return tuple(parse(value) for parse, value in zip(parsers, values, strict=True))
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise ProblemError(
            400,
            "The cursor is not one that this list gave out: start again without it.",
            kind="bad-cursor",
        ) from None


def cut(rows: Sequence[Row], limit: int, *columns: str) -> tuple[list[Row], str | None]:
    """Cut ``limit + 1`` rows to a page; the cursor is of ``columns``, or None on the last page."""
    page = list(rows[:limit])
    if len(rows) <= limit:
        return page, None
    return page, encode_cursor(*(page[-1][column] for column in columns))


def as_text(value: Any) -> str:
    """A parser: text that Postgres can hold."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def as_bigint(value: Any) -> int:
    """A parser: a row id."""
    if type(value) is not int or not 0 <= value <= MAX_BIGINT:
        raise ValueError
    return value


def as_uuid(value: Any) -> UUID:
    """A parser: an id."""
    return UUID(value)


def as_time(value: Any) -> datetime:
    """A parser: a time with its zone."""
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError
    return at
