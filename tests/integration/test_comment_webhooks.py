"""Comments by webhook: each shape is one row, however often it comes, and what happens to it is noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from deliveries import actions, deliver
from socialsync_gateway.app import GatewaySettings, create_app
from support import Databases, Tenant, eventually, running

pytestmark = pytest.mark.integration

Json = dict[str, Any]
INSTAGRAM, PAGE = "101", "102"


@pytest.fixture
async def gateway(
    environment: dict[str, str], tenants: tuple[Tenant, Tenant]
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(GatewaySettings.load())
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        yield client


def instagram(
    comment: str, text: str = "Price?", *, shape: str = "id", field: str = "comments", **value: Any
) -> Json:
    said = {
        "comment_id" if shape == "comment_id" else "id": comment,
        "text": text,
        "from": {"id": "77", "username": "ada"},
        "media": {"id": "m1"},
        **value,
    }
    entry: Json = {"id": INSTAGRAM, "time": 1_790_000_000}
    if shape == "flat":
        entry |= {"field": field, "value": said}
    else:
        entry["changes"] = [{"field": field, "value": said}]
    return {"object": "instagram", "entry": [entry]}


def page(verb: str, comment: str, text: str | None = "Price?", **value: Any) -> Json:
    said = {
        "item": "comment",
        "verb": verb,
        "comment_id": comment,
        "post_id": "102_9",
        "parent_id": "102_9",
        "created_time": 1_790_000_000,
        "from": {"id": "77", "name": "Ada"},
        **({} if text is None else {"message": text}),
        **value,
    }
    entry = {"id": PAGE, "time": 1_790_000_000, "changes": [{"field": "feed", "value": said}]}
    return {"object": "page", "entry": [entry]}


def rows(databases: Databases) -> list[Json]:
    return databases.query(
        "SELECT c.*, p.external_id AS post, p.origin, p.monitored FROM comments c LEFT JOIN monitored_posts p ON p.id = c.post_id "
        "ORDER BY c.external_id"
    )


@pytest.mark.parametrize("shape", ["id", "comment_id", "flat"])
async def test_each_shape_is_one_row_however_often_it_comes(
    gateway: httpx.AsyncClient, databases: Databases, shape: str
) -> None:
    body = instagram("c1", shape=shape)
    first = await deliver(gateway, body, "instagram")
    again = await deliver(gateway, body, "instagram")
    assert [(one["action"], one["stored"]) for one in first.json()["items"]] == [("comment", True)]
    assert [(one["action"], one["stored"]) for one in again.json()["items"]] == [("comment", False)]
    (row,) = rows(databases)
    assert (row["external_id"], row["text"], row["kind"], row["source"]) == (
        "c1",
        "Price?",
        "comment",
        "webhook",
    )
    assert (row["author_id"], row["author_name"], row["parent_external_id"]) == ("77", "ada", None)
    assert (row["post"], row["origin"], row["monitored"]) == ("m1", "seen", False)
    assert (row["status"], row["version"]) == ("new", 1)
    assert row["due_at"] is not None


async def test_live_comments_replies_and_several_posts_in_one_body(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    live = instagram("c1", field="live_comments")
    reply = instagram("c2", parent_id="c1")
    other = instagram("c3", media={"id": "m2"})
    entries = [body["entry"][0] for body in (live, reply, other)]
    assert (
        actions(await deliver(gateway, {"object": "instagram", "entry": entries}, "instagram"))
        == ["comment"] * 3
    )
    found = rows(databases)
    assert [(row["kind"], row["parent_external_id"], row["post"]) for row in found] == [
        ("live", None, "m1"),
        ("comment", "c1", "m1"),
        ("comment", None, "m2"),
    ]


async def test_a_mention_is_kept_for_people_and_has_no_post(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    change = {"field": "mentions", "value": {"comment_id": "c9", "media_id": "m9"}}
    body = {"object": "instagram", "entry": [{"id": INSTAGRAM, "time": 1_790_000_000, "changes": [change]}]}
    assert actions(await deliver(gateway, body, "instagram")) == ["ignore"]
    (row,) = rows(databases)
    assert (row["kind"], row["post_id"], row["status"]) == ("mention", None, "new")


async def test_a_page_tells_of_edits_deletions_and_hiding(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    await deliver(gateway, page("add", "9_1"), "messenger")
    databases.query("UPDATE comments SET due_at = NULL, status = 'review'")

    await deliver(gateway, page("edited", "9_1", "Price of the red one?"), "messenger")
    await deliver(gateway, page("edited", "9_1", "Price of the red one?"), "messenger")
    (row,) = rows(databases)
    assert (row["text"], row["version"]) == ("Price of the red one?", 2)
    assert row["edited_at"]
    assert row["due_at"]

    await deliver(gateway, page("hide", "9_1", None), "messenger")
    assert rows(databases)[0]["hidden"]
    await deliver(gateway, page("unhide", "9_1", None), "messenger")
    assert not rows(databases)[0]["hidden"]
    await deliver(gateway, page("remove", "9_1", None), "messenger")
    assert rows(databases)[0]["deleted_at"]


async def test_an_edit_of_a_comment_that_never_came_is_its_first_row(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    await deliver(gateway, page("edited", "9_2", "Open?"), "messenger")
    (row,) = rows(databases)
    assert (row["text"], row["version"], row["parent_external_id"]) == ("Open?", 1, None)


async def test_a_comment_of_another_tenant_s_account_is_that_tenant_s(
    gateway: httpx.AsyncClient, databases: Databases, tenants: tuple[Tenant, Tenant]
) -> None:
    await deliver(gateway, instagram("c1"), "instagram")
    theirs = instagram("c1")
    theirs["entry"][0]["id"] = "201"
    await deliver(gateway, theirs, "instagram")
    found = databases.query("SELECT tenant_id FROM comments ORDER BY tenant_id")
    assert {row["tenant_id"] for row in found} == {tenant.id for tenant in tenants}


async def test_hostile_texts_are_stored_as_they_are(gateway: httpx.AsyncClient, databases: Databases) -> None:
    texts = ["a\u200b\u202ebc", "x" * 10_000, "👩‍👩‍👧" * 500, "\ud83d"]
    for place, text in enumerate(texts):
        assert (await deliver(gateway, instagram(f"c{place}", text), "instagram")).status_code == 200
    kept = [row["text"] for row in rows(databases)]
    assert kept[:3] == texts[:3]
    assert (await deliver(gateway, instagram("c8", "nul \0 byte"), "instagram")).status_code == 200
    assert (
        await deliver(gateway, instagram("c9", None, attachment={"x": 1}), "instagram")
    ).status_code == 200  # type: ignore[arg-type]


async def test_the_echo_of_a_private_answer_confirms_it_and_pauses_nobody(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    await deliver(gateway, instagram("c1"), "instagram")
    send = uuid4()
    databases.query(
        "INSERT INTO comment_sends (id, tenant_id, account_id, post_id, comment_id, kind, author, text, version, status, called_at) "
        "SELECT %s, tenant_id, account_id, post_id, id, 'private_reply', 'ai', 'It is 12 euros.', 1, 'unknown', now() FROM comments",
        send,
    )
    databases.query("UPDATE comments SET status = 'answering', due_at = NULL")
    message = {"mid": "mid.1", "text": "It is 12 euros.", "is_echo": True}
    event = {
        "sender": {"id": INSTAGRAM},
        "recipient": {"id": "77"},
        "timestamp": 1_790_000_000_000,
        "message": message,
    }
    body = {
        "object": "instagram",
        "entry": [{"id": INSTAGRAM, "time": 1_790_000_000_000, "messaging": [event]}],
    }
    for _ in range(2):
        assert (await deliver(gateway, body, "instagram")).status_code == 200
    (row,) = databases.query("SELECT status, platform_id FROM comment_sends")
    assert (row["status"], row["platform_id"]) == ("sent", "mid.1")
    (said,) = databases.query(
        "SELECT m.author, m.direction, c.handler FROM messages m JOIN conversations c ON c.id = m.conversation_id"
    )
    assert (said["author"], said["direction"], said["handler"]) == ("ai", "out", "ai")
    assert rows(databases)[0]["due_at"] is not None


async def test_a_quiet_post_that_gets_comments_again_is_read_again(
    gateway: httpx.AsyncClient, databases: Databases
) -> None:
    await deliver(gateway, instagram("c1"), "instagram")
    soon = "SELECT next_poll_at < now() + interval '6 minutes' AS soon FROM monitored_posts"
    assert databases.query(soon) == [{"soon": None}]  # nobody chose to watch it
    databases.query("UPDATE monitored_posts SET monitored = true, next_poll_at = now() + interval '12 hours'")
    await deliver(gateway, instagram("c1"), "instagram")
    assert databases.query(soon) == [{"soon": False}]
    await deliver(gateway, instagram("c2"), "instagram")
    assert databases.query(soon) == [{"soon": True}]


async def test_new_comments_wake_the_workers_once_for_many(
    gateway: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    for number in range(20):
        await deliver(gateway, instagram(f"c{number}"), "instagram")
    await eventually(lambda: redis_client.llen("celery:comments.tick") > 0)
    assert redis_client.llen("celery:comments.tick") < 20
    assert redis_client.llen("celery:comments") == 0
