"""Comments are listed, answered, approved, dismissed and hidden; one answer of each kind; tenants never meet."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis

from socialsync_common.contracts import Platform, TaskName

pytestmark = pytest.mark.integration

COMMENTS = "/api/v1/comments"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def account(world):
    return world.us.account(Platform.INSTAGRAM, "Bakery")


@pytest.fixture
def post(world, account):
    return world.us.post(account, caption="Fresh bread", permalink="https://example.test/p/1")


def draft(world, account, post, *kinds, **columns):
    """A comment whose answer waits for approval."""
    comment = world.us.comment(account, post_id=post, status="review", reason="question", **columns)
    for kind in kinds or ("public_reply",):
        world.us.comment_send(comment, kind, "draft", text=f"AI's {kind}", model="m-1")
    return comment


def row(world, comment):
    return world.us.one("SELECT * FROM comments WHERE id = %s", comment)


def sends(world, comment):
    """By kind: status, author, text."""
    rows = world.us.owner.execute("SELECT * FROM comment_sends WHERE comment_id = %s", (comment,)).fetchall()
    return {each["kind"]: (each["status"], each["author"], each["text"]) for each in rows}


async def act(world, comment, action, body=None, tenant=None):
    return await world.post(f"{COMMENTS}/{comment}/{action}", body, tenant)


def told(world, comment):
    task = (TaskName.PROCESS_COMMENT, {"tenant_id": str(world.us.id), "comment_id": str(comment)})
    return world.tasks == [task]


def refused(response, kind):
    assert response.status_code == 409, response.text
    assert response.json()["type"] == f"urn:socialsync:problem:{kind}"
    return response.json()["detail"]


def pointers(response):
    assert response.status_code == 422, response.text
    return {error["pointer"]: error["detail"] for error in response.json()["errors"]}


async def listed(world, **query):
    response = await world.get(COMMENTS, **query)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


# --- reading ---


async def test_a_comment_is_shown_with_its_post_and_sends(world, account, post):
    comment = draft(
        world, account, post, written_at=NOW, parent_external_id="29", detail="it asks something",
        picture_note="a video has no picture",
    )  # fmt: skip
    (shown,) = (await world.get(COMMENTS)).json()["items"]
    stored = row(world, comment)
    assert datetime.fromisoformat(shown.pop("written_at")) == NOW
    assert datetime.fromisoformat(shown.pop("received_at")) == stored["received_at"]
    (send,) = shown.pop("sends")
    assert shown == {
        "id": str(comment),
        "account": {"id": str(account.id), "name": "Bakery", "platform": "instagram"},
        "post": {
            "id": str(post),
            "external_id": world.us.one("SELECT external_id FROM monitored_posts")["external_id"],
            "permalink": "https://example.test/p/1",
            "caption": "Fresh bread",
        },
        "external_id": stored["external_id"],
        "parent_external_id": "29",
        "kind": "comment",
        "author": {"id": "7", "name": "ada"},
        "text": "Do you ship?",
        "edited_at": None,
        "deleted_at": None,
        "hidden": False,
        "status": "review",
        "reason": "question",
        "detail": "it asks something",
        "picture_note": "a video has no picture",
        "settled_at": None,
    }
    assert send.pop("created_at")
    assert send.pop("updated_at")
    assert send == {
        "kind": "public_reply",
        "author": "ai",
        "text": "AI's public_reply",
        "model": "m-1",
        "status": "draft",
        "attempt": 0,
        "platform_id": None,
        "reason": None,
    }


async def test_a_mention_has_no_post_and_a_deleted_comment_no_text(world, account):
    world.us.comment(account, None, kind="mention", author_id=None, author_name=None)
    world.us.comment(account, deleted_at=NOW, written_at=NOW - timedelta(hours=1))
    mention, deleted = (await world.get(COMMENTS)).json()["items"]
    assert (mention["kind"], mention["post"], mention["author"]) == (
        "mention",
        None,
        {"id": None, "name": None},
    )
    assert (deleted["text"], deleted["sends"]) == (None, [])
    assert deleted["deleted_at"]


async def test_a_comment_comes_with_its_thread_oldest_first(world, account, post):
    def reply(minutes, parent="21", of=account, **columns):
        return str(
            world.us.comment(
                of,
                post_id=post if of is account else None,
                parent_external_id=parent,
                written_at=NOW + timedelta(minutes=minutes),
                **columns,
            )
        )

    late, first = reply(9), reply(0, None, external_id="21")
    early, deleted = reply(1), reply(2, deleted_at=NOW)
    reply(3, "22")
    reply(4, of=world.us.account(Platform.INSTAGRAM))
    for comment, others in (
        (early, [first, deleted, late]),
        (first, [early, deleted, late]),
    ):
        shown = (await world.get(f"{COMMENTS}/{comment}")).json()
        assert shown["id"] == comment
        assert [each["id"] for each in shown["thread"]] == others
    assert [each["text"] for each in shown["thread"]] == ["Do you ship?", None, "Do you ship?"]
    assert (await world.get(f"{COMMENTS}/{uuid4()}")).status_code == 404


async def test_pages_go_from_the_newest_on_and_miss_none(world, account):
    # some of one second
    made = [world.us.comment(account, written_at=NOW - timedelta(seconds=n // 3)) for n in range(10)]
    seen, cursor = [], None
    while True:
        page = (await world.get(COMMENTS, limit=4, **({"cursor": cursor} if cursor else {}))).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert {each["id"] for each in seen} == {str(each) for each in made}
    assert len(seen) == len(made)
    times = [each["written_at"] for each in seen]
    assert times == sorted(times, reverse=True)
    assert (await world.get(COMMENTS, cursor="x")).status_code == 400


async def test_a_list_is_narrowed(world, account, post):
    page = world.us.account(Platform.MESSENGER)
    left = str(world.us.comment(account, post_id=post, status="left", reason="chatter"))
    person = str(world.us.comment(account, status="person", reason="complaint"))
    other = str(world.us.comment(page, status="person", reason="sensitive"))
    assert await listed(world) == [other, person, left]
    assert await listed(world, status="person") == [other, person]
    assert await listed(world, reason="complaint") == [person]
    assert await listed(world, account=page.id) == [other]
    assert await listed(world, post=post) == [left]
    assert await listed(world, status="left", account=page.id) == []
    assert set(pointers(await world.get(COMMENTS, status="gone", reason="mood", account="x"))) == {
        "/query/status",
        "/query/reason",
        "/query/account",
    }
    for name in ("account", "post"):
        assert (await world.get(COMMENTS, **{name: uuid4()})).status_code == 404


async def test_a_hundred_thousand_are_listed_at_once(world, account, post):
    world.us.owner.execute(
        """
        INSERT INTO comments (tenant_id, account_id, post_id, external_id, kind, source, written_at, status, reason, text)
        SELECT %s, %s, %s, n::text, 'comment', 'poll', now() - n * interval '1 second',
               (ARRAY['left', 'answered'])[1 + n %% 2], (ARRAY['chatter', 'question'])[1 + n %% 2], 'Do you ship?'
          FROM generate_series(1, 100000) n
        """,
        (world.us.id, account.id, post),
    )
    world.us.owner.execute("ANALYZE comments")
    for query in ({}, {"status": "left"}, {"reason": "complaint"}, {"account": account.id}, {"post": post}):
        best = 1.0
        for _ in range(5):
            begun = time.perf_counter()
            assert (await world.get(COMMENTS, **query)).status_code == 200
            best = min(best, time.perf_counter() - begun)
        assert best < 0.05, query


# --- approving ---


async def test_an_approved_answer_leaves_as_the_ai_wrote_it(world, account, post):
    comment = draft(world, account, post, "public_reply", "private_reply", failures=3, settled_at=NOW)
    response = await act(world, comment, "approve")
    assert response.status_code == 200, response.text
    shown = response.json()
    assert (shown["status"], shown["reason"], shown["settled_at"]) == ("answering", "question", None)
    assert sends(world, comment) == {
        "public_reply": ("pending", "ai", "AI's public_reply"),
        "private_reply": ("pending", "ai", "AI's private_reply"),
    }
    stored = row(world, comment)
    assert stored["due_at"] <= datetime.now(UTC)
    assert stored["failures"] == 0
    assert told(world, comment)
    assert "is being answered" in refused(await act(world, comment, "approve"), "not-in-review")


async def test_an_edited_answer_is_a_persons(world, account, post):
    comment = draft(world, account, post, "public_reply", "private_reply")
    body = {"public_reply": " We do.\r\nTomorrow. ", "private_reply": "AI's private_reply"}
    shown = (await act(world, comment, "approve", body)).json()
    assert [each["model"] for each in shown["sends"] if each["kind"] == "public_reply"] == [None]
    assert sends(world, comment) == {
        "public_reply": ("pending", "person", "We do.\nTomorrow."),
        "private_reply": ("pending", "ai", "AI's private_reply"),
    }


async def test_all_faults_of_an_approval_are_named(world, account, post):
    comment = draft(world, account, post)
    found = pointers(
        await act(world, comment, "approve", {"public_reply": "x" * 2201, "private_reply": "Hi"})
    )
    assert found == {
        "/body/private_reply": "No private reply waits for approval: answer the comment instead.",
        "/body/public_reply": "Instagram takes at most 2200 characters, these are 2201: shorten it.",
    }
    found = pointers(await act(world, comment, "approve", {"public_reply": " ", "reply": "x"}))
    assert set(found) == {"/body/public_reply", "/body/reply"}
    assert set(pointers(await act(world, comment, "approve", {"public_reply": "a\0b"}))) == {
        "/body/public_reply"
    }
    assert sends(world, comment) == {"public_reply": ("draft", "ai", "AI's public_reply")}
    assert row(world, comment)["status"] == "review"


async def test_what_cannot_be_approved(world, account, post):
    for status in ("new", "left", "answering", "answered", "person", "failed"):
        refused(
            await act(world, world.us.comment(account, post_id=post, status=status), "approve"),
            "not-in-review",
        )
    refused(
        await act(world, world.us.comment(account, post_id=post, status="review"), "approve"), "not-in-review"
    )
    # the draft answers what was written before
    refused(await act(world, edited_since(world, draft(world, account, post)), "approve"), "edited")
    refused(await act(world, draft(world, account, post, deleted_at=NOW), "approve"), "deleted")
    old = {"written_at": NOW - timedelta(days=7, minutes=1)}
    refused(await act(world, draft(world, account, post, "private_reply", **old), "approve"), "too-old")
    assert (await act(world, draft(world, account, post, **old), "approve")).status_code == 200


def edited_since(world, comment):
    world.us.owner.execute("UPDATE comments SET version = version + 1 WHERE id = %s", (comment,))
    return comment


async def test_a_lost_connection_is_named_with_what_to_do(world, account, post):
    comment, left = draft(world, account, post), world.us.comment(account, post_id=post, status="left")
    world.us.owner.execute("UPDATE accounts SET status = 'needs_reconnect' WHERE id = %s", (account.id,))
    for it, action, body in (
        (comment, "approve", None),
        (left, "answer", {"public_reply": "Yes."}),
        (left, "hide", None),
    ):
        words = refused(await act(world, it, action, body), "needs-reconnect")
        assert words == (
            "Bakery must be reconnected first. Log in again: GET /api/oauth/instagram/start says where."
        )
    assert world.tasks == []
    assert (
        await act(world, comment, "dismiss")
    ).status_code == 200  # nothing has to be asked of the platform


async def test_two_who_approve_at_once_approve_once(world, account, post):
    comment = draft(world, account, post)
    answers = await asyncio.gather(*(act(world, comment, "approve") for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]


# --- answering ---


@pytest.mark.parametrize("status", ["person", "failed", "left", "review"])
async def test_a_person_answers(world, account, post, status):
    comment = world.us.comment(account, post_id=post, status=status, reason="complaint", settled_at=NOW)
    # a worker has it: the person goes first, and its lease is left to it
    world.us.owner.execute(
        "UPDATE comments SET lease = %s, lease_until = now() + interval '1 minute' WHERE id = %s",
        (lease := uuid4(), comment),
    )
    body = {"public_reply": " We do. ", "private_reply": "Where to?"}
    response = await act(world, comment, "answer", body)
    assert response.status_code == 200, response.text
    shown = response.json()
    assert (shown["status"], shown["reason"], shown["detail"]) == (
        "answering",
        "person_answered",
        "a person answers it",
    )
    assert shown["settled_at"] is None
    assert sends(world, comment) == {
        "public_reply": ("pending", "person", "We do."),
        "private_reply": ("pending", "person", "Where to?"),
    }
    stored = world.us.one(
        "SELECT post_id, author_id, version FROM comment_sends WHERE comment_id = %s LIMIT 1", comment
    )
    assert stored == {"post_id": post, "author_id": "7", "version": 1}
    assert row(world, comment)["due_at"] <= datetime.now(UTC)
    assert row(world, comment)["lease"] == lease
    assert told(world, comment)
    # the same once more
    assert (await act(world, comment, "answer", body)).json() == shown
    refused(await act(world, comment, "answer", {"public_reply": "Something else."}), "not-answerable")


async def test_an_answer_takes_the_place_of_what_did_not_leave(world, account, post):
    comment = world.us.comment(account, post_id=post, status="failed")
    world.us.comment_send(
        comment, "public_reply", "failed", text="No.", model="m-1", attempt=3, called_at=NOW, reason="refused"
    )
    world.us.comment_send(comment, "private_reply", "draft", text="No.")
    world.us.comment_send(comment, "hide", "failed", reason="not allowed")
    assert (await act(world, comment, "answer", {"public_reply": "Yes."})).status_code == 200
    assert sends(world, comment) == {
        "public_reply": ("pending", "person", "Yes."),
        "private_reply": ("superseded", "ai", "No."),
        "hide": ("superseded", "ai", None),
    }
    public = world.us.one("SELECT * FROM comment_sends WHERE kind = 'public_reply'")
    assert (public["attempt"], public["called_at"], public["reason"], public["model"]) == (
        0,
        None,
        None,
        None,
    )
    assert world.us.one("SELECT reason FROM comment_sends WHERE kind = 'hide'")["reason"] == "not allowed"


@pytest.mark.parametrize("status", ["sent", "sending", "unknown"])
async def test_there_is_one_answer_of_each_kind(world, account, post, status):
    comment = world.us.comment(account, post_id=post, status="person")
    world.us.comment_send(comment, "public_reply", status, text="Yes.")
    refused(await act(world, comment, "answer", {"public_reply": "Yes."}), "already-answered")
    assert sends(world, comment) == {"public_reply": (status, "ai", "Yes.")}
    assert (await act(world, comment, "answer", {"private_reply": "More here."})).status_code == 200
    assert sends(world, comment)["public_reply"] == (status, "ai", "Yes.")


async def test_what_cannot_be_answered(world, account, post):
    def comment(**columns):
        return world.us.comment(account, **{"post_id": post, "status": "person", **columns})

    yes, private = {"public_reply": "Yes."}, {"private_reply": "Yes."}
    for status in ("new", "answering", "answered"):
        refused(await act(world, comment(status=status), "answer", yes), "not-answerable")
    refused(await act(world, comment(deleted_at=NOW), "answer", yes), "deleted")
    refused(await act(world, comment(post_id=None, kind="mention"), "answer", yes), "not-own-post")
    old = comment(written_at=NOW - timedelta(days=7, minutes=1))
    refused(await act(world, old, "answer", private), "too-old")
    assert (await act(world, old, "answer", yes)).status_code == 200
    assert set(pointers(await act(world, comment(), "answer", {}))) == {"/body"}
    assert set(pointers(await act(world, comment(), "answer", {"public_reply": None}))) == {"/body"}
    # Instagram counts bytes of messages
    found = pointers(
        await act(world, comment(), "answer", {"public_reply": "x" * 2201, "private_reply": "é" * 501})
    )
    assert set(found) == {"/body/public_reply", "/body/private_reply"}
    page = world.us.account(Platform.MESSENGER)
    on_page = world.us.comment(page, post_id=world.us.post(page), status="left")
    body = {"public_reply": "x" * 8000, "private_reply": "é" * 2000}
    assert (await act(world, on_page, "answer", body)).status_code == 200


# --- dismissing and hiding ---


@pytest.mark.parametrize("status", ["review", "person", "failed", "new"])
async def test_a_dismissed_comment_is_left_alone(world, account, post, status):
    comment = world.us.comment(account, post_id=post, status=status, reason="question")
    world.us.comment_send(comment, "public_reply", "draft", text="Yes.")
    world.us.comment_send(comment, "private_reply", "failed", text="Yes.")
    shown = (await act(world, comment, "dismiss")).json()
    assert (shown["status"], shown["reason"], shown["detail"]) == (
        "left",
        "dismissed",
        "a person dismissed it",
    )
    assert shown["settled_at"]
    assert sends(world, comment) == {
        "public_reply": ("superseded", "ai", "Yes."),
        "private_reply": ("failed", "ai", "Yes."),
    }
    assert row(world, comment)["due_at"] is None
    assert (await act(world, comment, "dismiss")).json() == shown
    assert world.tasks == []


async def test_what_cannot_be_dismissed(world, account, post):
    for status, reason in (("answering", "question"), ("answered", "question"), ("left", "chatter")):
        comment = world.us.comment(account, post_id=post, status=status, reason=reason)
        refused(await act(world, comment, "dismiss"), "not-dismissible")


async def test_a_hidden_comment_keeps_its_status(world, account, post):
    comment = world.us.comment(account, post_id=post, status="left", reason="spam", due_at=None)
    shown = (await act(world, comment, "hide")).json()
    assert (shown["status"], shown["reason"], shown["hidden"]) == ("left", "spam", False)
    assert sends(world, comment) == {"hide": ("pending", "person", None)}
    assert row(world, comment)["due_at"] <= datetime.now(UTC)
    assert told(world, comment)
    assert (await act(world, comment, "hide")).json() == shown


async def test_hiding_goes_on_when_the_comment_is_dismissed(world, account, post):
    comment = world.us.comment(account, post_id=post, status="person", due_at=None)
    await act(world, comment, "hide")
    await act(world, comment, "dismiss")
    assert sends(world, comment) == {"hide": ("pending", "person", None)}
    assert row(world, comment)["due_at"]


async def test_when_a_comment_is_hidden_again(world, account, post):
    def comment(hide=None, **columns):
        made = world.us.comment(account, **{"post_id": post, "status": "left", **columns})
        if hide:
            world.us.comment_send(made, "hide", hide)
        return made

    for status in ("failed", "superseded", "sent"):  # sent, and shown again since
        it = comment(status)
        assert (await act(world, it, "hide")).status_code == 200
        assert sends(world, it) == {"hide": ("pending", "person", None)}
    for it in (comment("sent", hidden=True), comment("unknown"), comment("sending")):
        before = sends(world, it)
        assert (await act(world, it, "hide")).status_code == 200
        assert sends(world, it) == before
    refused(await act(world, comment(deleted_at=NOW), "hide"), "deleted")
    refused(await act(world, comment(post_id=None, kind="mention"), "hide"), "not-own-post")


# --- everywhere ---


async def test_tenants_never_meet(world, account, post):
    comment = draft(world, account, post)
    own = world.them.comment(world.them.account(Platform.INSTAGRAM))
    page = await world.get(COMMENTS, world.them)
    assert [item["id"] for item in page.json()["items"]] == [str(own)]
    for query in ({"account": account.id}, {"post": post}):
        assert (await world.get(COMMENTS, world.them, **query)).status_code == 404
    assert (await world.get(f"{COMMENTS}/{comment}", world.them)).status_code == 404
    for action, body in (
        ("approve", None),
        ("answer", {"public_reply": "Yes."}),
        ("dismiss", None),
        ("hide", None),
    ):
        response = await act(world, comment, action, body, world.them)
        assert response.status_code == 404, action
        assert response.json()["type"] == "urn:socialsync:problem:not-found"
    assert sends(world, comment) == {"public_reply": ("draft", "ai", "AI's public_reply")}
    assert world.tasks == []


async def test_an_answer_is_kept_where_the_broker_is_away(world, account, post):
    async def away(*_):
        raise redis.ConnectionError

    world.app.state.send_task = away
    comment = draft(world, account, post)
    assert (await act(world, comment, "approve")).status_code == 200
    assert sends(world, comment)["public_reply"][0] == "pending"
