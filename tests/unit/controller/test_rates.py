"""Averages of arrivals and service time from counters, with restarts of Redis and odd clocks."""

from __future__ import annotations

from math import exp, isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_operator.rates import AVERAGE_SECONDS, SERVICE_SECONDS, Counters, Rates

NOTHING = Rates()


def steady(
    seconds: float, per_second: int, service: float, *, every: float = 1.0, rates: Rates = NOTHING
) -> Rates:
    """As many tasks come as are done."""
    last = rates.last or Counters(0, 5, 0, 0)
    rates = rates if rates.last else rates.add(last)
    done, at = last.completed, last.at
    for _ in range(round(seconds / every)):
        at += every
        done += round(per_second * every)
        rates = rates.add(Counters(at, last.waiting, done, round(done * service * 1000)))
    return rates


def test_one_look_tells_nothing() -> None:
    rates = Rates().add(Counters(0, 7, 3, 900))
    assert (rates.arrivals, rates.arrival_rate, rates.service_time) == (None, None, None)


def test_arrivals_are_what_waits_now_and_what_was_done_meanwhile() -> None:
    rates = Rates().add(Counters(0, 7, 3, 0)).add(Counters(2, 10, 8, 0))
    assert rates.arrivals == 8


def test_tasks_that_were_purged_are_no_negative_arrivals() -> None:
    rates = Rates().add(Counters(0, 700, 3, 0)).add(Counters(1, 0, 3, 0))
    assert rates.arrivals == 0
    assert rates.arrival_rate == 0


def test_a_steady_flow_is_known_after_a_minute() -> None:
    rates = steady(60, per_second=20, service=0.4)
    assert rates.arrival_rate == pytest.approx(20, rel=0.02)
    assert rates.service_time == pytest.approx(0.4, rel=0.01)


def test_service_time_is_right_from_the_first_completion_on() -> None:
    """Both averages start from nothing and are weighted alike, so that their ratio has no bias."""
    rates = steady(1, per_second=20, service=0.4)
    assert rates.service_time == pytest.approx(0.4)


def look(rates: Rates, arrivals: int, done: int = 0) -> Rates:
    """A second later."""
    last = rates.last
    assert last is not None
    return rates.add(
        Counters(last.at + 1, last.waiting + arrivals - done, last.completed + done, last.busy_ms)
    )


def test_a_small_change_is_averaged() -> None:
    """What may be chance is not followed at once, but within a few time constants."""
    rates = steady(120, per_second=20, service=0.4)
    for _ in range(2):
        rates = look(rates, arrivals=25)
    assert rates.arrival_rate == pytest.approx(25 - 5 * exp(-2 / AVERAGE_SECONDS), rel=0.01)
    for _ in range(60):
        rates = look(rates, arrivals=25)
    assert rates.arrival_rate == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize(("before", "since", "low", "high"), [(4, 40, 30, 40), (40, 4, 4, 8)])
def test_a_burst_and_its_end_are_believed_after_two_looks(
    before: int, since: int, low: float, high: float
) -> None:
    rates = look(look(steady(120, per_second=before, service=0.4), arrivals=since), arrivals=since)
    assert rates.arrival_rate is not None
    assert low < rates.arrival_rate < high


def test_one_task_after_a_long_silence_is_no_burst() -> None:
    rates = look(steady(600, per_second=0, service=0.4), arrivals=1)
    assert rates.arrival_rate == pytest.approx(1 / AVERAGE_SECONDS, rel=0.05)


@pytest.mark.parametrize("every", [0.25, 0.5, 2.0, 5.0])
def test_how_often_one_looks_does_not_matter(every: float) -> None:
    seldom = steady(30, per_second=20, service=0.4, every=every).arrival_rate
    assert seldom == pytest.approx(steady(30, per_second=20, service=0.4).arrival_rate, rel=0.01)


def test_service_time_follows_a_drift() -> None:
    rates = steady(60, per_second=10, service=0.2)
    at, completed, busy = 60.0, 600, 120_000
    for _ in range(round(3 * SERVICE_SECONDS)):
        at, completed, busy = at + 1, completed + 10, busy + 8000
        rates = rates.add(Counters(at, 5, completed, busy))
    assert rates.service_time == pytest.approx(0.8, rel=0.06)


def test_an_idle_queue_keeps_its_service_time() -> None:
    busy = steady(60, per_second=10, service=0.2)
    idle = steady(3600, per_second=0, service=0.2, rates=busy)
    assert idle.service_time == pytest.approx(0.2, rel=0.01)
    assert idle.arrival_rate == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "lost", [Counters(61, 5, 0, 120_000), Counters(61, 5, 601, 0), Counters(60, 5, 601, 120_200)]
)
def test_counters_that_fell_and_a_clock_that_stands_begin_anew(lost: Counters) -> None:
    rates = steady(60, per_second=10, service=0.2)
    again = rates.add(lost)
    assert again.arrivals is None
    assert (again.arrival_rate, again.service_time) == (rates.arrival_rate, rates.service_time)
    on = again.add(Counters(62, 6, lost.completed + 10, lost.busy_ms + 2000))
    assert on.arrivals == 11


def test_rates_are_values() -> None:
    rates = steady(10, per_second=10, service=0.2)
    before = (rates.arrival_rate, rates.last)
    rates.add(Counters(11, 900, 110, 22_000))
    assert (rates.arrival_rate, rates.last) == before


LOOKS = st.builds(
    Counters,
    at=st.integers(0, 10**6).map(float) | st.floats(0, 1e9),
    waiting=st.integers(0, 2**63),
    completed=st.integers(0, 2**63),
    busy_ms=st.integers(0, 2**63),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(looks=st.lists(LOOKS, max_size=10))
def test_whatever_redis_says_the_rates_are_numbers_that_are_not_negative(looks: list[Counters]) -> None:
    rates = Rates()
    for look in looks:
        rates = rates.add(look)
        for value in (rates.arrivals, rates.arrival_rate, rates.service_time):
            assert value is None or (isfinite(value) and value >= 0)
