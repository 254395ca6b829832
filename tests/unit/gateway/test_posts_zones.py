"""Times as people write them, on clocks that are put forward and back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socialsync_gateway.posts.zones import (
    HORIZON,
    ZONES,
    TimeFault,
    due_moment,
    find_zone,
    local_time,
    possible_offsets,
    read_time,
    start_of_day,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARIS, NEW_YORK = ZoneInfo("Europe/Paris"), ZoneInfo("America/New_York")
LORD_HOWE, KOLKATA = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kolkata")


def due(text: str, zone: ZoneInfo | None = PARIS, now: datetime = NOW) -> str:
    return due_moment(text, zone, now).isoformat()


def fault(text: str, zone: ZoneInfo | None = PARIS, now: datetime = NOW) -> str:
    with pytest.raises(TimeFault) as raised:
        due_moment(text, zone, now)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-28T09:00:00+01:00", PARIS, "2026-03-28T08:00:00+00:00"),
        ("2026-03-30T09:00:00+02:00", PARIS, "2026-03-30T07:00:00+00:00"),
        ("2026-03-07T09:00:00-05:00", NEW_YORK, "2026-03-07T14:00:00+00:00"),
        ("2026-03-09T09:00:00-04:00", NEW_YORK, "2026-03-09T13:00:00+00:00"),
        ("2026-04-01T09:00:00+11:00", LORD_HOWE, "2026-03-31T22:00:00+00:00"),
        ("2026-04-06T09:00:00+10:30", LORD_HOWE, "2026-04-05T22:30:00+00:00"),
        ("2026-04-06T09:00:00+05:30", KOLKATA, "2026-04-06T03:30:00+00:00"),
        ("2026-03-28 09:00:00.000z", PARIS, "2026-03-28T09:00:00+00:00"),
        ("2026-03-28t09:00:00+00:00", ZoneInfo("UTC"), "2026-03-28T09:00:00+00:00"),
    ],
)
def test_times_with_the_zones_offset(text, zone, moment):
    assert due(text, zone) == moment


@pytest.mark.parametrize(
    ("zone", "skipped", "instead"),
    [
        (PARIS, "2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00"),
        (NEW_YORK, "2026-03-08T02:30:00", "2026-03-08T03:30:00-04:00"),
        (LORD_HOWE, "2026-10-04T02:15:00", "2026-10-04T02:45:00+11:00"),  # only half an hour
    ],
)
@pytest.mark.parametrize("offset", ["", "+01:00", "+02:00", "-05:00", "-04:00", "+10:30", "+11:00"])
def test_skipped_times_are_refused_with_what_the_clock_shows_instead(zone, skipped, instead, offset):
    said = fault(skipped + offset, zone)
    assert "does not have this time" in said
    assert instead in said


@pytest.mark.parametrize(
    ("zone", "clock", "offsets"),
    [
        (PARIS, "2026-10-25T02:30:00", ("+02:00", "+01:00")),
        (NEW_YORK, "2026-11-01T01:30:00", ("-04:00", "-05:00")),
        (LORD_HOWE, "2026-04-05T01:45:00", ("+11:00", "+10:30")),
    ],
)
def test_times_that_come_twice_are_told_apart_by_their_offset(zone, clock, offsets):
    first, second = (due_moment(clock + offset, zone, NOW) for offset in offsets)
    assert first < second
    assert (local_time(first, zone.key), local_time(second, zone.key)) == tuple(
        clock + offset for offset in offsets
    )
    for said in (fault(clock, zone), fault(clock + "+07:00", zone)):
        assert "twice" in said
        assert all(clock + offset in said for offset in offsets)


def test_an_offset_that_the_zone_does_not_have_then():
    assert "write 2026-03-30T09:00:00+02:00." in fault("2026-03-30T09:00:00+01:00")
    assert "write 2026-03-28T09:00:00+01:00." in fault("2026-03-28T09:00:00+02:00")
    assert "write 2026-03-28T09:00:00+05:30." in fault("2026-03-28T09:00:00+05:00", KOLKATA)
    assert "write 2026-03-28T09:00:00+01:00." in fault("2026-03-28T09:00:00+00:00")


def test_a_z_is_the_moment_itself():
    assert due("2026-10-25T00:30:00Z") == "2026-10-25T00:30:00+00:00"
    assert (
        local_time(due_moment("2026-03-29T01:30:00Z", PARIS, NOW), "Europe/Paris")
        == "2026-03-29T03:30:00+02:00"
    )


def test_without_an_offset_the_answer_names_it():
    assert "write 2026-03-30T09:00:00+02:00." in fault("2026-03-30T09:00:00")
    assert "offset from UTC is missing" in fault("2026-03-30T09:00:00", None)


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "2026-03-30", "2026-03-30T09:00+01:00", "2026-03-30T09:00:00+0100", "1774861200", "20260330T090000Z",
        "2026-02-29T09:00:00+01:00", "2026-13-01T09:00:00Z", "2026-03-30T25:00:00Z", "2026-03-30T23:59:60Z",
        "2026-03-30T09:00:00+24:00", "2026-03-30T09:00:00+01:60", "2026-W14-1T09:00:00Z", "２０２６-03-30T09:00:00Z",
        " 2026-03-30T09:00:00Z", "2026-03-30T09:00:00Z\n", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
    ],
)  # fmt: skip
def test_what_is_no_time(text):
    assert "2026-12-01T09:00:00+01:00" in fault(text)


def test_fractions_of_a_second():
    assert due("2026-03-28T09:00:00.000+01:00") == due("2026-03-28T09:00:00+01:00")
    assert "to the second" in fault("2026-03-28T09:00:00.5+01:00")


def test_past_and_far_times():
    now = datetime(2026, 3, 28, 8, 0, 0, 900_000, tzinfo=UTC)
    assert due("2026-03-28T09:00:00+01:00", now=now) == "2026-03-28T08:00:00+00:00"  # this very second
    assert "it is 2026-03-28T09:00:00+01:00 now" in fault("2026-03-28T08:59:59+01:00", now=now)
    assert due((NOW + HORIZON).isoformat(), ZoneInfo("UTC"))
    assert "365 days" in fault((NOW + HORIZON + timedelta(seconds=1)).isoformat(), ZoneInfo("UTC"))


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "1026-03-28T09:00:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59"]
)
@pytest.mark.parametrize("zone", [None, PARIS, NEW_YORK, KOLKATA])
def test_the_ends_of_the_calendar(text, zone):
    said = fault(text, zone)
    assert "past" in said or "365 days" in said


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "localtime", "Factory", "right/UTC", "\0"]
)
def test_unknown_zones(name):
    with pytest.raises(TimeFault, match="There is no such time zone"):
        find_zone(name)


def test_a_zone_in_other_letters_is_named():
    with pytest.raises(TimeFault, match="write Europe/Paris"):
        find_zone("europe/paris")


def test_every_zone_can_be_used():
    assert len(ZONES) > 500
    for name in ZONES:
        assert local_time(NOW, find_zone(name).key)


def test_a_zone_that_is_not_known_here_is_shown_in_utc():
    assert local_time(NOW, "Mars/Olympus") == "2026-03-01T12:00:00+00:00"


def test_days_begin_at_midnight_or_right_after_it():
    assert start_of_day(date(2026, 3, 29), PARIS).isoformat() == "2026-03-28T23:00:00+00:00"
    assert start_of_day(date(2026, 3, 30), PARIS).isoformat() == "2026-03-29T22:00:00+00:00"
    beirut = ZoneInfo("Asia/Beirut")  # its midnight of this day is skipped
    assert (
        start_of_day(date(2026, 3, 29), beirut).astimezone(beirut).isoformat() == "2026-03-29T01:00:00+03:00"
    )
    havana = ZoneInfo("America/Havana")  # its midnight of this day comes twice: the first one counts
    assert (
        start_of_day(date(2026, 11, 1), havana).astimezone(havana).isoformat() == "2026-11-01T00:00:00-04:00"
    )


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(microsecond=0)),  # noqa: DTZ001
    st.sampled_from(
        ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]
    ),
)
def test_what_is_shown_can_be_written(clock, name):
    zone = ZoneInfo(name)
    moment = clock.replace(tzinfo=UTC)
    text = local_time(moment, name)
    assert read_time(text).moment == moment
    assert due_moment(text, zone, moment - timedelta(days=1)) == moment
    assert len(possible_offsets(read_time(text).clock, zone)) in (1, 2)
