"""Publishing on a real Postgres and the sandbox: leases, what fails in between, and the end of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from publishing_world import World, in_the_background
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform, PostKind
from socialsync_common.db import Database
from socialsync_common.leases import Leases
from socialsync_common.platforms.publishing import Draft
from socialsync_common.settings import DatabaseSettings
from socialsync_scheduler.publishing import decide, repository
from socialsync_scheduler.publishing.launches import Launches, Ready
from socialsync_scheduler.publishing.schemas import LEASE_SECONDS
from stack import until
from support import Databases

pytestmark = pytest.mark.integration

LOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


# --- the way of a post ---


@pytest.mark.parametrize("kind", ["image", "carousel"])
def test_a_post_goes_out_on_each_platform(world: World, instagram: Account, page: Account, kind: str) -> None:
    worker = world.worker()
    targets = world.schedule(instagram, page, kind=kind, comment="which one?")
    for target in targets:
        assert worker(target) == "waits for its second"
    for target in targets:
        world.reaches(target, status="published")
    until(lambda: len(worker.announced) == 2, 5, "the comments wait")
    for target in targets:
        assert worker(target) == "done"
        row = world.row(target)
        done = (row["phase"], row["comment_status"], row["next_at"], row["lease_token"], row["reason"])
        assert done == ("confirmed", "sent", None, None, None)
        assert row["permalink"].startswith("https://")
    assert world.texts() == ["bread", "bread"]
    assert [len(post["media"]) for post in world.live()] == [1 if kind == "image" else 3] * 2
    assert [len(post["comments"]) for post in world.live()] == [1, 1]
    assert world.databases.query("SELECT status FROM scheduled_posts") == [{"status": "published"}]
    assert world.notices() == []


def test_nothing_goes_out_before_its_time(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text", due=1.5)
    worker(target)
    world.reaches(target, status="published")
    assert world.live()[0]["at"] >= target["due_at"].timestamp()


def test_a_post_that_is_far_off_is_given_back(world: World, instagram: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(instagram, due=300)
    assert worker(target) == "done"
    row = world.row(target)
    assert (row["phase"], row["lease_token"]) == ("container_ready", None)
    assert row["next_at"] == target["due_at"] - decide.LEAD


def test_two_tenants_share_a_batch(world: World) -> None:
    worker = world.worker()
    ours = world.schedule(world.us.accounts[Platform.MESSENGER], kind="text", text="ours", due=1)
    theirs = world.schedule(world.them.accounts[Platform.MESSENGER], kind="text", text="theirs", due=1)
    assert worker(theirs[0]["id"], world.us.id) == "not to be taken"
    for target in (*ours, *theirs):
        worker(target)
    for target in (*ours, *theirs):
        world.reaches(target, status="published")
    assert {post["account"]: post["text"] for post in world.live()} == {"102": "ours", "202": "theirs"}


# --- leases ---


def test_two_workers_publish_each_post_once(world: World, instagram: Account, page: Account) -> None:
    workers = [world.worker(), world.worker()]
    targets = [
        target for number in range(6) for target in world.schedule(instagram, page, text=f"post {number}")
    ]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda job: job[0](job[1]), [(w, t) for t in targets for w in workers]))
    assert said.count("not to be taken") == len(targets)
    for target in targets:
        world.reaches(target, status="published")
    assert sorted(world.texts()) == sorted(f"post {number}" for number in range(6) for _ in range(2))
    assert world.repeated() == 0


def test_a_post_edited_while_it_waits_for_its_second_goes_out_once(world: World, page: Account) -> None:
    """The same worker has it twice then: as it was, and as it is."""
    worker = world.worker()
    (target,) = world.schedule(page, kind="text", text="stale", due=2)
    assert worker(target) == "waits for its second"
    world.edit(target, text="fresh")
    assert worker(target) == "waits for its second"
    world.reaches(target, status="published")
    worker.publishing.close()
    assert world.texts() == ["fresh"]


@pytest.mark.parametrize("is_same_worker", [False, True])
def test_a_worker_that_was_taken_over_changes_nothing_any_more(
    world: World, instagram: Account, *, is_same_worker: bool
) -> None:
    slow = world.worker()
    quick = slow if is_same_worker else world.worker()
    (target,) = world.schedule(instagram)
    world.meta.fault("container", "hold_before")
    with in_the_background(slow, target) as outcome:
        world.held()
        world.abandon_lease(target)
        quick(target)
        published = world.reaches(target, status="published")
        world.let_go()
        assert outcome.result(10) == "done"
    assert world.row(target) == published
    assert world.texts() == ["bread"]


def test_the_one_who_takes_over_asks_first_whether_it_is_live(world: World, instagram: Account) -> None:
    gone, heir = world.worker(), world.worker()
    (target,) = world.schedule(instagram)
    world.meta.fault("publish", "hold_after")
    gone(target)
    world.held()
    world.abandon_lease(target)
    assert heir(target) == "done"
    row = world.row(target)
    assert (row["status"], row["phase"], row["media_id"]) == (
        "published",
        "confirmed",
        world.live()[0]["media_id"],
    )
    world.let_go()
    gone.publishing.close()
    after = world.row(target)
    assert {name: after[name] for name in row if name != "updated_at"} == {
        name: row[name] for name in row if name != "updated_at"
    }
    assert (world.texts(), world.repeated()) == (["bread"], 0)


def test_a_late_answer_keeps_a_post_from_going_out_again(world: World, page: Account) -> None:
    """A person said that it is not live, and then it is."""
    slow, other = world.worker(), world.worker()
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "hold_after")
    slow(target)
    world.held()
    world.set(target, "status = 'needs_check', lease_token = NULL, lease_until = NULL, next_at = NULL")
    world.decide(target, "publish")
    world.let_go()
    row = world.reaches(target, status="published")
    assert row["media_id"] == world.live()[0]["media_id"]
    assert other(target) == "not to be taken" or other(target) == "done"
    assert world.texts() == ["bread"]


def test_a_lease_is_not_trusted_after_a_stop(world: World, page: Account) -> None:
    time = [100.0]
    leases = Leases(world.database, repository.renew, LEASE_SECONDS, "leases", lambda: time[0])
    (row,) = world.schedule(page, kind="text")
    other, mine = (_take(world, row) for _ in range(2))
    assert other
    assert mine is None
    assert not leases.is_safe(other)
    leases.hold(other, leases.now())
    assert leases.is_safe(other)
    time[0] += LEASE_SECONDS / 2
    assert not leases.is_safe(other)
    leases.renew()
    assert leases.is_safe(other)
    world.abandon_lease(row)
    again = _take(world, row)
    assert again
    leases.hold(again, leases.now())
    leases.renew()
    assert (leases.is_safe(other), leases.is_safe(again)) == (False, True)
    leases.drop(other)
    assert leases.is_safe(again)


def _take(world: World, row: dict[str, Any]) -> Any:
    with world.database.transaction(row["tenant_id"]) as connection:
        return repository.take(connection, row["id"], uuid4())


@dataclass
class Calls:
    """The launches alone: which posts they call, and what each call comes to."""

    world: World
    clock: list[float] = field(default_factory=lambda: [100.0])
    made: list[UUID] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leases = Leases(
            self.world.database, repository.renew, LEASE_SECONDS, "leases", lambda: self.clock[0]
        )
        self.launches = Launches(
            self.world.database,
            self.leases,
            call=self._call,
            failed=lambda *_: None,
            published=lambda _: None,
        )
        self.launches.start()

    def _call(self, ready: Ready) -> str:
        self.made.append(ready.target.id)
        if self.faults:
            raise self.faults.pop()
        return "m1"

    def prepare(self, account: Account, due: float = 0.0) -> tuple[dict[str, Any], Ready]:
        (row,) = self.world.schedule(account, kind="text", due=due)
        self.world.set(row, "phase = 'container_ready'")
        since = self.leases.now()
        target = _take(self.world, row)
        self.leases.hold(target, since)
        return row, Ready(target, account, Draft(PostKind.TEXT, "bread"), target.due_at)


def test_a_post_whose_lease_may_be_over_is_not_called(world: World, page: Account) -> None:
    """Marking it took so long that its lease may have ended: the process was stopped, or Postgres was."""
    calls = Calls(world)
    slow, ready = calls.prepare(page)
    with psycopg.connect(world.databases.owner_url) as holder:
        holder.execute("SELECT FROM post_targets WHERE id = %s FOR UPDATE", (slow["id"],))
        calls.launches.add(ready)
        until(lambda: world.databases.query(LOCKED), 15, "the mark waits")
        calls.clock[0] += LEASE_SECONDS / 2
    world.reaches(slow, phase="publish_called")
    calls.launches.close()
    assert calls.made == []
    assert world.row(slow)["status"] == "publishing"


def test_an_error_that_nobody_foresaw_does_not_end_the_launches(world: World, page: Account) -> None:
    calls = Calls(world, faults=[ZeroDivisionError("once")])
    first, ready = calls.prepare(page)
    calls.launches.add(ready)
    until(lambda: calls.made, 5, "the first is called")
    second, ready = calls.prepare(page)
    calls.launches.add(ready)
    world.reaches(second, status="published")
    calls.launches.close()
    assert calls.made == [first["id"], second["id"]]
    assert world.row(first)["status"] == "publishing"


# --- what fails in between ---


@pytest.fixture
def own_database(databases: Databases) -> Iterator[Database]:
    """A worker's own connections, which a test may cut."""
    database = Database(DatabaseSettings(database_url=f"{databases.service_url}?application_name=cut"))
    database.open()
    yield database
    database.close()


