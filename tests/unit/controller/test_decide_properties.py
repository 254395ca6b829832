"""What holds for every sequence of looks, whatever the spec, the metrics, delays and other people's edits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, inf, nan
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from socialsync_operator.decide import ZERO_READS, Decision, Limit, Memory, decide, need
from socialsync_operator.observation import Observation
from socialsync_operator.spec import Fallback, Policy, Rules, Scaling

check = settings(max_examples=200, derandomize=True, deadline=None)
QUIET = Observation(replicas=0, ready=0, depth=0, in_flight=0, oldest_age=0.0, idle=True, arrivals=0)


# A fake operator -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One look: how long after the one before, what it sees, and what becomes of the decision."""

    seconds: int
    metrics: Observation  # replicas and ready are the driver's
    starting: int = 0  # replicas that are not ready yet
    applied: bool = True  # at once, or not at all, as when the API server does not answer
    edit: int | None = None  # someone else sets the replicas before this look


@dataclass(frozen=True)
class Look:
    now: float
    seen: Observation
    memory: Memory
    decision: Decision
    edited: bool

    @property
    def out(self) -> int:
        return self.decision.replicas


@dataclass
class Driver:
    scaling: Scaling
    replicas: int = 1
    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    looks: list[Look] = field(default_factory=list)

    def look(self, step: Step) -> Look:
        self.now += step.seconds
        if step.edit is not None:
            self.replicas = step.edit
        ready = max(0, self.replicas - step.starting)
        seen = replace(step.metrics, replicas=self.replicas, ready=ready)
        decision, memory = decide(self.scaling, seen, self.memory, self.now)
        look = Look(self.now, seen, self.memory, decision, step.edit is not None)
        self.looks.append(look)
        self.memory = memory
        if step.applied:
            self.replicas = decision.replicas
        return look

    def run(self, steps: list[Step]) -> list[Look]:
        return [self.look(step) for step in steps]

    def replicas_before(self, now: float, seconds: float) -> int:
        """What was there when the last ``seconds`` began, as the looks saw it."""
        return next(
            (one.seen.replicas for one in reversed(self.looks) if now - one.now >= seconds),
            self.looks[0].seen.replicas,
        )


# Strategies ------------------------------------------------------------------------------------------

policies = st.builds(
    Policy,
    type=st.sampled_from(["Pods", "Percent"]),
    value=st.integers(1, 10) | st.sampled_from([50, 100, 200]),
    period=st.sampled_from([5, 15, 60]),
)
rules = st.builds(
    Rules,
    window=st.sampled_from([0, 0, 10, 120]),
    select=st.sampled_from(["Max", "Max", "Min", "Disabled"]),
    policies=st.lists(policies, max_size=2).map(tuple),
    tolerance=st.sampled_from([0, 0.1, 0.5]),
)
fallbacks = st.builds(
    Fallback, threshold=st.integers(1, 3), replicas=st.integers(0, 20), raises=st.booleans()
)


@st.composite
def scalings(draw: st.DrawFn, **fixed: Any) -> Scaling:
    low = draw(st.sampled_from([0, 0, 1, 4]))
    drawn = Scaling(
        min=low,
        max=low + draw(st.integers(0, 40)),
        target_latency=draw(st.sampled_from([1, 5, 60])),
        target_per_replica=draw(st.sampled_from([1, 10])),
        cooldown=draw(st.sampled_from([0, 20, 60])),
        max_busy_hold=draw(st.sampled_from([0, 20, 300])),
        up=draw(rules),
        down=draw(rules),
        fallback=draw(st.none() | fallbacks),
        paused=draw(st.integers(0, 9)) == 0,
    )
    return replace(drawn, **fixed)


