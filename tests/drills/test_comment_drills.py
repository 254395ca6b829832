"""Comments answered once: kills at each step, every fault of the platform, stores that forget, what is told twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from commenting import Commenting
from drills.comments import (
    WORKER,
    each_fault,
    forget_and_restart,
    kept_alive,
    kill_at_each_step,
    limits_bind,
    token_ends,
    told_twice,
)
from drills.proxy import Proxy
from socialsync_common.contracts import Platform
from stack import Stack, running_stack
from support import server_folder

pytestmark = [pytest.mark.drill, pytest.mark.integration, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("DRILL_ROUNDS", "1"))
PLATFORMS = (Platform.INSTAGRAM, Platform.MESSENGER)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with server_folder() as folder, running_stack(folder, GRAPH_TIMEOUT_SECONDS="2") as running:
        running.start_sandbox()
        running.start_gateway()
        running.start_beat()
        yield running


@pytest.fixture
def commenting(stack: Stack) -> Commenting:
    """An empty sandbox and no comments."""
    stack.query("DELETE FROM monitored_posts")
    stack.query("DELETE FROM notices")
    stack.sandbox("DELETE", "/sandbox/state")
    return Commenting(stack)


@pytest.fixture
def worker(stack: Stack) -> Iterator[None]:
    process = stack.start_comments(WORKER)
    yield
    process.stop()


def test_kills_at_each_step(stack: Stack, commenting: Commenting, figures: dict[str, Any]) -> None:
    with Proxy(stack.postgres.port) as proxy, kept_alive(stack, proxy):
        result = kill_at_each_step(commenting, PLATFORMS, proxy, rounds=ROUNDS, comments=4)
    figures["kills"] = result
    assert result["doubled"] == result["lost"] == 0, result
    assert set(result["outcomes"]) <= {"answered", "left", "person"}, result


@pytest.mark.usefixtures("worker")
def test_each_fault_of_the_platform(commenting: Commenting, figures: dict[str, Any]) -> None:
    figures["faults"] = result = each_fault(commenting, PLATFORMS, comments=2)
    assert result["doubled"] == result["lost"] == 0, result


@pytest.mark.usefixtures("worker")
def test_a_token_that_ends_stops_an_account_once(commenting: Commenting, figures: dict[str, Any]) -> None:
    account = commenting.accounts(1, Platform.INSTAGRAM, first=300)[0]
    figures["token"] = result = token_ends(commenting, account, comments=10)
    assert result["notices"] == 1
    assert result["outcomes"] == {"answered": 10}
    assert result["doubled"] == result["lost"] == 0, result


@pytest.mark.usefixtures("worker")
def test_what_redis_forgets_is_found_again(commenting: Commenting, figures: dict[str, Any]) -> None:
    posts = [
        commenting.posts(account)[0] for account in commenting.accounts(4, Platform.INSTAGRAM, first=400)
    ]
    figures["forgotten"] = result = forget_and_restart(commenting, posts, comments=200)
    assert result["outcomes"] == {"answered": 200}
    assert result["doubled"] == result["lost"] == 0, result


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_is_told_twice_is_answered_once(
    commenting: Commenting, platform: Platform, figures: dict[str, Any]
) -> None:
    posts = [commenting.posts(account)[0] for account in commenting.accounts(2, platform, first=500)]
    figures[f"told_twice_{platform}"] = result = told_twice(commenting, posts, comments=100)
    assert result["outcomes"] == {"answered": 100}
    assert result["doubled"] == result["lost"] == 0, result
    assert set(result["sources"]) == {"webhook", "poll"}, result


@pytest.mark.usefixtures("worker")
def test_limits_hold_for_many_at_once(commenting: Commenting, figures: dict[str, Any]) -> None:
    figures["limits"] = result = limits_bind(commenting, Platform.INSTAGRAM)
    assert result["of_the_account"] == 20
    assert result["on_a_post"] == 8
    assert (result["to_one_person"], result["left_of_that_person"]) == (2, 8)
    assert result["put_off"] == 40
