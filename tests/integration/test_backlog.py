"""What the operator reads of a queue: real messages of real Celery apps in a real Redis."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from socialsync_cli.embedded import EmbeddedRedis
from socialsync_cli.processes import free_port
from socialsync_common.batches import ADD_SCRIPT, DEADLINES, Batches, add_arguments
from socialsync_common.celery_app import create_celery
from socialsync_common.contracts import TaskName
from socialsync_common.settings import BatchSettings, BrokerSettings
from socialsync_common.workers import STALE_SECONDS, WorkerRegistry, WorkerReport
from socialsync_operator.backlog import CHUNK, Backlog, BacklogReader, Unreadable
from socialsync_operator.spec import Queue, Scaling

pytestmark = pytest.mark.integration

LIST = "celery:ingest"
LOW_LIST = "celery:ingest\x06\x169"
REPORT = WorkerReport(slots=4, active=1, reserved=2, accepted=7, oldest_seconds=3, cordoned=True)


def queue(name: str = "ingest", *lanes: str) -> Queue:
    return Queue(
        namespace="shop",
        name=name,
        uid=name,
        generation=1,
        deleting=False,
        finalizers=(),
        lanes=lanes or ("ingest.tick", "ingest"),
        polling=1,
        dry_run=False,
        scaling=Scaling(min=0, max=10, target_latency=5, target_per_replica=10),
        worker=None,
        target="workers",
    )


@pytest.fixture
def app(redis_server: EmbeddedRedis, redis_client: redis.Redis) -> Iterator[Celery]:
    with new_app(redis_server) as app:
        yield app


@contextmanager
def new_app(server: EmbeddedRedis) -> Iterator[Celery]:
    app = create_celery("ingest", BrokerSettings(celery_broker_url=server.url))
    yield app
    app.close()


@pytest.fixture
def reader(redis_client: redis.Redis) -> BacklogReader:
    return BacklogReader(redis_client)


def read(reader: BacklogReader, wanted: Queue | None = None) -> Backlog:
    wanted = wanted or queue()
    backlog = reader.read([wanted])[wanted.name]
    assert isinstance(backlog, Backlog)
    return backlog


def deliver(app: Celery, priority: int = 0) -> None:
    app.send_task(TaskName.DELIVER, [str(uuid4())], priority=priority)


def make_older(client: redis.Redis, key: str, seconds: float, index: int = -1) -> None:
    """As if the message had been sent that much earlier."""
    message = json.loads(client.lindex(key, index))  # type: ignore[arg-type]
    message["headers"]["queued_at"] -= round(seconds * 1000)
    client.lset(key, index, json.dumps(message))


# --- what waits


def test_where_nothing_is_all_is_zero(reader: BacklogReader) -> None:
    assert read(reader) == Backlog(tasks=0, due=0, in_flight=0, oldest_age=0.0, completed=0, busy_ms=0)


def test_tasks_of_every_priority_are_counted(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    for priority in range(10):
        deliver(app, priority)
    assert len(redis_client.keys(f"{LIST}*")) > 1
    assert read(reader).tasks == 10


def test_the_age_is_that_of_the_oldest_whatever_its_priority(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    deliver(app)
    deliver(app, priority=9)
    assert read(reader).oldest_age == pytest.approx(0, abs=2)
    make_older(redis_client, LIST, 5)
    make_older(redis_client, LOW_LIST, 60)
    assert read(reader).oldest_age == pytest.approx(60, abs=2)
    redis_client.rpop(LOW_LIST)
    assert read(reader).oldest_age == pytest.approx(5, abs=2)


def test_the_age_is_that_of_the_message_that_is_next(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    for _ in range(3):
        deliver(app)
    make_older(redis_client, LIST, 20)
    make_older(redis_client, LIST, 10, index=1)
    assert read(reader).oldest_age == pytest.approx(20, abs=2)
    redis_client.rpop(LIST)
    assert read(reader).oldest_age == pytest.approx(10, abs=2)


def test_a_clock_that_is_ahead_makes_no_negative_age(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    deliver(app)
    make_older(redis_client, LIST, -3600)
    assert read(reader).oldest_age == 0


@pytest.mark.parametrize(
    "foreign",
    [
        b"no json at all",
        b"\xff\x00",
        b"[]",
        b"7",
        b"{}",
        b'{"headers": null}',
        b'{"headers": "queued_at"}',
        b'{"headers": {}}',
        b'{"headers": {"queued_at": "1700000000000"}}',
        b'{"headers": {"queued_at": null}}',
        b"[" * 2000 + b"]" * 2000,
    ],
)
def test_the_age_is_unknown_while_a_foreign_message_is_next(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis, foreign: bytes
) -> None:
    deliver(app)
    redis_client.lpush(LIST, foreign)  # at the end at which messages come in
    assert read(reader).oldest_age is not None
    redis_client.rpush(LIST, foreign)
    backlog = read(reader)
    assert backlog.oldest_age is None
    assert backlog.tasks == 3


def test_one_list_whose_age_is_unknown_makes_it_unknown(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    deliver(app)
    redis_client.rpush(LOW_LIST, b"{}")
    assert read(reader).oldest_age is None


def test_ticks_are_no_backlog(reader: BacklogReader, app: Celery, redis_client: redis.Redis) -> None:
    app.send_task(TaskName.SWEEP)
    app.send_task(TaskName.SCAN_REDIS_BATCHES)
    redis_client.rpush("celery:ingest.tick", b"foreign")
    assert redis_client.llen("celery:ingest.tick") == 3
    backlog = read(reader)
    assert backlog.tasks == 0
    assert backlog.oldest_age == 0


def test_all_lanes_of_a_queue_are_counted_and_no_others(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    for lane, count in (("publish", 2), ("publish.media", 3), ("ingest", 5)):
        redis_client.lpush(f"celery:{lane}", *[b'{"headers": {"queued_at": 1}}'] * count)
    assert read(reader, queue("publish", "publish", "publish.media")).tasks == 5


# --- conversations that are due


def test_due_conversations_are_counted_for_the_lane_that_answers_them(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    Batches(redis_client).ensure([f"whatsapp:{uuid4()}:{uuid4()}" for _ in range(3)])
    backlog = read(reader)
    assert (backlog.tasks, backlog.due) == (0, 3)
    assert backlog.oldest_age == pytest.approx(0, abs=2)
    other = read(reader, queue("publish", "publish"))
    assert other.due == 0


def test_a_conversation_whose_window_is_open_is_not_due(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    settings = BatchSettings(batch_window_seconds=60, batch_cap_seconds=120)
    name = f"whatsapp:{uuid4()}:{uuid4()}"
    redis_client.eval(ADD_SCRIPT, 0, *add_arguments(settings, [(name, 1)]))
    assert redis_client.zcard(DEADLINES) == 1
    backlog = read(reader)
    assert (backlog.due, backlog.oldest_age) == (0, 0)


def test_a_conversation_that_has_long_been_due_is_the_oldest(
    reader: BacklogReader, app: Celery, redis_client: redis.Redis
) -> None:
    deliver(app)
    Batches(redis_client).ensure(["whatsapp:a:b", "whatsapp:a:c"])
    redis_client.zincrby(DEADLINES, -30_000, "whatsapp:a:c")
    assert read(reader).oldest_age == pytest.approx(30, abs=2)


# --- what workers hold


def test_what_was_taken_and_not_acknowledged_is_in_flight(
    reader: BacklogReader, redis_server: EmbeddedRedis, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By queue, even where two queues' workers consume the same lane."""
    monkeypatch.setenv("SOCIALSYNC_QUEUE", "ingest-large")
    deliver(app)
    with new_app(redis_server) as large, large.connection_for_read() as connection:
        message = connection.default_channel.basic_get("ingest")
        assert message is not None
        backlogs = reader.read([queue(), queue("ingest-large")])
        flights = {name: (each.tasks, each.in_flight) for name, each in backlogs.items()}  # type: ignore[union-attr]
        assert flights == {"ingest": (0, 0), "ingest-large": (0, 1)}
        message.ack()
        assert read(reader, queue("ingest-large")).in_flight == 0


