"""When tokens are refreshed, and when people hear that one ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socialsync_common.contracts import Platform
from socialsync_scheduler.accounts.decide import STAGES, expiry_stage, refresh_is_due

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
INSTAGRAM = Platform.INSTAGRAM


def days(count: float) -> timedelta:
    return timedelta(days=count)


@pytest.mark.parametrize(
    ("age", "left", "due"),
    [
        (days(29), days(31), False),  # before half of its life
        (days(30), days(30), True),
        (days(59), days(1), True),
        (days(59), timedelta(seconds=1), True),
        (days(60), days(0), False),  # too late: it cannot be refreshed any more
        (days(70), days(-10), False),
        (timedelta(hours=23), timedelta(hours=1), False),  # Instagram refuses a younger one than a day
        (timedelta(hours=24), timedelta(hours=1), True),
    ],
)
def test_an_instagram_token_is_refreshed_from_half_of_its_life(
    age: timedelta, left: timedelta, due: bool
) -> None:
    assert refresh_is_due(INSTAGRAM, NOW - age, NOW + left, NOW) is due


def test_an_instagram_token_of_unknown_end_is_refreshed_after_a_month() -> None:
    assert not refresh_is_due(INSTAGRAM, NOW - days(29), None, NOW)
    assert refresh_is_due(INSTAGRAM, NOW - days(30), None, NOW)
    assert refresh_is_due(INSTAGRAM, NOW - days(300), None, NOW)


@pytest.mark.parametrize("platform", [Platform.WHATSAPP, Platform.MESSENGER])
@pytest.mark.parametrize("left", [None, days(1)])
def test_other_tokens_cannot_be_refreshed(platform: Platform, left: timedelta | None) -> None:
    assert not refresh_is_due(platform, NOW - days(59), NOW + left if left else None, NOW)


@pytest.mark.parametrize(
    ("left", "stage"),
    [
        (days(60), None),
        (days(14) + timedelta(seconds=1), None),
        (days(14), 14),
        (days(7) + timedelta(seconds=1), 14),
        (days(7), 7),
        (days(3), 7),
        (days(1), 1),
        (timedelta(seconds=1), 1),
        (days(0), None),  # it has ended: the refusal that follows says so
        (days(-1), None),
    ],
)
def test_people_are_told_at_14_7_and_1_days(left: timedelta, stage: int | None) -> None:
    assert expiry_stage(NOW + left, NOW) == stage


def test_what_does_not_end_is_never_announced() -> None:
    assert expiry_stage(None, NOW) is None


@given(st.floats(0, 1439), st.integers(23, 24))
def test_whoever_looks_once_a_day_sees_every_stage(first_minute: float, hours: int) -> None:
    """Also the last one, although the looks are not aligned with the end."""
    end = NOW + days(30) + timedelta(minutes=first_minute)
    looks = (NOW + timedelta(hours=hours * count) for count in range(40))
    assert {stage for look in looks if (stage := expiry_stage(end, look))} == set(STAGES)
