"""Publishing on a real Postgres and the sandbox: people who change their mind while workers have a post, or know what nobody else can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from publishing_world import GRACE, World, in_the_background
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from socialsync_gateway.problems import ProblemError
from socialsync_scheduler.publishing import decide, repository

pytestmark = pytest.mark.integration

LOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


# --- people and workers at once ---


def test_an_edit_during_preparation_starts_anew(world: World, instagram: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(instagram, text="stale")
    world.meta.fault("container", "hold_after")
    with in_the_background(worker, target):
        world.held()
        world.edit(target, text="fresh")
        world.let_go()
    row = world.row(target)
    assert (row["phase"], row["container_ids"], row["lease_token"]) == (None, [], None)
    worker(target)
    world.reaches(target, status="published")
    assert world.texts() == ["fresh"]


@pytest.mark.parametrize("step", ["container", "status"])
def test_a_cancelled_post_does_not_go_out(world: World, instagram: Account, step: str) -> None:
    worker = world.worker()
    (target,) = world.schedule(instagram)
    world.meta.fault(step, "hold_after")
    with in_the_background(worker, target):
        world.held()
        world.cancel(target)
        world.let_go()
    assert world.row(target)["status"] == "cancelled"
    assert worker(target) == "not to be taken"
    assert worker.publishing.hand_over(100, 5) == 0
    worker.publishing.close()
    assert world.live() == []


def test_a_post_cancelled_while_it_waits_for_its_second(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text", text="stale", due=1)
    (other,) = world.schedule(page, kind="text", text="other", due=1.1)
    worker(target)
    worker(other)
    world.cancel(target)
    world.reaches(other, status="published")
    worker.publishing.close()
    assert world.texts() == ["other"]


def test_what_is_being_published_cannot_be_changed(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "hold_before")
    worker(target)
    world.held()
    for action in (lambda: world.edit(target, text="fresh"), lambda: world.cancel(target)):
        with pytest.raises(ProblemError):
            action()
    world.let_go()
    world.reaches(target, status="published")
    with pytest.raises(ProblemError):
        world.edit(target, text="fresh")
    assert world.texts() == ["bread"]


def test_edits_and_batches_do_not_block_each_other(world: World, instagram: Account, page: Account) -> None:
    """Each post has two targets. People change them until they are told that it is too late."""
    workers = [world.worker(), world.worker()]
    posts = [world.schedule(page, instagram, text=f"post {number}", due=2) for number in range(8)]

    def prepare(number: int) -> None:
        for place, target in enumerate(posts[number]):
            workers[(number + place) % 2](target)

    def keep_changing(number: int) -> str:
        text = f"post {number}"
        prepare(number)
        try:
            for version in count(1):
                world.edit(posts[number][0], text=f"post {number}, version {version}")
                text = f"post {number}, version {version}"
                prepare(number)
        except ProblemError:
            pass
        return text

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(keep_changing, range(8)))
    for targets in posts:
        for target in targets:
            world.reaches(target, status="published")
    (stats,) = world.databases.query(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert stats["deadlocks"] == 0
    assert any("version" in text for text in texts)
    assert sorted(world.texts()) == sorted(2 * texts)
    statuses = world.databases.query("SELECT DISTINCT status FROM scheduled_posts")
    assert statuses == [{"status": "published"}]


def test_targets_that_settle_at_once_settle_their_post(
    world: World, instagram: Account, page: Account
) -> None:
    targets = [world.schedule(instagram, page, text=f"post {number}") for number in range(10)]
    world.databases.query("UPDATE post_targets SET phase = 'publish_called', status = 'publishing'")

    def record(target: dict[str, Any]) -> None:
        with world.database.transaction(target["tenant_id"]) as connection:
            repository.record_published(connection, [(target["id"], "m")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, [target for pair in targets for target in pair]))
    assert world.databases.query("SELECT DISTINCT status FROM scheduled_posts") == [{"status": "published"}]


# --- what nobody can know ---


def test_a_person_is_asked_where_nobody_can_know(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "disconnect_before")
    worker(target)
    world.reaches(target, phase="publish_called", lease_token=None)
    world.later(target)
    worker(target)
    assert world.row(target)["status"] == "publishing"  # the feed may be late
    world.later(target, 130)
    worker(target)
    row = world.row(target)
    assert (row["status"], row["reason"], row["next_at"]) == ("needs_check", decide.UNCERTAIN, None)
    assert world.notices() == ["post_needs_check"]
    assert worker(target) == "not to be taken"


def _in_doubt(world: World, account: Account) -> dict[str, Any]:
    (target,) = world.schedule(account, kind="text")
    world.set(
        target,
        "status = 'needs_check', phase = 'publish_called', publishes = 1, publish_called_at = now(), next_at = NULL",
    )
    return target


@pytest.mark.parametrize(("decision", "status"), [("published", "published"), ("abandon", "failed")])
def test_a_persons_word_ends_it(world: World, page: Account, decision: str, status: str) -> None:
    worker, target = world.worker(), _in_doubt(world, page)
    world.decide(target, decision)
    assert worker(target) == "not to be taken"
    assert worker.publishing.hand_over(100, 5) == 0
    assert world.row(target)["status"] == status
    assert world.live() == []


def test_a_person_has_it_published_again(world: World, page: Account) -> None:
    worker, target = world.worker(), _in_doubt(world, page)
    world.decide(target, "publish")
    worker(target)
    row = world.reaches(target, status="published")
    assert row["publishes"] == 1
    assert world.texts() == ["bread"]


def test_a_post_that_is_live_though_its_call_was_refused(
    world: World, instagram: Account, page: Account
) -> None:
    worker = world.worker()
    targets = world.schedule(instagram, page)
    world.meta.fault("publish", "live_but_error", times=2)
    for target in targets:
        worker(target)
    for target in targets:
        world.reaches(target, phase="publish_called", lease_token=None)
        world.later(target)
        worker(target)
        assert world.row(target)["status"] == "published"
        assert world.row(target)["media_id"]
    assert (world.texts(), world.repeated()) == (["bread", "bread"], 0)


def test_a_missing_public_url_does_not_make_a_live_post_go_out_again(world: World, page: Account) -> None:
    """What became of a call is not forgotten because the next worker is set up badly."""
    worker, bare = world.worker(), world.worker(media_url="")
    (target,) = world.schedule(page)
    world.meta.fault("publish", "disconnect_after")
    worker(target)
    world.reaches(target, phase="publish_called", lease_token=None)
    world.later(target)
    bare(target)
    assert world.row(target)["status"] == "published"
    # one that was not called yet says what is missing
    (fresh,) = world.schedule(page, text="rolls")
    bare(fresh)
    row = world.row(fresh)
    assert (row["status"], row["attempt"]) == ("queued", 1)
    assert "PUBLIC_URL" in row["reason"]
    assert world.texts() == ["bread"]


def test_a_carousel_says_at_once_why_a_part_of_it_failed(world: World, instagram: Account) -> None:
    worker = world.worker()
    world.meta.control("POST", "processing", json={"outcome": "ERROR", "kind": "image"})
    (target,) = world.schedule(instagram, kind="carousel")
    worker(target)
    row = world.row(target)
    assert row["status"] == "failed"
    assert "2207026" in row["reason"]


def test_a_carousel_waits_for_its_parts(world: World, instagram: Account) -> None:
    worker = world.worker()
    world.meta.control("POST", "processing", json={"seconds": 60, "kind": "image"})
    (target,) = world.schedule(instagram, kind="carousel")
    worker(target)
    row = world.row(target)
    assert (row["status"], row["attempt"], len(row["container_ids"])) == ("queued", 0, 3)
    assert row["reason"] == "Meta is processing the media"


# --- who is handed over ---


def test_what_is_due_is_handed_over_once_a_minute(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text")
    world.schedule(page, kind="text", due=600)
    assert worker.publishing.hand_over(100, 5) == 2  # both are to be looked at
    assert worker.announced[0][0] == target["tenant_id"]
    assert worker.publishing.hand_over(100, 5) == 0
    world.databases.query("UPDATE post_targets SET lease_until = now() - interval '1 second'")
    assert worker.publishing.hand_over(1, 5) == 1
    assert worker.publishing.hand_over(100, 5) == 1


def test_an_accounts_posts_wait_until_it_is_reconnected(world: World, instagram: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(instagram)
    world.meta.expire(instagram.token)
    worker(target)
    assert world.notices() == ["needs_reconnect"]
    row = world.row(target)
    assert (row["status"], row["reason"], row["lease_token"]) == ("queued", decide.STOPPED, None)
    assert worker.publishing.hand_over(100, 5) == 0
    assert worker(target) == "done"
    world.reconnect(instagram, "another token")
    assert worker.publishing.hand_over(100, 5) == 1
    worker(target)
    assert world.reaches(target, status="published")["reason"] is None
    assert world.texts() == ["bread"]


@pytest.mark.parametrize("platform", [Platform.INSTAGRAM, Platform.MESSENGER])
def test_a_token_that_ends_at_the_call(world: World, platform: Platform) -> None:
    worker, account = world.worker(), world.us.accounts[platform]
    (target,) = world.schedule(account, due=1)
    worker(target)
    world.meta.expire(account.token)
    row = world.reaches(target, lease_token=None, reason=decide.STOPPED)
    assert (row["status"], row["phase"], row["attempt"]) == ("queued", "creating", 0)
    world.reconnect(account, "another token")
    assert worker.publishing.hand_over(100, 5) == 1
    worker(target)
    world.reaches(target, status="published")
    assert world.texts() == ["bread"]


def test_an_account_that_was_reconnected_meanwhile_is_not_stopped(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text", due=1)
    worker(target)
    world.reconnect(page, "another token")
    world.meta.expire(page.token)
    world.reaches(target, lease_token=None, status="queued")
    assert world.notices() == []
    assert worker.publishing.hand_over(100, 5) == 1
    worker(target)
    world.reaches(target, status="published")


def test_a_post_that_was_missed_is_asked_about_once(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text", due=-GRACE.total_seconds() - 1)
    world.databases.query("UPDATE accounts SET status = 'needs_reconnect'")
    assert worker.publishing.hand_over(100, 5) == 1
    worker(target)
    row = world.row(target)
    assert (row["status"], row["reason"], row["next_at"]) == ("needs_check", decide.MISSED, None)
    assert world.notices() == ["post_missed"]
    world.databases.query("UPDATE accounts SET status = 'active'")
    world.decide(target, "publish")
    worker(target)
    world.reaches(target, status="published")


def test_a_token_that_cannot_be_opened_here_holds_its_posts(world: World, page: Account) -> None:
    worker = world.worker()
    world.databases.query("UPDATE accounts SET token = 'k9:' WHERE id = %s", page.id)
    (target,) = world.schedule(page, kind="text")
    assert worker(target) == "token unreadable"
    row = world.row(target)
    assert (row["status"], row["lease_token"]) == ("queued", None)
    assert "TOKEN_ENCRYPTION_KEYS" in row["reason"]
    assert worker.publishing.hand_over(100, 5) == 0  # not before its next time
    world.set(target, "due_at = now() - interval '2 hours', next_at = now()")
    worker(target)
    assert world.row(target)["status"] == "needs_check"
    assert world.notices() == ["post_missed"]
