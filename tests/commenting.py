"""Comments for drills and benches: written by the hundred, counted where the answers arrive."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from celery import Celery
from psycopg.rows import dict_row

from socialsync_common.accounts import Account
from socialsync_common.celery_app import create_celery
from socialsync_common.comment_policy import SAVE_POLICY, CommentPolicy, policy_values
from socialsync_common.contracts import LANE_OF_TASK, Platform, TaskName
from socialsync_common.settings import BrokerSettings
from stack import Stack

# no answer is approved by hand, and the limits are as wide as they can be
AUTOMATIC: dict[str, Any] = {
    "review": False,
    "account_per_hour": 750,
    "post_per_hour": 750,
    "author_per_hour": 750,
}
_FIRST_ACCOUNT = {Platform.INSTAGRAM: 17_841_400_000_200_000, Platform.MESSENGER: 108_000_000_200_000}
# a comment that nobody has to look at any more, by itself
_IS_SETTLED = "c.status NOT IN ('new', 'answering') AND c.due_at IS NULL AND c.lease IS NULL"


@dataclass(frozen=True)
class PostOf:
    """A post whose comments are watched."""

    account: Account
    external_id: str


@dataclass
class Commenting:
    """The people who comment, and what became of it."""

    stack: Stack

    # --- what there is ---

    def accounts(
        self, count: int, platform: Platform, *, first: int = 0, tenant: str = "Bakery", **policy: Any
    ) -> list[Account]:
        """Connected accounts; ``policy``: what differs from ``AUTOMATIC``."""
        found = []
        for number in range(first, first + count):
            account = self.stack.connect(
                str(_FIRST_ACCOUNT[platform] + number), tenant=tenant, platform=platform
            )
            self.set_policy(account, **policy)
            found.append(account)
        return found

    def set_policy(self, account: Account, **policy: Any) -> None:
        values = policy_values(account.tenant_id, account.id, CommentPolicy(**{**AUTOMATIC, **policy}))
        with psycopg.connect(self.stack.owner_url) as connection:
            connection.execute(SAVE_POLICY, values)

    def posts(
        self, account: Account, count: int = 1, *, caption: str = "Fresh bread", **more: Any
    ) -> list[PostOf]:
        """Posts of the account that are watched from now on, and not read before they are due."""
        body = {
            "platform": account.platform,
            "account": account.external_id,
            "caption": caption,
            "kind": "image",
        }
        made = self.stack.sandbox("POST", "/sandbox/comments/posts", json={**body, "count": count, **more})
        self.stack.query(
            """
            INSERT INTO monitored_posts (tenant_id, account_id, external_id, origin, monitored, monitored_since,
                                         published_at, next_poll_at)
            SELECT %s, %s, id, 'chosen', true, now(), now(), now() + interval '5 minutes' FROM unnest(%s::text[]) AS t(id)
            """,
            account.tenant_id, account.id, made["posts"],
        )  # fmt: skip
        return [PostOf(account, external_id) for external_id in made["posts"]]

    def allow(self, account: Account, calls: int, seconds: int = 3600) -> None:
        """From now on the platform takes so many calls of the account in so many seconds."""
        body = {"account": account.external_id, "calls_per_window": calls, "window_seconds": seconds}
        self.stack.sandbox("POST", "/sandbox/usage", json=body)

    # --- what people do ---

    def write(self, post: PostOf, text: str, *, author: str = "ana", **more: Any) -> str:
        """Somebody comments; returns the comment's id."""
        body = {"post": post.external_id, "text": text, "author": {"id": f"id-{author}", "name": author}}
        return str(self.stack.sandbox("POST", "/sandbox/comments/write", json={**body, **more})["comment_id"])

    def flood(self, posts: Sequence[PostOf], comments: int, texts: Sequence[str], **more: Any) -> Any:
        """Many at once, on posts of one platform; returns when the webhooks are delivered."""
        body = {
            "platform": posts[0].account.platform,
            "posts": [post.external_id for post in posts],
            "comments": comments,
            "texts": list(texts),
        }
        return self.stack.sandbox("POST", "/sandbox/comments/flood", json={**body, **more})

    # --- what Beat does, and time ---

    def tick(self, task: TaskName) -> None:
        """Beat's tick, a little earlier."""
        self._celery.send_task(task, queue=LANE_OF_TASK[task])

    def read_now(self) -> None:
        """The time has come to read all posts; their accounts' calls may forbid it."""
        self.stack.query("UPDATE monitored_posts SET next_poll_at = now() WHERE monitored")
        self.tick(TaskName.POLL_POST_COMMENTS)

    def fast_forward(self, seconds: float) -> None:
        """Let that time pass for what waits: pauses between attempts, and calls whose outcome is not known. What a
        worker has is left to it."""
        self._pass(seconds, "lease IS NULL")

    def pass_without_worker(self, seconds: float) -> None:
        """Let that time pass while no worker lives: leases end as well."""
        self._pass(seconds, "true")

    def _pass(self, seconds: float, which: str) -> None:
        with psycopg.connect(self.stack.owner_url) as connection:
            connection.execute(
                f"""
                WITH passed AS (
                  UPDATE comments SET due_at = due_at - make_interval(secs => %(s)s),
                         lease_until = lease_until - make_interval(secs => %(s)s)
                   WHERE due_at IS NOT NULL AND {which} RETURNING id)
                UPDATE comment_sends s SET called_at = s.called_at - make_interval(secs => %(s)s),
                       updated_at = s.updated_at - make_interval(secs => %(s)s)
                  FROM passed WHERE s.comment_id = passed.id AND s.status IN ('sending', 'unknown')
                """,  # type: ignore[arg-type]  # noqa: S608
                {"s": seconds},
            )

    @cached_property
    def _celery(self) -> Celery:
        return create_celery("drill", BrokerSettings(celery_broker_url=self.stack.redis.url))

    # --- what became of it ---

    def comments(self) -> dict[str, dict[str, Any]]:
        """By the platform's id: all that others wrote, as Postgres has it; ``sends`` by kind."""
        with psycopg.connect(self.stack.owner_url, row_factory=dict_row) as connection:
            rows = connection.execute(
                f"""
                SELECT c.id, c.external_id, c.account_id, c.post_id, c.source, c.text, c.status, c.reason, c.detail,
                       {_IS_SETTLED} AS is_settled
                  FROM comments c JOIN accounts a ON a.id = c.account_id
                 WHERE c.author_id IS DISTINCT FROM a.external_id
                """  # noqa: S608
            ).fetchall()
            sends = connection.execute(
                "SELECT comment_id, kind, status, reason FROM comment_sends"
            ).fetchall()
        of_comment: dict[Any, dict[str, Any]] = {}
        for send in sends:
            of_comment.setdefault(send["comment_id"], {})[send["kind"]] = send
        return {row["external_id"]: {**row, "sends": of_comment.get(row["id"], {})} for row in rows}

    def unsettled(self) -> int:
        """How many a worker will look at again."""
        return int(
            self.stack.query(f"SELECT count(*) AS n FROM comments c WHERE NOT ({_IS_SETTLED})")[0]["n"]  # noqa: S608
        )

    def waiting(self) -> int:
        """How many a worker has, or should have by now."""
        due = "SELECT count(*) AS n FROM comments WHERE lease IS NOT NULL OR due_at <= now()"
        return int(self.stack.query(due)[0]["n"])

    def report(self, **query: Any) -> Any:
        """What the platform has, and which calls it answered."""
        return self.stack.sandbox("GET", "/sandbox/comments/report", params=query)

    def outcome(self, written: Sequence[str] = ()) -> dict[str, Any]:
        """What became of all of them, and of those ``written`` for certain. Doubled: more than one answer of a kind."""
        comments, report = self.comments(), self.report()
        losses = _losses(comments, report, written)
        if losses:
            sys.stderr.write("\n".join(("lost:", *losses[:20], "")))
        return {
            "comments": len(comments),
            "outcomes": dict(Counter(row["status"] for row in comments.values())),
            "doubled": report["doubled"],
            "lost": len(losses),
            "unknown": sum(row["reason"] == "unknown" for row in comments.values()),
        }


def _losses(comments: dict[str, dict[str, Any]], report: dict[str, Any], written: Sequence[str]) -> list[str]:
    """Never stored or never settled, said to be answered with no answer there, or answered with nobody knowing. An
    answer whose fate is unknown is shown to a person."""
    found = [f"{each}: not stored" for each in written if each not in comments]
    found += [
        f"{each}: {row['status']}, not settled" for each, row in comments.items() if not row["is_settled"]
    ]
    for kind, answers in (("public_reply", report["replies"]), ("private_reply", report["private"])):
        for external_id, row in comments.items():
            send = row["sends"].get(kind)
            status, there = send["status"] if send else None, bool(answers.get(external_id))
            if status == "unknown":
                is_wrong = (row["status"], row["reason"]) != ("person", "unknown")
            else:
                is_wrong = (status == "sent") != there
            if is_wrong:
                found.append(f"{external_id}: {row['status']}, {kind} {status}, on the platform: {there}")
    return found
