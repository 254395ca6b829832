"""Threads or processes for replies that wait for a model: 100 replies of 10 s, by one worker of each pool.

Threads have a slot for each reply. A process a reply would not fit, so prefork gets 8 slots and 16 replies, and its
memory and time for 100 are worked out from those. Memory is that of the worker's whole process tree while all its
slots are taken.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from measure import (
    Contacts,
    Noise,
    arguments,
    bench_stack,
    durability,
    goal,
    memory_mib,
    progress,
    replies,
    report,
    tree,
    wait_for_quiet,
)
from stack import Stack, until

ACCOUNT = "100"
WINDOW_SECONDS = 2.0
LIMIT_MIB = 512


def start_worker(stack: Stack, name: str, pool: str, concurrency: int) -> None:
    stack.add(
        name,
        ["celery", "-A", "socialsync_ingest", "worker", "-Q", "ingest.tick,ingest", "--pool", pool,
         "--concurrency", str(concurrency), "--without-gossip", "--without-mingle", "--without-heartbeat",
         "-n", f"{name}@%h"],
    )  # fmt: skip


def measure(stack: Stack, pool: str, concurrency: int, count: int, delay: float) -> dict[str, Any]:
    """Answer ``count`` contacts with a model that takes ``delay`` seconds."""
    contacts = Contacts(stack.gateway_port, ACCOUNT)
    stack.sandbox("DELETE", "/sandbox/state")
    start_worker(stack, pool, pool, concurrency)
    contacts.write("33799999999")
    if not replies(stack, ACCOUNT, 1, 20):
        raise RuntimeError(f"{pool}: the worker does not answer")
    stack.sandbox("DELETE", "/sandbox/state")
    stack.sandbox("PUT", "/sandbox/model", json={"delay_seconds": delay})
    idle = memory_mib(tree(stack.process(pool).pid))
    progress(f"{pool}: idle {idle}")
    noise = Noise()
    posted = contacts.write_at_once([str(33_700_000_000 + n) for n in range(count)])
    slots = min(count, concurrency)
    until(
        lambda: stack.sandbox("GET", "/sandbox/model")["in_flight"] >= slots,
        WINDOW_SECONDS + delay,
        "all slots work",
        0.1,
    )
    time.sleep(delay / 2)
    worker = stack.process(pool).pid
    processes = tree(worker)
    loaded = memory_mib(processes)
    main = memory_mib([worker])
    progress(f"{pool}: {slots} in flight, {loaded}")
    sent = replies(stack, ACCOUNT, count, (delay + 2) * math.ceil(count / concurrency) + 5)
    return {
        "slots": concurrency,
        "replies": count,
        "answered": len(sent),
        "seconds": round(max(one["at"] for one in sent) - min(posted.values()) - WINDOW_SECONDS, 1),
        "model_peak_in_flight": stack.sandbox("GET", "/sandbox/model")["peak_in_flight"],
        "processes": len(processes),
        "idle": idle,
        "loaded": loaded,
        "main_process": main,
        "others_cores": noise.others_cores(),
    }


def extrapolated(found: dict[str, Any], count: int, delay: float) -> dict[str, Any]:
    """What ``count`` slots of a forking pool would take: the main process, and a child's share ``count`` times."""
    main = found["main_process"]["pss_mib"]
    slot = (found["loaded"]["pss_mib"] - main) / found["slots"]
    return {
        "pss_mib_per_slot": round(slot, 1),
        f"pss_mib_for_{count}_slots": round(main + count * slot),
        f"seconds_for_{count}_replies": round(math.ceil(count / found["slots"]) * delay),
    }


def compare(options: Any, stack: Stack) -> dict[str, Any]:
    stack.connect(ACCOUNT)
    stack.start_sandbox()
    stack.start_gateway()
    stack.start_beat()
    settings = {
        "model_delay_s": options.delay, "replies": options.replies, **durability(stack),
        "others_cores_before": wait_for_quiet(5),
    }  # fmt: skip
    threads = measure(stack, "threads", options.replies, options.replies, options.delay)
    stack.process("threads").stop()
    prefork = measure(stack, "prefork", options.slots, 2 * options.slots, options.delay)
    prefork |= extrapolated(prefork, options.replies, options.delay)
    return {
        "bench": "pools",
        "settings": settings,
        "threads": threads,
        "prefork": prefork,
        "goals": {
            "threads_in_flight": goal(threads["model_peak_in_flight"], options.replies, at_least=True),
            "threads_rss_mib": goal(threads["loaded"]["rss_mib"], LIMIT_MIB),
        },
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    count = result["settings"]["replies"]
    threads, prefork = result["threads"], result["prefork"]
    figure = Figure(figsize=(9, 4), layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    sides = ["threads", f"prefork\n({prefork['slots']} slots, extrapolated)"]
    bars = memory.bar(
        sides, [threads["loaded"]["pss_mib"], prefork[f"pss_mib_for_{count}_slots"]], color=["C0", "C7"]
    )
    memory.bar_label(bars, fmt="{:,.0f}")
    memory.set_title(f"Memory for {count} slots, MiB (PSS)")
    bars = seconds.bar(
        sides, [threads["seconds"], prefork[f"seconds_for_{count}_replies"]], color=["C0", "C7"]
    )
    seconds.bar_label(bars, fmt="{:,.0f}")
    seconds.set_title(f"Seconds to answer {count}, model {result['settings']['model_delay_s']:g} s")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--replies", type=int, default=100, help="and threads")
    parser.add_argument("--slots", type=int, default=8, help="prefork's processes")
    parser.add_argument("--delay", type=float, default=10.0, help="seconds that the model takes")
    options = parser.parse_args()
    with bench_stack(model=True) as stack:
        result = compare(options, stack)
    report(result)
    if options.plot:
        plot(result, options.plot)


if __name__ == "__main__":
    main()
