"""``celery -A socialsync_ingest``: the ingest workers' application."""

from __future__ import annotations

from celery.signals import setup_logging

from socialsync_common.celery_app import create_celery
from socialsync_common.errors import ConfigError
from socialsync_common.heartbeat import Heartbeat
from socialsync_common.logging import configure_logging
from socialsync_common.settings import BrokerSettings, exit_on_config_error, load
from socialsync_ingest.runtime import Runtime
from socialsync_ingest.tasks import register_tasks
from socialsync_ingest.tick_slot import TickSlot


@setup_logging.connect(weak=False)
def _configure_logging(**_: object) -> None:
    configure_logging("ingest")


try:
    app = create_celery("ingest", load(BrokerSettings))
    Runtime.check_settings()
except ConfigError as error:
    exit_on_config_error(error)

register_tasks(app)
app.steps["worker"].add(TickSlot)
app.steps["consumer"].add(Heartbeat)
