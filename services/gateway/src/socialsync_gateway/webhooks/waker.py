"""Lets workers know that there is something new, once for all that comes within a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PAUSE_SECONDS = 0.1


class Waker:
    """Called at any rate; calls ``wake`` one at a time, with a pause in between, and after the last call once more."""

    def __init__(self, wake: Callable[[], Awaitable[None]]) -> None:
        self._wake = wake
        self._again = False
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends when the last word is out."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._again:
            self._again = False
            await self._wake()
            await asyncio.sleep(PAUSE_SECONDS)
