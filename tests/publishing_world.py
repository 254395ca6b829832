"""Publishing in this process, on a real Postgres and the sandbox: workers without Celery, and the people who write posts."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

from posting import jpeg
from sandbox_process import MetaSandbox
from socialsync_common.accounts import Account, connect_account
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.media_urls import MediaUrls
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.instagram import InstagramPublisher
from socialsync_common.platforms.pages import PagePublisher
from socialsync_common.platforms.publishing import Publisher
from socialsync_common.settings import DatabaseSettings, EncryptionSettings, GraphSettings
from socialsync_gateway.database import Database as GatewayDatabase
from socialsync_gateway.posts import schemas, service
from socialsync_scheduler.publishing.publish import Announce, Publishing
from stack import until
from support import TEST_KEYS, TEST_SECRETS, Databases, Tenant

GRACE = timedelta(hours=1)
GRAPH_SECONDS = 2.0
PICTURE = jpeg()


class Pictures(BaseHTTPRequestHandler):
    """What Meta fetches: the same picture at every address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass(eq=False)
class Worker:
    """One process's publishing, without Celery: ``announced`` is what it sent to others."""

    publishing: Publishing
    announced: list[tuple[UUID, UUID]] = field(default_factory=list)

    def __call__(self, target: dict[str, Any] | UUID, tenant: UUID | None = None) -> str:
        if isinstance(target, UUID):
            assert tenant
            return self.publishing.publish(tenant, target)
        return self.publishing.publish(target["tenant_id"], target["id"])


