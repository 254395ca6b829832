"""When a post is meant: RFC 3339 with an offset, and the IANA zone that the offset must fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from importlib import resources
from zoneinfo import ZoneInfo

HORIZON = timedelta(days=365)

ZONES = frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split()) - {"Factory"}
_BY_LOWER_CASE = {name.lower(): name for name in ZONES}

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_EXAMPLE = "write it as 2026-12-01T09:00:00+01:00"
_TOO_FAR = f"This is more than {HORIZON.days} days ahead: choose an earlier time."


class TimeFault(ValueError):
    """What is wrong with a time or a zone, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A time as it was written: on which clock, and how far that clock is from UTC.

    ``offset`` None: it is not said. ``is_utc``: a ``Z``, which says the moment and nothing about any local clock.
    """

    clock: datetime
    offset: timedelta | None
    is_utc: bool = False

    @property
    def moment(self) -> datetime:
        return self.clock.replace(tzinfo=timezone(self.offset or timedelta())).astimezone(UTC)


def find_zone(name: str) -> ZoneInfo:
    """Raises TimeFault where there is no such zone."""
    if name in ZONES:
        return ZoneInfo(name)
    likely = _BY_LOWER_CASE.get(name.lower())
    hint = f"write {likely}" if likely else "use an IANA name, for example Europe/Paris"
    raise TimeFault(f"There is no such time zone: {hint}.")


def read_time(text: str) -> Written:
    """Raises TimeFault where it is no RFC 3339 time of whole seconds; the offset may be absent."""
    found = _TIME.fullmatch(text)
    if not found:
        raise TimeFault(f"This is not an RFC 3339 time: {_EXAMPLE}.")
    day, clock, fraction, offset = found.groups()
    if fraction and fraction.strip("0"):
        raise TimeFault("Posts are planned to the second: leave the fraction out.")
    try:
        at = datetime.fromisoformat(f"{day}T{clock}")
        shift = _read_offset(offset) if offset else None
        written = Written(at, shift, is_utc=offset in ("Z", "z"))
        _ = written.moment  # beyond the calendar's first or last day
    except (ValueError, OverflowError):
        raise TimeFault(f"There is no such date, time or offset: {_EXAMPLE}.") from None
    return written


def due_moment(text: str, zone: ZoneInfo | None, now: datetime) -> datetime:
    """The moment that ``text`` means, in UTC; ``zone`` None: it is not known, so that nothing can be said of it.

    Raises:
        TimeFault: the time is not readable, not one of that zone, past, or too far ahead.
    """
    written = read_time(text)
    _check_year(written, now)
    if written.offset is None:
        raise TimeFault(_without_offset(written, zone))
    if zone and not written.is_utc:
        _check_offset(written, zone)
    moment = written.moment
    if moment < now.replace(microsecond=0):
        raise TimeFault(f"This is past; it is {_show(now, zone or UTC)} now: choose a later time.")
    if moment > now + HORIZON:
        raise TimeFault(_TOO_FAR)
    return moment


def local_time(moment: datetime, zone_name: str) -> str:
    """RFC 3339 on the zone's clock; UTC where this installation does not know the zone."""
    return _show(moment, ZoneInfo(zone_name) if zone_name in ZONES else UTC)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which a day begins there; where its midnight is skipped, the first one after it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def possible_offsets(clock: datetime, zone: ZoneInfo) -> list[timedelta]:
    """The offsets at which the zone's clock shows that time: none where it is skipped, two where it comes twice."""
    found: list[timedelta] = []
    for fold in (0, 1):
        local = clock.replace(tzinfo=zone, fold=fold)
        shown = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        offset = local.utcoffset()
        if shown == clock and offset is not None and offset not in found:
            found.append(offset)
    return found


def _check_year(written: Written, now: datetime) -> None:
    """Keeps far-off years, at which the calendar ends, away from the zones."""
    if written.clock.year < now.year - 1:
        raise TimeFault("This is past: choose a later time.")
    if written.clock.year > now.year + 2:
        raise TimeFault(_TOO_FAR)


def _check_offset(written: Written, zone: ZoneInfo) -> None:
    offsets = possible_offsets(written.clock, zone)
    if written.offset in offsets:
        return
    if not offsets:
        raise TimeFault(_skipped(written.clock, zone))
    choice = " or ".join(_write(written.clock, offset) for offset in offsets)
    twice = ", since the clock shows that time twice" if len(offsets) > 1 else ""
    raise TimeFault(f"{zone.key} does not have this offset then: write {choice}{twice}.")


def _without_offset(written: Written, zone: ZoneInfo | None) -> str:
    offsets = possible_offsets(written.clock, zone) if zone else []
    if zone and not offsets:
        return _skipped(written.clock, zone)
    if not offsets:
        return f"The offset from UTC is missing: {_EXAMPLE}."
    choice = " or ".join(_write(written.clock, offset) for offset in offsets)
    twice = "; the clock shows that time twice" if len(offsets) > 1 else ""
    return f"The offset from UTC is missing{twice}: write {choice}."


def _skipped(clock: datetime, zone: ZoneInfo) -> str:
    # read with the offset from before the gap, it is the time that the clock shows instead
    instead = clock.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return (
        f"{zone.key} does not have this time, since its clock is put forward over it: "
        f"write {_show(instead, zone)}, or choose another."
    )


def _read_offset(text: str) -> timedelta:
    if text in ("Z", "z"):
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if text[0] == "-" else offset


def _show(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")


def _write(clock: datetime, offset: timedelta) -> str:
    return clock.replace(tzinfo=timezone(offset)).isoformat(timespec="seconds")
