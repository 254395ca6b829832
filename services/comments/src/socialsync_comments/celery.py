"""``celery -A socialsync_comments``: the comments workers' application."""

from __future__ import annotations

from socialsync_comments.runtime import Runtime
from socialsync_comments.tasks import register_tasks
from socialsync_common.errors import ConfigError
from socialsync_common.settings import exit_on_config_error
from socialsync_common.worker import create_worker

app = create_worker("comments")
try:
    Runtime.check_settings()
except ConfigError as error:
    exit_on_config_error(error)
register_tasks(app)
