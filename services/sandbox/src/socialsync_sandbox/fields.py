"""The ``fields`` parameter: what a reader of the Graph API asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from socialsync_sandbox.graph_errors import GraphError

_PART = re.compile(r"[{},]|[^{},]+")
_NAME = re.compile(r"(?P<name>\w+)(?P<modifiers>(?:\.\w+\([^()]*\))*)")
_LIMIT = re.compile(r"\.limit\((\d{1,9})\)")


@dataclass(slots=True, frozen=True)
class Field:
    """One field; an edge may have a ``limit``, and ``fields`` of its own."""

    name: str
    limit: int | None = None
    fields: tuple[Field, ...] = ()


@lru_cache(maxsize=256)
def parse(text: str) -> tuple[Field, ...]:
    """``id,replies.limit(50){id,text}``. Raises GraphError."""
    parts = iter(_PART.findall(text))
    found = tuple(_list(parts, is_nested=False))
    if next(parts, None) is not None:
        raise _syntax_error()
    return found


def names(fields: tuple[Field, ...]) -> frozenset[str]:
    return frozenset(field.name for field in fields)


def find(fields: tuple[Field, ...], name: str) -> Field | None:
    return next((field for field in fields if field.name == name), None)


def _list(parts: Iterator[str], *, is_nested: bool) -> Iterator[Field]:
    """Up to the end of the list that has begun."""
    latest: Field | None = None
    for part in parts:
        if part == "}" and is_nested:
            break
        if part == "{" and latest is not None:
            latest = Field(latest.name, latest.limit, tuple(_list(parts, is_nested=True)))
        elif part == ",":
            if latest is not None:
                yield latest
            latest = None
        elif latest is None and part.strip():
            latest = _field(part.strip())
        elif part.strip():
            raise _syntax_error()
    else:
        if is_nested:
            raise _syntax_error()
    if latest is not None:
        yield latest


def _field(part: str) -> Field:
    match = _NAME.fullmatch(part)
    if match is None:
        raise _syntax_error()
    limit = _LIMIT.search(match["modifiers"])
    return Field(match["name"], int(limit[1]) if limit else None)


def _syntax_error() -> GraphError:
    return GraphError(400, 2500, "Syntax error in the parameter fields")
