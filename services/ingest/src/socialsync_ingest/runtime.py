"""What the tasks need, built once for each worker process from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import redis

from socialsync_common.ai import Responder, create_responder
from socialsync_common.batches import Batches
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.platforms import GraphClient
from socialsync_common.settings import (
    AISettings,
    BrokerSettings,
    DatabaseSettings,
    EncryptionSettings,
    GraphSettings,
    load,
)
from socialsync_ingest.leases import LeaseKeeper

_REDIS_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Runtime:
    """Thread-safe parts, shared by all slots of a worker process."""

    database: Database
    batches: Batches
    keeper: LeaseKeeper
    cipher: TokenCipher
    responder: Responder
    graph: GraphClient

    @staticmethod
    def check_settings() -> None:
        """Raises ConfigError at start rather than at the first message."""
        for settings in (DatabaseSettings, BrokerSettings, GraphSettings):
            load(settings)
        TokenCipher(load(EncryptionSettings))
        create_responder(load(AISettings))

    @classmethod
    def create(cls) -> Runtime:
        database = Database(load(DatabaseSettings))
        database.open()
        client = redis.Redis.from_url(
            load(BrokerSettings).redis_url,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        )
        batches = Batches(client)
        keeper = LeaseKeeper(batches)
        keeper.start()
        return cls(
            database=database,
            batches=batches,
            keeper=keeper,
            cipher=TokenCipher(load(EncryptionSettings)),
            responder=create_responder(load(AISettings)),
            graph=GraphClient(load(GraphSettings)),
        )


def runtime() -> Runtime:
    """This process's runtime, built at first use. A forked child must not share its parent's connections."""
    return _runtime_of(os.getpid())


@cache
def _runtime_of(pid: int) -> Runtime:  # noqa: ARG001 - the key; the parent's stays referenced, or its sockets close
    return Runtime.create()