idle = st.builds(
    replace,
    st.just(QUIET),
    removable=st.integers(0, 40),
    arrival_rate=st.sampled_from([0.0, 1e-9]),
    service_time=st.just(1.0),
    slots=st.just(4),
)
busy = st.builds(
    Observation,
    replicas=st.just(0),
    ready=st.just(0),
    depth=st.integers(0, 10) | st.integers(0, 500),
    in_flight=st.integers(0, 10) | st.integers(0, 100),
    oldest_age=st.sampled_from([0.0, 0.4, 1.0, 2.5, 4.0, 5.0, 6.0, 20.0, 500.0]),
    idle=st.sampled_from([True, False, None]),
    arrivals=st.none() | st.integers(0, 20),
    arrival_rate=st.none() | st.floats(0, 50),
    service_time=st.none() | st.floats(0, 30),
    slots=st.none() | st.integers(0, 8),
    removable=st.integers(0, 40),
)
known = idle | busy
blind = st.builds(
    lambda metrics, name: replace(metrics, **{name: None}),
    known,
    st.sampled_from(["depth", "in_flight", "oldest_age"]),
)


def steps(
    metrics: st.SearchStrategy[Observation] = known | blind, *, size: int = 25
) -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.builds(
            Step,
            seconds=st.sampled_from([1, 1, 1, 4, 15, 61, 130]),
            metrics=metrics,
            starting=st.sampled_from([0, 0, 0, 3, 100]),
            applied=st.sampled_from([True, True, True, False]),
            edit=st.sampled_from([None] * 9 + [0, 1, 30]),
        ),
        min_size=1,
        max_size=size,
    )


replicas = st.integers(0, 50)


# The properties --------------------------------------------------------------------------------------


