"""What a post looks like, for whoever answers its comments: its details and pictures, or why there are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from comments_world import CommentsWorld, Row
from socialsync_comments.watching import Post, Watching, posts
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from socialsync_common.errors import PermanentError

pytestmark = pytest.mark.integration


@dataclass
class Looker:
    """``later``: how much time has passed since the test began."""

    world: CommentsWorld
    sees_pictures: bool = True
    later: timedelta = timedelta(0)

    def __call__(self, account: Account, post: Row) -> Post:
        world = self.world
        watching = Watching(
            world.database, world.cipher, world.apis, world.graph, announce=lambda _: None, wake=lambda: None,
            sees_pictures=self.sees_pictures, clock=lambda: datetime.now(UTC) + self.later,
        )  # fmt: skip
        return watching.describe(account, post["id"])


@pytest.fixture
def look(world: CommentsWorld) -> Looker:
    return Looker(world)


@pytest.fixture(params=[Platform.INSTAGRAM, Platform.MESSENGER])
def account(request: pytest.FixtureRequest, world: CommentsWorld) -> Account:
    return world.us.accounts[request.param]


def asked(world: CommentsWorld) -> int:
    return int(world.report()["calls"]["details"])


def test_a_post_is_asked_about_once(world: CommentsWorld, look: Looker, account: Account) -> None:
    row = world.post(account, caption="Fresh bread, 3 euros")
    post = look(account, row)
    assert (post.id, post.external_id, post.kind) == (row["id"], row["external_id"], "image")
    assert post.caption == "Fresh bread, 3 euros"
    assert post.permalink
    assert post.permalink.startswith("https://")
    assert post.picture_note is None
    (picture,) = post.pictures
    assert (picture.type, picture.mime_type) == ("image", "image/jpeg")
    assert picture.content
    assert picture.content.startswith(b"\xff\xd8")
    assert look(account, row) == post
    assert asked(world) == 1
    look.later = timedelta(days=31)
    assert look(account, row) == post
    assert asked(world) == 2


@pytest.mark.parametrize(
    ("kind", "pictures", "shown"), [("carousel", 3, 3), ("carousel", 6, 4), ("reel", 1, 1), ("video", 1, 1)]
)
def test_at_most_four_pictures_are_shown(
    world: CommentsWorld, look: Looker, instagram: Account, kind: str, pictures: int, shown: int
) -> None:
    post = look(instagram, world.post(instagram, kind=kind, pictures=pictures))
    assert post.kind == kind
    assert len(post.pictures) == shown
    assert post.picture_note is None


def test_a_text_has_no_picture(world: CommentsWorld, look: Looker, page: Account) -> None:
    row = world.post(page, kind="text", pictures=0)
    for _ in range(2):
        post = look(page, row)
        assert (post.kind, post.pictures, post.picture_note) == ("text", (), None)
    assert asked(world) == 1


def test_a_model_that_sees_nothing_is_told_so(world: CommentsWorld, account: Account) -> None:
    blind = Looker(world, sees_pictures=False)
    row = world.post(account)
    post = blind(account, row)
    assert (post.caption, post.pictures, post.picture_note) == ("Fresh bread", (), posts.BLIND)
    assert world.databases.query("SELECT 1 FROM post_pictures") == []
    assert len(Looker(world)(account, row).pictures) == 1


def test_a_post_that_cannot_be_read_is_its_caption_for_an_hour(
    world: CommentsWorld, look: Looker, account: Account
) -> None:
    row = world.post(account)
    world.set(row, "caption = 'as we published it', kind = 'image'")
    world.meta.fault("details", "permission")
    for _ in range(2):
        post = look(account, row)
        assert (post.kind, post.caption, post.pictures) == ("image", "as we published it", ())
        assert post.picture_note
        assert "could not be read" in post.picture_note
    before = asked(world)
    look.later = timedelta(hours=1)
    post = look(account, row)
    assert post.caption == "Fresh bread"
    assert len(post.pictures) == 1
    assert post.picture_note is None
    assert asked(world) == before + 1


def test_details_that_are_known_outlast_a_failure(
    world: CommentsWorld, look: Looker, account: Account
) -> None:
    row = world.post(account)
    known = look(account, row)
    look.later = timedelta(days=31)
    world.meta.fault("details", "throttled")
    assert look(account, row) == known
    before = asked(world)
    assert look(account, row) == known
    assert asked(world) == before


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MAX_PICTURE_BYTES", 100, "larger than"),
        ("_TYPES", frozenset({"image/png"}), "image/jpeg is no picture"),
    ],
)
def test_a_picture_that_the_model_would_not_take_is_left_out(
    world: CommentsWorld,
    look: Looker,
    instagram: Account,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
    reason: str,
) -> None:
    monkeypatch.setattr(posts, name, value)
    post = look(instagram, world.post(instagram))
    assert post.pictures == ()
    assert post.picture_note
    assert reason in post.picture_note


def test_workers_that_look_at_once_keep_the_pictures_once(world: CommentsWorld, instagram: Account) -> None:
    row = world.post(instagram, kind="carousel", pictures=3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Looker(world)(instagram, row), range(4)))
    assert all(post == found[0] for post in found)
    assert len(world.databases.query("SELECT 1 FROM post_pictures")) == 3


def test_another_tenant_s_post_is_not_there(world: CommentsWorld, look: Looker, instagram: Account) -> None:
    theirs = world.post(world.them.accounts[Platform.INSTAGRAM])
    for row in (theirs, {"id": uuid4()}):
        with pytest.raises(PermanentError, match="not found"):
            look(instagram, row)
