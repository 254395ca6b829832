"""Webhooks: how many deliveries of one message one gateway process takes, and how fast, with durable commits.

Closed loop for the peak, then open loop at 70 % of it. The plain design takes the same load in turn, and its own
70 %. Load comes from a process of its own; gateway, Postgres, Redis and load share this machine's cores.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

from measure import (
    Plain,
    arguments,
    bench_stack,
    durability,
    goal,
    progress,
    report,
    run_load,
    wait_for_quiet,
)
from stack import Stack

TENANTS = {"100": "Bakery", "200": "Florist"}
CONTACTS = 5_000
SHARE = 0.7
WARM_UP = 1_000


def compare(options: Any, stack: Stack) -> dict[str, Any]:
    accounts = list(TENANTS)
    for account, tenant in TENANTS.items():
        stack.connect(account, tenant)
    plain = Plain(stack, accounts)
    stack.start_gateway()
    plain.start_web()
    plain.wait_web()
    settings = {
        "tenants": len(TENANTS), "contacts": CONTACTS, "connections": options.connections, "rounds": options.rounds,
        "gateway_processes": 1, "cores": os.cpu_count(), **durability(stack), "others_cores_before": wait_for_quiet(),
    }  # fmt: skip
    sides = {"ours": (stack.gateway_port, options.requests), "plain": (plain.port, options.plain_requests)}
    sent = dict.fromkeys(sides, 0)
    figures: dict[str, dict[str, Any]] = {side: {} for side in sides}

    def load(side: str, requests: int, **more: Any) -> dict[str, Any]:
        found = run_load(
            sides[side][0],
            accounts,
            requests=requests,
            contacts=CONTACTS,
            connections=options.connections,
            **more,
        )
        if set(found.pop("statuses")) != {"200"}:
            raise RuntimeError(f"{side}: not every delivery was answered with 200")
        sent[side] += requests
        progress(f"{side} {more or 'closed'}: {found}")
        return found

    for side in sides:
        load(side, WARM_UP)
    closed: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, (_, requests) in sides.items():
            closed[side].append(load(side, requests))
    for side, runs in closed.items():
        peak = median(run["requests_per_second"] for run in runs)
        rate = round(SHARE * peak)
        figures[side] = {
            "peak": min(runs, key=lambda run: abs(run["requests_per_second"] - peak)),
            "peaks_per_second": [run["requests_per_second"] for run in runs],
            "at_70_percent": {"rate": rate, **load(side, round(rate * options.seconds), rate=rate)},
        }
    time.sleep(0.2)
    stored = {
        "ours": stack.query("SELECT count(*) AS n FROM messages")[0]["n"],
        "plain": plain.query("SELECT count(*) AS n FROM messages"),
    }
    if stored != sent:
        raise RuntimeError(f"acknowledged {sent}, stored {stored}")
    ours, theirs = figures["ours"], figures["plain"]
    peak = median(ours["peaks_per_second"])
    ratio = round(peak / median(theirs["peaks_per_second"]), 2)
    return {
        "bench": "webhooks",
        "settings": settings,
        **figures,
        "stored": stored,
        "ratio_of_peaks": ratio,
        "goals": {
            "peak_per_second": goal(peak, 4000, at_least=True),
            "p50_ms_at_70_percent": goal(ours["at_70_percent"]["p50_ms"], 10),
            "p99_ms_at_70_percent": goal(ours["at_70_percent"]["p99_ms"], 30),
            "times_plain": goal(ratio, 2, at_least=True),
        },
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    peaks, latency = figure.subplots(1, 2)
    sides = ("ours", "plain")
    bars = peaks.bar(sides, [median(result[side]["peaks_per_second"]) for side in sides], color=["C0", "C7"])
    peaks.bar_label(bars, fmt="{:,.0f}")
    peaks.set_title("Peak, deliveries/s (durable)")
    for place, name in enumerate(("p50_ms", "p99_ms")):
        bars = latency.bar(
            [place - 0.2, place + 0.2],
            [result[side]["at_70_percent"][name] for side in sides],
            0.38,
            color=["C0", "C7"],
        )
        latency.bar_label(bars, fmt="{:.1f}")
    rates = ", ".join(f"{side} {result[side]['at_70_percent']['rate']:,}/s" for side in sides)
    latency.set_title(f"Latency at 70 % of its own peak, ms\n({rates})")
    latency.set_xticks([0, 1], ["p50", "p99"])
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--requests", type=int, default=16_000, help="in each closed loop")
    parser.add_argument("--plain-requests", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3, help="closed loops of each side, in turn")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the open loops")
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with bench_stack() as stack:
        result = compare(options, stack)
    report(result)
    if options.plot:
        plot(result, options.plot)


if __name__ == "__main__":
    main()
