"""What each platform takes, at each border; and how many posts an account has room for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_common.contracts import Platform, PostKind
from socialsync_gateway.posts.decide import check_post
from socialsync_gateway.posts.limits import LIMITS, MB, MIB
from socialsync_gateway.posts.model import Attachment, Channel, File, Wanted
from socialsync_gateway.posts.quota import LOOK_AHEAD, OwnPost, room_from

INSTAGRAM, PAGE = Platform.INSTAGRAM, Platform.MESSENGER
DUE = datetime(2026, 12, 1, 9, tzinfo=UTC)
ACCOUNT = uuid4()
HOUR = timedelta(hours=1)


def picture(width=1080, height=1080, size=MB, mime_type="image/jpeg"):
    return File(uuid4(), "image", mime_type, size, width, height, None)


def video(seconds=30.0, width=1080, height=1920, size=MB, mime_type="video/mp4"):
    return File(uuid4(), "video", mime_type, size, width, height, seconds)


def faults(
    platform: Platform, kind: str, *files: File, text: str = "", comment: str | None = None
) -> list[str]:
    channel = Channel(uuid4(), "Bakery", platform, "active", None, None, None)
    wanted = Wanted(
        PostKind(kind), text, comment, tuple(Attachment(str(file.id)) for file in files), (str(channel.id),)
    )
    found = check_post(wanted, {file.id: file for file in files}, {channel.id: channel})
    return [f"/{'/'.join(str(part) for part in fault.where)} {fault.detail}" for fault in found]


@pytest.mark.parametrize(
    ("platform", "kind", "files"),
    [
        (INSTAGRAM, "image", [picture()]),
        (INSTAGRAM, "image", [picture(1080, 1350)]),
        (INSTAGRAM, "image", [picture(1080, 566)]),
        (INSTAGRAM, "image", [picture(1080, 565)]),  # 1.91:1 as whole pixels have it
        (INSTAGRAM, "image", [picture(200, 200)]),  # scaled up by Instagram
        (INSTAGRAM, "image", [picture(4000, 4000, size=8 * MIB)]),
        (INSTAGRAM, "carousel", [picture(), picture()]),
        (INSTAGRAM, "carousel", [picture()] + [video()] * 9),
        (INSTAGRAM, "carousel", [picture(), picture(100, 900)]),  # cut as the first one
        (INSTAGRAM, "video", [video()]),
        (INSTAGRAM, "reel", [video(3.0, size=300 * MB, mime_type="video/quicktime")]),
        (INSTAGRAM, "reel", [video(900.0)]),
        (INSTAGRAM, "story", [picture(1080, 1920)]),
        (INSTAGRAM, "story", [video(60.0, size=100 * MB)]),
        (PAGE, "image", [picture(100, 900, size=10 * MB, mime_type="image/png")]),
        (PAGE, "carousel", [picture()] * 10),
        (PAGE, "video", [video(3.0)]),
        (PAGE, "reel", [video(3600.0)]),
        (PAGE, "story", [picture()]),
        (PAGE, "story", [video(60.0)]),
    ],
)  # fmt: skip
def test_what_they_take(platform, kind, files):
    assert faults(platform, kind, *files) == []


@pytest.mark.parametrize(
    ("platform", "kind", "files", "where", "words"),
    [
        (INSTAGRAM, "image", [picture(mime_type="image/png")], "/media/0/id", "JPEG, this one is image/png: convert"),
        (INSTAGRAM, "image", [picture(size=8 * MIB + 1)], "/media/0/id", "at most 8 MiB"),
        (INSTAGRAM, "image", [picture(1080, 1360)], "/media/0/id", "between 4:5 and 1.91:1"),
        (INSTAGRAM, "image", [picture(1080, 560)], "/media/0/id", "1080x560 pixels: cut it"),
        (INSTAGRAM, "image", [], "/media", "takes one picture: this post has 0"),
        (INSTAGRAM, "image", [picture(), picture()], "/media", "this post has 2"),
        (INSTAGRAM, "image", [video()], "/media/0/id", "one picture: this is a video"),
        (INSTAGRAM, "carousel", [picture()], "/media", "2 to 10 pictures or videos: this post has 1"),
        (INSTAGRAM, "carousel", [picture()] * 11, "/media", "this post has 11"),
        (INSTAGRAM, "carousel", [picture(100, 900), picture()], "/media/0/id", "between 4:5"),
        (INSTAGRAM, "carousel", [picture(), video(2.5)], "/media/1/id", "at least 3 seconds, this one has 2.5"),
        (INSTAGRAM, "reel", [picture()], "/media/0/id", "one video: this is a picture"),
        (INSTAGRAM, "reel", [video(2.9)], "/media/0/id", "at least 3 seconds"),
        (INSTAGRAM, "video", [video(900.1)], "/media/0/id", "at most 900 seconds"),
        (INSTAGRAM, "reel", [video(size=300 * MB + 1)], "/media/0/id", "at most 300 MB"),
        (INSTAGRAM, "reel", [video(width=1100, height=100)], "/media/0/id", "0.01:1 and 10:1"),
        (INSTAGRAM, "story", [video(60.1)], "/media/0/id", "at most 60 seconds"),
        (INSTAGRAM, "story", [video(size=101 * MB)], "/media/0/id", "at most 100 MB, this one has 101 MB"),
        (INSTAGRAM, "story", [picture(), picture()], "/media", "one picture or one video"),
        (INSTAGRAM, "text", [], "/kind", "Instagram takes no text posts: choose one of image"),
        (PAGE, "text", [picture()], "/media", "no picture and no video"),
        (PAGE, "image", [picture(size=10 * MB + 1)], "/media/0/id", "at most 10 MB"),
        (PAGE, "carousel", [picture(), video()], "/media/1/id", "2 to 10 pictures: this is a video"),
        (PAGE, "reel", [video(2.9)], "/media/0/id", "at least 3 seconds"),
        (PAGE, "story", [video(61)], "/media/0/id", "at most 60 seconds"),
    ],
)  # fmt: skip
def test_what_they_do_not_take(platform, kind, files, where, words):
    text = "Hello" if kind == "text" else ""
    (said,) = faults(platform, kind, *files, text=text)
    assert said.startswith(where + " ")
    assert words in said


def test_every_fault_of_a_file_is_named():
    said = faults(INSTAGRAM, "image", picture(1000, 100, size=9 * MIB, mime_type="image/png"))
    assert len(said) == 3


@pytest.mark.parametrize(
    ("platform", "text", "words"),
    [
        (INSTAGRAM, "x" * 2200, None),
        (INSTAGRAM, "🎂" * 2201, "at most 2200 characters, these are 2201"),
        (INSTAGRAM, "#brot " * 30, None),
        (INSTAGRAM, "#brot#käse " * 16, "at most 30 hashtags, these are 32"),
        (INSTAGRAM, "# 1 " * 40, None),
        (INSTAGRAM, "@ada, " * 20, None),
        (INSTAGRAM, "@ada " * 21, "at most 20 @-mentions, these are 21"),
        (INSTAGRAM, "info@bakery.com " * 30, None),
        (PAGE, "x" * 63_206, None),
        (PAGE, "x" * 63_207, "at most 63206 characters"),
        (PAGE, "#brot " * 100, None),
    ],
)
def test_texts(platform, text, words):
    said = faults(platform, "image", picture(), text=text)
    assert (
        not said if words is None else (len(said) == 1 and words in said[0] and said[0].startswith("/text "))
    )


@pytest.mark.parametrize(("platform", "most"), [(INSTAGRAM, 2200), (PAGE, 8000)])
def test_first_comments(platform, most):
    assert faults(platform, "image", picture(), comment="x" * most) == []
    (said,) = faults(platform, "image", picture(), comment="x" * (most + 1))
    assert said.startswith("/first_comment ")
    assert f"at most {most} characters" in said


@pytest.mark.parametrize("platform", [INSTAGRAM, PAGE])
def test_a_story_has_no_text_and_no_comment(platform):
    said = faults(platform, "story", picture(), text="Hello", comment="First!")
    assert [each.split()[0] for each in said] == ["/text", "/first_comment"]


def test_a_text_post_needs_a_text():
    (said,) = faults(PAGE, "text")
    assert said.startswith("/text ")
    assert faults(PAGE, "text", text="Hello") == []


def test_the_limits_are_complete():
    assert Platform.WHATSAPP not in LIMITS
    assert set(LIMITS[PAGE].kinds) == set(PostKind)
    assert set(LIMITS[INSTAGRAM].kinds) == set(PostKind) - {PostKind.TEXT}


# --- quota ---


def own(*hours: float, published: bool = False, account: UUID = ACCOUNT) -> list[OwnPost]:
    return [OwnPost(account, DUE + hour * HOUR, published) for hour in hours]


def room(
    posts: list[OwnPost], total: int | None = 2, used: int | None = None, read: float = 0
) -> float | None:
    """Hours after DUE at which there is room."""
    free = room_from(DUE, posts, used=used, total=total, read_at=DUE + read * HOUR)
    return None if free is None else (free - DUE) / HOUR


def test_there_is_room_until_the_quota_is_used():
    assert room([]) == 0
    assert room(own(-1)) == 0
    assert room(own(-2, -1)) == 22
    assert room(own(-24, -1)) == 0  # 24 hours ago counts no more
    assert room(own(-23.5, -1)) == 0.5


def test_posts_after_it_count_as_well():
    assert room(own(1, 2)) == 25
    assert room(own(-12, 11)) == 12  # 24 hours hold all three, until the first one is out
    assert room(own(-12, 12)) == 0
    assert room(own(-12, 11, 12.5)) == 35


def test_the_quota_is_fifty_where_it_is_not_known():
    posts = own(*(-1 - each / 100 for each in range(50)))
    assert room(posts[1:], total=None) == 0
    assert room(posts, total=None) == pytest.approx(22.51)


def test_what_was_used_elsewhere_counts():
    assert room([], used=2, read=-1) == 23
    assert room([], used=2, read=-24) == 0
    assert room([], used=1, read=-1) == 0
    assert room(own(-3, published=True), used=1, read=-1) == 0  # it is ours, and counts once
    assert room(own(-3, published=True), used=2, read=-1) == 21
    assert room(own(-0.5, published=True), used=1, read=-1) == 23  # that one came after the reading


def test_no_room_at_all():
    assert room([], total=0) is None
    assert room(own(*range(-24, 24 * 9, 12))) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-47, 24 * 8), max_size=40), st.integers(1, 4))
def test_room_is_found_where_it_is(hours, total):
    """Against trying every hour."""

    def fits(hour: int) -> bool:
        times = sorted([*hours, hour])
        return all(
            sum(begin <= time < begin + 24 for time in times) <= total
            for begin in times
            if begin <= hour < begin + 24
        )

    expected = next((hour for hour in range(int(LOOK_AHEAD / HOUR) + 1) if fits(hour)), None)
    assert room(own(*hours), total) == expected
