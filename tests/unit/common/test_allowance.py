from __future__ import annotations

from socialsync_common.platforms.allowance import BRAKE_PERCENT, Allowances, Usage


def test_below_the_brake_calls_go_on() -> None:
    allowances = Allowances(lambda: 0.0)
    assert allowances.brake("1") == 0
    allowances.note("1", Usage(BRAKE_PERCENT - 1, 0.0))
    assert allowances.brake("1") == 0


def test_above_it_one_call_a_minute_asks_for_all() -> None:
    time = [0.0]
    allowances = Allowances(lambda: time[0])
    allowances.note("1", Usage(99.0, 0.0))
    assert allowances.brake("1") == 60
    assert allowances.brake("2") == 0
    time[0] = 61.0
    assert allowances.brake("1") == 0
    assert allowances.brake("1") == 60
    allowances.note("1", Usage(40.0, 0.0))
    assert allowances.brake("1") == 0


def test_the_platform_s_own_word_counts() -> None:
    allowances = Allowances(lambda: 0.0)
    allowances.note("1", Usage(101.0, 1800.0))
    assert allowances.brake("1") == 1800
