"""What a post looks like, for whoever answers its comments: asked once, and kept."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog

from socialsync_comments.watching import decide, repository
from socialsync_comments.watching.schemas import Described, Post
from socialsync_common.accounts import Account
from socialsync_common.ai import Attachment
from socialsync_common.contracts import Platform, PostKind
from socialsync_common.db import Database
from socialsync_common.errors import PermanentError, SocialSyncError
from socialsync_common.platforms import GraphClient, fetch_media
from socialsync_common.platforms.comments import MAX_PICTURES, CommentsApi, PostDetails
from socialsync_common.platforms.publishing import Channel

log = structlog.get_logger()

MAX_PICTURE_BYTES = 5 * 1024 * 1024
_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
BLIND = "the model that answers sees no pictures"
NONE_SHOWN = "the platform shows no picture of it"


class Posts:
    """Thread-safe. ``sees_pictures``: of the model that answers."""

    def __init__(
        self,
        database: Database,
        apis: dict[Platform, CommentsApi],
        graph: GraphClient,
        *,
        sees_pictures: bool,
    ) -> None:
        self._database = database
        self._apis = apis
        self._graph = graph
        self._sees_pictures = sees_pictures

    def describe(self, account: Account, post_id: UUID, now: datetime) -> Post:
        """The post with its pictures, or with what is known of it and a note.

        Raises:
            PermanentError: the account has no such post.
        """
        post = self._load(account, post_id)
        with_pictures = decide.wants_pictures(post, now, sees_pictures=self._sees_pictures)
        if with_pictures or decide.wants_details(post, now):
            self._ask(account, post, now, with_pictures=with_pictures)
            post = self._load(account, post_id)
        return Post(
            id=post.id,
            external_id=post.external_id,
            kind=post.kind,
            caption=post.caption or "",
            permalink=post.permalink,
            pictures=tuple(post.pictures.values()) if self._sees_pictures else (),
            picture_note=self._note(post),
        )

    def _load(self, account: Account, post_id: UUID) -> Described:
        with self._database.transaction(account.tenant_id) as connection:
            post = repository.described(connection, post_id)
        if post is None:
            raise PermanentError(f"post {post_id}: not found")
        return post

    def _note(self, post: Described) -> str | None:
        if self._sees_pictures:
            return post.pictures_note
        return None if post.kind == PostKind.TEXT else BLIND

    def _ask(self, account: Account, post: Described, now: datetime, *, with_pictures: bool) -> None:
        """Ask about the post, and keep what can be had of it."""
        channel = Channel(account.platform, account.external_id, account.token)
        details, pictures, note = None, dict[int, Attachment](), None
        try:
            details = self._apis[account.platform].details(channel, post.external_id)
        except SocialSyncError as error:
            note = f"the post could not be read: {error}"
        if details is not None and with_pictures:
            pictures, note = self._fetch(account, post, details)
        if note is not None:
            log.info("post's looks not had", post=str(post.id), reason=note)
        with self._database.transaction(account.tenant_id) as connection:
            # what is known is good for another while; what is not is asked for again, together with the pictures
            if details is not None or post.details_at is not None:
                repository.save_details(connection, post.id, details, now)
            if with_pictures or post.details_at is None:
                pictures_at = now if with_pictures or note else None
                repository.save_pictures(connection, account.tenant_id, post.id, pictures, note, pictures_at)

    def _fetch(
        self, account: Account, post: Described, details: PostDetails
    ) -> tuple[dict[int, Attachment], str | None]:
        """The pictures that are not there yet, by their positions, and why some are missing."""
        urls = details.picture_urls[:MAX_PICTURES]
        if not urls:
            return {}, None if details.kind == PostKind.TEXT else NONE_SHOWN
        pictures: dict[int, Attachment] = {}
        faults: list[str] = []
        for position, url in enumerate(urls, start=1):
            if position in post.pictures:
                continue
            try:
                pictures[position] = self._picture(account, url)
            except SocialSyncError as error:
                faults.append(str(error))
        return pictures, f"{len(faults)} of {len(urls)} not had: {faults[0]}" if faults else None

    def _picture(self, account: Account, url: str) -> Attachment:
        """Raises TransientError or PermanentError where it cannot be had, or the model would not take it."""
        media = fetch_media(self._graph, account.platform, account.token, {"url": url})
        if media.mime_type not in _TYPES:
            raise PermanentError(f"media: {media.mime_type} is no picture that the model takes")
        if len(media.content) > MAX_PICTURE_BYTES:
            raise PermanentError(f"media: larger than {MAX_PICTURE_BYTES >> 20} MB")
        return Attachment("image", media.mime_type, media.content)
