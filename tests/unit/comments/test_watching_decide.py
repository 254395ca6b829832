"""When a post's comments are read again, and how far a run reads: without a platform, by what it would show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from socialsync_comments.watching import decide
from socialsync_comments.watching.decide import Walk
from socialsync_comments.watching.schemas import Calls, Described, Kept, Place, Watched
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import CommentPage, RemoteComment

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def post(**values: object) -> Watched:
    plain = Watched(
        id=uuid4(), tenant_id=uuid4(), account_id=uuid4(), external_id="m1", origin="published", published_at=None,
        comments_count=None, unseen=0, cursor=None, last_comment_at=None, failures=0, pictures_at=None,
        created_at=NOW - DAY, taken_at=NOW,
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type]


# --- when ---


@pytest.mark.parametrize(
    ("quiet", "rest"),
    [
        (timedelta(0), 5 * MINUTE),
        (-MINUTE, 5 * MINUTE),  # the platform's clock is ahead of ours
        (6 * HOUR, 5 * MINUTE),
        (12 * HOUR, 30 * MINUTE),
        (2 * DAY, 2 * HOUR),
        (30 * DAY, 12 * HOUR),
        (90 * DAY - MINUTE, 12 * HOUR),
        (90 * DAY, None),
    ],
)
def test_a_post_is_read_the_less_the_quieter_it_is(quiet: timedelta, rest: timedelta | None) -> None:
    assert decide.pause(quiet, 0.0, chosen=False) == rest


def test_a_post_that_a_person_chose_is_read_each_day_however_quiet() -> None:
    assert decide.pause(400 * DAY, 0.0, chosen=True) == DAY


@pytest.mark.parametrize(
    ("percent", "times"), [(0, 1), (50, 1), (50.1, 2), (80, 2), (80.1, 6), (95, 6), (100, 6)]
)
def test_the_more_calls_are_used_up_the_less_is_read(percent: float, times: int) -> None:
    assert decide.pause(HOUR, percent, chosen=False) == times * 5 * MINUTE


def test_what_counts_as_quiet() -> None:
    assert decide.quiet_for(post(), None, NOW) == DAY
    assert decide.quiet_for(post(published_at=NOW - 3 * DAY), None, NOW) == 3 * DAY
    spoken = post(published_at=NOW - 3 * DAY, last_comment_at=NOW - 2 * HOUR)
    assert decide.quiet_for(spoken, None, NOW) == 2 * HOUR
    assert decide.quiet_for(spoken, NOW - HOUR, NOW) == HOUR


def test_after_failures_it_is_read_again_soon_three_times() -> None:
    pauses = [decide.pause_after_failure(failures, 2 * HOUR) for failures in (1, 2, 3, 4)]
    assert pauses == [5 * MINUTE, 5 * MINUTE, 5 * MINUTE, 2 * HOUR]
    assert decide.pause_after_failure(4, 5 * MINUTE) == HOUR
    assert decide.pause_after_failure(4, None) is None


def test_posts_are_due_apart_and_before_the_tick() -> None:
    due = {decide.due_at(NOW, 5 * MINUTE, UUID(int=number)) for number in range(1000)}
    assert len(due) == 60
    assert all(at is not None and 3 * MINUTE < at - NOW <= 4 * MINUTE for at in due)
    assert decide.due_at(NOW, None, UUID(int=1)) is None


# --- the allowance ---


@pytest.mark.parametrize(
    ("percent", "regain", "paused"),
    [(95, 0, None), (96, 0, 5 * MINUTE), (100, 1800, 30 * MINUTE), (100, 1e9, DAY)],
)
def test_an_account_pauses_when_its_calls_are_used_up(
    percent: float, regain: float, paused: timedelta | None
) -> None:
    until = decide.calls_paused_until(Usage(percent, regain), NOW)
    assert until == (None if paused is None else NOW + paused)


def test_the_figure_is_written_when_it_changed_or_is_old() -> None:
    def worth(percent: float, age: timedelta) -> bool:
        return decide.is_worth_writing(Calls(20.0, NOW - age, None), Usage(percent, 0), NOW)

    assert decide.is_worth_writing(Calls(None, None, None), Usage(0, 0), NOW)
    assert not worth(24.9, 59 * timedelta(seconds=1))
    assert worth(25, timedelta(0))
    assert worth(15, timedelta(0))
    assert worth(20, MINUTE)


# --- how far ---


class Remote:
    """A post on the platform, and what is stored of it. ``pages`` of top-level comments; ``threads``: replies that go
    on beyond what is shown, in pages; ``hides``: counted, and shown nowhere."""

    def __init__(
        self,
        pages: Sequence[Sequence[str]],
        threads: dict[str, Sequence[Sequence[str]]] | None = None,
        hides: int = 0,
    ) -> None:
        self.pages, self.threads, self.hides = list(pages), threads or {}, hides
        self.stored: set[str] = set()
        self.reads: list[Place] = []

    @property
    def ids(self) -> set[str]:
        shown = [*self.pages, *(page for pages in self.threads.values() for page in pages)]
        return {comment for page in shown for comment in page}

    def read(self, place: Place) -> CommentPage:
        self.reads.append(place)
        pages = self.pages if place.thread is None else self.threads[place.thread]
        number = int(place.after or 0)
        ids = pages[number] if pages else []
        return CommentPage(
            comments=tuple(RemoteComment(each, None, None, None, "", NOW, hidden=False) for each in ids),
            count=len(self.ids) + self.hides if place == Place() else None,
            after=str(number + 1) if number + 1 < len(pages) else None,
            unfinished_threads=tuple(each for each in ids if each in self.threads)
            if place.thread is None
            else (),
        )

    def run(self, watched: Watched) -> tuple[Walk, Watched]:
        """One run, and the post as it leaves it."""
        walk = Walk.begin(watched)
        while place := walk.next():
            page = self.read(place)
            ids = {comment.id for comment in page.comments}
            new = len(ids - self.stored)
            self.stored |= ids
            walk.add(place, page, Kept(new, 0, len(self.stored)))
        if walk.shows_gone:
            self.stored &= walk.seen
        after = replace(
            watched,
            comments_count=walk.count,
            unseen=walk.unseen(len(self.stored)),
            cursor=decide.cursor_of(walk.left),
        )
        return walk, after


def numbered(pages: int, prefix: str = "c") -> list[list[str]]:
    return [[f"{prefix}{page}-{place}" for place in range(3)] for page in range(pages)]


def test_one_call_is_enough_where_the_count_says_so() -> None:
    remote = Remote(numbered(5))
    remote.stored = set(remote.ids)
    _, after = remote.run(post())
    assert len(remote.reads) == 1
    assert after.cursor is None


def test_older_pages_are_read_until_none_is_missing() -> None:
    remote = Remote(numbered(5))
    remote.stored = remote.ids - {"c2-1"}  # a webhook was lost
    walk, _ = remote.run(post())
    assert remote.stored == remote.ids
    assert [place.after for place in remote.reads] == [None, "1", "2"]
    assert walk.stored == 1


def test_threads_are_read_before_older_pages() -> None:
    remote = Remote(numbered(2), {"c0-1": numbered(2, "r")})
    remote.stored = remote.ids - {"r1-0"}
    remote.run(post())
    assert remote.stored == remote.ids
    assert remote.reads == [Place(), Place("c0-1"), Place("c0-1", "1")]


def test_a_long_way_is_gone_in_several_runs() -> None:
    remote = Remote(numbered(45))
    walk, after = remote.run(post())
    assert walk.pages == decide.PAGES_AT_MOST
    assert after.cursor == '[[null,"20"]]'
    assert after.unseen == 0
    for _ in range(2):
        _, after = remote.run(after)
    assert remote.stored == remote.ids
    assert after.cursor is None
    assert len(remote.reads) == 47  # the newest page once a run


def test_what_came_between_two_runs_is_read_before_the_next_one_goes_on() -> None:
    remote = Remote(numbered(45))
    _, after = remote.run(post())
    new = numbered(3, "new")
    remote.pages = new + remote.pages
    after = replace(after, cursor='[[null,"23"]]')  # the platform's cursors stay with what they point at
    remote.reads.clear()
    remote.run(after)
    assert {each for page in new for each in page} <= remote.stored
    assert [place.after for place in remote.reads[:6]] == [None, "1", "2", "3", "23", "24"]


def test_a_run_that_only_caught_up_leaves_what_lies_beyond() -> None:
    remote = Remote(numbered(60))
    _, after = remote.run(replace(post(), cursor='[[null,"50"]]'))
    assert after.cursor == '[[null,"20"]]'


def test_what_is_never_shown_is_looked_for_once() -> None:
    remote = Remote(numbered(3), hides=2)
    _, after = remote.run(post())
    assert after.unseen == 2
    remote.reads.clear()
    _, after = remote.run(after)
    assert len(remote.reads) == 1
    remote.hides = 0
    remote.pages[0].insert(0, "new")
    _, after = remote.run(after)
    assert after.unseen == 0


def test_the_gone_are_told_only_by_a_count_that_fell_and_a_whole_reading() -> None:
    remote = Remote(numbered(3))
    _, after = remote.run(post())
    remote.pages[2].remove("c2-1")
    walk, after = remote.run(after)
    assert walk.shows_gone
    assert walk.pages == 3
    assert remote.stored == remote.ids
    assert after.unseen == 0
    walk, _ = remote.run(after)
    assert not walk.shows_gone


def test_what_is_stored_and_not_counted_is_not_taken_for_gone() -> None:
    remote = Remote([[]])
    remote.stored = {"on-an-advertisement"}
    walk, after = remote.run(post())
    assert not walk.shows_gone
    walk, _ = remote.run(after)
    assert not walk.shows_gone


def test_of_more_comments_than_a_run_can_read_none_is_looked_for() -> None:
    many = decide.PAGES_AT_MOST * decide.PAGE_COMMENTS + 1
    remote = Remote([[f"c{number}" for number in range(many)], ["older"]])
    remote.stored = remote.ids | {"gone"}
    walk, _ = remote.run(post(comments_count=many + 5))
    assert walk.has_fallen
    assert walk.pages == 1
    assert not walk.shows_gone


def test_a_reading_that_went_on_from_an_earlier_one_proves_nobody_gone() -> None:
    remote = Remote(numbered(25))
    _, after = remote.run(post())
    walk, _ = remote.run(replace(after, comments_count=1000))
    assert walk.has_fallen
    assert not walk.shows_gone


def test_without_a_count_it_reads_on_while_there_is_something_new() -> None:
    remote = Remote(numbered(4))
    remote.stored = {*remote.pages[1], *remote.pages[2], *remote.pages[3]}
    walk = Walk.begin(post(comments_count=7, unseen=1))
    while place := walk.next():
        page = replace(remote.read(place), count=None)
        ids = {comment.id for comment in page.comments}
        walk.add(place, page, Kept(len(ids - remote.stored), 0, 0))
    assert walk.pages == 2
    assert walk.unseen(held=12) == 1
    assert not walk.has_fallen


def test_a_cursor_that_leads_to_itself_ends_the_walk() -> None:
    walk = Walk.begin(post())
    circle = CommentPage((), count=9, after="same")
    while place := walk.next():
        walk.add(place, circle, Kept(0, 0, 0))
    assert walk.pages == 2


def test_a_thread_without_a_way_on_proves_nobody_gone() -> None:
    walk = Walk.begin(post(comments_count=9))
    walk.add(Place(), CommentPage((), count=5, unfinished_threads=("c1",)), Kept(0, 0, 5))
    walk.add(Place("c1"), CommentPage((), unfinished_threads=("c1",)), Kept(0, 0, 5))
    assert walk.next() is None
    assert not walk.shows_gone


def test_what_failed_is_where_the_next_run_goes_on() -> None:
    walk = Walk.begin(post(cursor='[["c1",null]]'))
    assert walk.left == [Place("c1")]
    walk.add(Place(), CommentPage((), count=5, after="1"), Kept(1, 0, 1))
    assert walk.next() == Place(after="1")
    assert walk.left == [Place(after="1")]


def test_cursors_are_read_as_they_were_written() -> None:
    places = [Place("c1", "x"), Place(None, "y"), Place("c2")]
    assert decide.places_of(decide.cursor_of(places)) == places
    assert decide.cursor_of([]) is None
    assert decide.places_of(None) == []


# --- what the post looks like ---


def described(**values: object) -> Described:
    plain = Described(uuid4(), "m1", None, None, None, details_at=NOW, pictures_at=NOW, pictures_note=None)
    return replace(plain, **values)  # type: ignore[arg-type]


def test_details_are_asked_once_a_month() -> None:
    assert decide.wants_details(described(details_at=None, pictures_at=None), NOW)
    assert not decide.wants_details(described(details_at=NOW - 30 * DAY), NOW)
    assert decide.wants_details(described(details_at=NOW - 31 * DAY), NOW)


def test_what_could_not_be_had_is_asked_for_again_after_an_hour() -> None:
    failed = described(details_at=None, pictures_note="away")
    assert not decide.wants_details(failed, NOW + 59 * MINUTE)
    assert not decide.wants_pictures(failed, NOW + 59 * MINUTE, sees_pictures=True)
    assert decide.wants_details(failed, NOW + HOUR)
    assert decide.wants_pictures(failed, NOW + HOUR, sees_pictures=True)


def test_pictures_are_fetched_once_for_a_model_that_sees() -> None:
    fresh = described(pictures_at=None)
    assert decide.wants_pictures(fresh, NOW, sees_pictures=True)
    assert not decide.wants_pictures(fresh, NOW, sees_pictures=False)
    assert not decide.wants_pictures(described(), NOW + 300 * DAY, sees_pictures=True)
