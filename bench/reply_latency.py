"""Replies: how long after the 2 s window one leaves, idle and under a backlog, beside the plain design.

The sandbox's model answers, at once or after 1 s. A reply's latency is the time when the sandbox accepts it, less
the time when its message was posted, less the window. Under the backlog 300 contacts of one tenant write at once,
and right after them one contact of another tenant.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import (
    Contacts,
    Noise,
    Plain,
    arguments,
    bench_stack,
    durability,
    goal,
    in_ms,
    percentile,
    progress,
    replies,
    report,
    wait_for_quiet,
)
from stack import Stack

WINDOW_SECONDS = 2.0
BUSY, CALM = "100", "200"  # accounts of two tenants
PLAIN_ACCOUNTS = {"threads": "900", "defaults": "901"}  # of the two plain systems
EVERY_SECONDS = 0.1
CONTACTS = 200
NEIGHBOUR = "33799999999"


def contact(number: int) -> str:
    return str(33_700_000_000 + number)


class Side:
    """One design under measurement: where its webhooks go, and for which account."""

    def __init__(self, stack: Stack, port: int, account: str) -> None:
        self.stack = stack
        self.account = account
        self.contacts = Contacts(port, account)

    def warm_up(self) -> None:
        """One reply, so that all connections are open and all modules loaded."""
        set_model(self.stack, 0)
        self.contacts.write(NEIGHBOUR)
        if not replies(self.stack, self.account, 1, 20):
            raise RuntimeError("the worker does not answer")
        set_model(self.stack, 0)

    def latencies(self, posted: dict[str, float], seconds: float) -> dict[str, float]:
        """Each contact's latency in seconds, of those who were answered within ``seconds`` from now."""
        sent = replies(self.stack, self.account, len(posted), seconds)
        return {one["contact"]: one["at"] - posted[one["contact"]] - WINDOW_SECONDS for one in sent}

    def idle(self, count: int) -> dict[str, Any]:
        """One message every tenth of a second, each of another contact."""
        noise, start = Noise(), time.monotonic()
        posted = {}
        for n in range(count):
            time.sleep(max(0.0, start + n * EVERY_SECONDS - time.monotonic()))
            posted[contact(n)] = self.contacts.write(contact(n))
        latencies = list(self.latencies(posted, 10).values())
        if len(latencies) < count:
            raise RuntimeError(f"{count - len(latencies)} of {count} messages got no reply")
        return {"samples": count, **in_ms(latencies), "others_cores": noise.others_cores()}

    def backlog(self, count: int, seconds: float) -> dict[str, Any]:
        """``count`` contacts at once. Where time is up first, those without a reply count as waiting until then."""
        noise = Noise()
        posted = self.contacts.write_at_once([contact(n) for n in range(count)])
        latencies = self.latencies(posted, seconds)
        now = time.time()
        if not latencies:
            raise RuntimeError("nobody got a reply")
        waits = [latencies.get(name, now - at - WINDOW_SECONDS) for name, at in posted.items()]
        return {
            "conversations": count,
            "answered": len(latencies),
            "p50_s": round(percentile(waits, 0.5), 2),
            "p99_s": round(percentile(waits, 0.99), 2),
            "drain_s": round(max(waits), 2),
            "lower_bounds": len(latencies) < count,
            # where time was up first: half of them, at the rate seen
            "p50_s_at_this_rate": round(count / 2 * max(waits) / len(latencies), 2),
            "others_cores": noise.others_cores(),
        }


def set_model(stack: Stack, delay: float) -> None:
    """Forget what was sent, and let the model take ``delay`` seconds from now on."""
    stack.sandbox("DELETE", "/sandbox/state")
    stack.sandbox("PUT", "/sandbox/model", json={"delay_seconds": delay})


def measure_ours(stack: Stack, options: Any) -> dict[str, Any]:
    side, neighbour = Side(stack, stack.gateway_port, BUSY), Side(stack, stack.gateway_port, CALM)
    side.warm_up()
    progress("ours, idle")
    idle = side.idle(options.samples)
    set_model(stack, options.delay)
    alone = neighbour.latencies({NEIGHBOUR: neighbour.contacts.write(NEIGHBOUR)}, 10)[NEIGHBOUR]
    set_model(stack, options.delay)
    progress("ours, backlog")
    noise = Noise()
    posted = side.contacts.write_at_once([contact(n) for n in range(options.conversations)])
    last = {NEIGHBOUR: neighbour.contacts.write(NEIGHBOUR)}
    waits = list(side.latencies(posted, 60).values())
    beside = neighbour.latencies(last, 60)[NEIGHBOUR]
    backlog = {
        "conversations": options.conversations,
        "answered": len(waits),
        "p50_s": round(percentile(waits, 0.5), 2),
        "p99_s": round(percentile(waits, 0.99), 2),
        "drain_s": round(max(waits), 2),
        "model_peak_in_flight": stack.sandbox("GET", "/sandbox/model")["peak_in_flight"],
        "others_cores": noise.others_cores(),
    }
    return {
        "idle": idle,
        "backlog": backlog,
        "other_tenant": {"alone_s": round(alone, 2), "beside_backlog_s": round(beside, 2)},
    }


