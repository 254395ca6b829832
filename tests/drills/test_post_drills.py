"""Posts on time, once: many in one second, kills at each step, every fault of the platform, a token that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from drills.proxy import Proxy
from drills.publishing import (
    each_fault,
    kept_alive,
    kill_at_each_step,
    on_the_same_second,
    token_ends,
    two_tenants,
)
from posting import Posting, soon
from socialsync_common.contracts import Platform
from stack import Stack, running_stack, until
from support import server_folder

pytestmark = [pytest.mark.drill, pytest.mark.integration, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("DRILL_ROUNDS", "1"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with server_folder() as folder, running_stack(folder, GRAPH_TIMEOUT_SECONDS="2") as running:
        running.start_sandbox()
        running.start_gateway()
        running.start_beat()
        yield running


@pytest.fixture
def posting(stack: Stack) -> Posting:
    """An empty sandbox and no posts."""
    stack.query("DELETE FROM scheduled_posts")
    stack.query("DELETE FROM notices")
    stack.sandbox("DELETE", "/sandbox/state")
    return Posting(stack)


@pytest.fixture
def worker(stack: Stack) -> Iterator[None]:
    process = stack.start_scheduler()
    yield
    process.stop()


def test_kills_at_each_step(stack: Stack, posting: Posting, figures: dict[str, Any]) -> None:
    accounts = posting.accounts(5, Platform.INSTAGRAM)
    with Proxy(stack.postgres.port) as proxy, kept_alive(stack, proxy):
        result = kill_at_each_step(posting, accounts, proxy, rounds=ROUNDS, posts=5)
    figures["kills"] = result
    assert result["published_twice"] == result["lost"] == result["comments_twice"] == 0, result
    assert result["repeated_calls"] == 0, result
    assert set(result["outcomes"]) <= {"published", "needs_check"}, result


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("platform", [Platform.INSTAGRAM, Platform.MESSENGER])
def test_each_fault_of_the_platform(posting: Posting, platform: Platform, figures: dict[str, Any]) -> None:
    figures[f"faults_{platform}"] = each_fault(posting, platform, posts=2)
    assert posting.outcome()["published_twice"] == 0


@pytest.mark.usefixtures("worker")
def test_a_token_that_ends_stops_an_account_once(posting: Posting, figures: dict[str, Any]) -> None:
    account = posting.accounts(1, Platform.INSTAGRAM, first=300)[0]
    figures["token"] = result = token_ends(posting, account, posts=10)
    assert result["notices"] == 1
    assert result["open_notices"] == 0


@pytest.mark.usefixtures("worker")
def test_posts_of_one_second_are_on_time(posting: Posting, figures: dict[str, Any]) -> None:
    accounts = posting.accounts(10, Platform.INSTAGRAM)
    result = on_the_same_second(posting, accounts, posts=100, ahead=15, latency=0.05)
    late = result["late"]
    figures["same_second"] = {"posts": len(late), "p50_s": round(late[50], 3), "max_s": round(late[-1], 3)}
    assert late[0] >= 0, "published early"
    assert late[50] < 1
    assert posting.outcome()["outcomes"] == {"published": 100}


def test_a_worker_that_is_stopped_gives_its_posts_to_another(stack: Stack, posting: Posting) -> None:
    accounts = posting.accounts(2, Platform.INSTAGRAM)
    first = stack.start_scheduler("scheduler-a")
    texts = posting.schedule(accounts, 10, soon(8))
    posting.announce(texts)
    until(lambda: posting.ready(texts) == 10, 8, "all are prepared")
    second = stack.start_scheduler("scheduler-b")
    first.stop()
    until(lambda: len(posting.live()) == 10, 20, "all are live")
    late = [posts[0]["at"] for posts in posting.live().values()]
    second.stop()
    due = posting.targets()[texts[0]]["due_at"].timestamp()
    assert min(late) >= due
    assert max(late) - due < 2, "the second worker had them before they were due"


@pytest.mark.usefixtures("worker")
def test_a_tenant_reaches_nothing_of_another(posting: Posting, figures: dict[str, Any]) -> None:
    figures["tenants"] = result = two_tenants(posting)
    assert result["succeeded"] == 0
