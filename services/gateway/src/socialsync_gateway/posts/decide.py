"""Whether a post fits its accounts, what may be done with it, and when a worker has to look at it: pure decisions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import orjson

from socialsync_common.accounts import how_to_reconnect
from socialsync_common.contracts import Platform, PostKind
from socialsync_gateway.posts.limits import (
    DEFAULT_QUOTA,
    LIMITS,
    MAX_ACCOUNTS,
    MB,
    MIB,
    FileLimits,
    KindLimits,
    PlatformLimits,
)
from socialsync_gateway.posts.model import Attachment, Channel, Decision, Fault, File, Refusal, Target, Wanted
from socialsync_gateway.posts.quota import OwnPost, room_from
from socialsync_gateway.posts.zones import TimeFault, due_moment, find_zone, local_time

LEAD = timedelta(seconds=75)
VIDEO_LEAD = timedelta(seconds=600)  # Meta processes videos for minutes
GIVEN_UP = "given up by a person"
TAKEN_OFF = "taken off the post"

_HASHTAG = re.compile(r"[#＃]\w")
_MENTION = re.compile(r"(?<![\w.+-])@\w")  # not the @ of an e-mail address


def post_of_key(tenant: UUID, idempotency_key: str) -> UUID:
    """The same key of the same tenant is the same post."""
    return uuid5(tenant, f"post:{idempotency_key}")


def target_of(post: UUID, account: UUID) -> UUID:
    return uuid5(post, str(account))


def request_hash(request: Mapping[str, Any]) -> bytes:
    """SHA-256 of the request in one form, whatever the order of its members."""
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).digest()


def as_id(text: str) -> UUID | None:
    """None where it is no id, which is treated as one that nobody has."""
    try:
        return UUID(text)
    except ValueError:
        return None


def lead_time(kind: PostKind, files: Iterable[File]) -> timedelta:
    """How long before its time a post is prepared."""
    is_video = kind in (PostKind.VIDEO, PostKind.REEL) or any(file.kind == "video" for file in files)
    return VIDEO_LEAD if is_video else LEAD


def read_due(due_at: str, zone: str, now: datetime) -> tuple[datetime | None, list[Fault]]:
    """The moment that a time on a zone's clock means, or None with what is wrong."""
    faults: list[Fault] = []
    clock = None
    try:
        clock = find_zone(zone)
    except TimeFault as error:
        faults.append(Fault(("zone",), str(error)))
    try:
        return due_moment(due_at, clock, now), faults
    except TimeFault as error:
        return None, [Fault(("due_at",), str(error)), *faults]


def check_quota(
    wanted: Wanted,
    due_at: datetime,
    zone: str,
    channels: Iterable[Channel],
    posts: Sequence[OwnPost],
) -> Iterator[Fault]:
    """What is wrong on ``channels``, which have a quota, beside their other ``posts``."""
    places = {as_id(name): index for index, name in enumerate(wanted.accounts)}
    for channel in channels:
        free = room_from(
            due_at,
            [post for post in posts if post.account_id == channel.id],
            used=channel.quota_used,
            total=channel.quota_total,
            read_at=channel.quota_read_at,
        )
        if free == due_at:
            continue
        total = DEFAULT_QUOTA if channel.quota_total is None else channel.quota_total
        advice = (
            f"choose {local_time(free, zone)} or later"
            if free
            else "there is no room for a week after either"
        )
        yield Fault(
            ("accounts", places[channel.id]),
            f"{channel.name} has all the {total} posts that Instagram takes in 24 hours around this time: {advice}.",
        )


# --- what a post has to be like ---------------------------------------------------------------------------------------


def check_post(
    wanted: Wanted,
    files: Mapping[UUID, File],
    channels: Mapping[UUID, Channel],
    kept: Set[UUID] = frozenset(),
) -> list[Fault]:
    """Every fault of a post. ``kept`` are accounts that have it already: one that must be reconnected keeps it."""
    faults = [*_account_faults(wanted, channels, kept), *_unknown_files(wanted, files)]
    asked = (channels.get(account) for name in wanted.accounts if (account := as_id(name)))
    platforms = dict.fromkeys(channel.platform for channel in asked if channel)
    for platform in platforms:
        limits = LIMITS.get(platform)
        if limits:
            faults += _platform_faults(wanted, files, limits)
    return faults


