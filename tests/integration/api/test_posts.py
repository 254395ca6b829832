"""Posts are written, once for each key, and only such as every account takes; tenants never meet."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
import redis

from socialsync_common.contracts import Platform, TaskName
from support import eventually

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
PARIS = ZoneInfo("Europe/Paris")


def at(**later: float) -> str:
    """A time in Paris, so much later than now."""
    return (datetime.now(PARIS).replace(microsecond=0) + timedelta(**later)).isoformat()


def body(tenant, *accounts, **changes):
    return {
        "kind": "image",
        "text": "Fresh bread",
        "media": [{"id": tenant.file(), "alt_text": "A loaf"}],
        "accounts": [str(account.id) for account in accounts],
        "due_at": at(days=2),
        "zone": "Europe/Paris",
        **changes,
    }


def targets(tenant, post):
    return tenant.owner.execute(
        "SELECT * FROM post_targets WHERE post_id = %s ORDER BY id", (post,)
    ).fetchall()


def pointers(response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {error["pointer"]: error["detail"] for error in response.json()["errors"]}


async def write(world, tenant, *accounts, key=None, **changes):
    response = await world.post(POSTS, body(tenant, *accounts, **changes), tenant, key=key or str(uuid4()))
    assert response.status_code == 201, response.text
    return response.json()


async def test_a_post_is_written_with_a_target_for_each_account(world):
    instagram, page = (
        world.us.account(Platform.INSTAGRAM, "Insta"),
        world.us.account(Platform.MESSENGER, "Page"),
    )
    due = at(days=2)
    post = await write(
        world, world.us, instagram, page, due_at=due, first_comment="#bread", text=" Fresh\r\nbread "
    )
    assert (post["kind"], post["text"], post["first_comment"]) == ("image", "Fresh\nbread", "#bread")
    assert (post["status"], post["zone"], post["local_due_at"]) == ("queued", "Europe/Paris", due)
    assert post["due_at"].endswith("Z")
    assert datetime.fromisoformat(post["due_at"]) == datetime.fromisoformat(due)
    (file,) = post["media"]
    assert (file["alt_text"], file["kind"], file["mime_type"], file["name"]) == (
        "A loaf",
        "image",
        "image/jpeg",
        "bread",
    )
    assert [each["account"] for each in post["targets"]] == [
        {"id": str(instagram.id), "name": "Insta", "platform": "instagram"},
        {"id": str(page.id), "name": "Page", "platform": "messenger"},
    ]
    assert set(post["targets"][0]) == {
        "id", "account", "status", "phase", "due_at", "published_at", "permalink", "media_id", "attempt", "retry_at",
        "comment_status", "warning", "reason",
    }  # fmt: skip
    for row in targets(world.us, post["id"]):
        assert (row["status"], row["phase"], row["checked"]) == ("queued", None, 0)
        assert row["due_at"] - row["next_at"] == timedelta(seconds=75)
    assert world.tasks == []
    assert (await world.get(f"{POSTS}/{post['id']}")).json() == post


async def test_every_kind_is_stored(world):
    instagram, page = world.us.account(Platform.INSTAGRAM), world.us.account(Platform.MESSENGER)
    picture, video = world.us.file(), world.us.file("video")
    await write(world, world.us, page, kind="text", media=[])
    carousel = await write(
        world, world.us, instagram, kind="carousel", media=[{"id": picture}, {"id": video}, {"id": picture}]
    )
    assert [each["id"] for each in carousel["media"]] == [picture, video, picture]
    for kind, files, seconds in (
        ("image", [picture], 75), ("video", [video], 600), ("reel", [video], 600), ("story", [picture], 75),
        ("story", [video], 600), ("carousel", [picture, video], 600), ("carousel", [picture, picture], 75),
    ):  # fmt: skip
        text = "" if kind == "story" else "Fresh bread"
        post = await write(
            world, world.us, instagram, kind=kind, text=text, media=[{"id": each} for each in files]
        )
        (row,) = targets(world.us, post["id"])
        assert row["due_at"] - row["next_at"] == timedelta(seconds=seconds), kind


async def test_workers_are_told_at_once_of_what_is_due_soon(world):
    page = world.us.account(Platform.MESSENGER)
    soon = await write(world, world.us, page, due_at=at(seconds=70))
    await write(world, world.us, page, due_at=at(seconds=90))
    reel = await write(
        world, world.us, page, kind="reel", media=[{"id": world.us.file("video")}], due_at=at(seconds=590)
    )
    assert world.tasks == [
        (TaskName.PUBLISH_POST, {"tenant_id": str(world.us.id), "target_id": post["targets"][0]["id"]})
        for post in (soon, reel)
    ]


async def test_a_broker_that_is_away_delays_nothing(world):
    async def send_task(name, arguments):
        raise redis.ConnectionError

    world.app.state.send_task = send_task
    page = world.us.account(Platform.MESSENGER)
    post = await write(world, world.us, page, due_at=at(seconds=10))
    assert len(targets(world.us, post["id"])) == 1


async def test_all_faults_come_in_one_answer(world):
    instagram, whatsapp = world.us.account(Platform.INSTAGRAM), world.us.account(Platform.WHATSAPP)
    lost = world.us.account(Platform.INSTAGRAM, "Lost")
    world.us.owner.execute("UPDATE accounts SET status = 'needs_reconnect' WHERE id = %s", (lost.id,))
    request = body(world.us, instagram, whatsapp, lost)
    request |= {
        "text": "#b " * 31,
        "first_comment": "x" * 2201,
        "media": [
            {"id": world.us.file(mime_type="image/png")},
            {"id": world.us.file()},
            {"id": str(uuid4())},
        ],
        "due_at": "2026-03-29T02:30:00+01:00",
        "zone": "Mars/Olympus",
    }
    said = pointers(await world.post(POSTS, request, key="k"))
    assert set(said) == {
        "/body/text", "/body/first_comment", "/body/media", "/body/media/0/id", "/body/media/2/id",
        "/body/accounts/1", "/body/accounts/2", "/body/due_at", "/body/zone",
    }  # fmt: skip
    assert "GET /api/oauth/instagram/start" in said["/body/accounts/2"]
    assert world.us.one("SELECT count(*) FROM scheduled_posts")["count"] == 0


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "poem"}, "/body/kind"),
        ({"accounts": "all"}, "/body/accounts"),
        ({"accounts": [7]}, "/body/accounts/0"),
        ({"media": [{"alt_text": "x"}]}, "/body/media/0/id"),
        ({"text": "a\0b"}, "/body/text"),
        ({"due_at": None}, "/body/due_at"),
        ({"colour": "red"}, "/body/colour"),
    ],
)
async def test_shapes_are_checked(world, change, pointer):
    request = body(world.us, world.us.account(Platform.MESSENGER), **change)
    assert pointer in pointers(await world.post(POSTS, request, key="k"))


@pytest.mark.parametrize("member", ["text", "first_comment", "due_at", "zone"])
async def test_half_a_surrogate_pair_cannot_be_stored(world, member):
    page = world.us.account(Platform.MESSENGER)
    raw = json.dumps(body(world.us, page, **{member: "?"})).replace('"?"', '"\\ud83c"')
    headers = {**world.us.headers, "Idempotency-Key": "k", "Content-Type": "application/json"}
    response = await world.client.post(POSTS, content=raw, headers=headers)
    assert pointers(response) == {f"/body/{member}": "Value error, must not contain half of a surrogate pair"}


async def test_a_key_is_required_and_a_body_is_bounded(world):
    request = body(world.us, world.us.account(Platform.MESSENGER))
    assert "/header/idempotency-key" in pointers(await world.post(POSTS, request))
    response = await world.post(POSTS, {**request, "text": "x" * 300_000}, key="k")
    assert response.status_code == 413


async def test_the_same_key_is_the_same_post(world):
    page = world.us.account(Platform.MESSENGER)
    request = body(world.us, page, due_at=at(seconds=70))
    first = await world.post(POSTS, request, key="k")
    again = await world.post(POSTS, dict(reversed(request.items())), key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert len(world.tasks) == 1
    other = await world.post(POSTS, {**request, "text": "Other"}, key="k")
    assert other.status_code == 422
    assert other.json()["type"] == "urn:socialsync:problem:idempotency-key-reused"
    assert world.us.one("SELECT count(*) FROM scheduled_posts")["count"] == 1


async def test_a_repeat_is_answered_whatever_has_changed_since(world):
    page = world.us.account(Platform.INSTAGRAM)
    request = body(world.us, page, due_at=at(seconds=70))
    first = await world.post(POSTS, request, key="k")
    world.us.owner.execute(
        "UPDATE accounts SET status = 'needs_reconnect', quota_total = 0 WHERE id = %s", (page.id,)
    )
    again = await world.post(POSTS, request, key="k")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_duplicates_at_the_same_moment_are_one_post(world):
    account = world.us.account(Platform.INSTAGRAM)
    world.us.owner.execute("UPDATE accounts SET quota_total = 1 WHERE id = %s", (account.id,))
    request = body(world.us, account, due_at=at(seconds=70))
    responses = await asyncio.gather(*(world.post(POSTS, request, key="k") for _ in range(12)))
    assert {response.status_code for response in responses} == {201}
    assert len({response.text for response in responses}) == 1
    assert world.us.one("SELECT count(*) FROM scheduled_posts")["count"] == 1
    assert len(world.tasks) == 1


async def test_different_posts_race_for_a_key(world):
    page = world.us.account(Platform.MESSENGER)
    request = body(world.us, page)
    responses = await asyncio.gather(
        *(world.post(POSTS, {**request, "text": f"Bread {number}"}, key="k") for number in range(6))
    )
    assert sorted(response.status_code for response in responses) == [201, *[422] * 5]


# --- quota ---


async def test_an_account_with_a_full_quota_says_when_there_is_room(world):
    account = world.us.account(Platform.INSTAGRAM, "Full")
    world.us.owner.execute("UPDATE accounts SET quota_total = 2 WHERE id = %s", (account.id,))
    first = await write(world, world.us, account, due_at=at(days=2))
    await write(world, world.us, account, due_at=at(days=2, hours=3))
    page = world.us.account(Platform.MESSENGER)
    said = pointers(
        await world.post(POSTS, body(world.us, page, account, due_at=at(days=2, hours=4)), key="k")
    )
    assert list(said) == ["/body/accounts/1"]
    free = (datetime.fromisoformat(first["local_due_at"]) + timedelta(days=1)).isoformat()
    assert f"choose {free} or later" in said["/body/accounts/1"]
    await write(world, world.us, account, due_at=free)
    # posts that come after it count as well, and a cancelled one does not
    earlier = body(world.us, account, due_at=at(days=2, hours=-2))
    assert "/body/accounts/0" in pointers(await world.post(POSTS, earlier, key="k"))
    await world.post(f"{POSTS}/{first['id']}/cancel", {})
    assert (await world.post(POSTS, earlier, key="k")).status_code == 201


async def test_what_was_used_elsewhere_takes_places(world):
    account = world.us.account(Platform.INSTAGRAM)
    world.us.owner.execute(
        "UPDATE accounts SET quota_total = 2, quota_used = 2, quota_read_at = now() WHERE id = %s",
        (account.id,),
    )
    assert "/body/accounts/0" in pointers(
        await world.post(POSTS, body(world.us, account, due_at=at(hours=5)), key="k")
    )
    await write(world, world.us, account, due_at=at(hours=25))


async def test_the_last_place_is_given_once(world):
    account = world.us.account(Platform.INSTAGRAM)
    world.us.owner.execute("UPDATE accounts SET quota_total = 3 WHERE id = %s", (account.id,))
    request = body(world.us, account)
    responses = await asyncio.gather(*(world.post(POSTS, request, key=f"k{number}") for number in range(8)))
    assert sorted(response.status_code for response in responses) == [201] * 3 + [422] * 5


# --- two tenants ---


async def test_what_is_theirs_looks_as_what_is_not_there(world):
    theirs, their_file = world.them.account(Platform.MESSENGER), world.them.file()
    ours = world.us.account(Platform.MESSENGER)
    foreign = body(world.us, theirs, media=[{"id": their_file}])
    absent = {**foreign, "accounts": [str(uuid4())], "media": [{"id": str(uuid4())}]}
    said = pointers(await world.post(POSTS, foreign, key="k"))
    assert set(said) == {"/body/accounts/0", "/body/media/0/id"}
    assert said == pointers(await world.post(POSTS, absent, key="k"))
    post = await write(world, world.us, ours)
    said = pointers(
        await world.patch(
            f"{POSTS}/{post['id']}", {"accounts": foreign["accounts"], "media": foreign["media"]}
        )
    )
    assert set(said) == {"/body/accounts/0", "/body/media/0/id"}


async def test_tenants_do_not_see_each_others_posts(world):
    post = await write(world, world.us, world.us.account(Platform.MESSENGER))
    path, target = f"{POSTS}/{post['id']}", post["targets"][0]["id"]
    world.us.owner.execute("UPDATE post_targets SET status = 'needs_check' WHERE id = %s", (target,))
    before = targets(world.us, post["id"])
    them = world.them
    day = post["due_at"][:10]
    assert (await world.get(POSTS, them)).json()["items"] == []
    calendar = await world.get(f"{POSTS}/calendar", them, **{"from": day, "to": day, "zone": "UTC"})
    assert calendar.json()["days"] == [{"date": day, "posts": []}]
    assert (await world.get(POSTS, them, account=post["targets"][0]["account"]["id"])).status_code == 404
    for response in (
        await world.get(path, them),
        await world.patch(path, {"text": "Ours now"}, them),
        await world.post(f"{path}/cancel", {}, them),
        await world.post(f"{path}/targets/{target}/decision", {"decision": "publish"}, them),
    ):
        assert response.status_code == 404
        assert response.json() == {**response.json(), "type": "urn:socialsync:problem:not-found"}
    assert targets(world.us, post["id"]) == before
    assert world.tasks == []


async def test_keys_of_tenants_are_apart(world):
    posts = [
        await write(world, tenant, tenant.account(Platform.MESSENGER), key="same")
        for tenant in (world.us, world.them)
    ]
    assert posts[0]["id"] != posts[1]["id"]


def test_the_database_itself_keeps_tenants_apart(world, databases):
    """Whatever the API does: a row refers to rows of its own tenant only."""
    us, them = world.us, world.them
    their_account, their_file = them.account(Platform.MESSENGER), them.file()
    our_post, their_post = uuid4(), uuid4()
    for tenant, post in ((us, our_post), (them, their_post)):
        tenant.owner.execute(
            "INSERT INTO scheduled_posts (id, tenant_id, kind, due_at, zone, request_hash) VALUES (%s, %s, 'text', now(), 'UTC', '')",
            (post, tenant.id),
        )
    our_account = us.account(Platform.MESSENGER)
    target = (
        "INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at) VALUES (%s, %s, %s, %s, now())"
    )
    attach = "INSERT INTO post_media (post_id, position, media_id, tenant_id) VALUES (%s, 1, %s, %s)"
    with psycopg.connect(databases.service_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenants', %s, false)", (f"{{{us.id}}}",))
        for statement, parameters in (
            (target, (uuid4(), us.id, our_post, their_account.id)),
            (target, (uuid4(), us.id, their_post, our_account.id)),
            (attach, (our_post, their_file, us.id)),
            (attach, (their_post, us.file(), us.id)),
        ):
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute(statement, parameters)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):  # nor in the other tenant's name
                connection.execute(statement, [them.id if each == us.id else each for each in parameters])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE scheduled_posts SET tenant_id = %s", (them.id,))
        connection.execute(target, (uuid4(), us.id, our_post, our_account.id))
        assert connection.execute("SELECT count(*) FROM scheduled_posts").fetchone() == (1,)
        assert connection.execute("UPDATE post_targets SET due_at = now()").rowcount == 1


async def test_a_file_that_is_deleted_at_this_moment(world, databases):
    """It is there while the post is checked, and gone when it is written."""
    page, file = world.us.account(Platform.MESSENGER), world.us.file()
    request = body(world.us, page, media=[{"id": file}])
    with psycopg.connect(databases.owner_url) as other:
        other.execute("DELETE FROM media WHERE id = %s", (file,))
        waiting = asyncio.create_task(world.post(POSTS, request, key="k"))
        await blocked(world)
        other.commit()
        response = await waiting
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:file-deleted"
    assert world.us.one("SELECT count(*) FROM scheduled_posts")["count"] == 0


async def blocked(world) -> None:
    """Wait until a statement waits for a lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await eventually(lambda: world.us.one(waits)["count"])
