from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import redis
from structlog.testing import capture_logs

from socialsync_scheduler.elector import RETRY_SECONDS, TERM_SECONDS, RedisElector


class SlowRedis:
    """Stands in for redis-py: scripts answer what they are told, after ``latency`` seconds of the fake clock."""

    def __init__(self, *answers: Any, latency: float = 0.0) -> None:
        self.now = 1000.0
        self.latency = latency
        self.answers = list(answers)

    def clock(self) -> float:
        return self.now

    def register_script(self, _lua: str) -> Callable[..., Any]:
        return self._answer

    def _answer(self, **_: Any) -> Any:
        self.now += self.latency
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def elector(store: SlowRedis) -> RedisElector:
    return RedisElector(cast("redis.Redis", store), "a", clock=store.clock)


def test_nobody_leads_before_the_lock_is_won() -> None:
    store = SlowRedis([0, 7])
    candidate = elector(store)
    assert candidate.epoch() is None
    candidate.attempt()
    assert candidate.epoch() is None


def test_a_term_is_counted_from_when_its_request_was_sent() -> None:
    store = SlowRedis([1, 3], latency=2.0)
    leader = elector(store)
    leader.attempt()
    assert leader.epoch() == 3
    store.now = 1000.0 + TERM_SECONDS - 0.01
    assert leader.epoch() == 3
    store.now = 1000.0 + TERM_SECONDS
    assert leader.epoch() is None


def test_an_answer_that_took_too_long_wins_nothing() -> None:
    store = SlowRedis([1, 3], latency=TERM_SECONDS)
    leader = elector(store)
    leader.attempt()
    assert leader.epoch() is None


def test_a_renewal_extends_the_term_and_keeps_the_epoch() -> None:
    store = SlowRedis([1, 3], 1)
    leader = elector(store)
    leader.attempt()
    store.now += 0.8
    leader.attempt()
    store.now += TERM_SECONDS - 0.01
    assert leader.epoch() == 3
    store.now += 0.01
    assert leader.epoch() is None


def test_a_failed_renewal_does_not_end_the_term_early_nor_extend_it() -> None:
    store = SlowRedis([1, 3], redis.ConnectionError("away"))
    leader = elector(store)
    leader.attempt()
    store.now += 1.0
    leader.attempt()
    assert leader.epoch() == 3
    store.now += TERM_SECONDS - 1.0
    assert leader.epoch() is None


def test_a_lost_lock_ends_the_term_at_once_and_it_runs_again() -> None:
    store = SlowRedis([1, 3], 0, [0, 4])
    leader = elector(store)
    leader.attempt()
    leader.attempt()
    assert leader.epoch() is None
    assert store.answers == []  # the campaign follows in the same round


def test_a_process_that_slept_past_its_term_begins_a_new_one() -> None:
    store = SlowRedis([1, 3], [1, 4])
    leader = elector(store)
    leader.attempt()
    store.now += TERM_SECONDS + 60
    assert leader.epoch() is None
    leader.attempt()
    assert leader.epoch() == 4


def test_an_outage_is_logged_once_and_its_end_once() -> None:
    away = redis.ConnectionError("away")
    store = SlowRedis(away, away, away, [0, 1], away, [0, 1])
    candidate = elector(store)
    with capture_logs() as logs:
        for _ in range(6):
            candidate.attempt()
            store.now += RETRY_SECONDS
    assert [line["event"] for line in logs] == ["beat.outage", "beat.outage_over"] * 2
