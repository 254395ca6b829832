"""One log line when something goes away and one when it is back, however often it is tried between."""

from __future__ import annotations

import structlog

log = structlog.get_logger()


class Outage:
    """Told of every failure and every success of one thing; speaks only when that changes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._ongoing = False

    def began(self, error: Exception) -> None:
        if not self._ongoing:
            self._ongoing = True
            log.warning("outage.began", what=self._what, error=f"{type(error).__name__}: {error}")

    def ended(self) -> None:
        if self._ongoing:
            self._ongoing = False
            log.info("outage.over", what=self._what)
