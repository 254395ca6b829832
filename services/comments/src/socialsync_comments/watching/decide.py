"""When a post's comments are read again, and how far: pure, with the time given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from socialsync_comments.watching.schemas import Calls, Described, Kept, Place, Watched
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import CommentPage

FASTEST = timedelta(minutes=5)
SLOWEST = timedelta(hours=12)
LIVELY = timedelta(hours=6)
FORGOTTEN = timedelta(days=90)
DAILY = timedelta(days=1)
RETRIES = 3
RETRY_PAUSE = timedelta(seconds=300)
AFTER_RETRIES = timedelta(hours=1)
# of the allowance that answers need, too
EASY_PERCENT, BUSY_PERCENT, FULL_PERCENT = 50.0, 80.0, 95.0
PERCENT_STEP = 5.0
USAGE_EVERY = timedelta(minutes=1)
PAGES_AT_MOST = 20
PAGE_COMMENTS = 50
DETAILS_KEPT = timedelta(days=30)
PICTURES_KEPT = timedelta(days=7)
PICTURES_AGAIN = timedelta(hours=1)


# --- when ---


def quiet_for(post: Watched, latest: datetime | None, now: datetime) -> timedelta:
    """Since the last comment or the publication; ``latest``: when the last comment that is stored was written."""
    active = (at for at in (post.published_at, post.last_comment_at, latest) if at is not None)
    return now - max(active, default=post.created_at)


def pause(quiet: timedelta, percent: float, *, chosen: bool) -> timedelta | None:
    """How long a post is left alone: the longer the quieter it is, and the more calls are used up. None: for good.

    ``chosen``: by a person, who may wait for a late comment.
    """
    if quiet >= FORGOTTEN:
        if not chosen:
            return None
        rest = DAILY
    else:
        rest = FASTEST if quiet <= LIVELY else min(max(quiet / 24, FASTEST), SLOWEST)
    if percent > BUSY_PERCENT:
        return 6 * rest
    return 2 * rest if percent > EASY_PERCENT else rest


def pause_after_failure(failures: int, rest: timedelta | None) -> timedelta | None:
    """After so many failures in a row, where ``rest`` is the pause of a post that is read without fault."""
    if failures <= RETRIES:
        return RETRY_PAUSE
    return None if rest is None else max(rest, AFTER_RETRIES)


def due_at(now: datetime, rest: timedelta | None, post: UUID) -> datetime | None:
    """One to two minutes early, by the post's id: what is due a moment after the tick of every five minutes would wait
    for the next one, and many posts shall not be due in the same second."""
    return None if rest is None else now + rest - timedelta(seconds=60 + post.int % 60)


# --- the allowance ---


def calls_paused_until(usage: Usage, now: datetime) -> datetime | None:
    """Until when an account's comments are not read; None where there is enough left."""
    if usage.percent <= FULL_PERCENT:
        return None
    return now + min(max(timedelta(seconds=usage.regain_seconds), FASTEST), DAILY)


def is_worth_writing(calls: Calls, usage: Usage, now: datetime) -> bool:
    """Whether the stored figure is too far off, or too old: many posts of one account are read each minute."""
    if calls.percent is None or calls.read_at is None:
        return True
    return abs(usage.percent - calls.percent) >= PERCENT_STEP or now - calls.read_at >= USAGE_EVERY


# --- how far ---


@dataclass(slots=True)
class Walk:
    """One run through a post's comments, the newest first: how far is told by the platform's own count.

    Webhooks bring most comments, so that a page without anything new proves nothing about the next one. Of a long
    way the rest is left to the next run, which starts at the newest comments, too, and goes on from there when it has
    reached what is known.
    """

    post: Watched
    places: list[Place] = field(default_factory=lambda: [Place()])
    older: list[Place] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    pages: int = 0
    stored: int = 0
    count: int | None = None
    held: int = 0
    whole: bool = True
    _found: bool = False

    @classmethod
    def begin(cls, post: Watched) -> Walk:
        return cls(post, older=places_of(post.cursor))

    def next(self) -> Place | None:
        """What to read next; None where this run ends."""
        ends = self.pages and (self.pages >= PAGES_AT_MOST or not self.wants_more)
        return None if ends or not self.places else self.places[0]

    def add(self, place: Place, page: CommentPage, kept: Kept) -> None:
        """``page`` was read at ``place``."""
        del self.places[0]
        self.pages += 1
        self.seen.update(comment.id for comment in page.comments)
        self.stored += kept.new + kept.again
        self.held, self._found = kept.held, kept.new > 0
        if self.pages == 1:
            self.count = page.count
        if place.thread is None and self.older and not self._found:
            self.places, self.older, self.whole = self.older, [], False
        else:
            self.places = [*self._further(place, page), *self.places]

    def _further(self, place: Place, page: CommentPage) -> list[Place]:
        if place.thread is not None and page.unfinished_threads:
            self.whole = False  # there is more, and no way to it
        threads = page.unfinished_threads if place.thread is None else ()
        further = [Place(thread) for thread in threads]
        if page.after is not None and page.after != place.after:
            further.append(Place(place.thread, page.after))
        return further

    @property
    def wants_more(self) -> bool:
        """Comments are missing, or some are gone and a look at all of them tells which."""
        if self.count is None:
            return self._found or not self.whole
        missing = self.count - self.held - self.post.unseen
        return missing > 0 or (self.has_fallen and self.count <= PAGES_AT_MOST * PAGE_COMMENTS)

    @property
    def has_fallen(self) -> bool:
        before = self.post.comments_count
        return self.count is not None and before is not None and self.count < before

    @property
    def shows_gone(self) -> bool:
        """Whether what is stored and was not seen is deleted: the count fell, and all comments were read."""
        return self.has_fallen and self.whole and not self.places

    @property
    def left(self) -> list[Place]:
        """What the next run has to read; also where a read failed, which is then the first of them."""
        if not self.pages:
            return self.older
        return self.places if self.wants_more else []

    def unseen(self, held: int) -> int:
        """How many comments are counted and never shown, where so many are ``held`` in the end."""
        if self.count is None:
            return self.post.unseen
        rest = max(self.count - held, 0)
        return min(self.post.unseen, rest) if self.places else rest


def places_of(cursor: str | None) -> list[Place]:
    """What an earlier run has left."""
    return [Place(thread, after) for thread, after in orjson.loads(cursor)] if cursor else []


def cursor_of(places: Sequence[Place]) -> str | None:
    return orjson.dumps([(place.thread, place.after) for place in places]).decode() if places else None


# --- what the post looks like ---


def wants_pictures(post: Described, now: datetime, *, sees_pictures: bool) -> bool:
    """Whether pictures are to be fetched: once, and again a while after some could not be had."""
    if not sees_pictures or _has_just_failed(post, now):
        return False
    return post.pictures_at is None or post.pictures_note is not None


def wants_details(post: Described, now: datetime) -> bool:
    """Whether the platform is to be asked about the post."""
    if post.details_at is None:
        return not _has_just_failed(post, now)
    return now - post.details_at > DETAILS_KEPT


def _has_just_failed(post: Described, now: datetime) -> bool:
    failed = post.pictures_at is not None and post.pictures_note is not None
    return failed and post.pictures_at is not None and now - post.pictures_at < PICTURES_AGAIN