# --- what workers say


def test_reports_and_totals_are_read(reader: BacklogReader, redis_client: redis.Redis) -> None:
    registry = WorkerRegistry(redis_client, "ingest")
    registry.report("a", REPORT, completed=3, busy_ms=1500)
    registry.report("b", REPORT, completed=4, busy_ms=500)
    WorkerRegistry(redis_client, "other").report("c", REPORT, completed=9, busy_ms=9)
    backlog = read(reader)
    assert backlog.reports == {"a": REPORT, "b": REPORT}
    assert (backlog.completed, backlog.busy_ms) == (7, 2000)


def test_a_worker_that_falls_silent_drops_out_and_its_totals_stay(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    registry = WorkerRegistry(redis_client, "ingest")
    registry.report("a", REPORT, completed=3)
    registry.report("b", REPORT)
    redis_client.zincrby("workers:ingest:seen", -(STALE_SECONDS - 2) * 1000, "a")
    assert read(reader).reports.keys() == {"a", "b"}
    redis_client.zincrby("workers:ingest:seen", -4000, "a")
    backlog = read(reader)
    assert backlog.reports.keys() == {"b"}
    assert backlog.completed == 3


def test_a_worker_that_leaves_is_gone_at_once(reader: BacklogReader, redis_client: redis.Redis) -> None:
    registry = WorkerRegistry(redis_client, "ingest")
    registry.report("a", REPORT)
    registry.leave("a")
    assert read(reader).reports == {}


def test_a_worker_that_was_killed_is_forgotten_after_a_while(redis_client: redis.Redis) -> None:
    registry = WorkerRegistry(redis_client, "ingest")
    registry.report("killed", REPORT)
    redis_client.zincrby("workers:ingest:seen", -61_000, "killed")
    registry.report("a", REPORT)
    assert redis_client.hkeys("workers:ingest") == [b"a"]
    assert redis_client.zrange("workers:ingest:seen", 0, -1) == [b"a"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b'{"slots": 4}',
        REPORT.to_json().replace('"slots":4', '"slots":null').encode(),
        REPORT.to_json().replace('"slots":4', '"slots":"many"').encode(),
        REPORT.to_json().replace('"slots":4', '"slots":NaN').encode(),
        REPORT.to_json().replace('"slots":4', '"slots":Infinity').encode(),
    ],
)
def test_what_is_no_report_counts_as_silence(
    reader: BacklogReader, redis_client: redis.Redis, text: bytes
) -> None:
    registry = WorkerRegistry(redis_client, "ingest")
    for name in ("a", "odd", "lost"):
        registry.report(name, REPORT)
    redis_client.hset("workers:ingest", "odd", text)  # type: ignore[arg-type]
    redis_client.hdel("workers:ingest", "lost")
    assert read(reader).reports == {"a": REPORT}


