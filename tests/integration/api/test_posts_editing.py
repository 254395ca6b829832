"""Posts are changed, cancelled and decided about, also while a worker has them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest

from socialsync_common.contracts import Platform, TaskName
from support import eventually

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
PARIS = ZoneInfo("Europe/Paris")
UNTOUCHED = {
    "phase": None, "container_ids": [], "container_at": None, "lease_token": None, "lease_until": None, "attempt": 0,
    "checked": 0, "warning": None, "reason": None,
}  # fmt: skip
# as a worker leaves it that is at it
PREPARED = """
UPDATE post_targets SET phase = 'container_ready', container_ids = '{c1,c2}', container_at = now(), lease_token = %s,
       lease_until = now() + interval '60 seconds', attempt = 2, checked = 1, warning = 'w', reason = 'r', next_at = now()
 WHERE id = %s
"""
BEGIN_PUBLISHING = """
UPDATE post_targets SET phase = 'publish_called', status = 'publishing', publishes = publishes + 1, publish_called_at = now()
 WHERE id = %s AND lease_token = %s RETURNING id
"""


def at(**later: float) -> str:
    return (datetime.now(PARIS).replace(microsecond=0) + timedelta(**later)).isoformat()


async def write(world, *accounts, tenant=None, **changes):
    tenant = tenant or world.us
    body = {
        "kind": "image",
        "text": "Fresh bread",
        "media": [{"id": tenant.file()}],
        "accounts": [str(account.id) for account in accounts],
        "due_at": at(days=2),
        "zone": "Europe/Paris",
        **changes,
    }
    response = await world.post(POSTS, body, tenant, key=str(uuid4()))
    assert response.status_code == 201, response.text
    return response.json()


async def change(world, post, **changes):
    response = await world.patch(f"{POSTS}/{post['id']}", changes)
    assert response.status_code == 200, response.text
    return response.json()


def target_rows(world, post):
    return world.us.owner.execute(
        "SELECT t.* FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = %s ORDER BY a.name, t.id",
        (post["id"],),
    ).fetchall()


def prepare(world, post, index: int = 0) -> tuple[UUID, UUID]:
    """A worker has it; returns the target and the lease."""
    target, lease = UUID(post["targets"][index]["id"]), uuid4()
    world.us.owner.execute(PREPARED, (lease, target))
    return target, lease


def set_target(world, post, index: int = 0, **columns):
    changes = ", ".join(f"{name} = %s" for name in columns)
    world.us.owner.execute(
        f"UPDATE post_targets SET {changes} WHERE id = %s",  # noqa: S608
        (*columns.values(), post["targets"][index]["id"]),
    )


def pages(world, *names: str):
    return [world.us.account(Platform.MESSENGER, name) for name in names]


# --- change ---


async def test_a_change_forgets_what_was_prepared(world):
    post = await write(world, *pages(world, "A"))
    prepare(world, post)
    due = at(days=3)
    now = await change(world, post, text="Fresh rolls", first_comment="First!", due_at=due)
    assert (now["text"], now["first_comment"], now["local_due_at"]) == ("Fresh rolls", "First!", due)
    assert now["updated_at"] > post["updated_at"]
    assert (now["media"], now["kind"], now["created_at"]) == (post["media"], post["kind"], post["created_at"])
    (row,) = target_rows(world, post)
    assert {name: row[name] for name in UNTOUCHED} == UNTOUCHED
    assert row["due_at"] == datetime.fromisoformat(due)
    assert row["next_at"] == row["due_at"] - timedelta(seconds=75)
    assert (await change(world, now, first_comment=None))["first_comment"] is None


async def test_what_changes_nothing_keeps_what_was_prepared(world):
    post = await write(world, *pages(world, "A"))
    prepare(world, post)
    before = target_rows(world, post)
    account = post["targets"][0]["account"]["id"].upper()
    now = await change(
        world,
        post,
        text="Fresh bread ",
        due_at=post["due_at"],
        accounts=[account],
        media=[{"id": post["media"][0]["id"]}],
    )
    assert now["updated_at"] == post["updated_at"]
    assert await change(world, post) == now
    assert target_rows(world, post) == before


async def test_media_are_replaced(world):
    post = await write(world, *pages(world, "A"), kind="story", text="")
    picture, video = world.us.file(), world.us.file("video")
    now = await change(world, post, media=[{"id": video, "alt_text": "An oven"}])
    assert [(each["id"], each["alt_text"]) for each in now["media"]] == [(video, "An oven")]
    (row,) = target_rows(world, post)
    assert row["due_at"] - row["next_at"] == timedelta(seconds=600)
    now = await change(world, post, media=[{"id": picture}])
    assert [each["id"] for each in now["media"]] == [picture]
    (row,) = target_rows(world, post)
    assert row["due_at"] - row["next_at"] == timedelta(seconds=75)


async def test_accounts_are_added_and_taken_off(world):
    a, b, c = pages(world, "A", "B", "C")
    post = await write(world, a, b)
    prepare(world, post, 1)
    now = await change(world, post, accounts=[str(c.id), str(a.id)])
    assert [(each["account"]["name"], each["status"], each["reason"]) for each in now["targets"]] == [
        ("A", "queued", None), ("B", "cancelled", "taken off the post"), ("C", "queued", None),
    ]  # fmt: skip
    assert now["status"] == "queued"
    off = target_rows(world, post)[1]
    assert (off["next_at"], off["lease_token"]) == (None, None)
    # the post can still be changed, and an account comes back as new
    now = await change(world, post, accounts=[str(b.id)])
    assert [each["status"] for each in now["targets"]] == ["cancelled", "queued", "cancelled"]
    back = target_rows(world, post)[1]
    assert {name: back[name] for name in UNTOUCHED} == UNTOUCHED
    assert back["next_at"] == back["due_at"] - timedelta(seconds=75)


async def test_a_post_that_moves_to_another_account_stays_queued(world):
    post = await write(world, *pages(world, "A"))
    (other,) = pages(world, "B")
    now = await change(world, post, accounts=[str(other.id)])
    assert [each["status"] for each in now["targets"]] == ["cancelled", "queued"]
    assert now["status"] == "queued"
    listed = (await world.get(f"{POSTS}?status=queued")).json()["items"]
    assert post["id"] in [each["id"] for each in listed]


async def test_the_zone_alone_moves_no_moment(world):
    post = await write(world, *pages(world, "A"))
    now = await change(world, post, zone="Asia/Kolkata")
    assert now["due_at"] == post["due_at"]
    assert now["local_due_at"].endswith("+05:30")
    response = await world.patch(f"{POSTS}/{post['id']}", {"due_at": at(days=3)})  # still on Paris' clock
    assert response.json()["errors"][0]["pointer"] == "/body/due_at"


async def test_a_change_to_soon_tells_the_workers(world):
    post = await write(world, *pages(world, "A", "B"))
    assert world.tasks == []
    await change(world, post, due_at=at(seconds=30))
    assert sorted(world.tasks, key=str) == sorted(
        (
            (TaskName.PUBLISH_POST, {"tenant_id": str(world.us.id), "target_id": each["id"]})
            for each in post["targets"]
        ),
        key=str,
    )


async def test_all_faults_of_a_change_come_in_one_answer(world):
    account = world.us.account(Platform.INSTAGRAM)
    post = await write(world, account)
    response = await world.patch(
        f"{POSTS}/{post['id']}",
        {
            "text": "x" * 2201,
            "media": [{"id": str(uuid4())}],
            "accounts": [],
            "due_at": "soon",
            "zone": "Mars",
        },
    )
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == {
        "/body/media/0/id", "/body/accounts", "/body/due_at", "/body/zone",
    }  # fmt: skip
    response = await world.patch(
        f"{POSTS}/{post['id']}", {"text": "x" * 2201, "due_at": "2026-01-01T00:00:00+01:00"}
    )
    assert {error["pointer"] for error in response.json()["errors"]} == {"/body/text", "/body/due_at"}
    assert (await world.get(f"{POSTS}/{post['id']}")).json() == post


async def test_a_text_can_be_changed_while_the_account_must_be_reconnected(world):
    account = world.us.account(Platform.INSTAGRAM)
    post = await write(world, account)
    world.us.owner.execute(
        "UPDATE accounts SET status = 'needs_reconnect', quota_total = 0 WHERE id = %s", (account.id,)
    )
    assert (await change(world, post, text="Rolls"))["text"] == "Rolls"
    moved = await world.patch(f"{POSTS}/{post['id']}", {"due_at": at(days=4)})
    assert moved.status_code == 422  # another time needs room in the quota


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("queued", "publish_called"), ("publishing", "publish_called"), ("published", "confirmed"), ("failed", None),
        ("needs_check", "publish_called"),
    ],
)  # fmt: skip
async def test_what_has_gone_further_cannot_be_changed(world, status, phase):
    post = await write(world, *pages(world, "A", "B"))
    set_target(world, post, 1, status=status, phase=phase)
    before = target_rows(world, post)
    response = await world.patch(f"{POSTS}/{post['id']}", {"text": "Rolls"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:not-editable"
    assert "on B it" in response.json()["detail"]
    assert target_rows(world, post) == before


async def test_changes_at_the_same_moment_come_one_after_the_other(world):
    a, b, c = pages(world, "A", "B", "C")
    post = await write(world, a)
    responses = await asyncio.gather(
        *(
            world.patch(f"{POSTS}/{post['id']}", {"text": f"{number}", "accounts": [str(account.id)]})
            for number, account in enumerate([a, b, c, b, a, c])
        )
    )
    assert {response.status_code for response in responses} == {200}
    queued = [row for row in target_rows(world, post) if row["status"] == "queued"]
    now = (await world.get(f"{POSTS}/{post['id']}")).json()
    number = int(now["text"])
    assert [row["account_id"] for row in queued] == [[a, b, c, b, a, c][number].id]


# --- against workers ---


async def test_a_worker_loses_its_lease_to_a_change(world):
    post = await write(world, *pages(world, "A"))
    target, lease = prepare(world, post)
    await change(world, post, text="Rolls")
    assert world.us.owner.execute(BEGIN_PUBLISHING, (target, lease)).fetchall() == []


async def test_a_change_loses_to_a_worker_that_publishes(world, databases):
    """The worker's mark is not committed yet when the change comes: it waits, and then sees it."""
    post = await write(world, *pages(world, "A"))
    target, lease = prepare(world, post)
    with psycopg.connect(databases.owner_url) as worker:
        assert worker.execute(BEGIN_PUBLISHING, (target, lease)).fetchall() == [(target,)]
        changing = asyncio.create_task(world.patch(f"{POSTS}/{post['id']}", {"text": "Rolls"}))
        cancelling = asyncio.create_task(world.post(f"{POSTS}/{post['id']}/cancel", {}))
        await blocked(world, 2)
        worker.commit()
        responses = await asyncio.gather(changing, cancelling)
    assert [response.status_code for response in responses] == [409, 409]
    assert (await world.get(f"{POSTS}/{post['id']}")).json()["text"] == "Fresh bread"


