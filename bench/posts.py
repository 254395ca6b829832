"""Posts: how late they are when a thousand are due in one second, and what becomes of them when things go wrong.

Two scheduler workers, a sandbox whose calls take 50 ms, Instagram pictures that it fetches from the gateway. Lateness
is the time when the sandbox has a post live, less the time at which it was due. Beside it, in the same run, the plain
design: a Celery task for each post, sent with its time.

Then kill -9 of a worker at each step of publishing, each fault that the platform may answer with, and a token that
ends while posts wait: nothing may be published twice, and nothing lost.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery

from measure import (
    Noise,
    arguments,
    bench_stack,
    durability,
    goal,
    percentile,
    progress,
    report,
    wait_for_quiet,
)

# isort: split
from drills.proxy import Proxy
from drills.publishing import (
    STEPS,
    each_fault,
    kept_alive,
    kill_at_each_step,
    lateness,
    on_the_same_second,
    token_ends,
    two_tenants,
)
from posting import Posting, soon
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from stack import Stack, until


def in_s(late: list[float]) -> dict[str, float]:
    """Earliest, p50, p99 and latest, in seconds."""
    return {
        "min_s": round(min(late), 3),
        "p50_s": round(percentile(late, 0.5), 3),
        "p99_s": round(percentile(late, 0.99), 3),
        "max_s": round(max(late), 3),
    }


def start(stack: Stack) -> Posting:
    stack.query("DELETE FROM scheduled_posts")
    stack.query("DELETE FROM notices")
    stack.sandbox("DELETE", "/sandbox/state")
    return Posting(stack)


def measure_ours(stack: Stack, options: Any) -> dict[str, Any]:
    posting = start(stack)
    accounts = posting.accounts(options.accounts, Platform.INSTAGRAM)
    workers = [stack.start_scheduler(f"scheduler-{n}") for n in range(options.workers)]
    wait_for_quiet()
    noise = Noise()
    ran = on_the_same_second(
        posting, accounts, posts=options.posts, ahead=options.ahead, latency=options.latency, progress=progress
    )  # fmt: skip
    until(lambda: not posting.unfinished(), 120, "all are finished", every=1.0)
    outcome = posting.outcome()
    for worker in workers:
        worker.stop()
    return {**in_s(ran["late"]), **outcome, "others_cores": noise.others_cores(), "all": ran["late"]}


class Plain:
    """The plain design's workers, on a Redis database of their own."""

    def __init__(self, stack: Stack, workers: int) -> None:
        self.stack = stack
        url = f"{stack.redis.url.removesuffix('/0')}/5"
        self.app = Celery("plain_posts", broker=url)
        environment = {
            "CELERY_BROKER_URL": url,
            "PLAIN_GRAPH_URL": stack.sandbox_url,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        options = ["--loglevel", "INFO", "--pool", "threads", "--concurrency", "16"]
        self.names = [f"plain-posts-{n}" for n in range(workers)]
        for name in self.names:
            stack.add(
                name, ["celery", "-A", "plain_posts", "worker", *options, "-n", f"{name}@%h"], **environment
            )
            stack.wait_worker(name)

    def run(self, accounts: list[Account], picture: str, count: int, due: datetime) -> list[str]:
        texts = []
        with self.app.producer_pool.acquire(block=True) as producer:
            for number in range(count):
                account = accounts[number % len(accounts)]
                texts.append(f"plain post {number}")
                arguments = (account.external_id, account.token, picture, texts[-1])
                self.app.send_task("plain_posts.publish", arguments, eta=due, producer=producer)
        return texts

    def stop(self) -> None:
        for name in self.names:
            self.stack.process(name).kill()


def measure_plain(stack: Stack, options: Any) -> dict[str, Any]:
    posting = start(stack)
    accounts = posting.accounts(options.accounts, Platform.INSTAGRAM)
    picture = posting.url_of_picture(accounts[0].tenant_id)
    plain = Plain(stack, options.workers)
    stack.sandbox("POST", "/sandbox/latency", json={"seconds": options.latency})
    wait_for_quiet()
    noise = Noise()
    due = soon(15)
    texts = plain.run(accounts, picture, options.posts, due)
    progress("plain: all are sent")
    until(lambda: len(posting.live()) >= options.posts, 180, "all are live", every=1.0)
    stack.sandbox("POST", "/sandbox/latency", json={"seconds": 0})
    plain.stop()
    late = lateness(posting, texts, due.timestamp())
    return {**in_s(late), "others_cores": noise.others_cores(), "all": sorted(late)}


def break_things(stack: Stack, options: Any) -> dict[str, Any]:
    """Kills, faults, a token that ends, a tenant that tries the other's posts."""
    posting = start(stack)
    accounts = posting.accounts(20, Platform.INSTAGRAM)  # each may publish 100 posts a day
    progress(f"{options.rounds * len(STEPS)} kills")
    with Proxy(stack.postgres.port) as proxy, kept_alive(stack, proxy):
        kills = kill_at_each_step(posting, accounts, proxy, rounds=options.rounds, posts=options.posts_a_kill)
    found: dict[str, Any] = {"kills": kills}
    worker = stack.start_scheduler("scheduler-faults")
    for platform in (Platform.INSTAGRAM, Platform.MESSENGER):
        progress(f"faults of {platform}")
        posting = start(stack)
        faults = each_fault(posting, platform, posts=options.posts_a_fault)
        found[f"faults_{platform}"] = {"faults": faults["faults"], **posting.outcome()}
    progress("a token that ends")
    posting = start(stack)
    found["token"] = token_ends(posting, posting.accounts(1, Platform.INSTAGRAM, first=300)[0], posts=20)
    progress("two tenants")
    found["tenants"] = two_tenants(start(stack))
    worker.stop()
    return found


def judge(result: dict[str, Any]) -> dict[str, Any]:
    ours, broken = result["ours"], result["broken"]
    kills, faults = broken["kills"], [broken[f"faults_{name}"] for name in ("instagram", "messenger")]
    return {
        "late_p50_s": goal(ours["p50_s"], 0.5),
        "late_p99_s": goal(ours["p99_s"], 2.0),
        "never_early_s": goal(ours["min_s"], 0.0, at_least=True),
        "published_twice": goal(sum(one["published_twice"] for one in (ours, kills, *faults)), 0),
        "lost": goal(sum(one["lost"] for one in (ours, kills, *faults)), 0),
        "posts_killed_at_each_step": goal(kills["posts_at_each_step"], 50, at_least=True),
        "notices_of_one_token": goal(broken["token"]["notices"], 1),
        "reached_across_tenants": goal(broken["tenants"]["succeeded"], 0),
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name, colour in (("ours", "tab:blue"), ("plain", "tab:red")):
        late = result[name]["all"]
        axes.step(late, [(n + 1) / len(late) for n in range(len(late))], colour, where="post", label=name)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("seconds after they were due")
    axes.set_ylabel("share of the posts that are live")
    axes.set_title(f"{result['settings']['posts']} posts due in the same second")
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--latency", type=float, default=0.05, help="seconds that each call of the sandbox takes"
    )
    parser.add_argument("--ahead", type=float, default=75.0, help="seconds from scheduling to the due second")
    parser.add_argument("--rounds", type=int, default=10, help="kills at each step")
    parser.add_argument("--posts-a-kill", type=int, default=5)
    parser.add_argument("--posts-a-fault", type=int, default=5)
    options = parser.parse_args()
    with bench_stack(GRAPH_TIMEOUT_SECONDS="5") as stack:
        stack.start_sandbox()
        stack.start_gateway()
        stack.start_beat()
        progress("ours")
        result: dict[str, Any] = {
            "bench": "posts",
            "settings": {**{name: value for name, value in vars(options).items() if name != "plot"}},
            "durability": durability(stack),
            "ours": measure_ours(stack, options),
        }
        progress("plain")
        result["plain"] = measure_plain(stack, options)
        result["broken"] = break_things(stack, options)
    result["plain_is_later_p50"] = round(result["plain"]["p50_s"] / max(result["ours"]["p50_s"], 0.001), 1)
    result["goals"] = judge(result)
    if options.plot:
        plot(result, options.plot)
    for name in ("ours", "plain"):
        del result[name]["all"]
    report(result)


if __name__ == "__main__":
    main()