@check
@given(scaling=scalings(), replicas=replicas, steps=steps())
def test_1_within_the_bounds(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    for look in Driver(scaling, replicas).run(steps):
        now = look.seen.replicas
        if scaling.paused:
            assert look.out == now
            continue
        held = look.seen.missing or Limit.BUSY in look.decision.limits
        assert scaling.min <= look.out <= (max(now, scaling.max) if held else scaling.max)


@check
@given(scaling=scalings(), replicas=replicas, steps=steps())
def test_2_never_down_on_a_missing_metric(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    for look in Driver(scaling, replicas).run(steps):
        if look.seen.missing:
            assert look.out >= look.seen.replicas


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(idle | idle | idle | known | blind))
def test_3_zero_only_after_a_quiet_cooldown(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    quiet: list[Look] = []
    for look in Driver(scaling, replicas).run(steps):
        seen = look.seen
        is_quiet = (seen.depth, seen.in_flight, seen.arrivals, seen.idle) == (0, 0, 0, True)
        quiet = [*quiet, look] if is_quiet and not seen.missing else []
        if look.out == 0 and seen.replicas > 0 and scaling.max > 0:
            assert len(quiet) >= ZERO_READS
            assert look.now - quiet[0].now >= scaling.cooldown
            assert scaling.min == 0


@check
@given(
    scaling=scalings(),
    metrics=busy,
    replicas=replicas,
    more=st.tuples(st.integers(0, 500), st.integers(0, 100), st.floats(0, 500), st.floats(0, 50)),
)
def test_4_more_work_never_needs_less(
    scaling: Scaling, metrics: Observation, replicas: int, more: tuple[int, int, float, float]
) -> None:
    metrics = replace(metrics, replicas=replicas, ready=replicas)
    depth, in_flight, age, rate = more
    grown = replace(
        metrics,
        depth=(metrics.depth or 0) + depth,
        in_flight=(metrics.in_flight or 0) + in_flight,
        oldest_age=(metrics.oldest_age or 0) + age,
        arrival_rate=None if metrics.arrival_rate is None else metrics.arrival_rate + rate,
    )
    _, before = need(scaling, metrics)
    _, after = need(scaling, grown)
    assert max(after.values()) >= max(before.values())
    assert all(after[name] >= before[name] for name in before)


@check
@given(scaling=scalings(), replicas=replicas, steps=steps())
def test_5_no_faster_than_the_policies(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    """Net of opposite changes, as the HPA counts. The hop from zero and the bounds are exempt."""
    driver = Driver(scaling, replicas)
    for step in steps:
        look = driver.look(step)
        now, out = look.seen.replicas, look.out
        if out > now and now > 0:
            allowed = [_most(driver, policy, look.now) for policy in scaling.up.policies]
            limit = (max if scaling.up.select == "Max" else min)(allowed, default=inf)
            assert out <= max(now, limit, scaling.min)
        if out < now:
            allowed = [_least(driver, policy, look.now) for policy in scaling.down.policies]
            limit = (min if scaling.down.select == "Max" else max)(allowed, default=0)
            assert out >= min(now, limit, scaling.max)


def _most(driver: Driver, policy: Policy, now: float) -> float:
    start = driver.replicas_before(now, policy.period)
    return start + (policy.value if policy.type == "Pods" else ceil(start * policy.value / 100))


def _least(driver: Driver, policy: Policy, now: float) -> float:
    start = driver.replicas_before(now, policy.period)
    return start - (policy.value if policy.type == "Pods" else ceil(start * policy.value / 100))


@check
@given(scaling=scalings(), replicas=replicas, metrics=known)
def test_6_constant_metrics_lead_to_a_fixed_point(
    scaling: Scaling, replicas: int, metrics: Observation
) -> None:
    """The longest way: 50 replicas one by one, each a look after the other and held for one more."""
    driver = Driver(replace(scaling, max_busy_hold=20), replicas)
    outs = [driver.look(Step(61, metrics)).out for _ in range(180)]
    assert len(set(outs[150:])) == 1


@check
@given(
    replicas=st.integers(1, 100),
    tolerance=st.sampled_from([0.1, 0.2, 0.5]),
    noise=st.lists(st.floats(-1, 1), min_size=1, max_size=60),
    age=st.floats(0, 5),
    window=st.sampled_from([0, 30]),
)
def test_7_noise_within_the_tolerance_changes_nothing(
    replicas: int, tolerance: float, noise: list[float], age: float, window: float
) -> None:
    either = Rules(window=window, tolerance=tolerance)
    driver = Driver(Scaling(0, 200, 5, 10, up=either, down=either), replicas)
    for each in noise:
        wanted = replicas + int(each * round(replicas * tolerance, 6))
        look = driver.look(Step(1, replace(QUIET, depth=10 * wanted, oldest_age=age, removable=replicas)))
        assert look.out == replicas


@check
@given(
    high=st.integers(1, 50),
    low=st.integers(0, 50),
    start=st.just(0) | st.integers(0, 50),
    up=st.integers(1, 60),
    down=st.integers(1, 119),
)
def test_8_a_wave_shorter_than_the_window_never_scales_down(
    high: int, low: int, start: int, up: int, down: int
) -> None:
    assume(low <= high)
    driver = Driver(Scaling(0, 100, 5, 10, cooldown=0), min(start, high))
    if start == 0:
        driver.run([Step(1, QUIET)] * 130)  # asleep for longer than the window
    for second in range(300):
        wanted = high if second % (up + down) < up else low
        look = driver.look(Step(1, replace(QUIET, depth=10 * wanted, removable=100)))
        assert look.out >= look.seen.replicas


@check
@given(scaling=scalings(), replicas=replicas, steps=steps())
def test_9_busy_workers_are_spared_for_the_whole_hold(
    scaling: Scaling, replicas: int, steps: list[Step]
) -> None:
    since: float | None = None
    for look in Driver(scaling, replicas).run(steps):
        if look.decision.wanted >= look.seen.replicas:
            since = None
            continue
        since = look.now if since is None else since
        if look.now - since < scaling.max_busy_hold:
            assert look.seen.replicas - look.out <= look.seen.removable


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(known))
def test_10_never_down_while_a_message_is_late(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    for look in Driver(scaling, replicas).run(steps):
        late = (look.seen.oldest_age or 0) > scaling.target_latency
        if late and look.out < scaling.max:
            assert look.out >= look.seen.replicas


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(), start=st.sampled_from([-3600, 10**6]))
def test_11_pure_and_only_differences_of_time_count(
    scaling: Scaling, replicas: int, steps: list[Step], start: int
) -> None:
    here = Driver(scaling, replicas).run(steps)
    there = Driver(scaling, replicas, now=start).run(steps)
    assert [one.decision for one in here] == [one.decision for one in there]
    for look in here:
        assert decide(scaling, look.seen, look.memory, look.now)[0] == look.decision


@check
@given(scaling=scalings(fallback=None), replicas=replicas, steps=steps(known), data=st.data())
def test_12_a_restart_never_lowers(
    scaling: Scaling, replicas: int, steps: list[Step], data: st.DataObject
) -> None:
    """The one that restarted sees what the other sees, from then on, and asks for no less.

    Where both go up, policies may let the one that restarted go up less: the HPA counts net of what went down
    within the period, and a restart forgets that.
    """
    looks = Driver(scaling, replicas).run(steps)
    memory = Memory()
    for look in looks[data.draw(st.integers(0, len(looks) - 1), label="restart") :]:
        decision, memory = decide(scaling, look.seen, memory, look.now)
        goal = min(look.out, look.seen.replicas) if scaling.up.policies else look.out
        assert decision.replicas >= goal


any_int = st.none() | st.integers(-(2**63), 2**63)
any_float = st.none() | st.floats() | st.sampled_from([inf, -inf, nan, 1.7e308, -0.0])
anything = st.builds(
    Observation,
    replicas=st.just(0),
    ready=st.just(0),
    depth=any_int,
    in_flight=any_int,
    oldest_age=any_float,
    idle=st.none() | st.booleans(),
    arrivals=any_int,
    arrival_rate=any_float,
    service_time=any_float,
    slots=any_int,
    removable=st.integers(-(2**63), 2**63),
)


@check
@given(scaling=scalings(), replicas=replicas | st.integers(0, 2**31), steps=steps(known | anything, size=15))
def test_13_no_number_is_too_odd(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    for look in Driver(scaling, replicas).run(steps):
        assert look.out >= 0
        if look.seen.missing:
            assert look.out >= look.seen.replicas


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(), both=st.sampled_from(["up", "down", "both"]))
def test_14_a_disabled_direction_is_not_taken(
    scaling: Scaling, replicas: int, steps: list[Step], both: str
) -> None:
    """The bounds excepted: they hold whatever the rules."""
    if both != "down":
        scaling = replace(scaling, up=replace(scaling.up, select="Disabled"))
    if both != "up":
        scaling = replace(scaling, down=replace(scaling.down, select="Disabled"))
    for look in Driver(scaling, replicas).run(steps):
        if both != "down":
            assert look.out <= max(look.seen.replicas, scaling.min)
        if both != "up":
            assert look.out >= min(look.seen.replicas, scaling.max)


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(idle))
def test_a_quiet_queue_comes_to_its_least(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    """Whatever was before, and though averages never quite forget."""
    assume(scaling.down.select != "Disabled" and not scaling.paused)
    driver = Driver(scaling, replicas)
    driver.run(steps)
    gone = replace(QUIET, removable=1, arrival_rate=1e-300, service_time=1.0, slots=1)
    for _ in range(150):
        driver.look(Step(61, gone))
    assert driver.replicas == scaling.min or scaling.down.tolerance >= 0.5


@check
@given(scaling=scalings(), replicas=replicas, steps=steps())
def test_each_number_on_the_way_leads_to_the_decision(
    scaling: Scaling, replicas: int, steps: list[Step]
) -> None:
    for look in Driver(scaling, replicas).run(steps):
        candidates = look.decision.candidates
        if not look.seen.missing and not scaling.paused:
            last = {name: value for name, value in candidates.items() if name != "removable"}
            assert list(last.values())[-1] == look.out
            assert candidates["need"] == max(need(scaling, look.seen)[1].values())
        assert look.decision.wanted <= look.out


@check
@given(scaling=scalings(), replicas=replicas, steps=steps(known))
def test_memory_keeps_only_what_can_still_count(scaling: Scaling, replicas: int, steps: list[Step]) -> None:
    driver = Driver(scaling, replicas)
    driver.run(steps * 3)
    for window in (driver.memory.highest, driver.memory.lowest):
        assert all(abs(a - b) > 0 for (_, a), (_, b) in pairwise(window.entries))
    assert len(driver.memory.changes) <= len(driver.looks)
