"""Posts in lists and in a calendar: by pages, filters and days of a zone."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from socialsync_common.contracts import Platform

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
CALENDAR = f"{POSTS}/calendar"
DAY = datetime(2026, 12, 1, 9, tzinfo=UTC)


def add(tenant, due: datetime, *accounts, status: str = "queued", zone: str = "Europe/Paris") -> str:
    post = uuid4()
    tenant.owner.execute(
        "INSERT INTO scheduled_posts (id, tenant_id, kind, text, due_at, zone, status, request_hash) "
        "VALUES (%s, %s, 'text', 'Bread', %s, %s, %s, '')",
        (post, tenant.id, due, zone, status),
    )
    for account in accounts:
        tenant.owner.execute(
            "INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at, status) VALUES (%s, %s, %s, %s, %s, %s)",
            (uuid4(), tenant.id, post, account.id, due, status),
        )
    return str(post)


async def ids(world, **query) -> list[str]:
    response = await world.get(POSTS, **query)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def days(world, begin: str, end: str, zone: str) -> dict[str, list[str]]:
    response = await world.get(CALENDAR, **{"from": begin, "to": end, "zone": zone})
    assert response.status_code == 200, response.text
    assert response.json()["zone"] == zone
    return {day["date"]: [post["id"] for post in day["posts"]] for day in response.json()["days"]}


async def pointers(world, path, **query) -> set[str]:
    response = await world.get(path, **query)
    assert response.status_code == 422, response.text
    return {error["pointer"] for error in response.json()["errors"]}


async def test_pages_by_due_time(world):
    account = world.us.account(Platform.MESSENGER)
    times = [DAY + timedelta(hours=hour) for hour in (5, 1, 3, 3, 3, 2, 4)]
    added = [add(world.us, due, account) for due in times]
    expected = sorted(added, key=lambda post: (times[added.index(post)], post))
    found, cursor = [], None
    while True:
        page = (await world.get(POSTS, limit=2, **({"cursor": cursor} if cursor else {}))).json()
        assert len(page["items"]) <= 2
        found += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == expected
    assert (await world.get(POSTS, cursor="bad")).status_code == 400


async def test_filters(world):
    a, b = world.us.account(Platform.MESSENGER), world.us.account(Platform.INSTAGRAM)
    first = add(world.us, DAY, a)
    second = add(world.us, DAY + timedelta(hours=1), a, b, status="failed")
    third = add(world.us, DAY + timedelta(hours=2), b)
    assert await ids(world) == [first, second, third]
    assert await ids(world, status="failed") == [second]
    assert await ids(world, account=str(b.id)) == [second, third]
    assert await ids(world, account=str(b.id), status="queued") == [third]
    assert await ids(world, **{"from": "2026-12-01T10:00:00Z"}) == [second, third]
    assert await ids(world, to="2026-12-01T10:00:00Z") == [first]
    assert await ids(world, **{"from": "2026-12-01T11:00:00+01:00", "to": "2026-12-01T12:00:00+01:00"}) == [
        second
    ]
    # a + that nobody escaped
    response = await world.client.get(
        f"{POSTS}?from=2026-12-01T11:00:00+01:00&limit=1", headers=world.us.headers
    )
    assert [item["id"] for item in response.json()["items"]] == [second]
    assert (await world.get(POSTS, account=str(uuid4()))).status_code == 404
    assert await pointers(world, POSTS, status="gone", limit=0, to="2026-12-01T10:00:00") == {
        "/query/status", "/query/limit", "/query/to",
    }  # fmt: skip


async def test_days_are_those_of_the_zone(world):
    late = add(world.us, datetime(2026, 12, 1, 22, 59, 59, tzinfo=UTC))
    midnight = add(world.us, datetime(2026, 12, 1, 23, 0, 0, tzinfo=UTC))
    assert await days(world, "2026-12-01", "2026-12-03", "Europe/Paris") == {
        "2026-12-01": [late], "2026-12-02": [midnight], "2026-12-03": [],
    }  # fmt: skip
    assert await days(world, "2026-12-01", "2026-12-01", "America/New_York") == {
        "2026-12-01": [late, midnight]
    }
    assert await days(world, "2026-12-02", "2026-12-02", "Asia/Kolkata") == {"2026-12-02": [late, midnight]}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", date(2026, 3, 29), 23),
        ("Europe/Paris", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Asia/Kolkata", date(2026, 3, 29), 24),
        ("Asia/Beirut", date(2026, 3, 29), 23),  # begins at one o'clock
    ],
)
async def test_days_on_which_clocks_are_changed(world, zone, day, hours):
    """Every post of three days, one each half hour, is on exactly one of them."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=3)
    for half in range(24 * 2 * 6):
        add(world.us, begin + timedelta(minutes=30 * half))
    found = await days(world, str(day - timedelta(days=1)), str(day + timedelta(days=1)), zone)
    counts = {key: len(posts) for key, posts in found.items()}
    assert counts[str(day)] == hours * 2
    assert len({post for posts in found.values() for post in posts}) == sum(counts.values())


