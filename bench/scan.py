"""The scan's claim with 100,000 open conversations: how long it holds Redis, when none is due and when 500 are.

Times are Redis's own (INFO commandstats), so that no client counts in; the client's wall time stands
beside them. The plain design's scan (ZRANGEBYSCORE, then a ZREM for each) works on a copy of the set in turn.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import redis

from measure import Noise, arguments, goal, percentile, progress, report, wait_for_quiet
from socialsync_cli.embedded import EmbeddedRedis
from socialsync_common.batches import ADD_SCRIPT, DEADLINES, Batches, Claim, Lease
from socialsync_common.contracts import Platform

PLAIN_DEADLINES = "plain:deadlines"
ACCOUNT = uuid.UUID(int=1)
FAR_MS = 3_600_000
IN_ONE_CALL = 500


def names(first: int, count: int) -> list[str]:
    return [f"{Platform.WHATSAPP}:{ACCOUNT}:{uuid.UUID(int=n)}" for n in range(first, first + count)]


def add(client: redis.Redis, listed: list[str], window_ms: int) -> None:
    """One message of each, by the gateway's own script, due when the window is over."""
    script = client.register_script(ADD_SCRIPT)
    for start in range(0, len(listed), IN_ONE_CALL):
        part = listed[start : start + IN_ONE_CALL]
        pairs = [value for n, name in enumerate(part) for value in (name, start + n)]
        script(args=[window_ms, window_ms, 1000, *pairs])


class Clock:
    """Redis's own time for what a call makes it do (INFO commandstats), and the client's.

    Not SLOWLOG: it would log each command inside the script as well, and that would cost more than they do.
    """

    def __init__(self, client: redis.Redis, *commands: str) -> None:
        self._client = client
        self._commands = [f"cmdstat_{command}" for command in commands]

    def time(self, call: Callable[[], object]) -> tuple[float, float]:
        """Milliseconds in Redis, and at the client."""
        self._client.config_resetstat()
        start = time.perf_counter()
        call()
        wall = time.perf_counter() - start
        stats = self._client.info("commandstats")
        served = sum(stats[command]["usec"] for command in self._commands if command in stats)
        return served / 1000, wall * 1000


def summary(times: list[tuple[float, float]]) -> dict[str, Any]:
    served, wall = zip(*times, strict=True)
    return {
        "redis_ms": {"p50": round(percentile(served, 0.5), 3), "max": round(max(served), 3)},
        "client_ms": {"p50": round(percentile(wall, 0.5), 3), "max": round(max(wall), 3)},
    }


def claim_into(leased: list[Lease], claim: Callable[[], Claim]) -> None:
    leased.extend(claim().leased)


def plain_claim(client: redis.Redis) -> int:
    due: Any = client.zrangebyscore(PLAIN_DEADLINES, "-inf", int(time.time() * 1000))
    return sum(int(client.zrem(PLAIN_DEADLINES, name)) for name in due)


def compare(options: Any, client: redis.Redis) -> dict[str, Any]:
    quiet = wait_for_quiet(5)
    progress(f"{options.conversations} open conversations")
    add(client, names(1, options.conversations), FAR_MS)
    client.copy(DEADLINES, PLAIN_DEADLINES)
    batches, noise = Batches(client), Noise()
    scripts, commands = Clock(client, "evalsha"), Clock(client, "zrangebyscore", "zrem")
    claim = partial(batches.claim, options.due, "bench")
    claim()  # loads the script

    progress("none is due")
    none_due = summary([scripts.time(claim) for _ in range(options.rounds * 10)])
    plain_none = summary([commands.time(lambda: plain_claim(client)) for _ in range(options.rounds * 10)])

    progress(f"{options.due} are due")
    ours, theirs = [], []
    for round_ in range(options.rounds):
        due = names(options.conversations + 1 + round_ * options.due, options.due)
        add(client, due, 0)
        leased: list[Lease] = []
        ours.append(scripts.time(partial(claim_into, leased, claim)))
        if len(leased) != options.due:
            raise RuntimeError(f"claimed {len(leased)} of {options.due}")
        for lease in leased:
            batches.finish(lease.name, lease.token)
        client.zadd(PLAIN_DEADLINES, dict.fromkeys(due, int(time.time() * 1000)))
        theirs.append(commands.time(lambda: plain_claim(client)))
    due_ours = summary(ours)
    return {
        "bench": "scan",
        "settings": {
            "open_conversations": options.conversations,
            "due": options.due,
            "rounds": options.rounds,
            "redis": client.info("server")["redis_version"],
            "redis_used_mib": round(client.info("memory")["used_memory"] / 2**20, 1),
            "others_cores_before": quiet,
            "others_cores": noise.others_cores(),
        },
        "ours": {"none_due": none_due, "due": due_ours, "round_trips": 1},
        "plain": {"none_due": plain_none, "due": summary(theirs), "round_trips": options.due + 1},
        "goals": {
            "none_due_redis_ms": goal(none_due["redis_ms"]["p50"], 1),
            "due_redis_ms": goal(due_ours["redis_ms"]["p50"], 5),
        },
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for offset, side in ((-0.2, "ours"), (0.2, "plain")):
        due = result[side]["due"]
        bars = axes.bar(
            [offset, 1 + offset], [due["redis_ms"]["p50"], due["client_ms"]["p50"]], 0.38, label=side
        )
        axes.bar_label(bars, fmt="{:.1f}")
    settings = result["settings"]
    axes.set_title(f"Claiming {settings['due']} of {settings['open_conversations']:,}, ms (p50)")
    axes.set_xticks([0, 1], ["in Redis", "at the client"])
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="socialsync-bench-") as folder,
        EmbeddedRedis(Path(folder)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        result = compare(options, client)
    report(result)
    if options.plot:
        plot(result, options.plot)


if __name__ == "__main__":
    main()
