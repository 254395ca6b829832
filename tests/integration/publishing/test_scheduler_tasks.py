"""The scheduler's tasks in a real worker process: where they go, what ticks find, and what SIGTERM leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from publishing_world import World
from socialsync_cli.processes import free_port
from socialsync_common.accounts import Account
from socialsync_common.celery_app import KEY_PREFIX, create_celery
from socialsync_common.contracts import LANE_OF_TASK, Lane, Platform, TaskName
from socialsync_common.settings import BrokerSettings
from socialsync_scheduler.tasks import register_tasks
from stack import Process, until

pytestmark = pytest.mark.integration

OURS = [name for name, lane in LANE_OF_TASK.items() if lane in (Lane.SCHEDULER, Lane.SCHEDULER_TICK)]


@pytest.fixture
def settings(environment: dict[str, str], world: World) -> dict[str, str]:
    """Of a worker process."""
    more = {"META_GRAPH_URL": world.meta.url, "PUBLIC_URL": world.media_url, "GRAPH_TIMEOUT_SECONDS": "20"}
    return {**environment, **more}


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[Celery]:
    app = create_celery("scheduler", BrokerSettings(celery_broker_url=environment["CELERY_BROKER_URL"]))
    yield app
    app.close()


@contextmanager
def worker(settings: dict[str, str], folder: Path, name: str = "scheduler") -> Iterator[Process]:
    arguments = [
        "celery",
        "-A",
        "socialsync_scheduler",
        "worker",
        "-Q",
        "scheduler.tick,scheduler",
        "--pool",
        "threads",
        "--concurrency",
        "4",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-n",
    ]
    process = Process(name, [*arguments, f"{name}@%h"], settings, folder / f"{name}.log")
    process.start()
    try:
        until(lambda: b" ready." in process.log.read_bytes(), 30, f"{name} is ready")
        yield process
    finally:
        process.stop()


def send(app: Celery, name: TaskName, **arguments: str) -> None:
    app.send_task(name, kwargs=arguments, queue=LANE_OF_TASK[name])


def test_tasks_have_their_lanes_and_acknowledge_as_they_should(app: Celery) -> None:
    register_tasks(app)
    registered = {str(name) for name in app.tasks if str(name).startswith("socialsync.")}
    assert registered == {str(name) for name in OURS}
    for name in OURS:
        task, is_tick = app.tasks[name], LANE_OF_TASK[name].is_tick
        assert task.ignore_result
        assert task.acks_late is not is_tick
        assert app.amqp.router.route({}, name)["queue"].name == LANE_OF_TASK[name]


@pytest.mark.parametrize("tick", [TaskName.ENQUEUE_DUE_POSTS, TaskName.SWEEP_POSTS])
def test_a_tick_finds_what_is_due(
    world: World, settings: dict[str, str], app: Celery, tmp_path: Path, page: Account, tick: TaskName
) -> None:
    (target,) = world.schedule(page, comment="which one?")
    (far,) = world.schedule(page, text="rolls", due=7200)
    world.set(far, "next_at = due_at - interval '75 seconds'")
    with worker(settings, tmp_path):
        send(app, tick)
        world.reaches(target, status="published", comment_status="sent", next_at=None)
    assert world.row(far)["phase"] is None
    assert [(post["text"], len(post["comments"])) for post in world.live()] == [("bread", 1)]


def test_quota_is_looked_at_ahead(
    world: World, settings: dict[str, str], app: Celery, tmp_path: Path
) -> None:
    account = world.us.accounts[Platform.INSTAGRAM]
    (target,) = world.schedule(account, due=7200)
    world.set(target, "next_at = due_at")
    world.meta.control("POST", "quota", json={"account": account.external_id, "used": 100, "total": 100})
    with worker(settings, tmp_path):
        send(app, TaskName.ENQUEUE_DUE_POSTS)
        until(lambda: world.row(target)["warning"], 15, "the warning")
    assert world.row(target)["checked"] == 1


def test_what_cannot_be_announced_is_found_again(
    world: World, settings: dict[str, str], app: Celery, tmp_path: Path, page: Account
) -> None:
    (target,) = world.schedule(page, kind="text")
    tick = (
        "from socialsync_scheduler.celery import app\n"
        "from socialsync_common.contracts import TaskName\n"
        "print(app.tasks[TaskName.SWEEP_POSTS]())"
    )
    away = {**os.environ, **settings, "CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
    done = subprocess.run(
        [sys.executable, "-c", tick], env=away, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "tasks not sent" in done.stderr
    row = world.row(target)
    assert (row["status"], row["lease_token"]) == ("queued", None)
    assert row["next_at"] is not None
    world.set(target, "lease_until = now() - interval '1 second'")  # a minute later
    with worker(settings, tmp_path):
        send(app, TaskName.SWEEP_POSTS)
        world.reaches(target, status="published")
    assert world.texts() == ["bread"]


def test_a_task_that_is_delivered_twice_publishes_once(
    world: World, settings: dict[str, str], app: Celery, tmp_path: Path, page: Account
) -> None:
    (target,) = world.schedule(page, kind="text")
    arguments = {"tenant_id": str(target["tenant_id"]), "target_id": str(target["id"])}
    for _ in range(5):
        send(app, TaskName.PUBLISH_POST, **arguments)
    with worker(settings, tmp_path):
        world.reaches(target, status="published")
        until(lambda: _waiting(world, app) == 0, 10, "all tasks are done")
    assert world.texts() == ["bread"]


def _waiting(_: World, app: Celery) -> int:
    client = redis.Redis.from_url(app.conf.broker_url)
    try:
        return int(client.llen(f"{KEY_PREFIX}{Lane.SCHEDULER}"))  # type: ignore[arg-type]
    finally:
        client.close()


def test_sigterm_hands_posts_over(
    world: World, settings: dict[str, str], app: Celery, tmp_path: Path, page: Account
) -> None:
    """What waits for its second is another worker's at once; what is being called is waited for."""
    waiting = [world.schedule(page, kind="text", text=f"post {number}", due=60)[0] for number in range(3)]
    (called,) = world.schedule(page, kind="text", text="called")
    world.meta.fault("publish", "hold_after")
    with worker(settings, tmp_path, "leaving") as leaving:
        for target in (*waiting, called):
            arguments = {"tenant_id": str(target["tenant_id"]), "target_id": str(target["id"])}
            send(app, TaskName.PUBLISH_POST, **arguments)
        for target in waiting:
            world.reaches(target, phase="container_ready")
        world.held()
        assert leaving.popen
        leaving.popen.terminate()
        for target in waiting:
            world.reaches(target, lease_token=None)
        until(lambda: _waiting(world, app) == 3, 10, "they are announced")
        world.let_go()
        assert leaving.popen.wait(30) == 0
    row = world.row(called)
    assert (row["status"], row["media_id"]) == ("published", world.live()[0]["media_id"])
    with worker(settings, tmp_path, "staying"):
        for target in waiting:
            until(lambda target=target: world.row(target)["lease_token"], 15, "it has another worker")
    assert world.texts() == ["called"]


def test_settings_are_checked_at_start(settings: dict[str, str]) -> None:
    broken: dict[str, Any] = {**os.environ, **settings, "POST_GRACE_SECONDS": "never"}
    done = subprocess.run(
        [sys.executable, "-c", "import socialsync_scheduler.celery"],
        env=broken, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "POST_GRACE_SECONDS" in done.stderr
    assert "Traceback" not in done.stderr
