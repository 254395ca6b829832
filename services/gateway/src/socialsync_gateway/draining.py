"""A server that parts from its clients politely."""

from __future__ import annotations

import signal
import time
from types import FrameType

import uvicorn

_CLOSE = (b"connection", b"close")


class DrainingServer(uvicorn.Server):
    """Uvicorn's, which on SIGTERM first serves on for ``drain_seconds`` and tells each client that the connection
    ends with this answer: a request on a connection that is closed at that very moment would be lost to its sender.
    A second signal ends the wait."""

    def __init__(self, config: uvicorn.Config, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._drain_seconds > 0 and self._drained_at is None:
            self._drained_at = time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        stops = await super().on_tick(counter)
        if self._drained_at is None or stops:
            return stops
        # made anew once a second by the tick above
        if _CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        return time.monotonic() >= self._drained_at