def measure_plain(stack: Stack, options: Any) -> dict[str, Any]:
    """With as many threads as ours, and with Celery's defaults; they wait more than they work, so both at once."""
    pools = {"threads": ("--pool", "threads", "--concurrency", str(options.threads)), "defaults": ()}
    seconds = {"threads": 30.0, "defaults": options.plain_seconds}
    plains = {name: Plain(stack, [PLAIN_ACCOUNTS[name]], number) for number, name in enumerate(pools, 1)}
    for name, plain in plains.items():
        plain.start_web()
        plain.start_workers(*pools[name])
    sides = {name: Side(stack, plain.port, PLAIN_ACCOUNTS[name]) for name, plain in plains.items()}
    for name, side in sides.items():
        plains[name].wait_web()
        side.warm_up()
    progress("plain, idle")
    found: dict[str, Any] = {"idle": sides["threads"].idle(options.plain_samples)}
    set_model(stack, options.delay)
    progress("plain, backlog")
    with ThreadPoolExecutor() as both:
        runs = {
            name: both.submit(side.backlog, options.conversations, seconds[name])
            for name, side in sides.items()
        }
    for plain in plains.values():
        plain.kill_workers()
    return found | {f"backlog_{name}": run.result() for name, run in runs.items()}


def compare(options: Any, stack: Stack) -> dict[str, Any]:
    stack.connect(BUSY, "Bakery")
    stack.connect(CALM, "Florist")
    stack.start_sandbox()
    stack.start_gateway()
    stack.start_worker(concurrency=options.threads)
    stack.start_beat()
    settings = {
        "window_s": WINDOW_SECONDS, "model": "the sandbox's, 0 s idle", "model_delay_s": options.delay, "tenants": 2,
        "pool": "threads", "concurrency": options.threads, "plain_defaults": "prefork, one process a core", "plain_backlogs": "both at once",
        **durability(stack), "others_cores_before": wait_for_quiet(5),
    }  # fmt: skip
    ours = measure_ours(stack, options)
    progress(str(ours))
    for name in ("beat", "worker"):
        stack.process(name).kill()
    theirs = measure_plain(stack, options)
    progress(str(theirs))
    times = {
        "threads": round(theirs["backlog_threads"]["p50_s"] / ours["backlog"]["p50_s"], 1),
        "defaults": round(theirs["backlog_defaults"]["p50_s_at_this_rate"] / ours["backlog"]["p50_s"], 1),
        "defaults_at_least": round(theirs["backlog_defaults"]["p50_s"] / ours["backlog"]["p50_s"], 1),
    }
    wait = ours["other_tenant"]["beside_backlog_s"] - ours["other_tenant"]["alone_s"]
    return {
        "bench": "reply_latency",
        "settings": settings,
        "ours": ours,
        "plain": theirs,
        "times_plain_backlog_p50": times,
        "goals": {
            "idle_p50_ms": goal(ours["idle"]["p50_ms"], 30),
            "idle_p99_ms": goal(ours["idle"]["p99_ms"], 150),
            "times_plain": goal(times["defaults"], 10, at_least=True),
            "other_tenant_waits_more_s": goal(round(wait, 2), options.delay),
        },
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    idle, backlog = figure.subplots(1, 2)
    sides = {"ours": result["ours"]["idle"], "plain": result["plain"]["idle"]}
    for place, name in enumerate(("p50_ms", "p99_ms")):
        bars = idle.bar(
            [place - 0.2, place + 0.2], [one[name] for one in sides.values()], 0.38, color=["C0", "C7"]
        )
        idle.bar_label(bars, fmt="{:.0f}")
    idle.set_title("Idle: reply after the window, ms")
    idle.set_xticks([0, 1], ["p50", "p99"])
    runs = {
        "ours": result["ours"]["backlog"],
        "plain,\nsame threads": result["plain"]["backlog_threads"],
        "plain,\ndefaults": result["plain"]["backlog_defaults"],
    }
    bars = backlog.bar(list(runs), [run["p50_s"] for run in runs.values()], color=["C0", "C7", "C7"])
    backlog.bar_label(
        bars, [f"{'≥ ' if run.get('lower_bounds') else ''}{run['p50_s']}" for run in runs.values()]
    )
    backlog.set_title(f"Backlog of {runs['ours']['conversations']}, model 1 s: p50, s")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--plain-samples", type=int, default=30)
    parser.add_argument("--conversations", type=int, default=300)
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument(
        "--delay", type=float, default=1.0, help="seconds that the model takes under the backlog"
    )
    parser.add_argument(
        "--plain-seconds", type=float, default=20.0, help="how long to watch the plain defaults' backlog"
    )
    options = parser.parse_args()
    with bench_stack(model=True) as stack:
        result = compare(options, stack)
    report(result)
    if options.plot:
        plot(result, options.plot)


if __name__ == "__main__":
    main()
