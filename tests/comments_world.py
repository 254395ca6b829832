"""Comments in this process, on a real Postgres and the sandbox: people who comment, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sandbox_process import MetaSandbox
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.comments import CommentsApi
from socialsync_common.platforms.instagram_comments import InstagramComments
from socialsync_common.platforms.page_comments import PageComments
from socialsync_common.settings import DatabaseSettings, EncryptionSettings, GraphSettings
from support import TEST_KEYS, TEST_SECRETS, Databases, Tenant

GRAPH_SECONDS = 2.0

Row = dict[str, Any]


@dataclass
class CommentsWorld:
    """Two tenants, the platform, and the people who comment. Posts and comments are rows of the database, as its owner
    sees them; what people write is on the platform first, and stored only when it is read."""

    databases: Databases
    database: Database
    meta: MetaSandbox
    us: Tenant
    them: Tenant
    cipher: TokenCipher
    graph: GraphClient
    apis: dict[Platform, CommentsApi]

    # --- people ---

    def post(
        self,
        account: Account,
        *,
        caption: str = "Fresh bread",
        kind: str = "image",
        pictures: int = 1,
        age_seconds: int = 0,
        origin: str = "published",
        monitored: bool = True,
    ) -> Row:
        """A post of the account, with its row; a monitored one is due."""
        body = {
            "platform": account.platform, "account": account.external_id, "caption": caption, "kind": kind,
            "pictures": pictures, "age_seconds": age_seconds,
        }  # fmt: skip
        (external_id,) = self.control("posts", **body)["posts"]
        return self.watch(account, external_id, age_seconds=age_seconds, origin=origin, monitored=monitored)

    def watch(
        self,
        account: Account,
        external_id: str,
        *,
        age_seconds: int = 0,
        origin: str = "published",
        monitored: bool = True,
    ) -> Row:
        """The row of a post that may be on the platform."""
        (row,) = self.databases.query(
            """
            INSERT INTO monitored_posts (tenant_id, account_id, external_id, origin, monitored, monitored_since,
                                         published_at, next_poll_at)
            SELECT %s, %s, %s, %s, monitored, at, at, CASE WHEN monitored THEN now() END
              FROM (SELECT %s AS monitored, now() - make_interval(secs => %s) AS at) t RETURNING *
            """,
            account.tenant_id, account.id, external_id, origin, monitored, age_seconds,
        )  # fmt: skip
        return row

    def write(
        self,
        post: Row,
        text: str = "How much is it?",
        *,
        author: str = "ana",
        parent: str | None = None,
        webhook: bool = False,
        **more: Any,
    ) -> str:
        """Somebody comments on the platform; the comment's id there."""
        body = {"post": post["external_id"], "text": text, "author": {"id": f"id-{author}", "name": author}}
        parents = {"parent": parent} if parent else {}
        return str(self.control("write", **body, **parents, webhook=webhook, **more)["comment_id"])

    def flood(self, account: Account, post: Row, comments: int, **more: Any) -> None:
        """Many comments at once, which no webhook tells of."""
        body = {
            "platform": account.platform, "posts": [post["external_id"]], "comments": comments,
            "texts": ["How much is it?"], "webhook_share": 0, "duplicate_share": 0, "reply_share": 0,
        }  # fmt: skip
        self.control("flood", **{**body, **more})

    def control(self, action: str, **body: Any) -> Any:
        """What else people do: ``edit``, ``delete``, ``hide``, ``person``. With ``webhook=False`` the gateway is not told."""
        return self.meta.control("POST", f"comments/{action}", json=body)

    def allow(self, account: Account, calls: int, seconds: int = 3600) -> None:
        """From now on the platform takes so many calls of the account in so many seconds."""
        body = {"account": account.external_id, "calls_per_window": calls, "window_seconds": seconds}
        self.meta.control("POST", "usage", json=body)

    # --- what is there ---

    def row(self, post: Row) -> Row:
        return self.databases.query("SELECT * FROM monitored_posts WHERE id = %s", post["id"])[0]

    def set(self, post: Row, assignments: str) -> None:
        self.databases.query(f"UPDATE monitored_posts SET {assignments} WHERE id = %s", post["id"])  # noqa: S608

    def due(self, post: Row) -> None:
        """The time has come to read it again."""
        self.set(post, "next_poll_at = now()")

    def comments(self, post: Row) -> list[Row]:
        """Oldest first."""
        return self.databases.query(
            "SELECT * FROM comments WHERE post_id = %s ORDER BY written_at, external_id", post["id"]
        )

    def comment(self, external_id: str) -> Row:
        return self.databases.query("SELECT * FROM comments WHERE external_id = %s", external_id)[0]

    def set_comment(self, external_id: str, assignments: str) -> None:
        self.databases.query(f"UPDATE comments SET {assignments} WHERE external_id = %s", external_id)  # noqa: S608

    def send(self, external_id: str, status: str, kind: str = "public_reply", author: str = "ai") -> UUID:
        """Something that is said about a comment, in this status."""
        (row,) = self.databases.query(
            """
            INSERT INTO comment_sends (tenant_id, account_id, post_id, comment_id, kind, author, author_id, text, version, status)
            SELECT tenant_id, account_id, post_id, id, %s, %s, author_id, 'Three euros.', version, %s
              FROM comments WHERE external_id = %s RETURNING id
            """,
            kind, author, status, external_id,
        )  # fmt: skip
        return UUID(str(row["id"]))

    def sends(self, external_id: str) -> list[Row]:
        return self.databases.query(
            "SELECT s.* FROM comment_sends s JOIN comments c ON c.id = s.comment_id WHERE c.external_id = %s ORDER BY s.kind",
            external_id,
        )

    def report(self) -> Any:
        """What the platform has, and which calls it answered."""
        return self.meta.control("GET", "comments/report")


@contextmanager
def comments_world(
    tenants: tuple[Tenant, Tenant], databases: Databases, meta: MetaSandbox
) -> Iterator[CommentsWorld]:
    """Both tenants' accounts are known to Meta."""
    meta.control("DELETE", "state")
    for tenant in tenants:
        for account in tenant.accounts.values():
            meta.account(account.platform, account.external_id, account.token)
    database = Database(DatabaseSettings(database_url=databases.service_url, database_pool_size=8))
    database.open()
    graph = GraphClient(
        GraphSettings(
            meta_graph_url=meta.url,
            graph_timeout_seconds=GRAPH_SECONDS,
            meta_app_secret=TEST_SECRETS["META_APP_SECRET"],
        )
    )
    apis: dict[Platform, CommentsApi] = {
        Platform.INSTAGRAM: InstagramComments(graph),
        Platform.MESSENGER: PageComments(graph),
    }
    cipher = TokenCipher(EncryptionSettings(token_encryption_keys=TEST_KEYS))
    yield CommentsWorld(databases, database, meta, *tenants, cipher, graph, apis)
    graph.http.close()
    database.close()
