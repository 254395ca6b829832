"""What is wrong with a post, and what may still be done with one: no database, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from socialsync_common.contracts import Platform, PostKind
from socialsync_gateway.posts.decide import (
    LEAD,
    VIDEO_LEAD,
    cancel_note,
    check_post,
    check_quota,
    is_decided,
    lead_time,
    post_of_key,
    read_due,
    refuse_cancel,
    refuse_decision,
    refuse_edit,
    request_hash,
    target_of,
)
from socialsync_gateway.posts.model import Attachment, Channel, File, Target, Wanted
from socialsync_gateway.posts.quota import OwnPost

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PICTURE = File(uuid4(), "image", "image/jpeg", 1000, 1080, 1080, None)
VIDEO = File(uuid4(), "video", "video/mp4", 1000, 1080, 1920, 20.0)


def channel(
    platform: Platform = Platform.INSTAGRAM, name: str = "Bakery", status: str = "active", total=None
):
    return Channel(uuid4(), name, platform, status, None, total, None)


def wanted(*channels: Channel, kind: str = "image", media=None, text: str = "Fresh bread") -> Wanted:
    media = [PICTURE.id] if media is None else media
    return Wanted(
        PostKind(kind),
        text,
        None,
        tuple(Attachment(str(each)) for each in media),
        tuple(str(each.id) for each in channels),
    )


def check(post: Wanted, *channels: Channel, kept=frozenset()) -> dict[tuple, str]:
    files = {file.id: file for file in (PICTURE, VIDEO)}
    found = check_post(post, files, {each.id: each for each in channels}, kept)
    return {fault.where: fault.detail for fault in found}


def test_a_post_that_fits_everywhere():
    places = channel(), channel(Platform.MESSENGER)
    assert check(wanted(*places), *places) == {}


def test_all_faults_in_one_answer():
    whatsapp, lost, page = (
        channel(Platform.WHATSAPP),
        channel(status="needs_reconnect"),
        channel(Platform.MESSENGER),
    )
    stranger = channel()
    post = wanted(
        whatsapp, lost, stranger, page, page, kind="carousel", media=[PICTURE.id, "no id", uuid4()] * 4
    )
    said = check(post, whatsapp, lost, page)
    assert {where for where in said if where[0] == "accounts"} == {
        ("accounts", index) for index in (0, 1, 2, 4)
    }
    assert "take no posts" in said["accounts", 0]
    assert "GET /api/oauth/instagram/start" in said["accounts", 1]
    assert said["accounts", 2] == "There is no such account: GET /api/v1/accounts lists them."
    assert "named twice" in said["accounts", 4]
    assert {where[1] for where in said if where[-1] == "id"} == {1, 2, 4, 5, 7, 8, 10, 11}
    assert "2 to 10 pictures" in said[("media",)]


def test_what_is_no_id_looks_as_one_of_nobody():
    ours = channel()
    said = check(Wanted(PostKind.IMAGE, "", None, (Attachment("\ud800"),), ("1", str(ours.id))), ours)
    assert said["accounts", 0] == check(wanted(channel()))["accounts", 0]
    assert said["media", 0, "id"] == check(wanted(ours, media=[uuid4()]), ours)["media", 0, "id"]


def test_a_platform_says_it_once():
    first, second = channel(), channel()
    files = {PICTURE.id: PICTURE}
    found = check_post(
        wanted(first, second, text="x" * 2201), files, {each.id: each for each in (first, second)}
    )
    assert [fault.where for fault in found] == [("text",)]


@pytest.mark.parametrize("count", [0, 51])
def test_how_many_accounts(count):
    places = [channel(Platform.MESSENGER) for _ in range(count)]
    assert check(wanted(*places), *places) == {("accounts",): "Name 1 to 50 accounts."}


def test_an_account_that_has_the_post_keeps_it_while_it_must_be_reconnected():
    lost = channel(status="needs_reconnect")
    assert check(wanted(lost), lost, kept={lost.id}) == {}
    assert ("accounts", 0) in check(wanted(lost), lost)


def test_time_and_zone_are_both_looked_at():
    assert read_due("2026-03-02T09:00:00+01:00", "Europe/Paris", NOW) == (
        datetime(2026, 3, 2, 8, tzinfo=UTC),
        [],
    )
    due, faults = read_due("yesterday", "Mars/Olympus", NOW)
    assert due is None
    assert [fault.where for fault in faults] == [("due_at",), ("zone",)]
    due, faults = read_due("2026-03-02T09:00:00+01:00", "Mars/Olympus", NOW)
    assert due is not None
    assert [fault.where for fault in faults] == [("zone",)]


def test_quota_is_of_each_account():
    full, free = channel(name="Full", total=1), channel(name="Free", total=1)
    due = NOW + timedelta(days=1)
    posts = [OwnPost(full.id, due - timedelta(hours=2), is_published=False)]
    (fault,) = check_quota(wanted(free, full), due, "Europe/Paris", [free, full], posts)
    assert fault.where == ("accounts", 1)
    assert "Full has all the 1 posts" in fault.detail
    assert "2026-03-03T11:00:00+01:00 or later" in fault.detail
    closed = channel(total=0)
    (fault,) = check_quota(wanted(closed), due, "Europe/Paris", [closed], [])
    assert "no room for a week" in fault.detail


def test_videos_are_prepared_earlier():
    assert lead_time(PostKind.IMAGE, [PICTURE]) == lead_time(PostKind.TEXT, []) == LEAD
    assert lead_time(PostKind.STORY, [PICTURE]) == lead_time(PostKind.CAROUSEL, [PICTURE, PICTURE]) == LEAD
    assert lead_time(PostKind.STORY, [VIDEO]) == lead_time(PostKind.CAROUSEL, [PICTURE, VIDEO]) == VIDEO_LEAD
    assert lead_time(PostKind.VIDEO, [VIDEO]) == lead_time(PostKind.REEL, [VIDEO]) == VIDEO_LEAD


def test_names():
    tenant, other = uuid4(), uuid4()
    assert post_of_key(tenant, "k") == post_of_key(tenant, "k") != post_of_key(other, "k")
    assert post_of_key(tenant, "k") != post_of_key(tenant, "K")
    assert target_of(tenant, other) != target_of(other, tenant)
    assert (
        request_hash({"a": 1, "b": [2]})
        == request_hash({"b": [2], "a": 1})
        != request_hash({"a": 1, "b": [3]})
    )


def target(status: str = "queued", phase: str | None = None, name: str = "Bakery") -> Target:
    return Target(uuid4(), uuid4(), name, status, phase)


@pytest.mark.parametrize("phase", [None, "creating", "container_ready"])
def test_a_queued_post_may_be_changed_and_cancelled(phase):
    targets = [target(phase=phase), target(), target("cancelled")]
    assert refuse_edit(targets) is None
    assert refuse_cancel(targets) is None
    assert cancel_note(targets) is None


@pytest.mark.parametrize(
    ("status", "phase", "words"),
    [
        ("queued", "publish_called", "is being published"),
        ("publishing", "publish_called", "is being published"),
        ("published", "confirmed", "is published"),
        ("failed", "creating", "has failed"),
        ("needs_check", "publish_called", "waits for a person to say whether it is live"),
    ],
)
def test_what_has_gone_further_is_left_alone(status, phase, words):
    far = target(status, phase, name="Florist")
    refusal = refuse_edit([target(), far])
    assert refusal
    assert refusal.kind == "not-editable"
    assert f"on Florist it {words}" in refusal.detail
    assert "Bakery" not in refusal.detail
    assert refuse_cancel([target(), far]) is None
    note = cancel_note([target(), far])
    assert note
    assert f"on Florist it {words}" in note
    alone = refuse_cancel([far, target("cancelled")])
    assert alone
    assert alone.kind == "not-cancellable"


def test_a_cancelled_post():
    assert refuse_cancel([target("cancelled")]) is None
    assert refuse_edit([target("cancelled")])


ACTIVE = ("active", Platform.INSTAGRAM)


@pytest.mark.parametrize(
    "status", ["queued", "publishing", "published", "failed", "needs_check", "cancelled"]
)
@pytest.mark.parametrize("decision", ["published", "publish", "abandon"])
def test_what_can_be_decided(decision, status):
    may = {
        ("published", "needs_check"),
        ("abandon", "needs_check"),
        ("publish", "needs_check"),
        ("publish", "failed"),
    }
    refusal = refuse_decision(decision, target(status), *ACTIVE)
    assert (refusal is None) == ((decision, status) in may)
    assert is_decided(decision, target(status)) == (
        (decision, status) in {("published", "published"), ("abandon", "failed")}
    )


def test_nothing_is_published_on_an_account_that_must_be_reconnected():
    lost = ("needs_reconnect", Platform.MESSENGER)
    refusal = refuse_decision("publish", target("failed"), *lost)
    assert refusal
    assert refusal.kind == "needs-reconnect"
    assert "GET /api/oauth/facebook/start" in refusal.detail
    assert refuse_decision("published", target("needs_check"), *lost) is None
    assert refuse_decision("abandon", target("needs_check"), *lost) is None
