"""``celery -A socialsync_scheduler``: the scheduler workers' application."""

from __future__ import annotations

from socialsync_common.errors import ConfigError
from socialsync_common.settings import exit_on_config_error
from socialsync_common.worker import create_worker
from socialsync_scheduler.runtime import Runtime
from socialsync_scheduler.tasks import register_tasks

app = create_worker("scheduler")
try:
    Runtime.check_settings()
except ConfigError as error:
    exit_on_config_error(error)
register_tasks(app)
