"""What is done to posts: kills at each step of publishing, each of the platform's faults, a token that ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, LiteralString

import httpx
import psycopg

from drills.killing import Cut, Held, arm, behind
from drills.proxy import Proxy
from posting import Posting, soon
from socialsync_common.accounts import Account, connect_account, create_api_key
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import SCOPE, tenant_scope
from socialsync_common.settings import EncryptionSettings
from stack import Process, Stack, until

WORKER = "scheduler"
SETTLE_SECONDS = 180
COMMENT = "Which one is yours?"


STEPS: tuple[Held | Cut, ...] = (
    Held("in the container call", "container", "hold_before"),
    Held("container made, its id lost", "container", "hold_after"),
    Cut("before the container is stored", (b"container_ids || ",), "before"),
    Cut("container stored", (b"container_ids || ", b"COMMIT"), "after"),
    Held("while the container is polled", "status", "hold_before"),
    Cut("before the call is marked", (b"publishes = publishes + 1",), "before"),
    Cut("the call is marked", (b"publishes = publishes + 1", b"COMMIT"), "after"),
    Held("in the publish call", "publish", "hold_before"),
    Held("live, the answer lost", "publish", "hold_after"),
    Cut("before it is recorded as live", (b"live(target uuid",), "before"),
    Cut("recorded as live", (b"live(target uuid", b"COMMIT"), "after"),
    Held("while the permalink is read", "permalink", "hold_before"),
    Held("in the comment call", "comment", "hold_before"),
    Held("commented, the answer lost", "comment", "hold_after"),
)

# What the platform may answer, and at which step. Each leads to a post that is live once, failed, or asked about.
FAULTS: tuple[tuple[str, str], ...] = (
    *(("container", kind) for kind in ("fetch_failed", "throttled", "server_error", "disconnect_after", "timeout_after")),
    *(("status", kind) for kind in ("server_error", "disconnect_before", "throttled")),
    *(("publish", kind) for kind in (
        "not_ready", "duplicate", "too_fast", "throttled", "quota", "permission", "server_error", "unreadable",
        "disconnect_before", "live_but_error", "server_error_after", "timeout_after", "disconnect_after", "slow",
    )),
    *(("comment", kind) for kind in ("server_error_after", "disconnect_after", "permission", "throttled")),
    *(("permalink", kind) for kind in ("server_error", "unreadable")),
)  # fmt: skip
NEVER_LIVE = {("publish", "permission"), ("publish", "duplicate")}


@contextmanager
def kept_alive(stack: Stack, proxy: Proxy) -> Iterator[Process]:
    """A worker whose Postgres is behind ``proxy``."""
    with behind(stack, proxy):
        worker = stack.start_scheduler(WORKER)
    yield worker
    worker.stop()


def kill_at_each_step(
    posting: Posting, accounts: Sequence[Account], proxy: Proxy, *, rounds: int, posts: int
) -> dict[str, Any]:
    """kill -9 of the worker at each step, with ``posts`` due together that reach it; all must settle."""
    stack = posting.stack
    for number in range(rounds):
        for step in STEPS:
            reached = arm(stack, stack.process(WORKER), proxy, step, posts)
            posting.announce(posting.schedule(accounts, posts, soon(2), first_comment=COMMENT))
            reached()
            sys.stderr.write(f"  killed {step.name} ({number + 1}/{rounds})\n")
            stack.process(WORKER).restart()
    seconds = settle(posting)
    return {
        "kills": rounds * len(STEPS),
        "posts_at_each_step": rounds * posts,
        **posting.outcome(),
        "comments_twice": _comments_twice(posting),
        "settled_s": round(seconds, 1),
    }


def settle(posting: Posting) -> float:
    """Let everything come to its end, with the pauses between attempts left out; returns how long it took."""
    started = time.monotonic()

    def over() -> bool:
        posting.fast_forward(60)
        return not posting.unfinished()

    until(over, SETTLE_SECONDS, "all posts are settled", every=1.0)
    return time.monotonic() - started


def each_fault(posting: Posting, platform: Platform, *, posts: int) -> dict[str, Any]:
    """Each fault once or more, on an account of its own; returns what became of its posts."""
    stack, expected = posting.stack, {}
    accounts = posting.accounts(len(FAULTS), platform, first=500 if platform is Platform.INSTAGRAM else 700)
    due = soon(3)
    for account, (step, kind) in zip(accounts, FAULTS, strict=True):
        order = {
            "step": _step_of(platform, step),
            "kind": kind,
            "times": posts,
            "account": account.external_id,
        }
        stack.sandbox(
            "POST", "/sandbox/posting-faults", json={**order, "seconds": 30 if kind != "slow" else 0.5}
        )
        texts = posting.schedule([account], posts, due, first_comment=COMMENT)
        expected[step, kind] = texts
        posting.announce(texts)
    settle(posting)
    targets, live = posting.targets(), posting.live()
    outcomes = {}
    for (step, kind), texts in expected.items():
        states = Counter(targets[text]["status"] for text in texts)
        outcomes[f"{step}: {kind}"] = dict(states)
        wanted = {"failed"} if (step, kind) in NEVER_LIVE else {"published"}
        if platform is Platform.MESSENGER and step == "publish":
            wanted |= {"needs_check", "failed"}  # a feed does not prove that a post is absent
        assert set(states) <= wanted, f"{platform} {step} {kind}: {[targets[text] for text in texts]}"
        for text in texts:
            times = len(live.get(text, []))
            assert times <= 1, f"{platform} {step} {kind}: published {times} times"
            assert (targets[text]["status"] == "published") <= (times == 1), f"{platform} {step} {kind}: lost"
    return {"faults": len(FAULTS), "posts": posts * len(FAULTS), "outcomes": outcomes}


def _step_of(platform: Platform, step: str) -> str:
    if platform is Platform.MESSENGER:
        return {"container": "photo", "status": "find"}.get(step, step)
    return step


def token_ends(posting: Posting, account: Account, *, posts: int) -> dict[str, Any]:
    """The token ends while posts wait; they go out after the account was reconnected."""
    stack = posting.stack
    stack.sandbox("POST", "/sandbox/tokens", json={"token": account.token, "state": "expired"})
    texts = posting.schedule([account], posts, soon(2))
    posting.announce(texts)
    until(lambda: _status_of(stack, account) == "needs_reconnect", 30, "the account is stopped")
    until(
        lambda: all(row["lease_until"] is None for text, row in posting.targets().items() if text in texts),
        30, "the posts wait",
    )  # fmt: skip
    notices = stack.query("SELECT kind, message FROM notices WHERE account_id = %s", account.id)
    assert [notice["kind"] for notice in notices] == ["needs_reconnect"], notices
    assert not any(text in posting.live() for text in texts)
    reconnected = time.monotonic()
    reconnect(stack, account)
    until(lambda: all(text in posting.live() for text in texts), 60, "the posts go out")
    return {
        "posts": posts,
        "notices": len(notices),
        "resumed_s": round(time.monotonic() - reconnected, 1),
        "open_notices": len(
            stack.query("SELECT 1 FROM notices WHERE account_id = %s AND resolved_at IS NULL", account.id)
        ),
    }


def reconnect(stack: Stack, account: Account, tenant: str = "Bakery") -> None:
    cipher = TokenCipher(EncryptionSettings(token_encryption_keys=stack.environment["TOKEN_ENCRYPTION_KEYS"]))
    with stack.connection() as connection:
        connect_account(
            connection, cipher, tenant=tenant, platform=account.platform, external_id=account.external_id,
            name=account.name, token=f"new-{account.token}",
        )  # fmt: skip


def two_tenants(posting: Posting) -> dict[str, int]:
    """A tenant tries to see, change, decide about and publish through another's accounts: each way in is refused."""
    stack = posting.stack
    ours, theirs = (
        posting.accounts(1, Platform.INSTAGRAM, first=number, tenant=tenant)[0]
        for number, tenant in ((800, "Bakery"), (900, "Florist"))
    )
    text = posting.schedule([theirs], 1, soon(3600))[0]
    target = posting.targets()[text]
    with stack.connection() as connection:
        key = create_api_key(connection, ours.tenant_id, "drill")
    post = f"/posts/{target['post_id']}"
    decision = f"{post}/targets/{target['id']}/decision"
    media = str(posting.media_of(theirs.tenant_id))
    draft = {"kind": "image", "text": "x", "zone": "UTC", "due_at": soon(3600).isoformat()}
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", post, {}),
        ("PATCH", post, {"text": "ours now"}),
        ("POST", f"{post}/cancel", {}),
        ("POST", decision, {"decision": "publish"}),
        ("POST", "/posts", {**draft, "accounts": [str(theirs.id)], "media": [{"id": media}]}),
        ("POST", "/posts", {**draft, "accounts": [str(ours.id)], "media": [{"id": media}]}),
        ("GET", f"/media/{media}", {}),
        ("DELETE", f"/media/{media}", {}),
    ]
    succeeded = 0
    with httpx.Client(base_url=f"{stack.gateway_url}/api/v1", timeout=30) as api:
        for number, (method, path, body) in enumerate(tries):
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"try-{number}"}
            answer = api.request(
                method, path, headers=headers, json=body if method in ("POST", "PATCH") else None
            )
            succeeded += answer.is_success
        listed = api.get("/posts", headers={"Authorization": f"Bearer {key}"}).json()["items"]
        succeeded += any(one["id"] == str(target["post_id"]) for one in listed)
    # a task that names our tenant for their target, which is due, and of which no sweep tells its own tenant's workers
    stack.query(
        "UPDATE post_targets SET due_at = now(), next_at = now(), lease_until = now() + interval '1 hour' WHERE id = %s",
        target["id"],
    )
    posting.announce_as(ours.tenant_id, text)
    own = posting.schedule([ours], 1, soon(0))
    posting.announce(own)
    until(lambda: own[0] in posting.live(), 30, "the task after it is done")
    sql = _writes_across(stack, ours, theirs, target)
    return {"tries": len(tries) + 2 + sql[0], "succeeded": succeeded + (text in posting.live()) + sql[1]}


