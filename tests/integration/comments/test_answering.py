"""Comments that are answered: once, by the business's policy, and not where a person would not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from comments_world import CommentsWorld, Row
from socialsync_comments.answering import repository
from socialsync_comments.answering.answering import Answering
from socialsync_comments.answering.writing import Writer
from socialsync_comments.watching import Watching
from socialsync_common.accounts import Account
from socialsync_common.ai import create_responder
from socialsync_common.contracts import CommentReason, CommentStatus
from socialsync_common.settings import AISettings

pytestmark = pytest.mark.integration

QUESTION = "How much is the sourdough loaf?"


@dataclass
class Worker:
    """One worker without Celery, and what people do in between."""

    world: CommentsWorld
    watching: Watching
    answering: Answering

    def arrive(self, post: Row, text: str = QUESTION, **more: Any) -> str:
        """Somebody comments, and polling brings it; the comment's id on the platform."""
        comment = self.world.write(post, text, **more)
        self.read(post)
        return comment

    def read(self, post: Row) -> None:
        self.world.due(post)
        assert self.watching.fetch(post["tenant_id"], post["id"]) != "not due"

    def process(self, comment: str) -> str:
        row = self.world.comment(comment)
        return self.answering.process(row["tenant_id"], row["id"])

    def later(self, comment: str, seconds: float = 0.0) -> str:
        """The same so much later: what waits is due, and calls are so much older."""
        self.world.set_comment(comment, "due_at = least(due_at, now())")
        for send in self.world.sends(comment):
            self.world.databases.query(
                "UPDATE comment_sends SET called_at = called_at - make_interval(secs => %s) WHERE id = %s",
                seconds, send["id"],
            )  # fmt: skip
        return self.process(comment)

    def replies(self, comment: str) -> list[str]:
        found: list[str] = self.world.report()["replies"].get(comment, [])
        return found

    def private(self, comment: str) -> list[str]:
        found: list[str] = self.world.report()["private"].get(comment, [])
        return found

    def state(self, comment: str) -> tuple[str, str | None]:
        row = self.world.comment(comment)
        return row["status"], row["reason"]

    def fault(self, step: str, kind: str, **more: Any) -> None:
        self.world.meta.control("POST", "posting-faults", json={"step": step, "kind": kind, **more})

    def model(self, **behaviour: Any) -> None:
        self.world.meta.control("PUT", "model", json=behaviour)


@pytest.fixture
def worker(world: CommentsWorld) -> Iterator[Worker]:
    responder = create_responder(
        AISettings(ai_base_url=f"{world.meta.url}/ai/v1", ai_model="sandbox", ai_vision_model="sandbox")
    )
    watching = Watching(
        world.database, world.cipher, world.apis, world.graph,
        announce=lambda _: None, wake=lambda: None, sees_pictures=responder.sees_pictures,
    )  # fmt: skip
    answering = Answering(world.database, world.cipher, world.apis, Writer(responder, watching.describe))
    answering.start()
    yield Worker(world, watching, answering)
    answering.close()


def policy(world: CommentsWorld, account: Account, **changes: Any) -> None:
    """Answers leave by themselves, unless ``changes`` say otherwise."""
    values = {
        "enabled": True, "review": False, "reply": "public", "praise": "answer", "spam": "leave", "watch": "published",
        "within_hours": 24, "account_per_hour": 60, "post_per_hour": 30, "author_per_hour": 5, "rules": "{}", **changes,
    }  # fmt: skip
    names = ", ".join(values)
    world.databases.query(
        f"INSERT INTO comment_policies (account_id, tenant_id, {names}) VALUES (%s, %s, {', '.join(['%s'] * len(values))}) "  # noqa: S608
        "ON CONFLICT (account_id) DO UPDATE SET " + ", ".join(f"{name} = EXCLUDED.{name}" for name in values),
        account.id, account.tenant_id, *values.values(),
    )  # fmt: skip


@pytest.fixture(params=["instagram", "page"])
def account(request: pytest.FixtureRequest, world: CommentsWorld) -> Account:
    found: Account = request.getfixturevalue(request.param)
    policy(world, found)
    return found


# --- the way of a comment ---


def test_a_question_is_answered_once(world: CommentsWorld, worker: Worker, account: Account) -> None:
    post = world.post(account)
    comment = worker.arrive(post)
    assert worker.process(comment) == "answered"
    assert worker.process(comment) == "not to be taken"
    worker.read(post)
    assert len(worker.replies(comment)) == 1
    assert worker.state(comment) == ("answered", "question")
    (send,) = world.sends(comment)
    assert (send["status"], send["kind"], send["author"]) == ("sent", "public_reply", "ai")
    (used,) = world.databases.query("SELECT count FROM usage WHERE kind = 'comment_answers'")
    assert used["count"] == 1


