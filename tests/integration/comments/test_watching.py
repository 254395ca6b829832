"""Comments that no webhook brought: found, kept as they are, and their posts read again at the right time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from comments_world import CommentsWorld, Row
from socialsync_comments.watching import Watching
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from stack import until

pytestmark = pytest.mark.integration

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class Watcher:
    """One worker's watching, without Celery: what it sent to others, and how often it woke them."""

    world: CommentsWorld
    sees_pictures: bool = True
    later: timedelta = timedelta(0)
    announced: list[tuple[UUID, UUID]] = field(default_factory=list)
    woken: int = 0

    def __post_init__(self) -> None:
        self.watching = Watching(
            self.world.database, self.world.cipher, self.world.apis, self.world.graph,
            announce=self.announced.extend, wake=self._wake, sees_pictures=self.sees_pictures,
            clock=lambda: datetime.now(UTC) + self.later,
        )  # fmt: skip

    def _wake(self) -> None:
        self.woken += 1

    def __call__(self, post: Row) -> str:
        return self.watching.fetch(post["tenant_id"], post["id"])

    def again(self, post: Row) -> str:
        self.world.due(post)
        return self(post)

    def describe(self, account: Account, post: Row) -> Any:
        return self.watching.describe(account, post["id"])


@pytest.fixture
def watcher(world: CommentsWorld) -> Watcher:
    return Watcher(world)


@pytest.fixture(params=[Platform.INSTAGRAM, Platform.MESSENGER])
def account(request: pytest.FixtureRequest, world: CommentsWorld) -> Account:
    return world.us.accounts[request.param]


def until_next(world: CommentsWorld, post: Row) -> timedelta:
    at = world.row(post)["next_poll_at"]
    assert isinstance(at, datetime)
    return at - datetime.now(UTC)


# --- reading ---


def test_comments_and_replies_are_stored_once(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    first = world.write(post, "How much is it?", author="ana")
    reply = world.write(post, "Three euros, I think", author="ben", parent=first)
    assert watcher(post) == "2 stored, 0 gone"
    assert watcher.again(post) == "0 stored, 0 gone"
    question, answer = world.comment(first), world.comment(reply)
    assert (question["text"], question["author_id"], question["author_name"]) == (
        "How much is it?",
        "id-ana",
        "ana",
    )
    assert (question["kind"], question["source"], question["status"]) == ("comment", "poll", "new")
    assert question["due_at"] is not None
    assert question["parent_external_id"] is None
    assert answer["parent_external_id"] == first
    assert abs(question["written_at"] - datetime.now(UTC)) < MINUTE
    row = world.row(post)
    assert (row["comments_count"], row["unseen"], row["cursor"], row["poll_lease"]) == (2, 0, None, None)
    assert row["last_comment_at"] == answer["written_at"]
    assert watcher.woken == 1
    assert 2 * MINUTE < until_next(world, post) <= 4 * MINUTE


def test_what_the_webhooks_lost_is_found_on_an_older_page(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    world.flood(account, post, 120)
    watcher(post)
    shown = world.meta.control("GET", "comments/threads", params={"post": post["external_id"]})["threads"]
    world.databases.query("DELETE FROM comments WHERE external_id = %s", shown[-1]["id"])
    before = world.report()["calls"]["page"]
    assert watcher.again(post) == "1 stored, 0 gone"
    assert world.report()["calls"]["page"] == before + 3
    watcher.again(post)
    assert world.report()["calls"]["page"] == before + 4


def test_a_long_thread_is_read_to_its_end(world: CommentsWorld, watcher: Watcher, instagram: Account) -> None:
    post = world.post(instagram)
    first = world.write(post)
    for number in range(52):
        world.write(post, f"reply {number}", author=f"a{number}", parent=first)
    assert watcher(post) == "53 stored, 0 gone"
    assert {each["parent_external_id"] for each in world.comments(post)} == {None, first}


def test_of_a_long_way_the_rest_is_read_at_once_in_the_next_run(
    world: CommentsWorld, watcher: Watcher, page: Account
) -> None:
    post = world.post(page)
    world.flood(page, post, 1100)
    assert watcher(post) == "goes on"
    assert watcher.announced == [(post["tenant_id"], post["id"])]
    row = world.row(post)
    assert row["cursor"] is not None
    assert row["unseen"] == 0
    assert watcher(post).endswith("0 gone")
    assert len(world.comments(post)) == 1100
    assert world.row(post)["cursor"] is None


def test_two_workers_that_read_the_same_post_store_it_once(world: CommentsWorld, account: Account) -> None:
    post = world.post(account)
    world.flood(account, post, 30)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda watcher: watcher(post), [Watcher(world) for _ in range(4)]))
    assert len(world.comments(post)) == 30


