"""Around a post on a real Postgres and the sandbox: first comments, links, quota and warnings, notices, and logs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from publishing_world import Worker, World
from socialsync_common.accounts import Account
from socialsync_common.errors import PermanentError
from socialsync_scheduler.publishing import decide, repository
from socialsync_scheduler.publishing.quota import check_quota

pytestmark = pytest.mark.integration

COMMENT = "which one?"


@pytest.fixture
def worker(world: World) -> Worker:
    return world.worker()


def live(world: World, worker: Worker, account: Account, comment: str | None = COMMENT) -> dict[str, Any]:
    """A post that is live, and waits for what comes after."""
    (target,) = world.schedule(account, kind="text", comment=comment)
    worker(target)
    world.reaches(target, status="published")
    world.later(target)
    return target


def comments(world: World) -> list[str]:
    return [comment["text"] for post in world.live() for comment in post["comments"]]


def again(world: World, worker: Worker, target: dict[str, Any]) -> dict[str, Any]:
    """Its next time has come; the row afterwards."""
    world.later(target)
    worker(target)
    return world.row(target)


# --- first comments ---


@pytest.mark.parametrize("kind", ["server_error_after", "disconnect_after", "timeout_after"])
def test_a_comment_whose_answer_was_lost_is_found(
    world: World, worker: Worker, page: Account, kind: str
) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", kind, seconds=10)
    worker(target)
    assert world.row(target)["comment_status"] == "sending"
    row = again(world, worker, target)
    assert (row["comment_status"], row["comment_attempt"], row["next_at"]) == ("sent", 1, None)
    assert comments(world) == [COMMENT]


def test_a_comment_that_did_not_arrive_is_sent_again(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", "disconnect_before")
    worker(target)
    row = again(world, worker, target)
    assert (row["comment_status"], row["comment_attempt"]) == ("sent", 2)
    assert comments(world) == [COMMENT]


@pytest.mark.parametrize("kind", ["throttled", "server_error", "disconnect_before", "expired_token"])
def test_a_comment_in_doubt_is_not_sent_before_it_was_looked_for(
    world: World, worker: Worker, page: Account, kind: str
) -> None:
    """It arrived, its answer was lost, and then the look for it fails, too."""
    target = live(world, worker, page)
    world.meta.fault("comment", "disconnect_after")
    worker(target)
    world.meta.fault("find", kind)
    row = again(world, worker, target)
    assert row["comment_status"] == "sending"
    assert row["next_at"] is not None
    if kind == "expired_token":
        world.reconnect(page, "another token")
    row = again(world, worker, target)
    assert (row["comment_status"], row["next_at"]) == ("sent", None)
    assert comments(world) == [COMMENT]


def test_a_comment_that_cannot_be_looked_for_is_not_looked_for_for_ever(
    world: World, worker: Worker, page: Account
) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", "disconnect_after")
    worker(target)
    world.meta.fault("find", "server_error", times=20)
    for _ in range(3):
        assert again(world, worker, target)["comment_status"] == "sending"
    row = again(world, worker, target)
    assert row["comment_status"] == "unknown"
    assert "may be missing" in row["reason"]
    # the link was read all the same
    assert (row["next_at"], row["permalink"] is not None) == (None, True)


def test_who_may_not_look_leaves_it_open(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", "disconnect_after")
    worker(target)
    world.meta.fault("find", "permission")
    assert again(world, worker, target)["comment_status"] == "unknown"


def test_a_refused_comment_is_said_so(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", "permission")
    worker(target)
    row = world.row(target)
    assert (row["status"], row["comment_status"], row["next_at"]) == ("published", "failed", None)
    assert "first comment was refused" in row["reason"]
    assert row["permalink"]


def test_a_throttled_comment_gets_four_attempts(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.meta.fault("comment", "throttled", times=20)
    worker(target)
    for _ in range(3):
        assert again(world, worker, target)["comment_status"] == "pending"
    row = again(world, worker, target)
    assert (row["comment_status"], row["comment_attempt"], row["next_at"]) == ("failed", 4, None)


def test_a_comment_waits_for_its_account(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.meta.expire(page.token)
    worker(target)
    row = world.row(target)
    assert (row["status"], row["comment_status"]) == ("published", "pending")
    assert world.notices() == ["needs_reconnect"]
    assert worker.publishing.hand_over(10, 5) == 0
    world.reconnect(page, "another token")
    row = again(world, worker, target)
    assert (row["comment_status"], row["reason"]) == ("sent", None)
    assert comments(world) == [COMMENT]


def test_a_worker_that_lost_its_lease_does_not_comment_twice(
    world: World, worker: Worker, page: Account
) -> None:
    target = live(world, worker, page)
    other = world.worker()
    world.meta.fault("comment", "hold_after")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(worker, target)
        world.held()
        world.abandon_lease(target)
        other(target)
        row = world.row(target)
        assert row["comment_status"] == "sent"
        world.let_go()
        assert slow.result(10) == "done"
    assert world.row(target) == row
    assert comments(world) == [COMMENT]


def test_a_post_whose_id_is_not_known_gets_no_comment(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page)
    world.set(target, "media_id = NULL")
    worker(target)
    row = world.row(target)
    assert (row["comment_status"], row["permalink"], row["next_at"]) == ("failed", None, None)


# --- links ---


def test_a_link_is_asked_for_for_ten_minutes(world: World, worker: Worker, page: Account) -> None:
    target = live(world, worker, page, comment=None)
    world.meta.fault("permalink", "unreadable", times=2)
    worker(target)
    row = world.row(target)
    assert (row["permalink"], row["status"], row["lease_token"]) == (None, "published", None)
    assert row["next_at"] is not None
    world.later(target, 601)
    worker(target)
    row = world.row(target)
    assert (row["permalink"], row["next_at"]) == (None, None)


# --- notices ---


def test_each_failure_is_told_once(world: World, worker: Worker, page: Account) -> None:
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "permission", times=2)
    worker(target)
    world.reaches(target, status="failed")
    assert world.notices() == ["post_failed"]
    assert worker(target) == "not to be taken"
    world.decide(target, "publish")
    worker(target)
    world.reaches(target, status="failed")
    assert world.notices() == ["post_failed", "post_failed"]
    world.decide(target, "publish")
    worker(target)
    world.reaches(target, status="published")
    open_ones = world.databases.query("SELECT 1 FROM notices WHERE resolved_at IS NULL")
    assert open_ones == []


def test_a_verdict_under_a_lost_lease_tells_nothing(world: World, page: Account) -> None:
    """The call is refused, but somebody else has the post by then."""
    slow = world.worker()
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "hold_before")
    slow(target)
    world.held()
    world.abandon_lease(target)
    with world.database.transaction(page.tenant_id) as connection:
        taken = repository.take(connection, target["id"], uuid4())
        assert taken
        assert repository.record_failed(connection, taken, "no")
        assert not repository.record_failed(connection, replace(taken, lease=uuid4()), "no")
        assert not repository.record_needs_check(connection, taken, "no")
    assert world.row(target)["reason"] == "no"
    assert world.notices() == []


def test_a_retry_is_counted_and_said(world: World, worker: Worker, page: Account) -> None:
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "too_fast", times=4)
    for attempt in range(1, 4):
        world.later(target)
        worker(target)
        row = world.reaches(target, status="queued", attempt=attempt, lease_token=None)
        assert row["phase"] == "container_ready"
        assert timedelta(seconds=290) < row["next_at"] - datetime.now(UTC) <= decide.RETRY_PAUSE
    world.later(target)
    worker(target)
    assert "4 attempts" in world.reaches(target, status="failed")["reason"]
    assert (world.notices(), world.live()) == (["post_failed"], [])


# --- quota and warnings ---


def check(world: World, account: Account) -> int:
    now = datetime.now(UTC)
    return check_quota(world.database, world.cipher, world.publishers, account.tenant_id, account.id, now)


def test_quota_is_read_and_posts_beyond_it_are_warned_of(world: World, instagram: Account) -> None:
    targets = [world.schedule(instagram, text=f"post {number}", due=3600 + number)[0] for number in range(3)]
    (far,) = world.schedule(instagram, due=25 * 3600)
    world.meta.control("POST", "quota", json={"account": instagram.external_id, "used": 99, "total": 100})
    assert check(world, instagram) == 2
    warnings = [world.row(target)["warning"] for target in (*targets, far)]
    assert [bool(warning) for warning in warnings] == [False, True, True, False]
    assert world.notices() == ["quota_low"]
    (account,) = world.databases.query(
        "SELECT quota_used, quota_total FROM accounts WHERE id = %s", instagram.id
    )
    assert account == {"quota_used": 99, "quota_total": 100}
    # said once a day; and what is right again is not warned of any more
    assert check(world, instagram) == 2
    assert world.notices() == ["quota_low"]
    world.meta.control("POST", "quota", json={"account": instagram.external_id, "used": 0})
    assert check(world, instagram) == 0
    assert [world.row(target)["warning"] for target in targets] == [None] * 3


@pytest.mark.parametrize("kind", ["server_error", "throttled", "disconnect_before"])
def test_a_quota_that_cannot_be_read_warns_of_nothing(world: World, instagram: Account, kind: str) -> None:
    (target,) = world.schedule(instagram, due=3600)
    world.meta.fault("quota", kind)
    assert check(world, instagram) == 0
    assert world.row(target)["warning"] is None


def test_a_token_that_has_ended_is_found_out_ahead(world: World, instagram: Account) -> None:
    (target,) = world.schedule(instagram, due=3600)
    world.meta.expire(instagram.token)
    assert check(world, instagram) == 1
    assert "must be reconnected" in world.row(target)["warning"]
    assert world.notices() == ["needs_reconnect"]
    assert check(world, instagram) == 1
    assert world.notices() == ["needs_reconnect"]
    world.reconnect(instagram, "another token")
    assert check(world, instagram) == 0
    assert world.row(target)["warning"] is None


def test_a_token_that_ends_before_a_post_is_due(world: World, page: Account) -> None:
    soon, later = (world.schedule(page, kind="text", due=hours * 3600)[0] for hours in (1, 3))
    world.databases.query(
        "UPDATE accounts SET token_expires_at = now() + interval '2 hours' WHERE id = %s", page.id
    )
    assert check(world, page) == 1
    assert world.row(soon)["warning"] is None
    assert "access ends" in world.row(later)["warning"]
    assert world.notices() == []


def test_each_post_is_looked_at_a_day_and_minutes_ahead(
    world: World, instagram: Account, page: Account
) -> None:
    world.schedule(instagram, page, due=3600)
    world.schedule(page, kind="text", due=26 * 3600)

    def ahead(hours: float, stage: int) -> int:
        with world.database.transaction() as connection:
            return len(repository.accounts_with_posts_ahead(connection, timedelta(hours=hours), stage, 100))

    assert [ahead(24, 1), ahead(24, 1), ahead(0.1, 2), ahead(2, 2), ahead(2, 2)] == [2, 0, 0, 2, 0]


def test_a_warning_is_for_queued_posts_only(world: World, page: Account) -> None:
    (target,) = world.schedule(page, kind="text", due=3600)
    world.cancel(target)
    with world.database.transaction(page.tenant_id) as connection:
        repository.warn(connection, [(target["id"], "no room")])
    assert world.row(target)["warning"] is None


# --- what must not show ---


def test_neither_a_token_nor_a_text_is_logged(
    world: World, worker: Worker, page: Account, instagram: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = world.schedule(instagram, page, text="a customer's words", comment="more words")
    world.meta.fault("publish", "throttled")
    world.meta.fault("publish", "server_error")
    for target in targets:
        worker(target)
    until_settled(world, targets)
    for target in targets:
        world.later(target, 60)
        worker(target)
    world.meta.expire(page.token)
    world.schedule(page)
    for target in world.databases.query("SELECT * FROM post_targets WHERE status = 'queued'"):
        world.later(target)
        worker(target)
    with pytest.raises(PermanentError):
        check_quota(world.database, world.cipher, world.publishers, world.them.id, page.id, datetime.now(UTC))
    logged = "".join(capsys.readouterr())
    assert "throttled" in logged or "rate limit" in logged
    for secret in (page.token, "words", "appsecret_proof", "Bearer"):
        assert secret not in logged


def until_settled(world: World, targets: list[dict[str, Any]]) -> None:
    for target in targets:
        world.reaches(target, lease_token=None)


# --- comments ---


def watched(world: World) -> list[dict[str, Any]]:
    return world.databases.query("SELECT * FROM monitored_posts ORDER BY account_id")


def test_the_comments_of_a_live_post_are_watched(
    world: World, worker: Worker, instagram: Account, page: Account
) -> None:
    targets = world.schedule(instagram, page, kind="carousel", text="fresh bread")
    for target in targets:
        worker(target)
        world.reaches(target, status="published")
    rows = {row["account_id"]: row for row in watched(world)}
    for target in targets:
        row, target = rows[target["account_id"]], world.row(target)
        assert row["external_id"] == target["media_id"]
        assert (row["origin"], row["monitored"], row["kind"]) == ("published", True, "carousel")
        assert row["caption"] == "fresh bread"
        assert row["published_at"] == target["published_at"]
        assert row["monitored_since"] == target["due_at"]
        assert timedelta(minutes=4) < row["next_poll_at"] - datetime.now(UTC) <= timedelta(minutes=5)


def test_of_a_story_or_an_unknown_post_nothing_is_watched(
    world: World, worker: Worker, instagram: Account, page: Account
) -> None:
    (story,) = world.schedule(instagram, kind="story")
    worker(story)
    world.reaches(story, status="published")
    (unknown,) = world.schedule(page)
    with world.database.transaction(page.tenant_id) as connection:
        repository.record_published(connection, [(unknown["id"], None)])
    assert world.row(unknown)["status"] == "published"
    assert watched(world) == []


@pytest.mark.parametrize(
    ("origin", "monitored", "expected"),
    [
        ("seen", False, True),  # its first comment came before we knew that it was live
        ("chosen", False, False),  # a person has said so
        ("chosen", True, True),
        ("published", False, False),
    ],
)
def test_what_a_person_said_about_a_post_stands(
    world: World, page: Account, origin: str, monitored: bool, expected: bool
) -> None:
    (target,) = world.schedule(page, text="fresh bread")
    world.databases.query(
        "INSERT INTO monitored_posts (tenant_id, account_id, external_id, origin, monitored) VALUES (%s, %s, 'm', %s, %s)",
        page.tenant_id, page.id, origin, monitored,
    )  # fmt: skip
    with world.database.transaction(page.tenant_id) as connection:
        repository.record_published(connection, [(target["id"], "m")])
    (row,) = watched(world)
    assert (row["origin"], row["monitored"], row["caption"]) == ("published", expected, "fresh bread")
    assert (row["next_poll_at"] is not None) == expected
