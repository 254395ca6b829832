"""Posts for drills and benches: scheduled by the hundred, counted where they arrive."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import psycopg
from celery import Celery
from PIL import Image
from psycopg.rows import dict_row

from socialsync_common.accounts import Account
from socialsync_common.celery_app import create_celery
from socialsync_common.contracts import Lane, Platform, TaskName
from socialsync_common.media_urls import MediaUrls
from socialsync_common.settings import BrokerSettings, EncryptionSettings
from stack import Stack


def jpeg(width: int = 320, height: int = 320) -> bytes:
    """A small picture with some life in it."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    content = io.BytesIO()
    image.save(content, "JPEG", quality=60)
    return content.getvalue()


@dataclass
class Posting:
    """What was scheduled, by text: each post has its own, so that a doubled one shows."""

    stack: Stack
    texts: dict[str, UUID] = field(default_factory=dict)
    _media: dict[UUID, UUID] = field(default_factory=dict)

    def media_of(self, tenant: UUID) -> UUID:
        """One picture of the tenant, in Postgres."""
        if tenant not in self._media:
            content, media = jpeg(), uuid4()
            self.stack.query(
                """
                INSERT INTO media (id, tenant_id, kind, mime_type, size, sha256, width, height, name, storage)
                VALUES (%s, %s, 'image', 'image/jpeg', %s, %s, 320, 320, 'bread.jpg', 'postgres')
                """,
                media, tenant, len(content), hashlib.sha256(content).digest(),
            )  # fmt: skip
            self.stack.query(
                "INSERT INTO media_chunks (media_id, number, tenant_id, content) VALUES (%s, 0, %s, %s)",
                media, tenant, content,
            )  # fmt: skip
            self._media[tenant] = media
        return self._media[tenant]

    def url_of_picture(self, tenant: UUID) -> str:
        """Where the sandbox can fetch it."""
        environment = self.stack.environment
        keys = EncryptionSettings(token_encryption_keys=environment["TOKEN_ENCRYPTION_KEYS"])
        return MediaUrls(environment["PUBLIC_URL"], keys).url(tenant, self.media_of(tenant), "image/jpeg")

    def schedule(
        self,
        accounts: Sequence[Account],
        count: int,
        due_at: datetime,
        *,
        kind: str = "image",
        first_comment: str | None = None,
        lead: timedelta = timedelta(seconds=75),
    ) -> list[str]:
        """``count`` posts, spread over the accounts; returns their texts."""
        texts = []
        with psycopg.connect(self.stack.owner_url, row_factory=dict_row) as connection:
            posts, media, targets = [], [], []
            for _ in range(count):
                account, post, target = accounts[len(self.texts) % len(accounts)], uuid4(), uuid4()
                text = f"post {len(self.texts)} of {account.external_id}"
                self.texts[text] = target
                texts.append(text)
                posts.append((post, account.tenant_id, kind, text, first_comment, due_at, "UTC", b""))
                if kind != "text":
                    media.append((post, 1, self.media_of(account.tenant_id), account.tenant_id))
                targets.append((target, account.tenant_id, post, account.id, due_at, due_at - lead))
            with connection.cursor() as cursor:
                for table, columns, rows in (
                    ("scheduled_posts", "id, tenant_id, kind, text, first_comment, due_at, zone, request_hash", posts),
                    ("post_media", "post_id, position, media_id, tenant_id", media),
                    ("post_targets", "id, tenant_id, post_id, account_id, due_at, next_at", targets),
                ):  # fmt: skip
                    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:  # type: ignore[arg-type]
                        for row in rows:
                            copy.write_row(row)
        return texts

    def accounts(
        self, count: int, platform: Platform, *, first: int = 0, tenant: str = "Bakery"
    ) -> list[Account]:
        base = {Platform.INSTAGRAM: 17_841_400_000_100_000, Platform.MESSENGER: 108_000_000_100_000}[platform]
        return [
            self.stack.connect(str(base + first + n), tenant=tenant, platform=platform) for n in range(count)
        ]

    def announce(self, texts: Sequence[str]) -> None:
        """Tell the workers, as the API does after its commit."""
        tenants = {text: row["tenant_id"] for text, row in self.targets().items()}
        self._send([(tenants[text], self.texts[text]) for text in texts])

    def announce_as(self, tenant: UUID, text: str) -> None:
        """The same, with a tenant that it may not belong to."""
        self._send([(tenant, self.texts[text])])

    def _send(self, targets: Sequence[tuple[UUID, UUID]]) -> None:
        with self._celery.producer_pool.acquire(block=True) as producer:
            for tenant, target in targets:
                arguments = {"tenant_id": str(tenant), "target_id": str(target)}
                self._celery.send_task(
                    TaskName.PUBLISH_POST, kwargs=arguments, queue=Lane.SCHEDULER, producer=producer
                )

    @cached_property
    def _celery(self) -> Celery:
        return create_celery("drill", BrokerSettings(celery_broker_url=self.stack.redis.url))

    def ready(self, texts: Sequence[str]) -> int:
        """How many of them only wait for their second."""
        targets = self.targets()
        return sum(targets[text]["phase"] == "container_ready" for text in texts)

    def targets(self) -> dict[str, dict[str, Any]]:
        """By text: all that Postgres knows of it."""
        rows = self.stack.query(
            "SELECT p.text, t.* FROM post_targets t JOIN scheduled_posts p ON p.id = t.post_id"
        )
        return {row["text"]: row for row in rows}

    def live(self) -> dict[str, list[dict[str, Any]]]:
        """By text: the posts that people see."""
        found: dict[str, list[dict[str, Any]]] = {}
        for post in self.stack.posts():
            found.setdefault(post["text"], []).append(post)
        return found

    def unfinished(self) -> list[dict[str, Any]]:
        """Targets that a worker will look at again."""
        return [row for row in self.targets().values() if row["next_at"] is not None]

    def fast_forward(self, seconds: float) -> None:
        """Let that time pass for what waits for a time: pauses between attempts, and what is settling."""
        self.stack.query(
            """
            UPDATE post_targets SET next_at = next_at - make_interval(secs => %(s)s),
                   publish_called_at = publish_called_at - make_interval(secs => %(s)s)
             WHERE next_at IS NOT NULL AND due_at < now() AND lease_until IS NULL
            """.replace("%(s)s", str(seconds))
        )  # fmt: skip

    def outcome(self) -> dict[str, Any]:
        """What became of all of them. Lost: live without Postgres knowing, or said to be live and not there."""
        targets, live = self.targets(), self.live()
        told = Counter(row["status"] for row in targets.values())
        wrong = [
            text for text, row in targets.items()
            if (row["status"] == "published") != bool(live.get(text)) and row["status"] != "needs_check"
        ]  # fmt: skip
        return {
            "posts": len(targets),
            "outcomes": dict(told),
            "published_twice": sum(len(posts) > 1 for posts in live.values()),
            "lost": len(wrong),
            "repeated_calls": self.stack.sandbox("GET", "/sandbox/posts/counts")["repeated_publishes"],
        }


def soon(seconds: float) -> datetime:
    """A whole second, about so far ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