def _account_faults(wanted: Wanted, channels: Mapping[UUID, Channel], kept: Set[UUID]) -> Iterator[Fault]:
    if not 1 <= len(wanted.accounts) <= MAX_ACCOUNTS:
        yield Fault(("accounts",), f"Name 1 to {MAX_ACCOUNTS} accounts.")
    seen: set[UUID] = set()
    for index, name in enumerate(wanted.accounts):
        where = ("accounts", index)
        account = as_id(name)
        channel = channels.get(account) if account else None
        if channel is None:
            yield Fault(where, "There is no such account: GET /api/v1/accounts lists them.")
            continue
        if channel.id in seen:
            yield Fault(where, f"{channel.name} is named twice: name it once.")
        elif channel.platform not in LIMITS:
            yield Fault(where, f"{channel.name}: WhatsApp numbers take no posts: leave it out.")
        elif channel.status != "active" and channel.id not in kept:
            yield Fault(where, f"{channel.name} must be reconnected. {how_to_reconnect(channel.platform)}")
        seen.add(channel.id)


def _unknown_files(wanted: Wanted, files: Mapping[UUID, File]) -> Iterator[Fault]:
    for index, attachment in enumerate(wanted.media):
        if _file_of(attachment, files) is None:
            yield Fault(("media", index, "id"), "There is no such file: POST /api/v1/media uploads one.")


def _platform_faults(wanted: Wanted, files: Mapping[UUID, File], limits: PlatformLimits) -> Iterator[Fault]:
    kind = limits.kinds.get(wanted.kind)
    if kind is None:
        possible = ", ".join(limits.kinds)
        yield Fault(("kind",), f"{limits.name} takes no {wanted.kind} posts: choose one of {possible}.")
        return
    yield from _text_faults(wanted, limits, kind)
    yield from _comment_faults(wanted, limits)
    yield from _media_faults(wanted, files, limits.name, kind)


def _text_faults(wanted: Wanted, limits: PlatformLimits, kind: KindLimits) -> Iterator[Fault]:
    text, where = wanted.text, ("text",)
    if kind.needs_text and not text:
        yield Fault(where, f"For {wanted.kind}, {limits.name} needs a text.")
    if not kind.takes_text and text:
        yield Fault(where, f"For {wanted.kind}, {limits.name} shows no text: leave it out.")
        return
    for found, most, what in (
        (len(text), limits.text_characters, "characters"),
        (len(_HASHTAG.findall(text)), limits.hashtags, "hashtags"),
        (len(_MENTION.findall(text)), limits.mentions, "@-mentions"),
    ):
        if most is not None and found > most:
            yield Fault(
                where, f"{limits.name} takes at most {most} {what}, these are {found}: shorten the text."
            )


def _comment_faults(wanted: Wanted, limits: PlatformLimits) -> Iterator[Fault]:
    comment, where, most = wanted.first_comment, ("first_comment",), limits.first_comment_characters
    if comment is None:
        return
    if wanted.kind is PostKind.STORY:
        yield Fault(where, f"For {wanted.kind}, {limits.name} takes no comment: leave it out.")
    elif len(comment) > most:
        yield Fault(
            where, f"{limits.name} takes at most {most} characters, these are {len(comment)}: shorten it."
        )


def _media_faults(
    wanted: Wanted, files: Mapping[UUID, File], platform: str, kind: KindLimits
) -> Iterator[Fault]:
    least, most = kind.pieces
    if not least <= len(wanted.media) <= most:
        yield Fault(
            ("media",),
            f"For {wanted.kind}, {platform} takes {kind.takes}: this post has {len(wanted.media)}.",
        )
    for index, attachment in enumerate(wanted.media):
        file = _file_of(attachment, files)
        if file is None:
            continue
        where = ("media", index, "id")
        limits = kind.pictures if file.kind == "image" else kind.videos
        if limits is None:
            if most:
                yield Fault(
                    where, f"For {wanted.kind}, {platform} takes {kind.takes}: this is a {_noun(file)}."
                )
            continue
        shapes = index == 0 or not kind.first_shapes_all
        yield from (
            Fault(where, f"{platform} {words}") for words in _file_faults(file, limits, check_ratio=shapes)
        )


