"""Posts as those who read comments see them: what is said in them, and their pictures. Pure."""

from __future__ import annotations

from typing import Any

from socialsync_common.contracts import Platform
from socialsync_sandbox.publishing.state import File, Post, meta_time

Row = dict[str, Any]


def details(post: Post, comments: int, base_url: str) -> Row:
    """``comments``: how many there are, with replies; ``base_url``: where the pictures are, with a slash at its end."""
    urls = [f"{base_url}sandbox/cdn/{post.media_id}/{place}" for place in range(len(post.files))]
    pictures = list(zip(post.files, urls, strict=True))
    about = {"id": post.media_id}
    if post.platform is Platform.INSTAGRAM:
        return about | _instagram(post, comments, pictures)
    return about | _page(post, pictures)


def _instagram(post: Post, comments: int, pictures: list[tuple[File, str]]) -> Row:
    is_carousel = post.kind == "carousel"
    row: Row = {
        "media_type": "CAROUSEL_ALBUM" if is_carousel else _media_type(post.files),
        "media_product_type": {"reel": "REELS", "story": "STORY"}.get(post.kind, "FEED"),
        "caption": post.text,
        "permalink": post.permalink,
        "timestamp": meta_time(post.at),
        "comments_count": comments,
    }
    if is_carousel:
        children = [
            {"id": f"{post.media_id}{place:02}", "media_type": _media_type([file]), **_medium(file, url)}
            for place, (file, url) in enumerate(pictures)
        ]
        return row | {"children": {"data": children}}
    if pictures:
        row |= _medium(*pictures[0])
    if post.kind == "reel":
        row.pop("media_url", None)
    return row


def _media_type(files: list[File]) -> str:
    return "VIDEO" if any(file.is_video for file in files) else "IMAGE"


def _medium(file: File, url: str) -> Row:
    """A video's picture is its thumbnail."""
    return {"media_url": f"{url}.mp4", "thumbnail_url": url} if file.is_video else {"media_url": url}


def _page(post: Post, pictures: list[tuple[File, str]]) -> Row:
    row: Row = {
        "message": post.text,
        "permalink_url": post.permalink,
        "permalink": post.permalink,
        "created_time": meta_time(post.at),
    }
    if not pictures:
        return row
    parts = [_attachment(file, url) for file, url in pictures]
    whole = parts[0]
    if len(parts) > 1:
        whole = {**parts[0], "media_type": "album", "subattachments": {"data": parts}}
    return row | {"full_picture": pictures[0][1], "attachments": {"data": [whole]}}


def _attachment(file: File, url: str) -> Row:
    return {"media_type": "video" if file.is_video else "photo", "media": {"image": {"src": url}}}
