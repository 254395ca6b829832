"""Posts signed webhooks to the gateway, and insists as Meta does: the same body until it gets 200."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import httpx
import structlog

from socialsync_common.contracts import Platform
from socialsync_sandbox.bodies import Entry, body

RETRY_SECONDS = 60.0

_WORKERS = 8
_JOBS_PER_BODY = 50
_TIMEOUT = httpx.Timeout(30.0)

log = structlog.get_logger()


def sign(app_secret: bytes, raw: bytes) -> str:
    return f"sha256={hmac.new(app_secret, raw, hashlib.sha256).hexdigest()}"


def backoff() -> Iterator[float]:
    """Seconds between attempts: 0.2, doubling, at most 2."""
    pause = 0.2
    while True:
        yield pause
        pause = min(pause * 2, 2.0)


@dataclass(slots=True, frozen=True)
class Delivered:
    """``status``: the last answer's, 0 where there never was one; ``refusals``: what the attempts before it got."""

    status: int
    attempts: int
    refusals: tuple[str, ...] = ()


class Deliveries:
    """``deliver`` waits for the outcome; ``enqueue`` leaves it to a few workers that come when there is work.

    What waits in the queue shares a body, up to 50 jobs, as Meta batches; a job's entries are never torn apart.
    """

    def __init__(self, client: httpx.AsyncClient, gateway_url: str, app_secret: bytes) -> None:
        self._client = client
        self._gateway_url = gateway_url
        self._app_secret = app_secret
        self._jobs: deque[tuple[Platform, Sequence[Entry]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self.pending = 0
        self.delivered = 0
        self.abandoned = 0

    async def deliver(
        self, platform: Platform, entries: Sequence[Entry], retry_seconds: float = RETRY_SECONDS
    ) -> Delivered:
        self.pending += 1
        try:
            return self._count(await self._post(platform, entries, retry_seconds), 1)
        finally:
            self.pending -= 1

    def enqueue(self, platform: Platform, entries: Sequence[Entry]) -> None:
        self._jobs.append((platform, entries))
        self.pending += 1
        if len(self._workers) < _WORKERS:
            self._workers.add(asyncio.create_task(self._work()))

    async def clear(self) -> None:
        """Drop what is in the background, also what is being tried."""
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._workers.difference_update(workers)  # one that never started could not leave by itself
        self.pending -= len(self._jobs)
        self._jobs.clear()

    async def close(self) -> None:
        await self.clear()
        await self._client.aclose()

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._work_one_body()
        finally:
            # here, not in a done callback: a job enqueued in between would find nobody
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _work_one_body(self) -> None:
        platform = self._jobs[0][0]
        entries: list[Entry] = []
        jobs = 0
        while self._jobs and self._jobs[0][0] is platform and jobs < _JOBS_PER_BODY:
            entries.extend(self._jobs.popleft()[1])
            jobs += 1
        try:
            self._count(await self._post(platform, entries, RETRY_SECONDS), jobs)
        finally:
            self.pending -= jobs

    def _count(self, outcome: Delivered, jobs: int) -> Delivered:
        if outcome.status == httpx.codes.OK:
            self.delivered += jobs
        else:
            self.abandoned += jobs
            log.warning("webhook_abandoned", status=outcome.status, attempts=outcome.attempts, jobs=jobs)
        return outcome

    async def _post(self, platform: Platform, entries: Sequence[Entry], retry_seconds: float) -> Delivered:
        raw = body(platform, entries)
        headers = {"content-type": "application/json", "x-hub-signature-256": sign(self._app_secret, raw)}
        url = f"{self._gateway_url}/api/{platform}/webhook"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + retry_seconds
        refusals: list[str] = []
        for attempt, pause in enumerate(backoff(), start=1):
            try:
                answer = await self._client.post(url, content=raw, headers=headers, timeout=_TIMEOUT)
                status, got = answer.status_code, f"HTTP {answer.status_code}"
            except httpx.TransportError as error:
                status, got = 0, type(error).__name__
            if status == httpx.codes.OK or loop.time() + pause > deadline:
                return Delivered(status, attempt, tuple(refusals))
            refusals.append(got)
            await asyncio.sleep(pause)
        raise AssertionError("backoff never ends")
