"""Meta's Graph API as the workers see it: sends, media, limits, and what each error proves."""

from __future__ import annotations

from socialsync_common.platforms.graph import GraphClient, OutgoingText
from socialsync_common.platforms.media import Media, fetch_media

__all__ = ["GraphClient", "Media", "OutgoingText", "fetch_media"]
