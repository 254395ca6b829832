"""What is done to comments: kills at each step of answering, each of the platform's faults, stores that forget."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from commenting import Commenting, PostOf
from drills import killing
from drills.proxy import Proxy
from drills.publishing import reconnect
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform, TaskName
from stack import Process, Stack, until

WORKER = "comments"
SETTLE_SECONDS = 180
LEASE_SECONDS = 20.0

# How an account answers, and a comment that it answers so.
POLICIES: Mapping[str, dict[str, Any]] = {
    "public": {"reply": "public"},
    "private": {"reply": "both"},
    "spam": {"spam": "hide"},
}
TEXTS: Mapping[str, str] = {
    "public": "When do you open on Sunday?",
    "private": "When do you open on Sunday?",
    "spam": "I earned $5000 from home last week, DM me to learn how! Link in bio",
}


@dataclass(frozen=True)
class Held(killing.Held):
    """``policy``: how the account answers."""

    policy: str = "public"


@dataclass(frozen=True)
class Cut(killing.Cut):
    """``policy``: how the account answers."""

    policy: str = "public"


_TAKE = b"UPDATE comments SET lease = "
_WRITE = b"INSERT INTO comment_sends"
_MARK = b"UPDATE comment_sends SET status = 'sending'"
_RECORD = b"UPDATE comment_sends s SET status = "
_SETTLE = b"settled_at = now()"

STEPS: tuple[Held | Cut, ...] = (
    Cut("before it is taken", (_TAKE,), "before"),
    Cut("taken", (_TAKE, b"COMMIT"), "after"),
    Cut("before its answer is stored", (_WRITE,), "before"),
    Cut("its answer is stored", (_WRITE, b"COMMIT"), "after"),
    Held("in the last look", "comment_state", "hold_before"),
    Cut("before the call is marked", (_MARK,), "before"),
    Cut("the call is marked", (_MARK, b"COMMIT"), "after"),
    Held("in the reply's call", "reply", "hold_before"),
    Held("replied, the answer lost", "reply", "hold_after"),
    Held("in the private reply's call", "private_reply", "hold_before", "private"),
    Held("replied privately, the answer lost", "private_reply", "hold_after", "private"),
    Held("in the call that hides", "hide", "hold_before", "spam"),
    Held("hidden, the answer lost", "hide", "hold_after", "spam"),
    Cut("before it is recorded as sent", (_RECORD,), "before"),
    Cut("recorded as sent", (_RECORD, b"COMMIT"), "after"),
    Cut("before it is settled", (_SETTLE,), "before"),
    Cut("settled", (_SETTLE, b"COMMIT"), "after"),
)

# What the platform may answer, at which step, and how the comment may end.
_ANSWERED = frozenset({"answered"})
_REFUSED = frozenset({"failed"})
_GONE = frozenset({"left"})
FAULTS: tuple[tuple[str, str, frozenset[str]], ...] = (
    *(("reply", kind, _ANSWERED) for kind in (
        "server_error", "server_error_after", "disconnect_before", "disconnect_after", "timeout_after",
        "throttled", "too_fast", "slow",
    )),
    ("reply", "permission", _REFUSED),
    ("reply", "unreadable", _GONE),  # what it says of a comment that is deleted
    *(("comment_state", kind, _ANSWERED) for kind in ("server_error", "disconnect_before", "timeout_after", "throttled")),
    ("comment_state", "permission", _REFUSED),
    ("comment_state", "unreadable", _GONE),
    *(("private_reply", kind, _ANSWERED) for kind in (
        "server_error_after", "disconnect_before", "disconnect_after", "timeout_after", "throttled",
    )),
    ("private_reply", "permission", _REFUSED),
    *(("hide", kind, _GONE) for kind in ("server_error_after", "disconnect_after", "throttled")),
)  # fmt: skip


def policy_at(step: str) -> str:
    return {"private_reply": "private", "hide": "spam"}.get(step, "public")


# --- kills ---


@contextmanager
def kept_alive(stack: Stack, proxy: Proxy) -> Iterator[Process]:
    """A worker whose Postgres is behind ``proxy``."""
    with killing.behind(stack, proxy):
        worker = stack.start_comments(WORKER)
    yield worker
    worker.stop()


def kill_at_each_step(
    commenting: Commenting, platforms: Sequence[Platform], proxy: Proxy, *, rounds: int, comments: int
) -> dict[str, Any]:
    """kill -9 of the worker at each step, with ``comments`` told together that reach it; all must settle."""
    stack, written = commenting.stack, []
    posts = {
        policy: [
            commenting.posts(commenting.accounts(1, platform, first=number, **changes)[0])[0]
            for platform in platforms
        ]
        for number, (policy, changes) in enumerate(POLICIES.items())
    }
    for number in range(rounds):
        for step in STEPS:
            reached = killing.arm(stack, stack.process(WORKER), proxy, step, comments)
            for each in range(comments):
                of_policy = posts[step.policy]
                author = f"{number}.{STEPS.index(step)}.{each}"
                written.append(
                    commenting.write(of_policy[each % len(of_policy)], TEXTS[step.policy], author=author)
                )
            reached()
            sys.stderr.write(f"  killed {step.name} ({number + 1}/{rounds})\n")
            _kill_and_restart(commenting)
    seconds = settle(commenting)
    return {
        "kills": rounds * len(STEPS),
        "comments_at_each_step": rounds * comments,
        **commenting.outcome(written),
        "settled_s": round(seconds, 1),
    }


def _kill_and_restart(commenting: Commenting) -> None:
    """With the time in between after which another worker would take over."""
    worker = commenting.stack.process(WORKER)
    worker.kill()
    commenting.pass_without_worker(LEASE_SECONDS)
    worker.start()


def settle(commenting: Commenting) -> float:
    """Let everything come to its end, with the pauses between attempts left out; returns how long it took."""
    started = time.monotonic()

    def over() -> bool:
        commenting.fast_forward(60)
        commenting.tick(TaskName.SWEEP_COMMENTS)
        return not commenting.unsettled()

    until(over, SETTLE_SECONDS, "all comments are settled", every=0.5)
    return time.monotonic() - started


# --- faults ---


def each_fault(commenting: Commenting, platforms: Sequence[Platform], *, comments: int) -> dict[str, Any]:
    """Each fault ``comments`` times on an account of its own; returns what became of its comments."""
    written = {
        (platform, step, kind): _write_into(commenting, platform, step, kind, 100 + number, comments)
        for platform in platforms
        for number, (step, kind, _) in enumerate(FAULTS)
    }
    settle(commenting)
    found, report = commenting.comments(), commenting.report()
    for platform in platforms:
        for step, kind, wanted in FAULTS:
            name, those = f"{platform} {step}: {kind}", written[platform, step, kind]
            states = Counter(found[each]["status"] for each in those)
            # a person sees to it where nobody can tell
            assert set(states) <= wanted | {"person"}, f"{name}: {[found[each] for each in those]}"
            for answers in (report["replies"], report["private"]):
                most = max(len(answers.get(each, [])) for each in those)
                assert most <= 1, f"{name}: answered {most} times"
    everything = [each for those in written.values() for each in those]
    return {"faults": len(written), **commenting.outcome(everything)}


def _write_into(
    commenting: Commenting, platform: Platform, step: str, kind: str, number: int, comments: int
) -> list[str]:
    """Order a fault for an account, and comment there."""
    policy = policy_at(step)
    (account,) = commenting.accounts(1, platform, first=number, **POLICIES[policy])
    (post,) = commenting.posts(account)
    order = {
        "step": step,
        "kind": kind,
        "times": comments,
        "account": account.external_id,
        "seconds": 0.5 if kind == "slow" else 30,
    }
    commenting.stack.sandbox("POST", "/sandbox/posting-faults", json=order)
    return [commenting.write(post, TEXTS[policy], author=f"{number}.{each}") for each in range(comments)]


def token_ends(commenting: Commenting, account: Account, *, comments: int) -> dict[str, Any]:
    """The token ends while comments come in; they are answered after the account was reconnected."""
    stack = commenting.stack
    (post,) = commenting.posts(account)
    stack.sandbox("POST", "/sandbox/tokens", json={"token": account.token, "state": "expired"})
    written = [commenting.write(post, TEXTS["public"], author=str(each)) for each in range(comments)]

    def is_stopped() -> bool:
        (row,) = stack.query("SELECT status FROM accounts WHERE id = %s", account.id)
        return bool(row["status"] == "needs_reconnect")

    until(is_stopped, 30, "the account is stopped")
    notices = stack.query("SELECT kind FROM notices WHERE account_id = %s", account.id)
    reconnect(stack, account)
    settle(commenting)
    return {"notices": len(notices), **commenting.outcome(written)}


# --- what may be forgotten, and what is told twice ---


def forget_and_restart(commenting: Commenting, posts: Sequence[PostOf], *, comments: int) -> dict[str, Any]:
    """While people comment, Redis loses all that it holds, and the gateway and a worker are killed and started."""
    stack = commenting.stack

    def reached(share: float) -> None:
        until(lambda: len(commenting.comments()) >= share * comments, 60, f"{share:.0%} of the comments")

    with _flood_of(commenting, posts, comments, webhook_share=1.0, duplicate_share=0.1, per_body=2):
        reached(0.2)
        stack.redis_client().flushall()
        reached(0.4)
        stack.process("gateway").restart()
        reached(0.6)
        _kill_and_restart(commenting)
        reached(0.8)
        stack.redis_client().flushall()
    settle(commenting)
    return commenting.outcome()


def told_twice(commenting: Commenting, posts: Sequence[PostOf], *, comments: int) -> dict[str, Any]:
    """Webhooks, some of them twice, some not at all, while all posts are read again and again."""
    with _flood_of(commenting, posts, comments, webhook_share=0.7, duplicate_share=0.3, per_body=2):
        until(lambda: _read_all(commenting) >= comments, 60, "all comments are stored", every=0.5)
    settle(commenting)
    sources = Counter(row["source"] for row in commenting.comments().values())
    return {**commenting.outcome(), "sources": dict(sources)}


def _read_all(commenting: Commenting) -> int:
    commenting.read_now()
    return len(commenting.comments())


@contextmanager
def _flood_of(
    commenting: Commenting, posts: Sequence[PostOf], comments: int, **shares: Any
) -> Iterator[None]:
    """People comment meanwhile; at the end all webhooks have arrived."""
    order = {"authors": 50, "reply_share": 0.1, "parallel": 2, **shares}
    flood = Thread(target=commenting.flood, args=(posts, comments, [TEXTS["public"]]), kwargs=order)
    flood.start()
    yield
    flood.join()


# --- limits ---


def limits_bind(commenting: Commenting, platform: Platform) -> dict[str, int]:
    """More questions at once than the limits allow answers: 20 of an account, 8 on a post, 2 to a person."""
    limits = {"account_per_hour": 20, "post_per_hour": 8, "author_per_hour": 2}
    (account,) = commenting.accounts(1, platform, first=900, **limits)
    posts = commenting.posts(account, 4)
    (other,) = commenting.accounts(1, platform, first=901, author_per_hour=2)
    (talked_to,) = commenting.posts(other)
    for number in range(60):
        post = posts[0] if number % 2 else posts[1 + number // 2 % 3]
        commenting.write(post, TEXTS["public"], author=f"of many {number}")
    for _ in range(10):
        commenting.write(talked_to, TEXTS["public"], author="one")
    until(lambda: not commenting.waiting(), 60, "all are answered, left or put off")
    rows = commenting.comments().values()
    answered = Counter(row["post_id"] for row in rows if row["status"] == "answered")
    return {
        "of_the_account": sum(
            row["status"] == "answered" and row["account_id"] == account.id for row in rows
        ),
        "on_a_post": max(answered[row["post_id"]] for row in rows if row["account_id"] == account.id),
        "to_one_person": sum(row["status"] == "answered" and row["account_id"] == other.id for row in rows),
        "left_of_that_person": sum(row["reason"] == "author_limit" for row in rows),
        "put_off": sum(row["status"] == "new" for row in rows),
    }
