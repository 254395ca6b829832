"""What each platform takes as a post: data, with where it is written down.

- Instagram media: developers.facebook.com/docs/instagram-platform, reference of ``IG User /media`` (image, reel and
  story specifications), and its error codes: 36000/2207004 says 8 MiB. Pictures narrower than 320 or wider than 1440
  pixels are scaled by Instagram, so their width refuses nothing.
- Instagram captions: the same reference: 2,200 characters, 30 hashtags, 20 @-mentions.
- Instagram's number of posts: ``IG User /content_publishing_limit``, which is read for each account.
- Pages: developers.facebook.com/docs/graph-api, reference of ``Page /photos`` and ``Page /feed``; Video API, guides for
  reels and stories. 63,206 characters is the length of a Facebook post.
- Comments: Instagram 2,200 characters, Facebook 8,000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from socialsync_common.contracts import Platform, PostKind

MIB = 1024 * 1024
MB = 1000 * 1000

QUOTA_PERIOD = timedelta(hours=24)
DEFAULT_QUOTA = (
    50  # the lower of the two figures that Meta documents, for an account whose own was not read yet
)

MAX_ACCOUNTS = 50
MAX_ALT_TEXT = 1000

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "video/mp4": "MP4", "video/quicktime": "MOV"}


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What a picture or a video must be like. Ratios are width / height; None: the platform names no limit."""

    mime_types: tuple[str, ...]
    max_bytes: int | None = None
    ratios: tuple[float, float] | None = None
    ratio_words: str = ""
    min_seconds: float | None = None
    max_seconds: float | None = None

    @property
    def formats(self) -> str:
        return " or ".join(_FORMATS[mime_type] for mime_type in self.mime_types)


@dataclass(frozen=True, slots=True)
class KindLimits:
    """What one kind of post consists of. ``pictures`` or ``videos`` None: it takes none."""

    pieces: tuple[int, int]
    pictures: FileLimits | None = None
    videos: FileLimits | None = None
    takes_text: bool = True
    needs_text: bool = False
    first_shapes_all: bool = (
        False  # the others are cut to the first one's ratio, so that only that one counts
    )

    @property
    def takes(self) -> str:
        """In words, for example ``2 to 10 pictures or videos``."""
        least, most = self.pieces
        many = most > 1
        nouns = [
            noun + "s" * many
            for noun, limits in (("picture", self.pictures), ("video", self.videos))
            if limits
        ]
        if not nouns:
            return "no picture and no video"
        return f"{least} to {most} {' or '.join(nouns)}" if many else f"one {' or one '.join(nouns)}"


@dataclass(frozen=True, slots=True)
class PlatformLimits:
    """``kinds`` names every kind of post that the platform takes."""

    name: str
    kinds: Mapping[PostKind, KindLimits]
    text_characters: int
    first_comment_characters: int
    hashtags: int | None = None
    mentions: int | None = None


_INSTAGRAM_PICTURE = FileLimits(
    ("image/jpeg",), max_bytes=8 * MIB, ratios=(4 / 5, 1.91), ratio_words="4:5 and 1.91:1"
)
_INSTAGRAM_STORY_PICTURE = FileLimits(("image/jpeg",), max_bytes=8 * MIB)  # cut to the screen
_INSTAGRAM_VIDEO = FileLimits(
    ("video/mp4", "video/quicktime"),
    max_bytes=300 * MB,
    ratios=(0.01, 10),
    ratio_words="0.01:1 and 10:1",
    min_seconds=3,
    max_seconds=15 * 60,
)
_INSTAGRAM_STORY_VIDEO = FileLimits(
    ("video/mp4", "video/quicktime"),
    max_bytes=100 * MB,
    ratios=(0.1, 10),
    ratio_words="0.1:1 and 10:1",
    min_seconds=3,
    max_seconds=60,
)
_INSTAGRAM_REEL = KindLimits((1, 1), videos=_INSTAGRAM_VIDEO)

_PAGE_PICTURE = FileLimits(("image/jpeg", "image/png"), max_bytes=10 * MB)
_PAGE_REEL = KindLimits((1, 1), videos=FileLimits(("video/mp4", "video/quicktime"), min_seconds=3))
_PAGE_STORY_VIDEO = FileLimits(("video/mp4", "video/quicktime"), min_seconds=3, max_seconds=60)

LIMITS: dict[Platform, PlatformLimits] = {
    Platform.INSTAGRAM: PlatformLimits(
        "Instagram",
        {
            PostKind.IMAGE: KindLimits((1, 1), pictures=_INSTAGRAM_PICTURE),
            PostKind.CAROUSEL: KindLimits(
                (2, 10), pictures=_INSTAGRAM_PICTURE, videos=_INSTAGRAM_VIDEO, first_shapes_all=True
            ),
            PostKind.VIDEO: _INSTAGRAM_REEL,  # Instagram publishes every video as a reel
            PostKind.REEL: _INSTAGRAM_REEL,
            PostKind.STORY: KindLimits(
                (1, 1), pictures=_INSTAGRAM_STORY_PICTURE, videos=_INSTAGRAM_STORY_VIDEO, takes_text=False
            ),
        },
        text_characters=2200,
        first_comment_characters=2200,
        hashtags=30,
        mentions=20,
    ),
    Platform.MESSENGER: PlatformLimits(
        "Facebook",
        {
            PostKind.TEXT: KindLimits((0, 0), needs_text=True),
            PostKind.IMAGE: KindLimits((1, 1), pictures=_PAGE_PICTURE),
            PostKind.CAROUSEL: KindLimits((2, 10), pictures=_PAGE_PICTURE),
            PostKind.VIDEO: _PAGE_REEL,
            PostKind.REEL: _PAGE_REEL,
            PostKind.STORY: KindLimits(
                (1, 1), pictures=_PAGE_PICTURE, videos=_PAGE_STORY_VIDEO, takes_text=False
            ),
        },
        text_characters=63_206,
        first_comment_characters=8000,
    ),
}  # WhatsApp numbers take no posts