def _file_faults(file: File, limits: FileLimits, *, check_ratio: bool) -> Iterator[str]:
    noun = _noun(file)
    if file.mime_type not in limits.mime_types:
        yield f"takes {noun}s as {limits.formats}, this one is {file.mime_type}: convert it."
    if limits.max_bytes and file.size > limits.max_bytes:
        unit, name = (MIB, "MiB") if limits.max_bytes % MIB == 0 else (MB, "MB")
        most, found = limits.max_bytes / unit, file.size / unit
        yield f"takes {noun}s of at most {most:g} {name}, this one has {found:.6g} {name}: make it smaller."
    if check_ratio and limits.ratios and not _within(file, *limits.ratios):
        yield (
            f"takes {noun}s between {limits.ratio_words} (width to height), "
            f"this one has {file.width}x{file.height} pixels: cut it."
        )
    seconds = file.duration_seconds
    if seconds is not None and limits.min_seconds is not None and seconds < limits.min_seconds:
        yield f"takes {noun}s of at least {limits.min_seconds:g} seconds, this one has {seconds:.3g}."
    if seconds is not None and limits.max_seconds is not None and seconds > limits.max_seconds:
        yield f"takes {noun}s of at most {limits.max_seconds:g} seconds, this one has {seconds:.6g}: cut it."


def _within(file: File, least: float, most: float) -> bool:
    # whoever cuts to a ratio has to round: one pixel more or less is no fault
    return least * file.height - 1 <= file.width <= most * file.height + 1


def _noun(file: File) -> str:
    return "picture" if file.kind == "image" else "video"


def _file_of(attachment: Attachment, files: Mapping[UUID, File]) -> File | None:
    file_id = as_id(attachment.id)
    return files.get(file_id) if file_id else None


# --- what may be done with a post -------------------------------------------------------------------------------------


def refuse_edit(targets: Sequence[Target]) -> Refusal | None:
    """Why a post cannot be changed any more, or None. What was cancelled does not count beside what is queued."""
    live = [target for target in targets if target.status != "cancelled"]
    if not live:
        return Refusal("not-editable", "The post is cancelled: write a new one.")
    closed = [target for target in live if not target.is_open]
    if closed:
        return Refusal(
            "not-editable", f"The post cannot be changed any more: {_states(closed)}. Write a new one."
        )
    return None


def refuse_cancel(targets: Sequence[Target]) -> Refusal | None:
    """Why nothing of a post can be cancelled, or None; cancelling it again is fine."""
    if any(target.is_open for target in targets) or all(target.status == "cancelled" for target in targets):
        return None
    closed = [target for target in targets if target.status != "cancelled"]
    return Refusal("not-cancellable", f"Nothing is left to cancel: {_states(closed)}.")


def cancel_note(targets: Sequence[Target]) -> str | None:
    """What could not be cancelled, as a sentence. ``targets`` as they were before."""
    closed = [target for target in targets if not target.is_open and target.status != "cancelled"]
    return f"This could not be cancelled any more: {_states(closed)}." if closed else None


def refuse_decision(
    decision: Decision, target: Target, account_status: str, platform: Platform
) -> Refusal | None:
    """Why a person cannot decide this about a target, or None."""
    decidable = ("needs_check", "failed") if decision == "publish" else ("needs_check",)
    if target.status not in decidable:
        what = "waits for a check or has failed" if decision == "publish" else "waits for a check"
        return Refusal("not-decidable", f"This is for what {what}; {_states([target])}.")
    if decision == "publish" and account_status != "active":
        return Refusal(
            "needs-reconnect",
            f"{target.account_name} must be reconnected first. {how_to_reconnect(platform)}",
        )
    return None


def is_decided(decision: Decision, target: Target) -> bool:
    """Whether the target is what the decision would make of it; "publish" is never taken for done."""
    return (decision, target.status) in (("published", "published"), ("abandon", "failed"))


def _states(targets: Sequence[Target]) -> str:
    return ", ".join(f"on {target.account_name} it {_STATE_WORDS[_state(target)]}" for target in targets)


def _state(target: Target) -> str:
    return "publishing" if target.phase == "publish_called" and target.status == "queued" else target.status


_STATE_WORDS = {
    "queued": "is queued",
    "publishing": "is being published",
    "published": "is published",
    "failed": "has failed",
    "needs_check": "waits for a person to say whether it is live",
    "cancelled": "is cancelled",
}