async def test_what_no_calendar_shows(world):
    assert await pointers(world, CALENDAR) == {"/query/from", "/query/to", "/query/zone"}
    assert await pointers(world, CALENDAR, **{"from": "2026-12-02", "to": "2026-12-01", "zone": "Mars"}) == {
        "/query/to", "/query/zone",
    }  # fmt: skip
    span = {"from": "2026-12-01", "zone": "UTC"}
    assert await pointers(world, CALENDAR, to="2027-02-01", **span) == {"/query/to"}
    assert (await world.get(CALENDAR, to="2027-01-31", **span)).status_code == 200
    assert await pointers(world, CALENDAR, **{"from": "0001-01-01", "to": "9999-12-31", "zone": "UTC"}) == {
        "/query/from", "/query/to",
    }  # fmt: skip


async def test_a_zone_that_is_not_known_any_more_breaks_no_list(world):
    add(world.us, DAY, zone="Mars/Olympus")
    assert (await world.get(POSTS)).json()["items"][0]["local_due_at"] == "2026-12-01T09:00:00+00:00"


@pytest.fixture
def month(world):
    """1,000 posts of December on two accounts, with a picture each, beside 20,000 others."""
    accounts = [world.us.account(platform).id for platform in (Platform.MESSENGER, Platform.INSTAGRAM)]
    for tenant, count, begin, ours in (
        (world.us, 1000, datetime(2026, 12, 1, tzinfo=UTC), accounts),
        (world.us, 10_000, datetime(2025, 1, 1, tzinfo=UTC), accounts[:1]),
        (world.them, 10_000, datetime(2026, 12, 1, tzinfo=UTC), [world.them.account(Platform.MESSENGER).id]),
    ):
        tenant.owner.execute(
            """
            WITH posts AS (
              INSERT INTO scheduled_posts (id, tenant_id, kind, text, due_at, zone, request_hash)
              SELECT gen_random_uuid(), %(tenant)s, 'image', repeat('Fresh bread ', 20),
                     %(begin)s + n * interval '44 minutes', 'Europe/Paris', '' FROM generate_series(1, %(count)s) n
              RETURNING id, due_at
            ), files AS (
              INSERT INTO media (tenant_id, kind, mime_type, size, sha256, width, height, name, storage)
              SELECT %(tenant)s, 'image', 'image/jpeg', 1, '', 1080, 1080, 'bread', 'postgres'
                FROM generate_series(1, %(count)s)
              RETURNING id
            )
            SELECT count(*) FROM posts, (SELECT count(*) FROM files) f
            """,
            {"tenant": tenant.id, "begin": begin, "count": count},
        )
        tenant.owner.execute(
            """
            INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at)
            SELECT gen_random_uuid(), p.tenant_id, p.id, a, p.due_at FROM scheduled_posts p, unnest(%s) a
             WHERE p.tenant_id = %s ON CONFLICT DO NOTHING
            """,
            (ours, tenant.id),
        )
        tenant.owner.execute(
            """
            INSERT INTO post_media (post_id, position, media_id, tenant_id)
            SELECT p.id, 1, m.id, p.tenant_id
              FROM (SELECT id, tenant_id, row_number() OVER () AS r FROM scheduled_posts WHERE tenant_id = %(tenant)s) p
              JOIN (SELECT id, row_number() OVER () AS r FROM media WHERE tenant_id = %(tenant)s) m ON m.r = p.r
            ON CONFLICT DO NOTHING
            """,
            {"tenant": tenant.id},
        )
    for table in ("scheduled_posts", "post_targets", "post_media", "media"):
        world.us.owner.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))


async def test_a_month_of_a_thousand_posts_is_shown_fast(world, month, monkeypatch, figures):
    statements = []
    execute = psycopg.AsyncConnection.execute

    def counted(connection, query, *arguments, **options):
        statements.append(query)
        return execute(connection, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)
    seconds = []
    for last in (1, *[31] * 7):
        begun = time.perf_counter()
        response = await world.get(
            CALENDAR, **{"from": "2026-12-01", "to": f"2026-12-{last:02}", "zone": "UTC"}
        )
        seconds.append(time.perf_counter() - begun)
        assert response.status_code == 200
        statements.append("|")
    posts = [post for day in response.json()["days"] for post in day["posts"]]
    assert len(posts) >= 1000
    assert all(len(post["targets"]) == 2 and len(post["media"]) == 1 for post in posts)
    # a month takes no more statements than a day
    each = "".join("|" if statement == "|" else "." for statement in statements).strip("|").split("|")
    assert len(set(each)) == 1
    figures["calendar_ms"] = round(min(seconds[1:]) * 1000)
    assert min(seconds[1:]) < 0.1


async def test_a_page_of_many_posts_is_shown_fast(world, month):
    seconds = []
    for query in ({"limit": 200}, {"limit": 200, "from": "2026-12-05T00:00:00Z"}) * 3:
        begun = time.perf_counter()
        response = await world.get(POSTS, **query)
        seconds.append(time.perf_counter() - begun)
        assert len(response.json()["items"]) == 200
    assert min(seconds) < 0.1
