"""Waits and replica-seconds under bursts: the operator's decisions beside KEDA with the HPA, and beside an oracle.

An hour each of several courses of arrivals, with service times that drift, simulated (``scaling_model``): the same
tasks for each scaler, three draws of each course. The goals are the 95th percentile of the waits within the target,
and no more than 1.3 times the replica-seconds of an oracle that knows the future and keeps the same scale-down
window. In the last two courses no scaler without a crystal ball can keep the target: pods take as long to start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from math import ceil, cos, inf, pi
from pathlib import Path
from typing import Any

from measure import arguments, goal, percentile, progress, report
from scaling_model import SCALING, START_SECONDS, Keda, Ours, Planned, Run, Scenario, Task, simulate
from socialsync_operator.spec import Scaling
from socialsync_operator.windows import Window

HOUR = 3600
WINDOW = int(SCALING.down.window)
COSTS_AT_MOST = 1.3
WITHOUT_GOAL = {"asleep", "campaign"}
SCALERS = ("ours", "keda", "oracle", "bare_oracle")
PLOTTED = ("bursts", "square", "day")

Course = Callable[[float], float]


def drift(first: float, last: float, seconds: float) -> Course:
    return lambda now: first + (last - first) * min(now / seconds, 1)


def bursts(calm: float, busy: float, every: float, length: float) -> Course:
    return lambda now: busy if now % every >= every - length else calm


def scenarios(seconds: float = HOUR) -> list[Scenario]:
    """Rates in tasks a second; the mean service time drifts to double or half of what it was, or further."""
    asleep = replace(SCALING, min=0)
    return [
        Scenario("steady", seconds, lambda _: 20, drift(0.5, 1.0, seconds)),
        Scenario("bursts", seconds, bursts(4, 40, 300, 60), drift(0.4, 1.0, seconds)),
        Scenario("square", seconds, bursts(5, 30, 180, 90), drift(0.5, 1.0, seconds)),
        Scenario("ramp", seconds, drift(2, 60, seconds * 2 / 3), drift(0.8, 0.4, seconds)),
        Scenario("day", seconds, lambda now: 15 - 14 * cos(2 * pi * now / seconds), drift(0.4, 1.2, seconds)),
        Scenario("slow", seconds, bursts(1, 5, 600, 120), drift(6, 12, seconds), slots=8),
        Scenario("asleep", seconds, bursts(0, 20, 900, 120), drift(0.5, 1.0, seconds), scaling=asleep),
        Scenario("campaign", seconds, bursts(2, 150, 300, 1), drift(0.5, 1.0, seconds)),
    ]


# The oracle ------------------------------------------------------------------------------------------


def oracle(scenario: Scenario, tasks: Sequence[Task], window: int) -> Run:
    """Who knows each arrival and each service time beforehand, and has pods ready when they are needed.

    1. In slot-seconds: what has come is the most that can be done, and what came ``target_latency`` ago must have
       been begun. The string pulled taut between the two curves is the capacity that is needed at each moment: of
       all courses that keep the target, it has the lowest peaks.
    2. A replica that is needed stays for ``window`` seconds, as the user asked for (0: without that).
    3. The plan is run against the same queue, by the same rules: a pod counts from when it is asked for. Where a
       task still waits too long (tasks are no fluid), a replica is added for that time, until none does.
    """
    least = [ceil(slots / scenario.slots) for slots in _taut(scenario, tasks)]
    while True:
        plan = _hold(least, window, scenario.scaling)
        run = simulate(scenario, tasks, Planned(plan, scenario.start_seconds), plan[0])
        late = _late_seconds(scenario, tasks, run)
        if all(plan[second] == scenario.scaling.max for second in late):
            return run
        for second in late:
            least[second] += 1


def _taut(scenario: Scenario, tasks: Sequence[Task]) -> list[float]:
    """Slots busy in each second, by the string between the curves of what must be begun and of what has come."""
    seconds = int(scenario.seconds)
    must, can = [0.0] * (seconds + 1), [0.0] * (seconds + 1)
    total = 0.0
    for came, takes in tasks:
        must[min(seconds, ceil(came + scenario.scaling.target_latency))] = (
            total  # what is before it in the line
        )
        total += takes
        can[min(seconds, ceil(came))] = total
    must, can = list(accumulate(must, max)), list(accumulate(can, max))
    slopes: list[float] = []
    done = 0.0
    while (start := len(slopes)) < seconds:
        least, most = (
            (0.0, seconds),
            (inf, seconds),
        )  # the slopes that both curves allow, and where they touch
        for end in range(start + 1, seconds + 1):
            low, high = (must[end] - done) / (end - start), (can[end] - done) / (end - start)
            if low > most[0]:
                least = most  # it bends upwards, where no more had come
                break
            if high < least[0]:
                break  # it bends downwards, where no more had to be done
            least, most = max(least, (low, end)), (high, end) if high <= most[0] else most
        slope, end = least
        slopes += [slope] * (end - start)
        done += slope * (end - start)
    return slopes


def _hold(least: Sequence[int], window: int, scaling: Scaling) -> list[int]:
    highest, plan = Window(1), []
    for second, replicas in enumerate(least):
        highest = highest.add(second, min(max(replicas, scaling.min), scaling.max), window)
        plan.append(highest.extreme)
    return plan


def _late_seconds(scenario: Scenario, tasks: Sequence[Task], run: Run) -> set[int]:
    """Those in which a task waited that waited too long. The line is served in order, so the waits are too."""
    target, last = scenario.scaling.target_latency, int(scenario.seconds) - 1
    return {
        second
        for (came, _), wait in zip(tasks, run.waits, strict=True)
        if wait > target
        for second in range(int(came), min(last, int(came + wait)) + 1)
    }


# Running ---------------------------------------------------------------------------------------------


def run_all(scenario: Scenario, seed: int) -> dict[str, Run]:
    """Each scaler with the same tasks."""
    tasks, scaling = scenario.tasks(seed), scenario.scaling
    return {
        "ours": simulate(scenario, tasks, Ours(scaling, scenario.slots), scaling.min),
        "keda": simulate(scenario, tasks, Keda(scaling), scaling.min),
        "oracle": oracle(scenario, tasks, WINDOW),
        "bare_oracle": oracle(scenario, tasks, 0),
    }


def figures(runs: Sequence[Run], oracles: Sequence[Run]) -> dict[str, Any]:
    """Of one scaler over all draws, waits in seconds."""
    waits = sorted(wait for run in runs for wait in run.waits)
    used = sum(run.replica_seconds for run in runs)
    return {
        **{f"p{share}_s": round(percentile(waits, share / 100), 2) for share in (50, 95, 99)},
        "max_s": round(waits[-1], 2),
        "replica_seconds": round(used / len(runs)),
        "of_oracle": round(used / sum(run.replica_seconds for run in oracles), 2),
        "scale_events": round(sum(run.events for run in runs) / len(runs)),
        "busy_killed": round(sum(run.busy_killed for run in runs) / len(runs)),
    }


def compare(options: Any) -> tuple[dict[str, Any], dict[str, dict[str, Run]]]:
    """The result, and the first draw of each scenario for the plot."""
    results, first = {}, {}
    for scenario in scenarios(options.seconds):
        progress(scenario.name)
        draws = [run_all(scenario, seed) for seed in range(1, options.draws + 1)]
        first[scenario.name] = draws[0]
        oracles = [draw["oracle"] for draw in draws]
        results[scenario.name] = {name: figures([draw[name] for draw in draws], oracles) for name in SCALERS}
    ours = [result["ours"] for name, result in results.items() if name not in WITHOUT_GOAL]
    settings = {
        "seconds": options.seconds,
        "draws": options.draws,
        "target_latency_s": SCALING.target_latency,
        "down_window_s": WINDOW,
        "cooldown_s": SCALING.cooldown,
        "pod_start_s": START_SECONDS,
        "without_goal": sorted(WITHOUT_GOAL),
    }
    goals = {
        "p95_wait_s": goal(max(each["p95_s"] for each in ours), SCALING.target_latency),
        "replica_seconds_of_oracle": goal(max(each["of_oracle"] for each in ours), COSTS_AT_MOST),
        "busy_killed": goal(max(each["busy_killed"] for each in ours), 0),
    }
    return {"bench": "scaling", "settings": settings, "scenarios": results, "goals": goals}, first


# Showing ---------------------------------------------------------------------------------------------


def show(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "course", "scaler", "p50", "p95", "p99", "max", "replica-s", "of oracle", "scales", "busy killed"
    )
    for name, result in results.items():
        for scaler, each in result.items():
            table.add_row(
                name if scaler == SCALERS[0] else "", scaler, *(f"{value:,}" for value in each.values())
            )
        table.add_section()
    Console(file=sys.stderr, width=110).print(table)


def plot(runs: dict[str, dict[str, Run]], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    for axes, name in zip(figure.subplots(len(PLOTTED)), PLOTTED, strict=True):
        waiting = axes.twinx()
        for scaler, colour in (("ours", "tab:blue"), ("keda", "tab:red"), ("oracle", "black")):
            run = runs[name][scaler]
            minutes = [second / 60 for second in range(len(run.replicas))]
            axes.step(minutes, run.replicas, colour, where="post", label=scaler, linewidth=1.2)
            if scaler != "oracle":
                waiting.fill_between(minutes, run.depth, color=colour, alpha=0.25, linewidth=0)
        axes.set_title(name)
        axes.set_ylabel("replicas (lines)")
        waiting.set_ylabel("tasks that wait (areas)")
        axes.set_ylim(bottom=0)
        waiting.set_ylim(bottom=0)
    figure.axes[0].legend(loc="upper left")
    figure.axes[-2].set_xlabel("minutes")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=HOUR, help="length of each course")
    parser.add_argument("--draws", type=int, default=3, help="of the arrivals of each course")
    options = parser.parse_args()
    result, runs = compare(options)
    show(result["scenarios"])
    report(result)
    if options.plot:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()