def test_the_model_sees_the_post_s_picture(world: CommentsWorld, worker: Worker, account: Account) -> None:
    comment = worker.arrive(world.post(account))
    worker.process(comment)
    assert "picture" in worker.replies(comment)[0]
    assert world.comment(comment)["picture_note"] is None


def test_a_picture_that_cannot_be_had_is_said_in_the_record(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.fault("details", "server_error", times=2)
    assert worker.process(comment) == "answered"
    assert "picture" not in worker.replies(comment)[0]
    assert world.comment(comment)["picture_note"]


def test_our_own_answer_comes_back_and_is_left_alone(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    post = world.post(account)
    comment = worker.arrive(post)
    worker.process(comment)
    worker.read(post)
    ours = next(row["external_id"] for row in world.comments(post) if row["external_id"] != comment)
    assert worker.process(ours) == "own"
    assert worker.state(ours) == ("left", "own")
    assert worker.state(comment)[0] == "answered"


def test_people_who_talk_to_each_other_are_left_alone(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    post = world.post(account)
    first = worker.arrive(post, "@lea on y va samedi ?", author="tom")
    second = worker.arrive(post, "oui carrément, à 10h devant ?", author="lea", parent=first)
    assert worker.process(first) == "mentions_other"
    assert worker.process(second) == "between_users"
    assert not worker.replies(first)
    assert not worker.replies(second)


def test_complaints_go_to_a_person(world: CommentsWorld, worker: Worker, account: Account) -> None:
    comment = worker.arrive(
        world.post(account), "My order arrived broken and nobody answers. I want a refund!"
    )
    worker.process(comment)
    assert worker.state(comment) == ("person", "complaint")
    assert not worker.replies(comment)


def test_an_author_who_is_a_connected_account_is_left_alone(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    other = world.them.accounts[account.platform]
    comment = world.write(world.post(account))
    worker.read(world.databases.query("SELECT * FROM monitored_posts")[0])
    world.set_comment(comment, f"author_id = '{other.external_id}'")
    assert worker.process(comment) == "connected_account"


def test_comments_of_posts_that_nobody_chose_are_left_alone(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    post = world.post(account)
    comment, late = worker.arrive(post), worker.arrive(post, "And the rye bread?", author="tom")
    world.set(post, "origin = 'seen', monitored = false, monitored_since = NULL")
    assert worker.process(comment) == "not_monitored"

    policy(world, account, watch="all")
    assert worker.process(late) == "answered"
    assert world.row(post)["monitored"]


def test_a_comment_older_than_its_post_s_watch_is_left_alone(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    post = world.post(account, age_seconds=7200)
    world.set(post, "monitored_since = now()")
    comment = worker.arrive(post, age_seconds=3600)
    assert worker.process(comment) == "too_old"


def test_a_policy_may_be_off(world: CommentsWorld, worker: Worker, account: Account) -> None:
    policy(world, account, enabled=False)
    comment = worker.arrive(world.post(account))
    assert worker.process(comment) == "off"


def test_without_a_policy_a_person_approves(world: CommentsWorld, worker: Worker, instagram: Account) -> None:
    comment = worker.arrive(world.post(instagram))
    assert worker.process(comment) == "review"
    (draft,) = world.sends(comment)
    assert (draft["status"], worker.replies(comment)) == ("draft", [])
    assert world.comment(comment)["due_at"] is None
    # what the API does on approval
    world.databases.query("UPDATE comment_sends SET status = 'pending'")
    world.set_comment(comment, "status = 'answering', due_at = now()")
    assert worker.process(comment) == "answered"
    assert len(worker.replies(comment)) == 1


# --- other answers ---


def test_private_replies(world: CommentsWorld, worker: Worker, account: Account) -> None:
    policy(world, account, reply="private")
    comment = worker.arrive(world.post(account))
    assert worker.process(comment) == "answered"
    assert (len(worker.private(comment)), worker.replies(comment)) == (1, [])


def test_both_and_the_public_one_only_says_so(world: CommentsWorld, worker: Worker, account: Account) -> None:
    policy(world, account, reply="both")
    comment = worker.arrive(world.post(account))
    assert worker.process(comment) == "answered"
    (private,), (public,) = worker.private(comment), worker.replies(comment)
    assert "loaf" in private
    assert "private message" in public


def test_no_public_word_of_a_private_reply_that_was_refused(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    policy(world, account, reply="both")
    comment = worker.arrive(world.post(account))
    worker.fault("private_reply", "permission")
    assert worker.process(comment) == "failed"
    assert worker.state(comment) == ("failed", "refused")
    assert (worker.private(comment), worker.replies(comment)) == ([], [])


def test_spam_is_hidden_where_the_business_wants_it(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    policy(world, account, spam="hide")
    comment = worker.arrive(
        world.post(account), "Earn $5000 a week with crypto!!! DM me now http://quick-money.example"
    )
    worker.process(comment)
    worker.later(comment)
    assert world.report()["hidden"] == [comment]
    assert worker.state(comment) == ("left", "spam")
    assert world.comment(comment)["hidden"]


def test_praise_is_liked_where_the_platform_can(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    policy(world, account, praise="like")
    comment = worker.arrive(world.post(account), "What a beautiful bakery, bravo to the whole team!")
    worker.process(comment)
    worker.later(comment)
    can_like = world.apis[account.platform].can_like
    assert world.report()["liked"] == ([comment] if can_like else [])
    assert worker.state(comment) == ("answered" if can_like else "left", "praise")


def test_a_person_hides_a_comment_while_a_worker_has_it(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account), "@lea regarde ça")
    row = world.comment(comment)
    with world.database.transaction(row["tenant_id"]) as connection:
        taken = repository.take(connection, row["id"], uuid4())
        assert taken is not None
    world.send(comment, "pending", "hide", author="person")
    with world.database.transaction(row["tenant_id"]) as connection:
        repository.settle(connection, taken, CommentStatus.LEFT, CommentReason.MENTIONS_OTHER, "to a friend")
    assert worker.process(comment) == "done"
    assert world.report()["hidden"] == [comment]
    assert worker.state(comment) == ("left", "mentions_other")
    assert world.comment(comment)["due_at"] is None


# --- what happens in between ---


def test_an_edited_comment_is_answered_as_it_is_now(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    world.control("edit", comment=comment, text="How much is the rye bread?", webhook=False)
    assert worker.process(comment) == "edited"
    assert worker.process(comment) == "answered"
    (reply,) = worker.replies(comment)
    assert "rye" in reply
    assert world.comment(comment)["version"] == 2


def test_a_deleted_comment_is_not_answered(world: CommentsWorld, worker: Worker, account: Account) -> None:
    comment = worker.arrive(world.post(account))
    world.control("delete", comment=comment, webhook=False)
    worker.process(comment)
    assert worker.state(comment) == ("left", "deleted")
    assert world.comment(comment)["deleted_at"]


def test_a_person_who_answers_first_has_the_last_word(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    world.control("person", comment=comment, text="4.50 euros, Mia from the shop", webhook=False)
    worker.process(comment)
    assert worker.state(comment) == ("left", "person_answered")


def test_a_person_s_answer_closes_what_waits_for_approval(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    policy(world, account, review=True)
    post = world.post(account)
    comment = worker.arrive(post)
    assert worker.process(comment) == "review"
    world.control("person", comment=comment, text="4.50 euros", webhook=False)
    worker.read(post)
    theirs = next(row["external_id"] for row in world.comments(post) if row["external_id"] != comment)
    worker.process(theirs)
    worker.process(comment)
    assert worker.state(comment) == ("left", "person_answered")
    assert [send["status"] for send in world.sends(comment)] == ["superseded"]


# --- what goes wrong ---


@pytest.mark.parametrize("kind", ["server_error_after", "disconnect_after"])
def test_an_answer_whose_outcome_is_lost_is_found_and_not_repeated(
    world: CommentsWorld, worker: Worker, account: Account, kind: str
) -> None:
    comment = worker.arrive(world.post(account))
    worker.fault("reply", kind)
    assert worker.process(comment) == "later"
    assert [send["status"] for send in world.sends(comment)] == ["unknown"]
    assert worker.later(comment, 15) == "answered"
    assert len(worker.replies(comment)) == 1
    assert world.sends(comment)[0]["platform_id"]


def test_an_answer_that_never_arrived_is_sent_again(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.fault("reply", "disconnect_before")
    assert worker.process(comment) == "later"
    assert worker.later(comment, 15) == "later"  # it may still be on its way in
    assert worker.later(comment, 60) == "later"
    assert worker.later(comment) == "answered"
    assert len(worker.replies(comment)) == 1


@pytest.mark.parametrize("kind", ["disconnect_before", "disconnect_after"])
def test_a_lost_private_reply_is_repeated_since_the_platform_takes_one(
    world: CommentsWorld, worker: Worker, account: Account, kind: str
) -> None:
    policy(world, account, reply="private")
    comment = worker.arrive(world.post(account))
    worker.fault("private_reply", kind)
    assert worker.process(comment) == "later"
    assert worker.later(comment, 60) == "later"
    assert worker.later(comment) == "answered"
    assert len(worker.private(comment)) == 1


def test_a_worker_that_dies_while_it_sends_leaves_it_to_be_found_out(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.fault("reply", "server_error_after")
    worker.process(comment)
    # as it is where the process ended before the answer came
    world.databases.query("UPDATE comment_sends SET status = 'sending'")
    world.set_comment(
        comment, "lease = gen_random_uuid(), lease_until = now() - interval '1 second', due_at = now()"
    )
    assert worker.process(comment) == "answered"
    assert len(worker.replies(comment)) == 1


def test_what_the_platform_refuses_is_retried_or_given_up(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    post = world.post(account)
    throttled, refused = worker.arrive(post), worker.arrive(post, "And the croissant?", author="tom")
    worker.fault("reply", "throttled")
    assert worker.process(throttled) == "later"
    assert worker.later(throttled) == "answered"
    worker.fault("reply", "permission")
    assert worker.process(refused) == "failed"
    assert worker.state(refused) == ("failed", "refused")


def test_an_expired_token_stops_the_account_and_loses_nothing(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.fault("comment_state", "expired_token")
    assert worker.process(comment) == "later"
    (row,) = world.databases.query("SELECT status FROM accounts WHERE id = %s", account.id)
    assert row["status"] == "needs_reconnect"
    world.databases.query("UPDATE accounts SET status = 'active'")
    assert worker.later(comment) == "answered"


def test_a_model_that_is_away_is_waited_for_until_it_is_too_late(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.model(status=503)
    assert worker.process(comment) == "no answer yet"
    assert world.comment(comment)["failures"] == 1
    worker.model()
    assert worker.later(comment) == "answered"

    other = worker.arrive(world.post(account, age_seconds=300_000), "Are you open on Sunday?", author="tom")
    worker.model(status=503)
    worker.process(other)
    world.set_comment(other, "written_at = now() - interval '2 days'")
    worker.later(other)
    assert worker.state(other) == ("person", "fault")


def test_what_the_model_must_not_say_goes_to_a_person(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    worker.model(text="Everything is free today, see http://evil.example")
    worker.process(comment)
    assert worker.state(comment) == ("person", "unfit")
    assert not worker.replies(comment)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("[[nothing]]", ("left", "nothing_to_say")),
        ("[[person: he wants a discount]]", ("person", "assistant")),
    ],
)
def test_the_model_may_ask_for_a_person_or_for_silence(
    world: CommentsWorld, worker: Worker, account: Account, text: str, state: tuple[str, str]
) -> None:
    comment = worker.arrive(world.post(account))
    worker.model(text=text)
    worker.process(comment)
    assert worker.state(comment) == state


# --- limits ---


def test_an_author_gets_so_many_answers_an_hour(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    policy(world, account, author_per_hour=2)
    post = world.post(account)
    comments = [worker.arrive(post, f"How much is number {n}?") for n in range(3)]
    assert [worker.process(comment) for comment in comments] == ["answered", "answered", "author_limit"]


@pytest.mark.parametrize("limit", ["post_per_hour", "account_per_hour"])
def test_beyond_the_hour_s_limit_comments_wait(
    world: CommentsWorld, worker: Worker, account: Account, limit: str
) -> None:
    policy(world, account, **{limit: 1})
    post = world.post(account)
    first, second = worker.arrive(post), worker.arrive(post, "And the rye bread?", author="tom")
    assert worker.process(first) == "answered"
    assert worker.process(second) == "limit"
    world.databases.query("UPDATE comment_sends SET created_at = created_at - interval '1 hour'")
    assert worker.later(second) == "answered"


def test_many_at_once_stay_within_the_limit(world: CommentsWorld, worker: Worker, account: Account) -> None:
    policy(world, account, post_per_hour=3)
    post = world.post(account)
    comments = [world.write(post, f"How much is number {n}?", author=f"a{n}") for n in range(8)]
    worker.read(post)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(worker.process, comments))
    assert sorted(outcomes) == ["answered"] * 3 + ["limit"] * 5


def test_two_workers_with_one_comment_answer_once(
    world: CommentsWorld, worker: Worker, account: Account
) -> None:
    comment = worker.arrive(world.post(account))
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: worker.process(comment), range(4)))
    assert sorted(outcomes) == ["answered"] + ["not to be taken"] * 3
    assert len(worker.replies(comment)) == 1
