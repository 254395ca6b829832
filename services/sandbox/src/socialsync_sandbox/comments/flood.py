"""Many people comment on many posts at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_sandbox.comments import webhooks
from socialsync_sandbox.comments.control import Commented, thread_of
from socialsync_sandbox.comments.state import Author, By, Comment, Comments, Thread
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_TEXTS = (
    "How much is it?",
    "When do you open on Sunday?",
    "Do you deliver?",
    "Is this still available?",
    "Love it!",
    "😍😍",
)
_FIRST_AUTHOR = 9_000_000_000


class Flood(BaseModel):
    """``webhook_share``: of the comments, those that Meta tells of; ``duplicate_share``: of these, those that it tells
    of twice; ``reply_share``: those that answer another one. ``per_body``: so many are written before a body leaves.

    With the same ``seed`` the same authors say the same things on the same posts.
    """

    model_config = ConfigDict(extra="forbid")

    platform: Commented
    posts: list[str] = Field(min_length=1)
    comments: int = Field(default=1000, ge=1, le=1_000_000)
    authors: int = Field(default=500, ge=1)
    texts: list[str] = Field(default=list(_TEXTS), min_length=1)
    webhook_share: float = Field(default=0.9, ge=0, le=1)
    duplicate_share: float = Field(default=0.05, ge=0, le=1)
    reply_share: float = Field(default=0.2, ge=0, le=1)
    per_body: int = Field(default=20, ge=1, le=1000)
    parallel: int = Field(default=4, ge=1, le=256)
    seed: int = 0


async def flood(request: Request) -> Response:
    """Answers, when all bodies have their outcome, how much was written, and how much of it was told of."""
    order = await read(request, Flood)
    sandbox = sandbox_of(request)
    threads = [thread_of(sandbox, post, order.platform) for post in order.posts]
    counts = Counter(
        dict.fromkeys(("comments", "replies", "silent", "webhooks", "duplicates", "bodies", "abandoned"), 0)
    )
    batches = _Crowd(order, sandbox.comments, threads, counts).batches()

    async def postman() -> None:
        for first, again in batches:
            for told in (first, again):
                if told:
                    await _deliver(sandbox, order, told, counts)
            if not first:
                await asyncio.sleep(0)  # others have their turn, too

    async with asyncio.TaskGroup() as group:
        for _ in range(order.parallel):
            group.create_task(postman())
    return Json(counts)


class _Crowd:
    """Writes while bodies leave, so that a comment is as old as its webhook."""

    def __init__(self, order: Flood, comments: Comments, threads: list[Thread], counts: Counter[str]) -> None:
        self._order = order
        self._comments = comments
        self._threads = threads
        self._counts = counts
        self._random = Random(order.seed)  # noqa: S311 - not for secrets
        self._tops: dict[str, list[Comment]] = {}

    def batches(self) -> Iterator[tuple[list[Comment], list[Comment]]]:
        """The comments of a body that is sent, and those that are told of again."""
        order, chance = self._order, self._random.random
        for begin in range(0, order.comments, order.per_body):
            size = min(order.per_body, order.comments - begin)
            written = [self._write() for _ in range(size)]
            told = [comment for comment in written if chance() < order.webhook_share]
            again = [comment for comment in told if chance() < order.duplicate_share]
            self._counts.update(
                comments=size, silent=size - len(told), webhooks=len(told), duplicates=len(again)
            )
            yield told, again

    def _write(self) -> Comment:
        order, random = self._order, self._random
        thread = random.choice(self._threads)
        number = random.randrange(order.authors)
        author = Author(str(_FIRST_AUTHOR + number), f"crowd{number}")
        tops = self._tops.setdefault(thread.post.media_id, [])
        wants_to_answer, text = random.random() < order.reply_share, random.choice(order.texts)
        parent = random.choice(tops) if wants_to_answer and tops else None
        comment = self._comments.write(thread, author, By.CONTACT, text, parent)
        if parent is None:
            tops.append(comment)
        else:
            self._counts["replies"] += 1
        return comment


async def _deliver(sandbox: Sandbox, order: Flood, told: list[Comment], counts: Counter[str]) -> None:
    """One body, with an entry for each account."""
    changes: dict[str, list[webhooks.Change]] = {}
    for comment in told:
        changes.setdefault(comment.thread.post.account, []).append(webhooks.written(comment))
    now = sandbox.comments.clock()
    entries = [webhooks.entry(account, those, now) for account, those in changes.items()]
    outcome = await sandbox.deliveries.deliver(order.platform, entries)
    counts.update(bodies=1, abandoned=int(outcome.status != 200))


routes = [Route("/sandbox/comments/flood", flood, methods=["POST"])]
