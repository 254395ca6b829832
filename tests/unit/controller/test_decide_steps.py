"""Each rule of ``decide`` by example. The invariants over all rules are in ``test_decide_properties``."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from socialsync_operator.decide import Decision, Limit, Memory, Reason, decide, need
from socialsync_operator.observation import Observation
from socialsync_operator.rates import Counters, Rates
from socialsync_operator.spec import Fallback, Policy, Rules, Scaling

SCALING = Scaling(min=0, max=50, target_latency=5, target_per_replica=10)
AT_ONCE = Rules(window=0)
KEPT = Fallback(threshold=3, replicas=0, raises=False)
RAISED = Fallback(threshold=3, replicas=8, raises=True)


def seen(replicas: int = 1, **metrics: Any) -> Observation:
    """Nothing to do, unless told otherwise; all replicas are ready, and none of them is spare."""
    quiet: dict[str, Any] = {
        "ready": replicas,
        "depth": 0,
        "in_flight": 0,
        "oldest_age": 0.0,
        "idle": True,
        "arrivals": 0,
    }
    return Observation(replicas=replicas, **{**quiet, **metrics})


def flow(replicas: int = 1, **metrics: Any) -> Observation:
    """10 tasks a second of 2 s each: 20 slots are busy. A replica has 4, of which 3.6 are counted on: 6 replicas."""
    return seen(replicas, **{"arrival_rate": 10.0, "service_time": 2.0, "slots": 4, "idle": False, **metrics})


class Operator:
    """Looks once a second, or when told, and does at once what was decided."""

    def __init__(self, scaling: Scaling = SCALING, replicas: int = 1) -> None:
        self.scaling, self.replicas, self.now, self.memory = scaling, replicas, 0.0, Memory()

    def look(self, look: Observation, after: float = 1.0) -> Decision:
        self.now += after
        decision, self.memory = decide(
            self.scaling, replace(look, replicas=self.replicas), self.memory, self.now
        )
        self.replicas = decision.replicas
        return decision

    def watch(self, look: Observation, seconds: int) -> list[int]:
        return [self.look(look).replicas for _ in range(seconds)]


def first(scaling: Scaling, look: Observation) -> Decision:
    return decide(scaling, look, Memory(), 0)[0]


# What is needed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "reason", "replicas"),
    [
        (flow(), Reason.FLOW, 6),
        (flow(depth=50), Reason.FLOW, 6),  # 50 within 5 s: no more than come anyway
        (flow(depth=80), Reason.FLOW, 9),  # 16 a second: 32 slots
        (flow(depth=1, arrival_rate=0.0), Reason.FLOW, 1),
        (flow(depth=25, in_flight=5, service_time=None), Reason.PER_REPLICA, 3),
        (flow(depth=25, in_flight=6, arrival_rate=None), Reason.PER_REPLICA, 4),
        (flow(depth=25, slots=None), Reason.PER_REPLICA, 3),
        (flow(depth=25, slots=0), Reason.PER_REPLICA, 3),
        (flow(depth=25, service_time=nan), Reason.PER_REPLICA, 3),
        (flow(depth=25, arrival_rate=inf), Reason.PER_REPLICA, 3),
        (flow(6, depth=1, oldest_age=7.5), Reason.AGE, 9),
        (flow(6, depth=1, oldest_age=7.5, ready=4), Reason.FLOW, 6),  # what starts is no reason for more
        (flow(6, depth=1, oldest_age=1e6), Reason.AGE, 12),
        (flow(6, depth=0, oldest_age=1e6), Reason.FLOW, 6),
        (flow(in_flight=1000), Reason.FLOW, 6),  # as many scheduled retries are no need
        (seen(), Reason.IDLE, 0),
        (seen(in_flight=1), Reason.PER_REPLICA, 1),
    ],
)
def test_need(look: Observation, reason: Reason, replicas: int) -> None:
    found, asked = need(SCALING, look)
    assert (found, max(asked.values())) == (reason, replicas)


def test_what_is_left_of_an_average_keeps_no_replica() -> None:
    """An average of the past approaches nothing but never gets there."""
    reason, asked = need(SCALING, flow(arrival_rate=1e-9))
    assert (reason, max(asked.values())) == (Reason.IDLE, 0)


def test_a_decision_shows_the_numbers_on_the_way_in_their_order() -> None:
    decision = Operator(replace(SCALING, max=5), replicas=3).look(flow(3, in_flight=8))
    assert list(decision.candidates.items()) == [
        ("current", 3),
        ("TargetLatency", 6),
        ("need", 6),
        ("stabilized", 6),
        ("policy", 6),
        ("bounded", 5),
    ]
    assert (decision.reason, decision.limits, decision.limit) == (Reason.FLOW, (Limit.MAX,), Limit.MAX)


def test_a_need_that_is_met_has_no_limit() -> None:
    decision = Operator(replicas=6).look(flow(6))
    assert (decision.replicas, decision.limits, decision.limit) == (6, (), None)


# From zero -------------------------------------------------------------------------------------------


def test_from_zero_to_what_is_needed_in_one_hop() -> None:
    slow_up = Rules(window=60, policies=(Policy("Pods", 1, 60),))
    assert Operator(replace(SCALING, up=slow_up), replicas=0).look(seen(0, depth=200)).replicas == 20


def test_from_zero_not_beyond_the_most() -> None:
    decision = Operator(replicas=0).look(seen(0, depth=10_000))
    assert (decision.replicas, decision.limit) == (50, Limit.MAX)


def test_from_zero_for_a_single_message() -> None:
    assert Operator(replicas=0).look(seen(0, depth=1)).replicas == 1


def test_from_zero_for_tasks_that_are_in_flight() -> None:
    assert Operator(replicas=0).look(seen(0, in_flight=1)).replicas == 1


def test_zero_stays_zero_while_nothing_waits() -> None:
    assert Operator(replicas=0).watch(seen(0), 200) == [0] * 200


def test_zero_stays_zero_when_going_up_is_disabled() -> None:
    decision = Operator(replace(SCALING, up=Rules(select="Disabled")), replicas=0).look(seen(0, depth=10))
    assert (decision.replicas, decision.limit) == (0, Limit.UP_POLICY)


def test_what_came_from_zero_is_not_taken_back_the_next_second() -> None:
    operator = Operator(replicas=0)
    operator.watch(seen(0), 200)
    operator.look(seen(0, depth=200))
    assert operator.watch(seen(20, depth=1, ready=0, removable=20), 119) == [20] * 119
    assert operator.look(seen(20, depth=1, removable=20)).replicas == 1


# Tolerance and the band of the age -------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "replicas"), [(80, 8), (81, 10), (110, 10), (111, 12)])
def test_a_tenth_more_or_less_changes_nothing(depth: int, replicas: int) -> None:
    eager = replace(SCALING, down=AT_ONCE)
    assert first(eager, seen(10, depth=depth, removable=10)).replicas == replicas


def test_each_direction_has_its_own_tolerance() -> None:
    scaling = replace(SCALING, up=Rules(tolerance=0.5), down=Rules(tolerance=0))
    assert first(scaling, seen(10, depth=150)).limit is Limit.TOLERANCE
    assert first(scaling, seen(10, depth=151)).replicas == 16
    assert first(scaling, seen(10, depth=90, removable=1)).replicas == 9


def test_a_message_beyond_the_target_is_not_tolerated() -> None:
    assert first(SCALING, seen(20, depth=210, oldest_age=5.0)).limit is Limit.TOLERANCE
    assert first(SCALING, seen(20, depth=210, oldest_age=5.1)).replicas == 21


def test_not_down_while_the_oldest_message_waits_half_the_target() -> None:
    eager = replace(SCALING, down=AT_ONCE)
    assert first(eager, seen(10, depth=10, oldest_age=2.5, removable=10)).limit is Limit.CALM
    assert first(eager, seen(10, depth=10, oldest_age=2.4, removable=10)).replicas == 1


# Windows ---------------------------------------------------------------------------------------------


def test_down_to_the_highest_need_of_the_window() -> None:
    operator = Operator(replicas=10)
    assert operator.watch(seen(depth=100), 5)[-1] == 10
    assert operator.watch(seen(depth=60, removable=10), 60) == [10] * 60
    assert operator.watch(seen(depth=20, removable=10), 59) == [10] * 59
    assert operator.watch(seen(depth=20, removable=10), 60) == [6] * 60
    assert operator.look(seen(depth=20, removable=10)).replicas == 2


def test_up_at_once_by_default() -> None:
    assert Operator(replicas=10).look(seen(depth=130)).replicas == 13


def test_up_to_the_lowest_need_of_the_up_window() -> None:
    operator = Operator(replace(SCALING, up=Rules(window=10)), replicas=10)
    operator.look(seen(depth=120))
    operator = Operator(replace(SCALING, up=Rules(window=10)), replicas=10)
    operator.look(seen(depth=100))
    assert operator.watch(seen(depth=150), 9) == [10] * 9
    assert operator.look(seen(depth=150)).replicas == 15


def test_a_panic_does_not_wait_for_the_up_window_and_forbids_down() -> None:
    operator = Operator(replace(SCALING, up=Rules(window=10), down=AT_ONCE), replicas=5)
    operator.look(seen(depth=50))
    assert operator.look(seen(depth=100)).replicas == 10
    quiet = seen(depth=10, removable=10)
    held = [operator.look(quiet) for _ in range(9)]
    assert {(one.replicas, one.limit) for one in held} == {(10, Limit.PANIC)}
    assert operator.look(quiet).replicas == 1


def test_nothing_goes_down_for_a_full_window_after_a_restart() -> None:
    operator = Operator(replicas=10)
    assert operator.watch(seen(depth=10, removable=10), 120) == [10] * 120
    assert operator.look(seen(depth=10, removable=10)).replicas == 1


def test_a_restart_holds_for_the_period_of_a_policy_too() -> None:
    """How many went before the restart is not known: the policy allows none until its period is over."""
    scaling = replace(SCALING, down=Rules(window=0, policies=(Policy("Pods", 5, 60),)))
    operator = Operator(scaling, replicas=10)
    assert operator.watch(seen(removable=10), 60) == [10] * 60
    assert operator.look(seen(removable=10)).replicas == 5


@pytest.mark.parametrize("edited", [3, 30])
def test_someone_else_s_edit_is_the_truth_and_restarts_the_windows(edited: int) -> None:
    operator = Operator(replicas=10)
    operator.watch(seen(depth=10, removable=10), 100)
    operator.replicas = edited
    assert operator.watch(seen(depth=10, removable=30), 120) == [edited] * 120
    assert operator.look(seen(depth=10, removable=30)).replicas == 1


def test_a_change_that_takes_long_to_show_is_still_ours() -> None:
    scaling = replace(SCALING, up=Rules(policies=(Policy("Pods", 4, 60),)))
    operator = Operator(scaling, replicas=10)
    assert operator.look(seen(depth=200)).replicas == 14
    operator.replicas = 10  # not there yet
    assert operator.look(seen(depth=200)).replicas == 14
    assert operator.look(seen(depth=200)).replicas == 14  # there now: the four are used up
    assert operator.look(seen(depth=200), after=60).replicas == 18


# Policies and bounds ---------------------------------------------------------------------------------


def test_up_no_faster_than_the_policies() -> None:
    scaling = replace(SCALING, up=Rules(policies=(Policy("Percent", 100, 15), Policy("Pods", 4, 15))))
    operator = Operator(scaling, replicas=1)
    looks = [operator.look(seen(depth=400)) for _ in range(46)]
    assert [looks[n].replicas for n in (0, 15, 16, 31, 32, 45)] == [5, 5, 10, 10, 20, 20]
    assert looks[0].limit is Limit.UP_POLICY


def test_down_no_faster_than_the_policies() -> None:
    scaling = replace(SCALING, down=Rules(window=60, policies=(Policy("Pods", 2, 60),)))
    operator = Operator(scaling, replicas=10)
    gone = operator.watch(seen(removable=10, depth=1), 200)
    assert [gone[n] for n in (59, 60, 121, 182)] == [10, 8, 6, 4]


def test_bounds_are_set_at_once_whatever_the_rules() -> None:
    slow = Rules(window=600, select="Disabled")
    scaling = replace(SCALING, min=3, max=5, up=slow, down=slow)
    assert first(scaling, seen(1)).limits[-1] is Limit.MIN
    assert first(scaling, seen(1)).replicas == 3
    assert first(scaling, seen(9, removable=9)).replicas == 5
    assert first(scaling, seen(9, removable=9)).limits[-1] is Limit.MAX


def test_disabled_in_a_direction_never_moves_that_way() -> None:
    neither = replace(SCALING, up=Rules(select="Disabled"), down=Rules(select="Disabled"))
    assert Operator(neither, replicas=5).watch(seen(depth=400), 200) == [5] * 200
    assert Operator(neither, replicas=5).watch(seen(removable=5), 200) == [5] * 200


# Zero ------------------------------------------------------------------------------------------------


def test_zero_after_a_quiet_cooldown() -> None:
    operator = Operator(replace(SCALING, cooldown=200), replicas=1)
    assert operator.watch(seen(removable=1), 200) == [1] * 200
    assert operator.look(seen(removable=1)).replicas == 0


def test_the_rest_goes_before_the_last_one() -> None:
    operator = Operator(replace(SCALING, cooldown=300), replicas=5)
    operator.watch(seen(removable=5), 120)
    decision = operator.look(seen(removable=5))
    assert (decision.replicas, decision.limit) == (1, Limit.COOLDOWN)


@pytest.mark.parametrize(
    "sign",
    [
        {"depth": 1},
        {"in_flight": 1},
        {"arrivals": 1},
        {"arrivals": None},
        {"idle": False},
        {"idle": None},
        {"depth": None},
    ],
    ids=str,
)
def test_any_sign_of_work_starts_the_cooldown_anew(sign: dict[str, Any]) -> None:
    eager = replace(SCALING, down=AT_ONCE)
    operator = Operator(eager, replicas=1)
    operator.watch(seen(removable=1), 50)
    operator.look(seen(**sign, removable=1))
    assert operator.watch(seen(removable=1), 60) == [1] * 60
    assert operator.look(seen(removable=1)).replicas == 0


def test_zero_needs_three_looks_however_far_apart() -> None:
    eager = replace(SCALING, down=AT_ONCE)
    operator = Operator(eager, replicas=1)
    assert [operator.look(seen(removable=1), after=1000).replicas for _ in range(3)] == [1, 1, 0]


def test_an_idle_queue_reaches_zero_though_its_averages_forget_slowly() -> None:
    operator, rates = Operator(replicas=2), Rates()
    for second in range(200):
        done = min(second, 20) * 50
        rates = rates.add(Counters(second, 0, done, done * 100))
        operator.look(
            seen(
                arrivals=rates.arrivals,
                arrival_rate=rates.arrival_rate,
                service_time=rates.service_time,
                slots=4,
                removable=2,
            )
        )
    assert operator.replicas == 0


def test_never_zero_where_one_is_the_least() -> None:
    assert Operator(replace(SCALING, min=1), replicas=1).watch(seen(removable=1), 500) == [1] * 500


def test_none_at_most_drains_without_a_cooldown() -> None:
    """The operator's own way to end: busy workers are still spared."""
    drain = replace(SCALING, max=0)
    assert first(drain, seen(3, removable=1)).replicas == 2
    assert first(drain, seen(3, removable=3)).replicas == 0


