"""``celery -A socialsync_flower flower``: Flower, looking at the broker as the workers do."""

from __future__ import annotations

from socialsync_common.celery_app import create_celery
from socialsync_common.errors import ConfigError
from socialsync_common.settings import BrokerSettings, exit_on_config_error, load

try:
    app = create_celery("flower", load(BrokerSettings))
except ConfigError as error:
    exit_on_config_error(error)