def _writes_across(stack: Stack, ours: Account, theirs: Account, target: dict[str, Any]) -> tuple[int, int]:
    """The same in SQL, as a service that named our tenant: how many were tried, and how many did something."""
    statements: tuple[tuple[LiteralString, tuple[Any, ...]], ...] = (
        ("SELECT 1 FROM post_targets WHERE id = %s", (target["id"],)),
        ("UPDATE post_targets SET status = 'cancelled' WHERE id = %s", (target["id"],)),
        ("UPDATE scheduled_posts SET text = 'x' WHERE id = %s", (target["post_id"],)),
        ("DELETE FROM media WHERE tenant_id = %s", (theirs.tenant_id,)),
        (
            "INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at) VALUES (gen_random_uuid(), %s, %s, %s, now())",
            (ours.tenant_id, target["post_id"], theirs.id),
        ),
    )
    done = 0
    with stack.connection() as connection:
        for statement, parameters in statements:
            with contextlib.suppress(psycopg.Error), connection.transaction():
                connection.execute(SCOPE, (tenant_scope([ours.tenant_id]),))
                done += connection.execute(statement, parameters).rowcount > 0
    return len(statements), done


def _status_of(stack: Stack, account: Account) -> str:
    return str(stack.query("SELECT status FROM accounts WHERE id = %s", account.id)[0]["status"])


