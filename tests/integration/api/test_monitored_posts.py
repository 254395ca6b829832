"""Posts whose comments are watched: known ones, chosen ones, and how many comments each has; tenants never meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from socialsync_common.contracts import Platform

pytestmark = pytest.mark.integration

POSTS = "/api/v1/monitored-posts"


@pytest.fixture
def account(world):
    return world.us.account(Platform.INSTAGRAM, "Bakery")


def row(world, post):
    return world.us.one("SELECT * FROM monitored_posts WHERE id = %s", post)


def pointers(response):
    assert response.status_code == 422, response.text
    return {error["pointer"]: error["detail"] for error in response.json()["errors"]}


async def monitor(world, account, external_id, tenant=None):
    return await world.post(POSTS, {"account": str(account.id), "external_id": external_id}, tenant)


async def change(world, post, monitored, tenant=None):
    return await world.patch(f"{POSTS}/{post}", {"monitored": monitored}, tenant)


async def test_a_post_is_shown_with_its_counts(world, account):
    post = world.us.post(account, external_id="17", kind="image", caption="Bread", comments_count=5, unseen=1)
    for status in ("left", "left", "answered"):
        world.us.comment(account, post_id=post, status=status)
    world.us.comment(account)
    (shown,) = (await world.get(POSTS)).json()["items"]
    assert shown == {
        "id": str(post),
        "account": {"id": str(account.id), "name": "Bakery", "platform": "instagram"},
        "external_id": "17",
        "origin": "published",
        "monitored": True,
        "monitored_since": None,
        "kind": "image",
        "caption": "Bread",
        "permalink": None,
        "published_at": None,
        "comments_count": 5,
        "unseen": 1,
        "last_comment_at": None,
        "next_poll_at": None,
        "failures": 0,
        "reason": None,
        "pictures_note": None,
        "counts": {
            "new": 0, "left": 2, "review": 0, "answering": 0, "answered": 1, "person": 0, "failed": 0,
        },
    }  # fmt: skip


async def test_a_list_is_narrowed_and_paged(world, account):
    page = world.us.account(Platform.MESSENGER)
    start = datetime.now(UTC)
    made = [
        str(world.us.post(of, monitored=monitored, created_at=start - timedelta(seconds=n // 2)))
        for n, (of, monitored) in enumerate(
            [(account, True), (account, False), (page, True), (page, False), (page, True)]
        )
    ]

    async def listed(**query):
        return {item["id"] for item in (await world.get(POSTS, **query)).json()["items"]}

    assert await listed(account=account.id) == set(made[:2])
    assert await listed(monitored=True) == {made[0], made[2], made[4]}
    assert await listed(monitored=False, account=page.id) == {made[3]}
    seen, cursor = [], None
    for _ in range(3):
        found = (await world.get(POSTS, limit=2, **({"cursor": cursor} if cursor else {}))).json()
        seen += [item["id"] for item in found["items"]]
        cursor = found["next"]
    assert cursor is None
    assert len(seen) == 5
    assert set(seen) == set(made)
    assert seen[-1] == made[4]
    assert (await world.get(POSTS, account=uuid4())).status_code == 404


async def test_a_person_chooses_a_post(world, account):
    response = await monitor(world, account, "17900")
    assert response.status_code == 201, response.text
    post = response.json()
    assert (post["external_id"], post["origin"], post["monitored"]) == ("17900", "chosen", True)
    assert post["monitored_since"] == post["next_poll_at"]
    stored = row(world, post["id"])
    assert datetime.now(UTC) - stored["next_poll_at"] < timedelta(minutes=1)
    again = await monitor(world, account, "17900")
    assert again.status_code == 200
    # comments since then still count
    assert {**again.json(), "next_poll_at": post["next_poll_at"]} == post


async def test_a_seen_post_is_chosen(world, account):
    seen = world.us.post(
        account, external_id="17", origin="seen", monitored=False, failures=3, reason="gone", cursor="x"
    )
    response = await monitor(world, account, "17")
    assert response.status_code == 200
    post = response.json()
    assert (post["id"], post["origin"], post["monitored"]) == (str(seen), "chosen", True)
    assert (post["failures"], post["reason"]) == (0, None)
    assert post["monitored_since"]
    assert row(world, seen)["cursor"] is None


@pytest.mark.parametrize(("origin", "then"), [("published", "published"), ("seen", "chosen")])
async def test_watching_ends_and_begins_again(world, account, origin, then):
    since = datetime.now(UTC) - timedelta(days=9)
    post = world.us.post(account, origin=origin, monitored_since=since, next_poll_at=since)
    kept = (await change(world, post, True)).json()
    assert datetime.fromisoformat(kept["monitored_since"]) == since
    ended = (await change(world, post, False)).json()
    assert (ended["monitored"], ended["monitored_since"], ended["next_poll_at"]) == (False, None, None)
    assert ended["origin"] == then  # else a policy that watches all posts would begin again
    begun = (await change(world, post, True)).json()
    assert begun["monitored"] is True
    assert begun["monitored_since"] == begun["next_poll_at"] > kept["monitored_since"]


async def test_what_cannot_be_chosen(world, account):
    number, page = world.us.account(Platform.WHATSAPP), world.us.account(Platform.MESSENGER)
    refused = await monitor(world, number, "17")
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:socialsync:problem:no-comments"
    for of, external_id in ((account, "1_2"), (account, ""), (page, "17"), (page, "1_2/comments")):
        assert set(pointers(await monitor(world, of, external_id))) == {"/body/external_id"}
    assert (await monitor(world, page, "1_2")).status_code == 201
    found = pointers(await world.post(POSTS, {"account": "x", "external_id": "\0", "more": 1}))
    assert set(found) == {"/body/account", "/body/external_id", "/body/more"}
    assert set(pointers(await world.patch(f"{POSTS}/{uuid4()}", {}))) == {"/body/monitored"}


async def test_tenants_never_meet(world, account):
    post = world.us.post(account)
    assert (await world.get(POSTS, world.them)).json()["items"] == []
    assert (await world.get(POSTS, world.them, account=account.id)).status_code == 404
    assert (await monitor(world, account, "17", world.them)).status_code == 404
    assert (await change(world, post, False, world.them)).status_code == 404
    assert row(world, post)["monitored"] is True