# What runs -------------------------------------------------------------------------------------------


def test_not_below_what_holds_the_tasks_that_run() -> None:
    eager = replace(SCALING, down=AT_ONCE)
    operator = Operator(eager, replicas=10)
    decision = operator.look(flow(10, in_flight=29, arrival_rate=0.0, removable=10))
    assert (decision.replicas, decision.limit) == (8, Limit.IN_FLIGHT)


def test_more_in_flight_than_slots_is_no_reason_to_go_up() -> None:
    eager = replace(SCALING, down=AT_ONCE)
    look = flow(10, in_flight=1000, arrival_rate=0.0, removable=10)
    assert Operator(eager, replicas=10).look(look).replicas == 10


def test_what_ran_for_a_moment_is_not_held_for_the_window() -> None:
    operator = Operator(replicas=10)
    quiet = flow(10, in_flight=4, arrival_rate=0.0, removable=10)
    operator.watch(quiet, 100)
    operator.look(flow(10, in_flight=40, arrival_rate=0.0))
    operator.watch(quiet, 19)
    assert operator.look(quiet).replicas == 1


# Busy workers ----------------------------------------------------------------------------------------


def test_down_only_by_those_that_have_no_work() -> None:
    eager = replace(SCALING, down=AT_ONCE)
    decision = first(eager, seen(10, depth=20, removable=3))
    assert (decision.replicas, decision.wanted, decision.limit) == (7, 2, Limit.BUSY)