def test_the_business_s_own_comments_are_stored_too(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    first = world.write(post)
    world.control("person", comment=first, text="Three euros", webhook=False)
    watcher(post)
    (own,) = [each for each in world.comments(post) if each["text"] == "Three euros"]
    assert own["author_id"] == account.external_id
    assert own["status"] == "new"


# --- what is not as it was ---


def test_an_edited_comment_is_decided_again(world: CommentsWorld, watcher: Watcher, account: Account) -> None:
    post = world.post(account)
    comment = world.write(post)
    watcher(post)
    world.set_comment(comment, "status = 'review', reason = 'question', due_at = NULL")
    world.send(comment, "draft")
    world.control("edit", comment=comment, text="Are you open?", webhook=False)
    assert watcher.again(post) == "1 stored, 0 gone"
    row = world.comment(comment)
    assert (row["text"], row["version"], row["status"], row["reason"]) == ("Are you open?", 2, "new", None)
    assert row["edited_at"] is not None
    assert row["due_at"] is not None
    assert [each["status"] for each in world.sends(comment)] == ["superseded"]
    assert watcher.woken == 2
    assert watcher.again(post) == "0 stored, 0 gone"


@pytest.mark.parametrize("status", ["sending", "sent", "unknown"])
def test_an_edit_after_the_answer_has_left_is_only_noted(
    world: CommentsWorld, watcher: Watcher, instagram: Account, status: str
) -> None:
    post = world.post(instagram)
    comment = world.write(post)
    watcher(post)
    world.set_comment(comment, "status = 'answering', due_at = NULL")
    world.send(comment, status)
    world.control("edit", comment=comment, text="Are you open?", webhook=False)
    watcher.again(post)
    row = world.comment(comment)
    assert (row["text"], row["version"], row["status"], row["due_at"]) == (
        "Are you open?",
        2,
        "answering",
        None,
    )
    assert [each["status"] for each in world.sends(comment)] == [status]


def test_an_own_comment_that_differs_is_left_as_it_is(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    first = world.write(post)
    world.control("person", comment=first, text="Three euros", webhook=False)
    watcher(post)
    world.databases.query(
        "UPDATE comments SET text = 'Three  euros' WHERE author_id = %s", account.external_id
    )
    watcher.again(post)
    (own,) = [each for each in world.comments(post) if each["author_id"] == account.external_id]
    assert (own["text"], own["version"]) == ("Three  euros", 1)


def test_a_hidden_comment_is_noted(world: CommentsWorld, watcher: Watcher, account: Account) -> None:
    post = world.post(account)
    comment = world.write(post)
    watcher(post)
    world.control("hide", comment=comment, webhook=False)
    watcher.again(post)
    assert world.comment(comment)["hidden"]
    assert world.comment(comment)["deleted_at"] is None


def test_deleted_comments_are_left_alone(world: CommentsWorld, watcher: Watcher, account: Account) -> None:
    post = world.post(account)
    waiting, answered, left, stays = (
        world.write(post, f"comment {number}", author=f"a{number}") for number in range(4)
    )
    watcher(post)
    world.set_comment(waiting, "status = 'review', due_at = NULL")
    world.send(waiting, "draft")
    world.set_comment(answered, "status = 'answered', due_at = NULL")
    world.set_comment(left, "status = 'left', reason = 'chatter', due_at = NULL")
    world.databases.query("UPDATE comments SET received_at = now() - interval '2 minutes'")
    for comment in (waiting, answered, left):
        world.control("delete", comment=comment, webhook=False)
    assert watcher.again(post) == "0 stored, 3 gone"
    found = {each["external_id"]: each for each in world.comments(post)}
    assert found[stays]["deleted_at"] is None
    assert all(found[each]["deleted_at"] for each in (waiting, answered, left))
    assert (found[waiting]["status"], found[waiting]["reason"]) == ("left", "deleted")
    assert found[waiting]["settled_at"] is not None
    assert found[answered]["status"] == "answered"
    assert found[left]["reason"] == "chatter"
    assert [each["status"] for each in world.sends(waiting)] == ["superseded"]
    assert world.row(post)["comments_count"] == 1
    assert world.row(post)["unseen"] == 0


def test_a_comment_that_was_just_stored_is_not_taken_for_deleted(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    comment = world.write(post)
    watcher(post)
    world.control("delete", comment=comment, webhook=False)
    assert watcher.again(post) == "0 stored, 0 gone"
    assert world.comment(comment)["status"] == "new"


def test_what_is_counted_and_not_shown_is_not_looked_for_again(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    comment = world.write(post)
    watcher(post)
    world.set_comment(comment, "hidden = true")  # counted, and no comment that people see
    watcher.again(post)
    assert world.row(post)["unseen"] == 1


# --- when it is read again ---


def test_due_posts_are_handed_over_once(world: CommentsWorld, watcher: Watcher) -> None:
    due = [world.post(tenant.accounts[Platform.INSTAGRAM]) for tenant in (world.us, world.them)]
    later = world.post(world.us.accounts[Platform.INSTAGRAM])
    world.set(later, "next_poll_at = now() + interval '1 minute'")
    world.post(world.us.accounts[Platform.INSTAGRAM], monitored=False)
    assert watcher.watching.hand_over(10, wait_seconds=5) == 2
    assert sorted(watcher.announced) == sorted((post["tenant_id"], post["id"]) for post in due)
    assert watcher.watching.hand_over(10, wait_seconds=5) == 0
    world.set(due[0], "poll_lease = now() - interval '1 second'")  # its worker died
    assert watcher.watching.hand_over(10, wait_seconds=5) == 1


def test_a_post_is_read_by_its_own_tenant_when_it_is_due(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    world.write(post)
    assert watcher.watching.fetch(world.them.id, post["id"]) == "not due"
    assert watcher(post) == "1 stored, 0 gone"
    assert watcher(post) == "not due"
    unwatched = world.post(instagram, monitored=False)
    assert watcher.again(unwatched) == "not due"


def test_a_post_that_a_person_stops_watching_stays_unwatched(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    world.meta.fault("comments", "hold_before")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(watcher, post)
        until(lambda: world.meta.control("GET", "posting-faults")["held"], 15, "the call is held")
        world.set(post, "monitored = false, next_poll_at = NULL")
        world.meta.control("POST", "release")
        reading.result(20)
    row = world.row(post)
    assert (row["monitored"], row["next_poll_at"], row["poll_lease"]) == (False, None, None)


def test_a_quiet_post_is_read_less_and_forgets_its_pictures(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    watcher.describe(instagram, post)
    watcher(post)
    assert world.row(post)["pictures_at"] is not None
    watcher.later = 8 * DAY
    watcher.again(post)
    assert until_next(world, post) - watcher.later > 7 * HOUR
    assert world.row(post)["pictures_at"] is None
    assert world.databases.query("SELECT 1 FROM post_pictures") == []


def test_after_months_only_a_chosen_post_is_read(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    published, chosen = world.post(instagram), world.post(instagram, origin="chosen")
    watcher.later = 91 * DAY
    watcher(published)
    watcher(chosen)
    assert world.row(published)["next_poll_at"] is None
    assert world.row(published)["monitored"]
    assert until_next(world, chosen) - watcher.later > 23 * HOUR


# --- what goes wrong ---


def test_a_failed_read_is_tried_again_three_times_and_then_slowly(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    pauses = []
    for _ in range(4):
        world.meta.fault("comments", "server_error", times=10)
        assert watcher.again(post) == "failed"
        pauses.append(until_next(world, post))
        world.meta.control("DELETE", "posting-faults")
    assert all(2 * MINUTE < each <= 4 * MINUTE for each in pauses[:3])
    assert pauses[3] > 50 * MINUTE
    row = world.row(post)
    assert row["failures"] == 4
    assert "Graph error" in row["reason"]
    assert row["poll_lease"] is None
    world.write(post)
    assert watcher.again(post) == "1 stored, 0 gone"
    assert (world.row(post)["failures"], world.row(post)["reason"]) == (0, None)


def test_a_post_that_is_gone_is_not_watched_any_more(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.watch(account, "999999999")
    assert watcher(post) == "post gone"
    row = world.row(post)
    assert (row["monitored"], row["next_poll_at"]) == (False, None)
    assert "deleted" in row["reason"]


def test_an_account_whose_access_ended_is_stopped_once(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    posts = [world.post(instagram) for _ in range(2)]
    world.meta.expire(instagram.token)
    assert watcher(posts[0]) == "account stopped"
    assert watcher(posts[1]) == "account waits"
    assert len(world.databases.query("SELECT 1 FROM notices WHERE kind = 'needs_reconnect'")) == 1
    assert watcher.watching.hand_over(10, wait_seconds=5) == 0
    assert all(world.row(post)["poll_lease"] is None for post in posts)


def test_an_account_whose_calls_are_used_up_waits(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    first, second = world.post(account), world.post(account)
    world.write(first)
    world.allow(account, calls=1)

    def paused() -> timedelta:
        (row,) = world.databases.query(
            "SELECT calls_paused_until AS until FROM accounts WHERE id = %s", account.id
        )
        return row["until"] - datetime.now(UTC)

    assert watcher(first) == "1 stored, 0 gone"  # and that was all that there is for now
    assert 4 * MINUTE < paused() <= 5 * MINUTE
    world.databases.query("UPDATE accounts SET calls_paused_until = NULL")
    apis: Any = {platform: type(api)(world.graph) for platform, api in world.apis.items()}
    other = Watcher(replace(world, apis=apis))  # a process that does not know yet
    assert other.again(first) == "calls used up"
    assert 50 * MINUTE < paused() <= HOUR
    assert watcher(second) == "account waits"
    assert watcher.watching.hand_over(10, wait_seconds=5) == 0
    assert world.row(second)["next_poll_at"] <= datetime.now(UTC)  # as soon as it may
    assert world.row(first)["failures"] == 0


def test_how_much_of_its_calls_an_account_has_used_up_is_known(
    world: CommentsWorld, watcher: Watcher, account: Account
) -> None:
    post = world.post(account)
    world.allow(account, calls=100)
    watcher(post)

    def stored() -> tuple[float, datetime]:
        (row,) = world.databases.query(
            "SELECT calls_percent, calls_read_at FROM accounts WHERE id = %s", account.id
        )
        return row["calls_percent"], row["calls_read_at"]

    percent, at = stored()
    assert 0 < percent <= 5
    watcher.again(post)
    assert stored() == (percent, at)  # too small a change to be written
    watcher.later = 2 * MINUTE
    watcher.again(post)
    assert stored()[1] > at


def test_a_busy_account_s_posts_are_read_less(
    world: CommentsWorld, watcher: Watcher, instagram: Account
) -> None:
    post = world.post(instagram)
    world.allow(instagram, calls=5)
    for _ in range(3):
        watcher.again(post)
    assert 7 * MINUTE < until_next(world, post) <= 9 * MINUTE