@dataclass
class World:
    """Two tenants, the platform, and the people who write posts."""

    databases: Databases
    database: Database
    meta: MetaSandbox
    us: Tenant
    them: Tenant
    media_url: str
    cipher: TokenCipher
    publishers: dict[Platform, Publisher]
    workers: list[Worker] = field(default_factory=list)
    media: dict[UUID, UUID] = field(default_factory=dict)

    def worker(
        self,
        *,
        database: Database | None = None,
        media_url: str | None = None,
        announce: Announce | None = None,
    ) -> Worker:
        announced: list[tuple[UUID, UUID]] = []
        urls = MediaUrls(self.media_url if media_url is None else media_url, keys())
        publishing = Publishing(
            database or self.database, self.cipher, self.publishers, urls, grace=GRACE, announce=announce or announced.extend
        )  # fmt: skip
        publishing.start()
        worker = Worker(publishing, announced)
        self.workers.append(worker)
        return worker

    # --- people ---

    def schedule(
        self, *accounts: Account, text: str = "bread", kind: str = "image", due: float = 0.0, comment: str | None = None
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A post on the accounts, due in so many seconds, and to be looked at now; its targets."""
        post, due_at = uuid4(), datetime.now(UTC) + timedelta(seconds=due)
        tenant = accounts[0].tenant_id
        query = self.databases.query
        query(
            "INSERT INTO scheduled_posts (id, tenant_id, kind, text, first_comment, due_at, zone, request_hash) "
            "VALUES (%s, %s, %s, %s, %s, %s, 'UTC', '')",
            post, tenant, kind, text, comment, due_at,
        )  # fmt: skip
        for place in range(0 if kind == "text" else 3 if kind == "carousel" else 1):
            query(
                "INSERT INTO post_media (post_id, position, media_id, tenant_id) VALUES (%s, %s, %s, %s)",
                post, place + 1, self._media_of(tenant), tenant,
            )  # fmt: skip
        for account in accounts:
            query(
                "INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at, next_at) "
                "VALUES (%s, %s, %s, %s, %s, least(%s, now()) - interval '1 second')",
                uuid4(), tenant, post, account.id, due_at, due_at,
            )  # fmt: skip
        return query(
            "SELECT t.* FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE post_id = %s ORDER BY platform",
            post,
        )

    def _media_of(self, tenant: UUID) -> UUID:
        if tenant not in self.media:
            self.media[tenant] = uuid4()
            self.databases.query(
                "INSERT INTO media (id, tenant_id, kind, mime_type, size, sha256, width, height, name, storage) "
                "VALUES (%s, %s, 'image', 'image/jpeg', %s, %s, 320, 320, 'bread.jpg', 'postgres')",
                self.media[tenant], tenant, len(PICTURE), hashlib.sha256(PICTURE).digest(),
            )  # fmt: skip
        return self.media[tenant]

    def edit(self, target: dict[str, Any], **change: Any) -> None:
        """As PATCH does. Raises ProblemError where the post cannot be changed any more."""
        request = schemas.PostChange.model_validate(change)
        self._api(lambda api: service.change(api, target["tenant_id"], target["post_id"], request))

    def cancel(self, target: dict[str, Any]) -> None:
        self._api(lambda api: service.cancel(api, target["tenant_id"], target["post_id"]))

    def decide(self, target: dict[str, Any], decision: Any) -> None:
        self._api(
            lambda api: service.decide(api, target["tenant_id"], target["post_id"], target["id"], decision)
        )

    def _api(self, action: Any) -> None:
        async def run() -> None:
            api = GatewayDatabase(
                DatabaseSettings(database_url=self.databases.service_url, database_pool_size=2)
            )
            await api.open()
            try:
                await action(api)
            finally:
                await api.close()

        asyncio.run(run())

    def reconnect(self, account: Account, token: str) -> None:
        self.meta.account(account.platform, account.external_id, token)
        name = next(tenant.name for tenant in (self.us, self.them) if tenant.id == account.tenant_id)
        with self.database.transaction(account.tenant_id) as connection:
            connect_account(
                connection, self.cipher, tenant=name, platform=account.platform, external_id=account.external_id,
                name=account.name, token=token,
            )  # fmt: skip

    # --- what is there ---

    def row(self, target: dict[str, Any]) -> dict[str, Any]:
        return self.databases.query("SELECT * FROM post_targets WHERE id = %s", target["id"])[0]

    def set(self, target: dict[str, Any], assignments: str) -> None:
        self.databases.query(f"UPDATE post_targets SET {assignments} WHERE id = %s", target["id"])  # noqa: S608

    def reaches(self, target: dict[str, Any], **values: Any) -> dict[str, Any]:
        """Wait until its columns have these values."""

        def fits() -> dict[str, Any] | None:
            row = self.row(target)
            return row if all(row[name] == value for name, value in values.items()) else None

        try:
            return until(fits, 15, f"{values}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.row(target)}") from None

    def later(self, target: dict[str, Any], seconds: float = 0.0) -> None:
        """So much later: what waits for a time is due, and a call is so much older."""
        self.set(
            target,
            f"next_at = least(next_at, now()), publish_called_at = publish_called_at - interval '{seconds} seconds', "
            f"container_at = container_at - interval '{seconds} seconds'",
        )

    def abandon_lease(self, target: dict[str, Any]) -> None:
        """As its worker leaves it that dies."""
        self.set(target, "lease_until = now() - interval '1 second', next_at = least(next_at, now())")

    def live(self, account: Account | None = None) -> list[dict[str, Any]]:
        query = {"account": account.external_id} if account else {}
        found: list[dict[str, Any]] = self.meta.control("GET", "posts", params=query)
        return found

    def texts(self) -> list[str]:
        return [post["text"] for post in self.live()]

    def repeated(self) -> int:
        return int(self.meta.control("GET", "posts/counts")["repeated_publishes"])

    def notices(self) -> list[str]:
        rows = self.databases.query("SELECT kind FROM notices ORDER BY created_at, kind")
        return [row["kind"] for row in rows]

    def held(self, count: int = 1) -> None:
        until(lambda: self.meta.control("GET", "posting-faults")["held"] >= count, 15, "the call is held")

    def let_go(self) -> None:
        self.meta.control("POST", "release")


def keys() -> EncryptionSettings:
    return EncryptionSettings(token_encryption_keys=TEST_KEYS)


@contextmanager
def pictures() -> Iterator[str]:
    """Where Meta finds pictures."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def publishing_world(
    tenants: tuple[Tenant, Tenant], databases: Databases, meta: MetaSandbox, media_url: str
) -> Iterator[World]:
    """Both tenants' accounts are known to Meta. Ends when every worker has."""
    meta.control("DELETE", "state")
    for tenant in tenants:
        for account in tenant.accounts.values():
            meta.account(account.platform, account.external_id, account.token)
    database = Database(DatabaseSettings(database_url=databases.service_url, database_pool_size=16))
    database.open()
    settings = GraphSettings(
        meta_graph_url=meta.url,
        graph_timeout_seconds=GRAPH_SECONDS,
        meta_app_secret=TEST_SECRETS["META_APP_SECRET"],
    )
    graph = GraphClient(settings)
    publishers: dict[Platform, Publisher] = {
        Platform.INSTAGRAM: InstagramPublisher(graph),
        Platform.MESSENGER: PagePublisher(graph),
    }
    world = World(databases, database, meta, *tenants, media_url, TokenCipher(keys()), publishers)
    yield world
    meta.control("POST", "release")
    for worker in world.workers:
        worker.publishing.close()
    graph.http.close()
    database.close()


@contextmanager
def in_the_background(action: Any, *arguments: Any) -> Iterator[Any]:
    """Runs beside the test, which waits for it at the end."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(action, *arguments)
        yield future
        future.result(30)
