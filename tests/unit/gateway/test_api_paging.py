"""Cursors: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from socialsync_gateway.api.paging import (
    as_bigint,
    as_text,
    as_time,
    as_uuid,
    cut,
    decode_cursor,
    encode_cursor,
)

times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(times, st.uuids())
def test_a_time_and_an_id_come_back(at: datetime, key: UUID):
    assert decode_cursor(encode_cursor(at, key), as_time, as_uuid) == (at, key)


@given(texts, st.integers(0, 2**63 - 1))
def test_a_text_and_a_number_come_back(name: str, number: int):
    cursor = encode_cursor(name, number)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=")
    assert decode_cursor(cursor, as_text, as_bigint) == (name, number)


@given(st.text())
def test_any_text_is_a_cursor_or_a_bad_request(text: str):
    try:
        decode_cursor(text, as_time, as_uuid)
    except HTTPException as error:
        assert error.status_code == 400  # noqa: PT017 - most texts raise, some may not


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor(),
        encode_cursor("2026-11-01T00:00:00+00:00"),
        encode_cursor("2026-11-01T00:00:00", uuid4()),
        encode_cursor("infinity", uuid4()),
        encode_cursor(1, uuid4()),
        encode_cursor("2026-11-01T00:00:00+00:00", None),
        encode_cursor("2026-11-01T00:00:00+00:00", 5),
        encode_cursor("2026-11-01T00:00:00+00:00", uuid4(), 1),
    ],
)
def test_a_key_of_the_wrong_shape_is_a_bad_request(cursor: str):
    with pytest.raises(HTTPException) as raised:
        decode_cursor(cursor, as_time, as_uuid)
    assert raised.value.status_code == 400


@pytest.mark.parametrize("value", [True, -1, 2**63, 1.0, "1", None])
def test_an_id_that_postgres_cannot_hold(value: object):
    with pytest.raises(HTTPException):
        decode_cursor(encode_cursor(value), as_bigint)


def test_the_last_page_has_no_cursor():
    rows = [{"id": 3}, {"id": 2}, {"id": 1}]
    assert cut(rows, 3, "id") == (rows, None)
    page, following = cut(rows, 2, "id")
    assert page == rows[:2]
    assert decode_cursor(following, as_bigint) == (2,)
    assert cut([], 2, "id") == ([], None)
