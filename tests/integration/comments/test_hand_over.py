"""Which comments are handed over to the lane, and when again."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest

from socialsync_comments.answering import repository
from socialsync_common.contracts import Platform
from socialsync_common.db import Database
from socialsync_common.settings import DatabaseSettings
from support import Databases, Tenant

pytestmark = pytest.mark.integration

FAIR_SHARE, ROOM, LEASE = 8, 5000, 600.0


@pytest.fixture
def database(databases: Databases, tenants: tuple[Tenant, Tenant]) -> Any:
    database = Database(DatabaseSettings(database_url=databases.service_url, database_pool_size=2))
    database.open()
    yield database
    database.close()


def fill(databases: Databases, tenant: Tenant, count: int, platform: Platform = Platform.INSTAGRAM) -> None:
    """So many new comments, each a little later than the one before."""
    account = tenant.accounts[platform]
    databases.query(
        """
        INSERT INTO comments (tenant_id, account_id, external_id, kind, text, source, written_at, due_at)
        SELECT %s, %s, 'c' || n, 'comment', 'How much?', 'webhook', now(), now() - interval '1 hour' + n * interval '1 millisecond'
          FROM generate_series(1, %s) n
        """,
        tenant.id, account.id, count,
    )  # fmt: skip


def handed_over(database: Database, *, lost: bool = False, room: int = ROOM) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return repository.hand_over(connection, LEASE, lost=lost, fair_share=FAIR_SHARE, room=room)


def test_a_flood_is_crowded_and_others_are_not_behind_it(
    database: Database, databases: Databases, tenants: tuple[Tenant, Tenant]
) -> None:
    us, them = tenants
    fill(databases, us, 100_000)
    fill(databases, them, 3)
    databases.query("ANALYZE comments")

    began = time.perf_counter()
    rows = handed_over(database, room=500)
    seconds = time.perf_counter() - began

    assert sum(not row["crowded"] for row in rows) == FAIR_SHARE + 3
    assert sum(row["crowded"] for row in rows) == 500
    assert {row["tenant_id"] for row in rows if row["crowded"]} == {us.id}
    assert seconds < 1.0
    # what is on its way is not handed over again, and counts against the fair share
    again = handed_over(database, room=0)
    assert again == []


def test_what_lies_in_a_lane_that_is_empty_was_lost(
    database: Database, databases: Databases, tenants: tuple[Tenant, Tenant]
) -> None:
    fill(databases, tenants[0], 3)
    assert len(handed_over(database)) == 3
    assert handed_over(database, lost=True) == []  # it may just be on its way to a worker
    databases.query("UPDATE comments SET lease_until = lease_until - interval '11 seconds'")
    assert handed_over(database, lost=False) == []
    assert len(handed_over(database, lost=True)) == 3


def test_a_worker_s_lease_keeps_it_until_it_ends(
    database: Database, databases: Databases, tenants: tuple[Tenant, Tenant]
) -> None:
    us = tenants[0]
    fill(databases, us, 1)
    ((comment, lease),) = [(row["id"], UUID(int=1)) for row in databases.query("SELECT id FROM comments")]
    with database.transaction(us.id) as connection:
        taken = repository.take(connection, comment, lease)
        assert taken is not None
        assert repository.take(connection, comment, UUID(int=2)) is None
    assert handed_over(database, lost=True) == []
    with database.transaction(us.id) as connection:
        assert repository.renew(connection, [taken]) == {lease}
    databases.query("UPDATE comments SET lease_until = now() - interval '1 second'")
    assert [row["comment_id"] for row in handed_over(database)] == [comment]
    with database.transaction(us.id) as connection:
        # handed over, and so not under the old lease any more
        assert repository.renew(connection, [taken]) == set()
        assert repository.take(connection, comment, UUID(int=2)) is not None


def test_comments_of_an_account_that_must_be_reconnected_wait(
    database: Database, databases: Databases, tenants: tuple[Tenant, Tenant]
) -> None:
    fill(databases, tenants[0], 2)
    databases.query("UPDATE accounts SET status = 'needs_reconnect'")
    assert handed_over(database) == []
    databases.query("UPDATE accounts SET status = 'active'")
    assert len(handed_over(database)) == 2
