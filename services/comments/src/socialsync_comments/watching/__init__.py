"""Posts whose comments are watched: read again by polling, and described for whoever answers."""

from __future__ import annotations

from socialsync_comments.watching.fetch import Watching
from socialsync_comments.watching.schemas import Post

__all__ = ["Post", "Watching"]
