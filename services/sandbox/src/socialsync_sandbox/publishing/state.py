"""What was prepared and what is live, in memory."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from socialsync_common.contracts import Platform
from socialsync_sandbox import ids
from socialsync_sandbox.publishing.faults import PostingFaults

CONTAINER_SECONDS = 24 * 3600
DEFAULT_QUOTA = 100

_FETCH_SECONDS = 20.0
_FETCH_BYTES = 400 * 1024 * 1024
_PREVIEW_BYTES = 200_000
_PREVIEWS = 30
_HEAD_BYTES = 16


@dataclass(slots=True)
class File:
    """One file as Meta fetched it; ``preview`` is kept of the newest small pictures, for the page."""

    url: str
    is_video: bool
    sha256: str | None = None
    size: int = 0
    magic: bytes = b""
    preview: bytes | None = None

    @property
    def is_fetched(self) -> bool:
        return self.sha256 is not None

    def shown(self) -> dict[str, Any]:
        return {"url": self.url, "sha256": self.sha256, "bytes": self.size}


@dataclass(slots=True)
class Container:
    """Prepared, and seen by nobody. ``ready_at``: Unix seconds when its processing ends, None while it is fetched."""

    id: str
    account: str
    kind: str
    text: str
    files: list[File]
    made_at: float
    ready_at: float | None
    outcome: str = "FINISHED"
    reason: str = ""
    is_child: bool = False
    is_expired: bool = False
    post: Post | None = None

    def status(self, now: float) -> str:
        if self.post is not None:
            return "PUBLISHED"
        if self.is_expired or now - self.made_at > CONTAINER_SECONDS:
            return "EXPIRED"
        if self.ready_at is None or now < self.ready_at:
            return "IN_PROGRESS"
        return self.outcome


@dataclass(slots=True)
class Post:
    """One live post. ``at``: Unix seconds when it went live."""

    seq: int
    at: float
    platform: Platform
    account: str
    kind: str
    media_id: str
    container_id: str | None
    permalink: str
    text: str
    files: list[File]
    container_ids: list[str]
    link: str = ""

    def shown(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "at": self.at,
            "platform": self.platform,
            "account": self.account,
            "kind": self.kind,
            "media_id": self.media_id,
            "container_id": self.container_id,
            "permalink": self.permalink,
            "text": self.text,
            "media": [file.shown() for file in self.files],
        }


@dataclass(slots=True)
class Processing:
    """How long containers stay in progress, and how they end."""

    seconds: float = 0.0
    outcome: str = "FINISHED"


class Posts:
    def __init__(self, client: httpx.AsyncClient | None, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self.clock = clock
        self.last_seq = 0
        self.faults = PostingFaults()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()
        self._reset()

    def _reset(self) -> None:
        self.latency = 0.0
        self.repeated_publishes = 0
        self.without_proof = 0
        self.containers: dict[str, Container] = {}
        self.posts: list[Post] = []
        self.by_id: dict[str, Post] = {}
        self.of_account: dict[str, list[Post]] = {}
        self.quota_total: dict[str, int] = {}
        self.quota_used: Counter[str] = Counter()
        self.processing = {"image": Processing(), "video": Processing()}
        self._pictures: deque[File] = deque()

    def clear(self) -> None:
        self.faults.clear()
        for task in self._tasks:
            task.cancel()
        self._reset()

    async def close(self) -> None:
        """Stop what is being fetched."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def lag(self) -> None:
        """What was ordered for every call."""
        if self.latency:
            await asyncio.sleep(self.latency)

    async def prepare(
        self, account: str, kind: str, text: str, files: list[File], *, is_child: bool = False
    ) -> Container:
        """A container; pictures are fetched before the answer, videos behind it."""
        is_video = any(file.is_video and not file.is_fetched for file in files)
        how = self.processing["video" if is_video else "image"]
        now = self.clock()
        container = Container(
            ids.numeric_id(), account, kind, text, files, now,
            None if is_video else now + how.seconds, how.outcome, is_child=is_child,
        )  # fmt: skip
        self.containers[container.id] = container
        if is_video:
            self.process(container)
        return container

    def process(self, container: Container) -> None:
        """Fetch and process its videos behind the answer."""
        task = asyncio.create_task(self._process(container, self.processing["video"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, container: Container, how: Processing) -> None:
        container.outcome = how.outcome
        for file in container.files:
            if not file.is_fetched and not await self.fetch(file):
                container.outcome, container.reason = (
                    "ERROR",
                    "Media upload has failed with error code 2207052",
                )
        container.ready_at = self.clock() + how.seconds

    async def fetch(self, file: File) -> bool:
        """Fetch it as Meta does; false where that fails."""
        if self._client is None or not file.url.startswith(("http://", "https://")):
            return False
        digest, size, head, kept = hashlib.sha256(), 0, b"", bytearray()
        try:
            async with (
                asyncio.timeout(_FETCH_SECONDS),
                self._client.stream(
                    "GET", file.url, headers={"User-Agent": "facebookexternalhit/1.1"}
                ) as answer,
            ):
                if answer.status_code != 200:
                    return False
                async for chunk in answer.aiter_bytes():
                    digest.update(chunk)
                    size += len(chunk)
                    if len(head) < _HEAD_BYTES:
                        head += chunk[:_HEAD_BYTES]
                    if not file.is_video and len(kept) <= _PREVIEW_BYTES:
                        kept += chunk
                    if size > _FETCH_BYTES:
                        return False
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
            return False
        if not size:
            return False
        file.magic, file.size, file.sha256 = head, size, digest.hexdigest()
        if not file.is_video and size <= _PREVIEW_BYTES:
            self._keep_preview(file, bytes(kept))
        return True

    def _keep_preview(self, file: File, picture: bytes) -> None:
        file.preview = picture
        self._pictures.append(file)
        if len(self._pictures) > _PREVIEWS:
            self._pictures.popleft().preview = None

    def quota_of(self, account: str) -> tuple[int, int]:
        """(used, total)."""
        return self.quota_used[account], self.quota_total.get(account, DEFAULT_QUOTA)

    def go_live(
        self, platform: Platform, account: str, kind: str, text: str, files: list[File], *,
        media_id: str, permalink: str, containers: list[Container], link: str = "",
    ) -> Post:  # fmt: skip
        self.last_seq += 1
        post = Post(
            self.last_seq, time.time(), platform, account, kind, media_id,
            containers[-1].id if containers else None, permalink, text, files, [each.id for each in containers],
            link,
        )  # fmt: skip
        for container in containers:
            container.post = post
        self.posts.append(post)
        self.by_id[media_id] = post
        self.of_account.setdefault(account, []).append(post)
        self.quota_used[account] += 1
        self._arrived.set()
        self._arrived = asyncio.Event()
        return post

    def newest(self, account: str, *, stories: bool, limit: int = 25) -> list[Post]:
        """Newest first."""
        fits = (
            post for post in reversed(self.of_account.get(account, ())) if (post.kind == "story") is stories
        )
        return [post for post, _ in zip(fits, range(limit), strict=False)]

    async def read(self, after: int, account: str | None, wait_seconds: float) -> list[Post]:
        """What is live and newer than ``after``; waits for the first such post if there is none."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            first = max(0, after - self.posts[0].seq + 1) if self.posts else 0
            found = [post for post in self.posts[first:] if account in (None, post.account)]
            after = max(after, self.last_seq)  # all before it were looked at
            remaining = deadline - loop.time()
            if found or remaining <= 0:
                return found
            try:
                async with asyncio.timeout(remaining):
                    await self._arrived.wait()
            except TimeoutError:
                return []


def meta_time(at: float) -> str:
    """Unix seconds as Meta writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