async def test_a_worker_that_comes_during_a_change_finds_its_lease_gone(world, databases):
    """The post's row is held by somebody else, so that the change has its targets and cannot commit yet."""
    post = await write(world, *pages(world, "A"))
    target, lease = prepare(world, post)
    with psycopg.connect(databases.owner_url) as holder:
        holder.execute("SELECT FROM scheduled_posts WHERE id = %s FOR UPDATE", (post["id"],))
        changing = asyncio.create_task(world.patch(f"{POSTS}/{post['id']}", {"text": "Rolls"}))
        await blocked(world, 1)
        publishing = asyncio.create_task(
            asyncio.to_thread(begin_publishing, databases.owner_url, target, lease)
        )
        await blocked(world, 2)
        holder.commit()
        response, published = await asyncio.gather(changing, publishing)
    assert response.status_code == 200
    assert published == []
    assert target_rows(world, post)[0]["phase"] is None


def begin_publishing(url: str, target: UUID, lease: UUID):
    with psycopg.connect(url) as worker:
        return worker.execute(BEGIN_PUBLISHING, (target, lease)).fetchall()


async def test_changes_race_with_workers(world, databases):
    """Whoever is first wins, whole: published as it was, or changed and not published."""
    posts = [await write(world, *pages(world, f"P{number}")) for number in range(10)]
    leases = [prepare(world, post) for post in posts]
    outcomes = await asyncio.gather(
        *(world.patch(f"{POSTS}/{post['id']}", {"text": "Rolls"}) for post in posts),
        *(asyncio.to_thread(begin_publishing, databases.owner_url, *lease) for lease in leases),
    )
    for post, response, published in zip(posts, outcomes[:10], outcomes[10:], strict=True):
        (row,) = target_rows(world, post)
        text = world.us.one("SELECT text FROM scheduled_posts WHERE id = %s", post["id"])["text"]
        if published:
            assert (response.status_code, row["phase"], text) == (409, "publish_called", "Fresh bread")
        else:
            assert (response.status_code, row["phase"], text) == (200, None, "Rolls")


