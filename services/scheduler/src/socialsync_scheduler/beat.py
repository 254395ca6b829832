"""Beat: ``celery -A socialsync_scheduler.beat beat``, in as many replicas as you like; exactly one ticks."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from socialsync_common.celery_app import create_celery
from socialsync_common.errors import ConfigError
from socialsync_common.logging import configure_logging
from socialsync_common.settings import BrokerSettings, exit_on_config_error, load


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    # a receiver keeps Celery from setting up its own
    configure_logging("beat")


def _create_app() -> Celery:
    configure_logging("beat")
    try:
        broker = load(BrokerSettings)
    except ConfigError as error:
        exit_on_config_error(error)
    created = create_celery("scheduler", broker)
    created.conf.update(
        beat_scheduler="socialsync_scheduler.scheduler:FencedScheduler",
        beat_max_loop_interval=0.5,
    )
    return created


app = _create_app()
