"""``celery -A socialsync_scheduler``: the scheduler workers' application."""

from __future__ import annotations

from socialsync_common.worker import create_worker

app = create_worker("scheduler")