def _cut(world: World) -> None:
    world.databases.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'"
    )


def test_postgres_fails_between_the_call_and_its_record(
    world: World, own_database: Database, instagram: Account
) -> None:
    worker = world.worker(database=own_database)
    (target,) = world.schedule(instagram)
    world.meta.fault("publish", "hold_after")
    worker(target)
    world.held()
    with psycopg.connect(world.databases.owner_url) as holder:
        holder.execute("SELECT FROM post_targets WHERE id = %s FOR UPDATE", (target["id"],))
        world.let_go()
        until(lambda: world.databases.query(LOCKED), 15, "the record waits")
        _cut(world)
    row = world.reaches(target, status="published")
    assert (row["publishes"], world.texts()) == (1, ["bread"])


def test_postgres_fails_before_the_call(world: World, own_database: Database, page: Account) -> None:
    worker = world.worker(database=own_database)
    (target,) = world.schedule(page, kind="text", due=1)
    worker(target)
    with psycopg.connect(world.databases.owner_url) as holder:
        holder.execute("SELECT FROM post_targets WHERE id = %s FOR UPDATE", (target["id"],))
        until(lambda: world.databases.query(LOCKED), 15, "the mark waits")
        _cut(world)
    world.reaches(target, status="published")
    assert world.texts() == ["bread"]


