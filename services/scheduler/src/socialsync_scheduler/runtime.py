"""What the tasks need, built once for each worker process from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from uuid import UUID

from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.media_urls import MediaUrls
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.instagram import InstagramPublisher
from socialsync_common.platforms.login import LoginClient
from socialsync_common.platforms.pages import PagePublisher
from socialsync_common.platforms.publishing import Publisher
from socialsync_common.settings import (
    DatabaseSettings,
    EncryptionSettings,
    GraphSettings,
    LoginSettings,
    PostSettings,
    PublicSettings,
    load,
)
from socialsync_scheduler.publishing.publish import Publishing


@dataclass(frozen=True)
class Runtime:
    """Thread-safe parts, shared by all slots of a worker process."""

    database: Database
    cipher: TokenCipher
    login: LoginClient
    publishers: dict[Platform, Publisher]
    publishing: Publishing

    @staticmethod
    def check_settings() -> None:
        """Raises ConfigError at start rather than at the first post."""
        for settings in (DatabaseSettings, GraphSettings, LoginSettings, PostSettings):
            load(settings)
        MediaUrls(load(PublicSettings).base_url, load(EncryptionSettings))

    @classmethod
    def create(cls, announce: Callable[[list[tuple[UUID, UUID]]], None]) -> Runtime:
        database = Database(load(DatabaseSettings))
        database.open()
        cipher = TokenCipher(load(EncryptionSettings))
        graph = GraphClient(load(GraphSettings))
        publishers: dict[Platform, Publisher] = {
            Platform.INSTAGRAM: InstagramPublisher(graph),
            Platform.MESSENGER: PagePublisher(graph),
        }
        publishing = Publishing(
            database,
            cipher,
            publishers,
            MediaUrls(load(PublicSettings).base_url, load(EncryptionSettings)),
            grace=timedelta(seconds=load(PostSettings).post_grace_seconds),
            announce=announce,
        )
        publishing.start()
        return cls(
            database=database,
            cipher=cipher,
            login=LoginClient(load(GraphSettings), load(LoginSettings)),
            publishers=publishers,
            publishing=publishing,
        )


class Runtimes:
    """This process's runtime, built at first use. A forked child must not share its parent's connections."""

    def __init__(self, announce: Callable[[list[tuple[UUID, UUID]]], None]) -> None:
        self._of = cache(
            lambda _pid: Runtime.create(announce)
        )  # the parent's stays referenced, or its sockets close

    def __call__(self) -> Runtime:
        return self._of(os.getpid())
