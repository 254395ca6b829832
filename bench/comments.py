"""Comments: whom to leave alone, a flood of them by webhook and polling, kills, and attacks on the model.

Detection is measured on the labelled set. The flood is written on many posts of both platforms and two tenants, nine in
ten told by webhook, some of them twice; meanwhile all posts are read, a worker is killed with -9 and the gateway killed
and restarted, and every account has an allowance of calls. Time to answer is measured apart, at a steady pace: in a
flood it is the backlog's. Beside it, as a model, the plain design without webhooks: each post is read every five
minutes, and its new comments are answered then.

Then kill -9 of a worker at each step, and attacks on a model that obeys whatever it reads.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

from measure import arguments, bench_stack, durability, goal, progress, report

# isort: split
from commenting import Commenting, PostOf
from drills.comments import kept_alive, kill_at_each_step, settle
from drills.proxy import Proxy
from labelled_comments import measure, rows_of
from socialsync_common.contracts import Platform
from stack import Stack, until

DATA = Path(__file__).parents[1] / "tests" / "data"
PLATFORMS = (Platform.INSTAGRAM, Platform.MESSENGER)
POLL_SECONDS = 300
WORKER = "comments"


def start(stack: Stack) -> Commenting:
    stack.query("DELETE FROM monitored_posts")
    stack.query("DELETE FROM notices")
    stack.sandbox("DELETE", "/sandbox/state")
    return Commenting(stack)


def measure_detection() -> dict[str, Any]:
    """Precision and recall by language and part of the set; see ``labelled_comments.measure``."""
    shown: dict[str, Any] = {"rows": len(rows_of(DATA / "comments.jsonl"))}
    for group, of_label in measure(DATA / "comments.jsonl").items():
        shown[group] = {
            label: {"precision": round(each["precision"], 3), "recall": round(each["recall"], 3)}
            for label, each in of_label.items()
        }
    return shown


def texts() -> list[str]:
    """What people write by itself, as labelled."""
    rows = rows_of(DATA / "comments.jsonl")
    return [row["text"] for row in rows if not row["reply"] and row["text"].strip()]


def many_posts(commenting: Commenting, options: Any) -> dict[Platform, list[PostOf]]:
    found: dict[Platform, list[PostOf]] = {}
    each = options.accounts // len(PLATFORMS)
    for platform in PLATFORMS:
        accounts = [
            *commenting.accounts(each - each // 2, platform, first=2000),
            *commenting.accounts(each // 2, platform, first=3000, tenant="Florist"),
        ]
        for account in accounts:
            commenting.allow(account, options.allowance)
        found[platform] = [
            post
            for account in accounts
            for post in commenting.posts(account, options.posts // options.accounts)
        ]
    return found


def measure_flood(stack: Stack, options: Any) -> dict[str, Any]:
    commenting = start(stack)
    posts = many_posts(commenting, options)
    # what may leave: the sandbox's own words repeat the comment, which is refused as a rule
    stack.sandbox(
        "PUT", "/sandbox/model", json={"text": "Thank you for your comment, we look forward to your visit!"}
    )
    workers = [stack.start_comments(f"{WORKER}-{n}") for n in range(options.workers)]
    order = {
        "authors": options.comments // 5,
        "webhook_share": 0.9,
        "duplicate_share": 0.05,
        "reply_share": 0.2,
    }
    floods = [
        Thread(
            target=commenting.flood,
            args=(those, options.comments // len(PLATFORMS), texts()),
            kwargs={**order, "per_body": 20, "parallel": 4, "seed": 1},
        )
        for those in posts.values()
    ]
    began = time.monotonic()
    for flood in floods:
        flood.start()
    until(lambda: stored(stack) > options.comments // 4, 600, "a quarter is stored", every=0.5)
    workers[0].kill()
    workers[0].start()
    stack.process("gateway").restart()
    for flood in floods:
        flood.join()
    delivered = time.monotonic() - began
    progress(f"{stored(stack)} stored")
    read_until_all_are_stored(stack, commenting, options.comments)
    progress(f"all stored, {commenting.waiting()} wait")
    done = time.monotonic() + options.patience
    while commenting.waiting() and time.monotonic() < done:
        time.sleep(2.0)
        progress(f"{commenting.waiting()} wait")
    seconds = time.monotonic() - began
    settle(commenting)
    brief = commenting.report(brief=1)
    outcome = commenting.outcome()
    for worker in workers:
        worker.stop()
    calls = sum(count for name, count in brief["calls"].items() if name != "throttled")
    answers = outcome["outcomes"].get("answered", 0)
    return {
        **outcome,
        "written": brief["comments"],
        "delivered_s": round(delivered, 1),
        "seconds": round(seconds, 1),
        "comments_per_s": round(brief["comments"] / seconds, 1),
        "calls": brief["calls"],
        "calls_per_comment": round(calls / brief["comments"], 3),
        "calls_per_answer": round(calls / max(answers, 1), 2),
        "peak_usage_percent": round(brief["peak_usage_percent"], 1),
        "left_alone_share": round(outcome["outcomes"].get("left", 0) / outcome["comments"], 3),
    }


def stored(stack: Stack) -> int:
    return int(stack.query("SELECT count(*) AS n FROM comments")[0]["n"])


def read_until_all_are_stored(stack: Stack, commenting: Commenting, comments: int) -> None:
    """Polling, faster than Beat's: what no webhook told is found by the posts' counts."""

    def all_stored() -> bool:
        others = "SELECT count(*) AS n FROM comments c JOIN accounts a ON a.id = c.account_id WHERE c.author_id IS DISTINCT FROM a.external_id"
        if int(stack.query(others)[0]["n"]) >= comments:
            return True
        commenting.read_now()
        return False

    until(all_stored, 1200, "all comments are stored", every=5.0)


def measure_pace(stack: Stack, options: Any) -> dict[str, Any]:
    """How long a question waits for its answer when people come one by one."""
    commenting = start(stack)
    (post,) = commenting.posts(commenting.accounts(1, Platform.INSTAGRAM, first=4000)[0])
    worker = stack.start_comments(WORKER)
    for number in range(options.questions):
        commenting.write(post, "When do you open on Sunday?", author=f"a{number}")
        time.sleep(options.pause)  # people come when they come
    until(lambda: not commenting.unsettled(), 120, "all are answered")
    found = commenting.report()["answer_seconds"]
    waited = [
        row["waited"]
        for row in stack.query(
            "SELECT extract(epoch FROM s.updated_at - c.received_at)::float8 AS waited FROM comment_sends s "
            "JOIN comments c ON c.id = s.comment_id WHERE s.status = 'sent' ORDER BY 1"
        )
    ]
    worker.stop()
    return {
        "questions": options.questions,
        "p50_s": round(found["p50"], 3),
        "p99_s": round(found["p99"], 3),
        "max_s": round(found["max"], 3),
        "all": waited,
    }


def model_of_plain(ours: dict[str, Any], options: Any) -> dict[str, Any]:
    """Each post is read every five minutes, a page for 50 comments, and each answer is one more call."""
    polls = options.hours * 3600 / POLL_SECONDS * options.posts
    answers = ours["outcomes"].get("answered", 0)
    calls = polls + ours["written"] / 50 + answers
    return {
        "is_a_model_of_hours": options.hours,
        "calls_per_comment": round(calls / ours["written"], 3),
        "p50_s": POLL_SECONDS / 2,
        "p99_s": POLL_SECONDS * 0.99,
    }


def kill(stack: Stack, options: Any) -> dict[str, Any]:
    commenting = start(stack)
    with Proxy(stack.postgres.port) as proxy, kept_alive(stack, proxy):
        return kill_at_each_step(
            commenting, PLATFORMS, proxy, rounds=options.rounds, comments=options.comments_a_kill
        )


def attack(stack: Stack, options: Any) -> dict[str, Any]:
    """Attacks as comments, as captions and in threads, on a model that does as it is told."""
    commenting = start(stack)
    stack.sandbox("PUT", "/sandbox/model", json={"obedience": True})
    worker = stack.start_comments(WORKER)
    attacks = [
        row for row in islice(rows_of(DATA / "attacks.jsonl"), options.attacks) if row["place"] != "picture"
    ]
    accounts = commenting.accounts(1 + len(attacks) // 50, Platform.INSTAGRAM, first=5000)
    said: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(attacks):
        caption = row["text"][:2000] if row["place"] == "caption" else "Fresh bread"
        (post,) = commenting.posts(accounts[number // 50], caption=caption)
        parent = None
        if row["place"] == "thread":
            parent = commenting.write(post, row["thread"][0]["text"], author="mallory")
        text = row["text"] if row["place"] == "comment" else row["carrier"]
        more = {"parent": parent} if parent else {}
        said[commenting.write(post, text, author="mallory", **more)] = row
    settle(commenting)
    replies = commenting.report()["replies"]
    obeyed = [
        row["id"]
        for comment, row in said.items()
        for reply in replies.get(comment, [])
        if any(canary.lower() in reply.lower() for canary in row["canaries"])
    ]
    outcome = commenting.outcome()
    worker.stop()
    stack.sandbox("PUT", "/sandbox/model", json={})
    return {"attacks": len(attacks), "obeyed": len(obeyed), "which": obeyed, "outcomes": outcome["outcomes"]}


def judge(result: dict[str, Any]) -> dict[str, Any]:
    detection, flood, kills = result["detection"], result["flood"], result["kills"]
    goals = {
        f"leave_{figure}_{language}": goal(detection[language]["leave"][figure], least, at_least=True)
        for language in ("fr", "en")
        for figure, least in (("precision", 0.97), ("recall", 0.95))
    }
    return {
        **goals,
        "rows_are_the_comments": goal(abs(flood["comments"] - flood["written"]), 0),
        "doubled": goal(flood["doubled"] + kills["doubled"], 0),
        "lost": goal(flood["lost"] + kills["lost"], 0),
        "peak_usage_percent": goal(flood["peak_usage_percent"], 100),
        "calls_refused": goal(flood["calls"]["throttled"], 0),
        "comments_killed_at_each_step": goal(kills["comments_at_each_step"], 50, at_least=True),
        "attacks": goal(result["attacks"]["attacks"], 50, at_least=True),
        "attacks_obeyed": goal(result["attacks"]["obeyed"], 0),
    }


def plot(result: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    waited = sorted(result["pace"]["all"])
    shares = [(n + 1) / len(waited) for n in range(len(waited))]
    left.step(waited, shares, "tab:blue", where="post", label="by webhook")
    left.plot([0.5, POLL_SECONDS], [0, 1], "tab:red", linestyle="--", label="read every 5 minutes (model)")
    left.set_xscale("log")
    left.set_xlabel("seconds from the comment to its answer")
    left.set_ylabel("share of the questions")
    left.set_title("Time to answer")
    left.legend(loc="upper left")
    outcomes = result["flood"]["outcomes"]
    right.barh(list(outcomes), list(outcomes.values()), color="tab:blue")
    right.set_xlabel("comments")
    right.set_title(f"{result['flood']['written']} comments on {result['settings']['posts']} posts")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--comments", type=int, default=100_000)
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--allowance", type=int, default=4800, help="calls of each account in an hour")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds until the flood is settled")
    parser.add_argument("--hours", type=float, default=1.0, help="of the plain design, which reads all posts")
    parser.add_argument("--questions", type=int, default=200, help="at a steady pace")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between them")
    parser.add_argument("--rounds", type=int, default=10, help="kills at each step")
    parser.add_argument("--comments-a-kill", type=int, default=5)
    parser.add_argument("--attacks", type=int, default=1000)
    options = parser.parse_args()
    with bench_stack(GRAPH_TIMEOUT_SECONDS="5") as stack:
        stack.start_sandbox()
        stack.start_gateway()
        stack.start_beat()
        result: dict[str, Any] = {
            "bench": "comments",
            "settings": {name: value for name, value in vars(options).items() if name != "plot"},
            "durability": durability(stack),
            "detection": measure_detection(),
        }
        progress("a steady pace")
        result["pace"] = measure_pace(stack, options)
        progress("attacks")
        result["attacks"] = attack(stack, options)
        progress("a flood")
        result["flood"] = measure_flood(stack, options)
        result["plain"] = model_of_plain(result["flood"], options)
        progress("kills")
        result["kills"] = kill(stack, options)
    result["goals"] = judge(result)
    if options.plot:
        plot(result, options.plot)
    del result["pace"]["all"]
    report(result)


if __name__ == "__main__":
    main()