def test_busy_workers_are_held_for_so_long_and_no_longer() -> None:
    eager = replace(SCALING, down=AT_ONCE, max_busy_hold=300)
    operator = Operator(eager, replicas=10)
    assert operator.watch(seen(depth=20), 300) == [10] * 300
    assert operator.look(seen(depth=20)).replicas == 2


def test_the_hold_starts_anew_when_they_were_needed_meanwhile() -> None:
    eager = replace(SCALING, down=AT_ONCE, max_busy_hold=300)
    operator = Operator(eager, replicas=10)
    operator.watch(seen(depth=20), 299)
    operator.look(seen(depth=100))
    assert operator.watch(seen(depth=20), 300) == [10] * 300


# Pause and missing metrics ---------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [0, 2, 90])
def test_paused_keeps_what_there_is_even_out_of_bounds(replicas: int) -> None:
    paused = replace(SCALING, min=3, paused=True)
    decision = Operator(paused, replicas=replicas).look(seen(depth=1000))
    assert (decision.replicas, decision.wanted, decision.reason) == (replicas, replicas, Reason.PAUSED)


def test_time_paused_is_no_time_idle() -> None:
    operator = Operator(replicas=1)
    operator.watch(seen(removable=1), 119)
    operator.scaling = replace(SCALING, paused=True)
    operator.look(seen())
    operator.scaling = SCALING
    assert operator.watch(seen(removable=1), 60) == [1] * 60
    assert operator.look(seen(removable=1)).replicas == 0


