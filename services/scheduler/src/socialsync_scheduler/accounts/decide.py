"""When a token is refreshed, and when people are told that one ends. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from socialsync_common.contracts import Platform

MIN_AGE = timedelta(hours=24)  # Instagram refreshes no younger token
LIFETIME = timedelta(days=60)  # of an Instagram token
STAGES = (1, 7, 14)  # days before the end, at each of which people are told once


def refresh_is_due(
    platform: Platform, issued_at: datetime, expires_at: datetime | None, now: datetime
) -> bool:
    """From half of its life until its end; only Instagram's tokens can be refreshed.

    A token whose end is not known is taken to live as long as Instagram's do; Instagram says if it has ended.
    """
    if platform is not Platform.INSTAGRAM or now < issued_at + MIN_AGE:
        return False
    if expires_at is None:
        return now >= issued_at + LIFETIME / 2
    return issued_at + (expires_at - issued_at) / 2 <= now < expires_at


def expiry_stage(expires_at: datetime | None, now: datetime) -> int | None:
    """The closest of 14, 7 and 1 days before the end that has been reached; None before, and after the end."""
    if expires_at is None or now >= expires_at:
        return None
    return next((days for days in STAGES if expires_at - now <= timedelta(days=days)), None)
