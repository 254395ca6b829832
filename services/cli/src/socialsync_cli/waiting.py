"""Wait on a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from socialsync_common.errors import SocialSyncError

_POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll ``condition`` until it is true.

    Raises:
        SocialSyncError: it did not come true in time; ``what`` completes "waited N s for …".
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SocialSyncError(f"waited {seconds:.0f} s for {what}")
        time.sleep(_POLL_SECONDS)
