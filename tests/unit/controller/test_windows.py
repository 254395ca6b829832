"""Stabilization windows and rate limits, against their plain definitions and the HPA's documented examples."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_operator.spec import Policy, Rules
from socialsync_operator.windows import Change, Window, ceiling, floor

PODS = Policy("Pods", 4, 60)
PERCENT = Policy("Percent", 10, 60)
DOUBLE = Policy("Percent", 100, 15)


def rules(*policies: Policy, select: str = "Max") -> Rules:
    return Rules(select=select, policies=policies)  # type: ignore[arg-type]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    looks=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=40),
    seconds=st.integers(0, 120),
    sign=st.sampled_from([1, -1]),
)
def test_the_extreme_is_that_of_all_recommendations_within_the_window(
    looks: list[tuple[int, int]], seconds: int, sign: int
) -> None:
    window, now, all_ = Window(sign), 0, []
    for pause, value in looks:
        now += pause
        all_.append((now, value))
        window = window.add(now, value, seconds)
        young = [each for at, each in all_ if now - at < seconds] or [value]
        assert window.extreme == (max(young) if sign == 1 else min(young))


def test_a_window_keeps_only_what_can_still_count() -> None:
    window = Window(1)
    for second in range(1000):
        window = window.add(second, second % 7, 120)
    assert len(window.entries) <= 7


def test_a_window_of_no_length_knows_the_last_recommendation_only() -> None:
    assert Window(1).add(0, 9, 0).add(0, 3, 0).extreme == 3


def test_a_recommendation_expires_when_it_is_as_old_as_the_window() -> None:
    window = Window(1).add(0, 9, 10)
    assert window.add(9.999, 3, 10).extreme == 9
    assert window.add(10, 3, 10).extreme == 3


def test_a_window_is_a_value() -> None:
    window = Window(1).add(0, 9, 10)
    window.add(1, 10, 10)
    assert window.extreme == 9


def test_no_policy_is_no_limit() -> None:
    assert ceiling(3, rules(), (), 0) == inf
    assert floor(3, rules(), (), 0) == 0


@pytest.mark.parametrize(("replicas", "most"), [(1, 5), (3, 7), (4, 8), (5, 10), (10, 20)])
def test_the_hpa_s_default_doubles_or_adds_four(replicas: int, most: int) -> None:
    assert ceiling(replicas, rules(DOUBLE, Policy("Pods", 4, 15)), (), 0) == most


@pytest.mark.parametrize(
    ("replicas", "select", "least"),
    [(80, "Max", 72), (80, "Min", 76), (30, "Max", 26), (30, "Min", 27), (2, "Max", 0)],
)
def test_down_by_ten_percent_or_four_pods(replicas: int, select: str, least: int) -> None:
    assert floor(replicas, rules(PODS, PERCENT, select=select), (), 0) == least


def test_percent_rounds_to_more_replicas_in_both_directions() -> None:
    assert ceiling(3, rules(PERCENT), (), 0) == 4
    assert floor(3, rules(PERCENT), (), 0) == 2  # as the HPA: the limit is rounded down, so one may go


def test_disabled_allows_no_change() -> None:
    assert ceiling(3, rules(PODS, select="Disabled"), (), 0) == 3
    assert floor(3, rules(PODS, select="Disabled"), (), 0) == 3


def test_changes_within_the_period_use_the_allowance_up() -> None:
    grown = (Change(0, 3),)
    assert ceiling(13, rules(PODS), grown, 59.9) == 14
    assert ceiling(13, rules(PODS), grown, 60) == 17
    shrunk = (Change(0, -3),)
    assert floor(7, rules(PODS), shrunk, 59.9) == 6
    assert floor(7, rules(PODS), shrunk, 60) == 3


def test_opposite_changes_cancel_out_as_in_the_hpa() -> None:
    there_and_back = (Change(0, 4), Change(10, -4))
    assert ceiling(10, rules(PODS), there_and_back, 20) == 14
    assert floor(10, rules(PODS), there_and_back, 20) == 6


def test_each_policy_looks_back_over_its_own_period() -> None:
    slow, quick = Policy("Pods", 10, 60), Policy("Pods", 2, 5)
    changes = (Change(0, 9), Change(28, 1))
    assert ceiling(20, rules(slow, quick, select="Min"), changes, 30) == 20
    assert ceiling(20, rules(slow, quick, select="Min"), changes, 59) == 20
    assert ceiling(20, rules(slow, quick, select="Min"), changes, 60) == 22


def test_the_floor_is_never_negative() -> None:
    assert floor(1, rules(Policy("Percent", 400, 60)), (), 0) == 0
    assert floor(1, rules(PODS), (Change(0, -1),), 1) == 0
