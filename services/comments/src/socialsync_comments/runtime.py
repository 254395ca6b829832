"""What the tasks need, built once for each worker process from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from uuid import UUID

import redis

from socialsync_comments.answering.answering import Answering
from socialsync_comments.answering.writing import Writer
from socialsync_comments.watching import Watching
from socialsync_common.ai import create_responder
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.comments import CommentsApi
from socialsync_common.platforms.instagram_comments import InstagramComments
from socialsync_common.platforms.page_comments import PageComments
from socialsync_common.settings import (
    AISettings,
    BrokerSettings,
    DatabaseSettings,
    EncryptionSettings,
    GraphSettings,
    load,
)

_REDIS_TIMEOUT_SECONDS = 5

Announce = Callable[[list[tuple[UUID, UUID]]], None]


@dataclass(frozen=True)
class Runtime:
    """Thread-safe parts, shared by all slots of a worker process."""

    database: Database
    redis: redis.Redis
    watching: Watching
    answering: Answering

    @staticmethod
    def check_settings() -> None:
        """Raises ConfigError at start rather than at the first comment."""
        for settings in (DatabaseSettings, BrokerSettings, GraphSettings):
            load(settings)
        TokenCipher(load(EncryptionSettings))
        create_responder(load(AISettings))

    @classmethod
    def create(cls, announce: Announce, wake: Callable[[], None]) -> Runtime:
        database = Database(load(DatabaseSettings))
        database.open()
        cipher = TokenCipher(load(EncryptionSettings))
        graph = GraphClient(load(GraphSettings))
        responder = create_responder(load(AISettings))
        apis: dict[Platform, CommentsApi] = {
            Platform.INSTAGRAM: InstagramComments(graph),
            Platform.MESSENGER: PageComments(graph),
        }
        watching = Watching(
            database, cipher, apis, graph, announce=announce, wake=wake, sees_pictures=responder.sees_pictures
        )
        answering = Answering(database, cipher, apis, Writer(responder, watching.describe))
        answering.start()
        client = redis.Redis.from_url(
            load(BrokerSettings).redis_url,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        )
        return cls(database, client, watching, answering)


class Runtimes:
    """This process's runtime, built at first use. A forked child must not share its parent's connections."""

    def __init__(self, announce: Announce, wake: Callable[[], None]) -> None:
        self._of = cache(lambda _pid: Runtime.create(announce, wake))  # the parent's stays referenced

    def __call__(self) -> Runtime:
        return self._of(os.getpid())
