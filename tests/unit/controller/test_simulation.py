"""The decisions at work: half an hour of simulated bursts and drift, beside KEDA's model and an oracle."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from socialsync_operator.spec import Scaling

BENCH = Path(__file__).parents[3] / "bench"
SECONDS, DRAWS = 1800, (1, 2)
TARGET, COSTS_AT_MOST = 5.0, 1.3


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """``bench/scaling.py`` and its model: importing them runs nothing."""
    before, names = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(BENCH))
    import scaling

    yield scaling
    sys.path[:] = before
    for name in {"scaling", "scaling_model", "measure", "load", "plain"} - names:
        sys.modules.pop(name, None)


class Fixed:
    """Scales nothing."""

    def look(self, cluster: Any) -> None: ...


@pytest.fixture(scope="module")
def results(bench: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for scenario in bench.scenarios(SECONDS):
        if scenario.name in ("bursts", "square", "slow", "asleep"):
            draws = [bench.run_all(scenario, seed) for seed in DRAWS]
            oracles = [draw["oracle"] for draw in draws]
            found[scenario.name] = {
                name: bench.figures([draw[name] for draw in draws], oracles) for name in bench.SCALERS
            }
    return found


# The model -------------------------------------------------------------------------------------------


def test_the_queue_waits_as_theory_says(bench: Any) -> None:
    """One slot, Poisson arrivals: Pollaczek and Khinchine's mean wait."""
    rate, mean = 0.5, 1.0
    flow = bench.Scenario("one slot", 40_000, lambda _: rate, lambda _: mean, slots=1)
    tasks = flow.tasks(1)
    run = bench.simulate(flow, tasks, Fixed(), 1)
    load = rate * mean
    expected = rate * fmean(takes**2 for _, takes in tasks) / (2 * (1 - load))
    assert fmean(run.waits) == pytest.approx(expected, rel=0.1)
    assert run.replica_seconds == pytest.approx(flow.seconds)


def test_every_task_is_served_once_whatever_happens_to_the_pods(bench: Any) -> None:
    class Restless:
        chance = random.Random(1)

        def look(self, cluster: Any) -> None:
            cluster.cordon(pod for pod in cluster.pods if self.chance.random() < 0.3)
            cluster.scale(self.chance.randint(1, 9), idle_first=self.chance.random() < 0.5)

    flow = bench.Scenario("restless", 600, lambda _: 8, lambda _: 0.5)
    tasks = flow.tasks(1)
    run = bench.simulate(flow, tasks, Restless(), 2)
    assert len(run.waits) == len(tasks)
    assert min(run.waits) >= 0
    assert run.busy_killed > 0


def test_draws_are_repeatable(bench: Any) -> None:
    scenario = bench.scenarios(300)[0]
    assert scenario.tasks(1) == scenario.tasks(1) != scenario.tasks(2)
    assert bench.run_all(scenario, 1) == bench.run_all(scenario, 1)


def test_keda_takes_more_than_a_minute_from_none_to_twenty(bench: Any) -> None:
    """By its and the HPA's defaults: to one at the next poll, then 5, 10, 20 every 15 s."""
    asleep = Scaling(min=0, max=40, target_latency=5, target_per_replica=10)
    flood = bench.Scenario("flood", 240, lambda now: 100 if now > 1 else 0, lambda _: 1.0, scaling=asleep)
    run = bench.simulate(flood, flood.tasks(1), bench.Keda(asleep), 0)
    assert [run.replicas[second] for second in (29, 30, 45, 60, 75)] == [0, 5, 10, 20, 40]


def test_the_oracle_keeps_the_target_and_wastes_nothing(bench: Any) -> None:
    scenario = next(each for each in bench.scenarios(600) if each.name == "square")
    tasks = scenario.tasks(1)
    run = bench.oracle(scenario, tasks, 0)
    work = sum(takes for _, takes in tasks) / scenario.slots
    assert max(run.waits) <= TARGET
    assert work < run.replica_seconds < 1.35 * work
    assert run.replica_seconds < bench.oracle(scenario, tasks, 120).replica_seconds


# The goals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("course", ["bursts", "square", "slow"])
def test_waits_stay_within_the_target_at_little_more_than_the_oracle_s_cost(
    results: dict[str, dict[str, Any]], course: str
) -> None:
    ours = results[course]["ours"]
    assert ours["p95_s"] <= TARGET
    assert ours["of_oracle"] <= COSTS_AT_MOST
    assert ours["busy_killed"] == 0


@pytest.mark.parametrize("course", ["bursts", "square", "slow", "asleep"])
def test_keda_waits_longer_and_kills_busy_pods(results: dict[str, dict[str, Any]], course: str) -> None:
    ours, keda = results[course]["ours"], results[course]["keda"]
    assert keda["p95_s"] > 1.5 * ours["p95_s"]
    assert keda["p95_s"] > TARGET
    assert keda["replica_seconds"] > 0.9 * ours["replica_seconds"]


def test_bursts_cost_keda_more_waits_more_and_loses_work(results: dict[str, dict[str, Any]]) -> None:
    ours, keda = results["bursts"]["ours"], results["bursts"]["keda"]
    assert keda["p95_s"] > 2 * ours["p95_s"]
    assert keda["replica_seconds"] > ours["replica_seconds"]
    assert keda["busy_killed"] > 0


def test_a_queue_that_slept_is_served_before_two_starts_of_a_pod(results: dict[str, dict[str, Any]]) -> None:
    assert results["asleep"]["ours"]["p95_s"] < 10
