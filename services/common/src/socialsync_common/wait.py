"""``python -m socialsync_common.wait postgres schema redis``: an init step that says what a pod waits for.

It never ends by itself before all are there: a pod that waits, with the reason in its log, is what one wants to see
when a Secret is wrong or a database is away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import psycopg
import redis

from socialsync_common.errors import ConfigError
from socialsync_common.migrate import pending
from socialsync_common.settings import BrokerSettings, DatabaseSettings, exit_on_config_error, load

_RETRY_SECONDS = 1.0
_CONNECT_SECONDS = 5


def postgres() -> str | None:
    """What is wrong with DATABASE_URL, or None."""
    try:
        psycopg.connect(_database_url(), connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.Error as error:
        return f"DATABASE_URL: {_first_line(error)}"
    return None


def schema() -> str | None:
    """Which migrations have not run yet."""
    try:
        with psycopg.connect(_database_url(), connect_timeout=_CONNECT_SECONDS) as connection:
            missing = pending(connection)
    except psycopg.Error as error:
        return f"DATABASE_URL: {_first_line(error)}"
    return f"migrations have not run: {', '.join(missing)}" if missing else None


def broker() -> str | None:
    """What is wrong with CELERY_BROKER_URL, or None."""
    url = load(BrokerSettings).redis_url
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS
        ) as client:
            client.ping()
    except redis.RedisError as error:
        return f"CELERY_BROKER_URL: {_first_line(error)}"
    return None


CHECKS: dict[str, Callable[[], str | None]] = {"postgres": postgres, "schema": schema, "redis": broker}


def main(arguments: Sequence[str]) -> None:
    unknown = [name for name in arguments if name not in CHECKS]
    if unknown or not arguments:
        raise ConfigError(f"wait: {', '.join(unknown) or 'nothing'} is none of {', '.join(CHECKS)}")
    for name in arguments:
        said = None
        while (fault := CHECKS[name]()) is not None:
            if fault != said:
                said = fault
                sys.stdout.write(f"waiting for {name}: {fault}\n")
                sys.stdout.flush()
            time.sleep(_RETRY_SECONDS)
        sys.stdout.write(f"{name} is there\n")


def _database_url() -> str:
    return load(DatabaseSettings).database_url.get_secret_value()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        exit_on_config_error(error)