async def blocked(world, count: int) -> None:
    """Wait until so many statements wait for a lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await eventually(lambda: world.us.one(waits)["count"] >= count)


# --- cancel ---


async def test_a_post_is_cancelled(world):
    post = await write(world, *pages(world, "A", "B"))
    prepare(world, post)
    response = await world.post(f"{POSTS}/{post['id']}/cancel", {})
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["note"]) == ("cancelled", None)
    for row in target_rows(world, post):
        assert (row["status"], row["next_at"], row["lease_token"]) == ("cancelled", None, None)
    again = await world.post(f"{POSTS}/{post['id']}/cancel", {})
    assert (again.status_code, again.json()) == (200, response.json())
    assert (await world.patch(f"{POSTS}/{post['id']}", {"text": "Rolls"})).status_code == 409


async def test_what_is_being_published_is_not_cancelled_and_the_answer_says_so(world):
    post = await write(world, *pages(world, "A", "B"))
    target, lease = prepare(world, post, 1)
    world.us.owner.execute(BEGIN_PUBLISHING, (target, lease))
    response = await world.post(f"{POSTS}/{post['id']}/cancel", {})
    assert response.status_code == 200
    assert [each["status"] for each in response.json()["targets"]] == ["cancelled", "publishing"]
    assert response.json()["note"] == "This could not be cancelled any more: on B it is being published."
    assert response.json()["status"] == "publishing"
    assert target_rows(world, post)[1]["lease_token"] == lease
    again = await world.post(f"{POSTS}/{post['id']}/cancel", {})
    assert again.status_code == 409
    assert "on B it is being published" in again.json()["detail"]


# --- decide ---


def decision(post, index: int = 0) -> str:
    return f"{POSTS}/{post['id']}/targets/{post['targets'][index]['id']}/decision"


async def needs_check(world):
    post = await write(world, *pages(world, "A"))
    prepare(world, post)
    set_target(
        world, post, status="needs_check", phase="publish_called", publishes=1, next_at=None, lease_token=None,
        publish_called_at=datetime(2026, 11, 1, tzinfo=PARIS), due_at=datetime(2026, 11, 1, tzinfo=PARIS),
    )  # fmt: skip
    for kind in ("post_needs_check", "token_expires"):
        world.us.owner.execute(
            "INSERT INTO notices (tenant_id, post_id, kind, message, key) VALUES (%s, %s, %s, '', %s)",
            (world.us.id, post["id"], kind, kind),
        )
    return post


def open_notices(world):
    return [
        row["kind"] for row in world.us.owner.execute("SELECT kind FROM notices WHERE resolved_at IS NULL")
    ]


async def test_it_is_live(world):
    post = await needs_check(world)
    assert (await world.get(f"{POSTS}/{post['id']}")).json()["status"] == "needs_check"
    response = await world.post(decision(post), {"decision": "published"})
    assert response.status_code == 200
    assert response.json()["status"] == "published"
    (row,) = target_rows(world, post)
    assert (row["phase"], row["next_at"], row["reason"]) == ("confirmed", None, None)
    assert row["published_at"] == row["publish_called_at"]
    assert open_notices(world) == ["token_expires"]
    assert world.tasks == []
    assert (await world.post(decision(post), {"decision": "published"})).json() == response.json()


@pytest.mark.parametrize("status", ["needs_check", "failed"])
async def test_it_shall_go_out_now(world, status):
    post = await needs_check(world)
    set_target(world, post, status=status)
    response = await world.post(decision(post), {"decision": "publish"})
    assert response.status_code == 200
    assert response.json()["status"] == "queued"
    (row,) = target_rows(world, post)
    assert {name: row[name] for name in UNTOUCHED} == UNTOUCHED
    assert (row["publishes"], row["publish_called_at"]) == (0, None)
    assert row["due_at"] == row["next_at"] > row["created_at"]
    assert world.tasks == [
        (TaskName.PUBLISH_POST, {"tenant_id": str(world.us.id), "target_id": post["targets"][0]["id"]})
    ]
    assert open_notices(world) == ["token_expires"]
    # a repeat is no second order
    assert (await world.post(decision(post), {"decision": "publish"})).status_code == 409
    # its own time stays, while the text is changed
    await change(world, post, text="Rolls")
    assert target_rows(world, post)[0]["due_at"] == row["due_at"]


async def test_it_is_given_up(world):
    post = await needs_check(world)
    response = await world.post(decision(post), {"decision": "abandon"})
    assert response.status_code == 200
    (target,) = response.json()["targets"]
    assert (target["status"], target["reason"]) == ("failed", "r; given up by a person")
    assert target_rows(world, post)[0]["next_at"] is None
    assert (await world.post(decision(post), {"decision": "abandon"})).json() == response.json()


async def test_two_people_decide_at_the_same_moment(world):
    post = await needs_check(world)
    responses = await asyncio.gather(*(world.post(decision(post), {"decision": "publish"}) for _ in range(6)))
    assert sorted(response.status_code for response in responses) == [200, *[409] * 5]
    assert len(world.tasks) == 1


async def test_there_is_nothing_to_decide(world):
    post = await write(world, *pages(world, "A"))
    for word in ("published", "publish", "abandon"):
        response = await world.post(decision(post), {"decision": word})
        assert response.status_code == 409
        assert response.json()["type"] == "urn:socialsync:problem:not-decidable"
    other = await write(world, *pages(world, "B"))
    mixed = f"{POSTS}/{post['id']}/targets/{other['targets'][0]['id']}/decision"
    assert (await world.post(mixed, {"decision": "abandon"})).status_code == 404
    assert (await world.post(decision(post), {"decision": "maybe"})).status_code == 422


async def test_an_account_that_must_be_reconnected_publishes_nothing(world):
    post = await needs_check(world)
    world.us.owner.execute("UPDATE accounts SET status = 'needs_reconnect'")
    response = await world.post(decision(post), {"decision": "publish"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:needs-reconnect"
    assert "GET /api/oauth/facebook/start" in response.json()["detail"]
    assert (await world.post(decision(post), {"decision": "published"})).status_code == 200


@pytest.mark.parametrize("path", ["", "/cancel", f"/targets/{uuid4()}/decision"])
async def test_what_is_not_there(world, path):
    where = f"{POSTS}/{uuid4()}{path}"
    response = await world.post(where, {"decision": "publish"}) if path else await world.patch(where, {})
    assert response.status_code == 404