def test_one_bad_announcement_does_not_end_the_recording(world: World, page: Account) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("no broker at all")

    worker = world.worker(announce=broken)
    for text in ("one", "two"):
        (target,) = world.schedule(page, kind="text", text=text, comment="which one?")
        worker(target)
        world.reaches(target, status="published")


# --- the end of a worker ---


def test_a_worker_that_ends_gives_back_what_waits(world: World, page: Account, instagram: Account) -> None:
    leaving, staying = world.worker(), world.worker()
    targets = world.schedule(instagram, page, due=30)
    for target in targets:
        leaving(target)
    leaving.publishing.drain()
    assert sorted(leaving.announced) == sorted((target["tenant_id"], target["id"]) for target in targets)
    for target in targets:
        row = world.row(target)
        assert (row["phase"], row["lease_token"], row["lease_until"]) == ("container_ready", None, None)
        leaving.announced.clear()
        assert leaving(target) == "left to another worker"
        assert leaving.announced == [(target["tenant_id"], target["id"])]
        assert world.row(target)["lease_token"] is None
        assert staying(target) == "waits for its second"
    leaving.publishing.close()
    for target in targets:
        assert world.row(target)["lease_token"] is not None
    assert world.live() == []


def test_a_worker_ends_when_its_calls_are_answered_and_recorded(world: World, page: Account) -> None:
    worker = world.worker()
    (target,) = world.schedule(page, kind="text")
    world.meta.fault("publish", "hold_before")
    worker(target)
    world.held()
    with in_the_background(worker.publishing.close) as closing:
        assert not closing.done()
        world.let_go()
        closing.result(15)
        row = world.row(target)
    assert (row["status"], row["phase"]) == ("published", "confirmed")


def test_a_worker_ends_without_postgres(
    world: World, databases: Databases, page: Account, instagram: Account
) -> None:
    database = Database(DatabaseSettings(database_url=databases.service_url))
    database.open()
    worker = world.worker(database=database)
    (called,) = world.schedule(instagram)
    world.meta.fault("publish", "hold_after")
    worker(called)
    world.held()
    (waits,) = world.schedule(page, kind="text", text="rolls", due=30)
    worker(waits)
    database.close()
    with in_the_background(worker.publishing.close):
        world.let_go()
    heir = world.worker()
    for target in (called, waits):
        world.abandon_lease(target)
        heir(target)
    assert world.row(called)["status"] == "published"
    assert world.texts() == ["bread"]
