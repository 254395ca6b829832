"""``celery -A socialsync_comments``: the comments workers' application."""

from __future__ import annotations

from socialsync_common.worker import create_worker

app = create_worker("comments")