def _comments_twice(posting: Posting) -> int:
    return sum(len(post["comments"]) > 1 for posts in posting.live().values() for post in posts)


def lateness(posting: Posting, texts: Sequence[str], due: float) -> list[float]:
    """Seconds from the time when posts were due to the time when they were live."""
    live = posting.live()
    return [live[text][0]["at"] - due for text in texts if text in live]


def on_the_same_second(
    posting: Posting, accounts: Sequence[Account], *, posts: int, ahead: float, latency: float,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """``posts`` due in one second; returns how late they were."""
    stack = posting.stack
    stack.sandbox("POST", "/sandbox/latency", json={"seconds": latency})
    due = soon(ahead)
    texts = posting.schedule(accounts, posts, due, lead=timedelta(seconds=ahead + 1))
    progress(f"{posts} posts are due in {ahead:.0f} s")
    until(lambda: posting.ready(texts) == posts, ahead, "all are prepared", every=0.5)
    progress("all are prepared")
    before = stack.sandbox("GET", "/sandbox/posts/counts")["posts"]
    until(
        lambda: stack.sandbox("GET", "/sandbox/posts/counts")["posts"] >= before + posts,
        ahead + 60, "all are live", every=0.5,
    )  # fmt: skip
    late = lateness(posting, texts, due.timestamp())
    stack.sandbox("POST", "/sandbox/latency", json={"seconds": 0})
    return {"posts": len(late), "late": sorted(late)}
