"""What every service's ``celery.py`` has in common: the application of a worker, or one line about what is missing."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from socialsync_common.celery_app import create_celery
from socialsync_common.errors import ConfigError
from socialsync_common.heartbeat import Heartbeat
from socialsync_common.logging import configure_logging
from socialsync_common.settings import BrokerSettings, exit_on_config_error, load
from socialsync_common.tick_slot import TickSlot


def create_worker(service: str) -> Celery:
    """The application of ``celery -A socialsync_{service} worker``: tick slot, heartbeat, our own logs."""

    @setup_logging.connect(weak=False)
    def _configure(**_: Any) -> None:
        # a receiver keeps Celery from setting up its own
        configure_logging(service)

    configure_logging(service)
    try:
        app = create_celery(service, load(BrokerSettings))
    except ConfigError as error:
        exit_on_config_error(error)
    app.steps["worker"].add(TickSlot)
    app.steps["consumer"].add(Heartbeat)
    return app