@pytest.mark.parametrize("value", [None, nan, inf, -1])
@pytest.mark.parametrize(
    ("metric", "name"), [("depth", "depth"), ("in_flight", "inFlight"), ("oldest_age", "oldestAge")]
)
def test_what_is_not_known_holds(metric: str, name: str, value: float | None) -> None:
    decision = Operator(replicas=4).look(seen(**{metric: value}, removable=4))
    assert (decision.replicas, decision.reason, decision.missing) == (4, Reason.METRICS_MISSING, (name,))


def test_the_least_holds_without_metrics_too() -> None:
    assert Operator(replace(SCALING, min=3), replicas=1).look(seen(depth=None)).replicas == 3


@pytest.mark.parametrize(
    ("fallback", "replicas"), [(None, 4), (KEPT, 4), (RAISED, 8), (replace(RAISED, replicas=2), 4)]
)
def test_fallback_after_so_many_failures(fallback: Fallback | None, replicas: int) -> None:
    operator = Operator(replace(SCALING, fallback=fallback), replicas=4)
    looks = [operator.look(seen(depth=None)) for _ in range(4)]
    assert [one.replicas for one in looks] == [4, 4, replicas, replicas]
    expected = Reason.FALLBACK if fallback else Reason.METRICS_MISSING
    assert [one.reason for one in looks] == [*[Reason.METRICS_MISSING] * 2, *[expected] * 2]