def test_a_report_with_more_than_we_know_is_still_one(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    WorkerRegistry(redis_client, "ingest").report("a", REPORT)
    more = json.dumps({**json.loads(REPORT.to_json()), "memory": 5})
    redis_client.hset("workers:ingest", "a", more)
    assert read(reader).reports == {"a": REPORT}


# --- many queues, and a Redis that fails


def test_many_queues_are_read_in_few_round_trips(reader: BacklogReader, redis_client: redis.Redis) -> None:
    queues = [queue(f"q{number}", f"lane{number}") for number in range(120)]
    for number in range(120):
        redis_client.lpush(f"celery:lane{number}", *[b'{"headers": {"queued_at": 1}}'] * (number + 1))
    redis_client.config_resetstat()
    backlogs: Any = reader.read(queues)
    calls: Any = redis_client.info("commandstats")
    assert {name: each.tasks for name, each in backlogs.items()} == {f"q{n}": n + 1 for n in range(120)}
    assert calls["cmdstat_eval"]["calls"] == 120
    assert calls["cmdstat_set"]["calls"] == -(-120 // CHUNK)  # one a round trip


def test_no_queue_costs_no_round_trip(redis_client: redis.Redis) -> None:
    assert BacklogReader(redis_client).read([]) == {}
    assert not redis_client.keys()


def test_reading_leaves_nothing_but_a_probe_that_lapses(
    reader: BacklogReader, redis_client: redis.Redis
) -> None:
    read(reader)
    (key,) = redis_client.keys()
    assert 0 < redis_client.ttl(key) <= 60


def test_a_redis_that_is_away_is_an_answer_for_every_queue() -> None:
    client = redis.Redis(port=free_port(), retry=None)
    backlogs = BacklogReader(client).read([queue(), queue("publish", "publish")])
    assert backlogs.keys() == {"ingest", "publish"}
    for each in backlogs.values():
        assert isinstance(each, Unreadable)
        assert each.reason == "BrokerUnreachable"
        assert "refused" in each.message


def test_a_redis_that_hangs_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = redis.Redis(port=silent.getsockname()[1], socket_timeout=0.2, retry=None)
        (answer,) = BacklogReader(client).read([queue()]).values()
        client.close()
    assert isinstance(answer, Unreadable)
    assert answer.reason == "BrokerUnreachable"


@pytest.mark.parametrize(
    ("setting", "value", "word"), [("min-replicas-to-write", 1, "NOREPLICAS"), ("maxmemory", 1, "OOM")]
)
def test_a_redis_that_takes_no_writes_stops_all_workers(
    reader: BacklogReader, redis_client: redis.Redis, setting: str, value: int, word: str
) -> None:
    redis_client.config_set(setting, value)
    try:
        (answer,) = reader.read([queue()]).values()
    finally:
        redis_client.config_set(setting, 0)
    assert isinstance(answer, Unreadable)
    assert answer.reason == "BrokerReadOnly"
    assert answer.message.startswith("Redis takes no writes, so no worker can take a task: ")
    assert isinstance(read(reader), Backlog)


@pytest.mark.parametrize("key", ["celery:publish", "celery:unacked:publish", "workers:publish:seen"])
def test_a_key_of_another_type_is_a_fault_of_its_queue_alone(
    reader: BacklogReader, redis_client: redis.Redis, key: str
) -> None:
    redis_client.set(key, "a string")
    backlogs = reader.read([queue(), queue("publish", "publish"), queue("email", "email")])
    broken = backlogs.pop("publish")
    assert isinstance(broken, Unreadable)
    assert broken.reason == "BacklogUnreadable"
    assert "WRONGTYPE" in broken.message
    assert all(isinstance(each, Backlog) for each in backlogs.values())