def test_fallback_from_zero_and_never_to_zero() -> None:
    operator = Operator(replace(SCALING, fallback=RAISED), replicas=0)
    assert operator.watch(seen(0, depth=None), 4) == [0, 0, 8, 8]
    operator = Operator(replace(SCALING, fallback=replace(KEPT, replicas=0)), replicas=4)
    assert operator.watch(seen(depth=None), 500) == [4] * 500


def test_fallback_goes_up_by_the_rules_too() -> None:
    """As KEDA's, which passes through the HPA."""
    slow = replace(SCALING, fallback=RAISED, up=Rules(policies=(Policy("Pods", 1, 60),)))
    assert Operator(slow, replicas=4).watch(seen(depth=None), 60) == [4, 4, *[5] * 58]
    never = replace(slow, up=Rules(select="Disabled"))
    assert Operator(never, replicas=4).watch(seen(depth=None), 60) == [4] * 60


def test_one_success_starts_the_count_of_failures_anew() -> None:
    operator = Operator(replace(SCALING, fallback=RAISED), replicas=4)
    operator.watch(seen(depth=None), 2)
    operator.look(seen(depth=40))
    assert operator.watch(seen(depth=None), 3) == [4, 4, 8]


def test_what_is_not_known_is_not_remembered_as_a_need() -> None:
    operator = Operator(replace(SCALING, up=Rules(window=60)), replicas=10)
    operator.look(seen(depth=150))
    operator.watch(seen(depth=None), 30)
    assert operator.memory.lowest.extreme == 15
