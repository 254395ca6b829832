"""What people may do with a comment, and whether what they write fits: pure decisions, with the time given."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from socialsync_common.accounts import how_to_reconnect
from socialsync_common.comment_policy import CommentPolicy
from socialsync_common.contracts import CommentReason, CommentStatus, Platform
from socialsync_common.platforms.limits import split_text
from socialsync_gateway.posts.limits import LIMITS
from socialsync_gateway.posts.model import Fault, Refusal

PRIVATE_REPLY_WINDOW = timedelta(days=7)

ReplyKind = Literal["public_reply", "private_reply"]
REPLIES: tuple[ReplyKind, ...] = ("public_reply", "private_reply")
Texts = Mapping[ReplyKind, str]
"""What a person wrote, by how it is said."""

_ON_ITS_WAY = ("pending", "sending", "retry", "unknown", "sent")
_OUT_OF_HAND = ("sending", "unknown", "sent")  # it is there, or may be
_ANSWERABLE = (CommentStatus.PERSON, CommentStatus.FAILED, CommentStatus.LEFT, CommentStatus.REVIEW)
_DISMISSIBLE = (CommentStatus.REVIEW, CommentStatus.PERSON, CommentStatus.FAILED, CommentStatus.NEW)

_POST_IDS = {
    Platform.INSTAGRAM: (re.compile(r"[0-9]{1,32}"), "a media id of Instagram: digits"),
    Platform.MESSENGER: (
        re.compile(r"[0-9]{1,32}_[0-9]{1,32}"),
        "a post id of a Page: the Page's id, _ and a number",
    ),
}


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment and its account, as far as deciding needs them."""

    id: UUID
    status: CommentStatus
    reason: CommentReason | None
    written_at: datetime
    version: int
    deleted_at: datetime | None
    hidden: bool
    on_own_post: bool
    account_name: str
    account_status: str
    platform: Platform


@dataclass(frozen=True, slots=True)
class Send:
    """One thing said or done about a comment. ``version``: of the comment, when it was written."""

    kind: str
    author: str
    text: str | None = field(repr=False)
    status: str
    version: int


# --- what people may do -----------------------------------------------------------------------------------------------


def refuse_approval(comment: Comment, sends: Sequence[Send], now: datetime) -> Refusal | None:
    """Why what the AI wrote cannot leave now, or None."""
    drafts = [send for send in sends if send.status == "draft"]
    if comment.status is not CommentStatus.REVIEW or not drafts:
        return Refusal("not-in-review", f"Nothing waits for approval: the comment {_STATES[comment.status]}.")
    if any(send.version < comment.version for send in drafts):
        return Refusal("edited", "The comment was edited meanwhile, and is answered anew: look again.")
    return _refuse_call(comment) or _refuse_late(comment, [send.kind for send in drafts], now)


def refuse_answer(
    comment: Comment, sends: Sequence[Send], kinds: Collection[ReplyKind], now: datetime
) -> Refusal | None:
    """Why a person's answer cannot leave now, or None."""
    if comment.status not in _ANSWERABLE:
        return Refusal("not-answerable", f"It cannot be answered now: the comment {_STATES[comment.status]}.")
    for send in sends:
        if send.kind in kinds and send.status in _OUT_OF_HAND:
            words = "is there" if send.status == "sent" else "may be there"
            return Refusal("already-answered", f"A {_name(send.kind)} {words} already: there is one of each.")
    return _refuse_call(comment) or _refuse_late(comment, kinds, now)


def refuse_dismissal(comment: Comment) -> Refusal | None:
    """Why a comment cannot be left alone any more, or None."""
    if comment.status in _DISMISSIBLE:
        return None
    return Refusal("not-dismissible", f"There is nothing to dismiss: the comment {_STATES[comment.status]}.")


def refuse_hiding(comment: Comment) -> Refusal | None:
    """Why a comment cannot be hidden, or None."""
    return _refuse_call(comment)


def is_answered_so(sends: Sequence[Send], texts: Texts) -> bool:
    """Whether this same answer is on its way, or there, already."""
    said = {send.kind: send.text for send in sends if send.author == "person" and send.status in _ON_ITS_WAY}
    return all(said.get(kind) == text for kind, text in texts.items())


def is_dismissed(comment: Comment) -> bool:
    return comment.status is CommentStatus.LEFT and comment.reason is CommentReason.DISMISSED


def is_being_hidden(comment: Comment, sends: Sequence[Send]) -> bool:
    """Whether it is hidden, or will be. One that was shown again can be hidden again."""
    waits = any(
        send.kind == "hide" and send.status in _ON_ITS_WAY and send.status != "sent" for send in sends
    )
    return comment.hidden or waits


def _refuse_call(comment: Comment) -> Refusal | None:
    """Why nothing about this comment can be asked of the platform."""
    if comment.deleted_at is not None:
        return Refusal("deleted", "The comment was deleted.")
    if not comment.on_own_post:
        return Refusal("not-own-post", "The comment is on somebody else's post: see to it on the platform.")
    if comment.account_status != "active":
        return Refusal(
            "needs-reconnect",
            f"{comment.account_name} must be reconnected first. {how_to_reconnect(comment.platform)}",
        )
    return None


def _refuse_late(comment: Comment, kinds: Collection[str], now: datetime) -> Refusal | None:
    if "private_reply" in kinds and now - comment.written_at > PRIVATE_REPLY_WINDOW:
        return Refusal(
            "too-old", "The comment is older than 7 days: it takes no private reply. Answer in public."
        )
    return None


# --- what people write ------------------------------------------------------------------------------------------------


def text_faults(platform: Platform, texts: Texts) -> Iterator[Fault]:
    """What is too long for the platform."""
    limits = LIMITS[platform]
    public, private = texts.get("public_reply", ""), texts.get("private_reply", "")
    most, parts = limits.first_comment_characters, len(split_text(platform, private))
    if len(public) > most:
        yield Fault(
            ("public_reply",),
            f"{limits.name} takes at most {most} characters, these are {len(public)}: shorten it.",
        )
    if parts > 1:
        yield Fault(
            ("private_reply",),
            f"A private reply is one message, and this is too long for {limits.name}: shorten it.",
        )


def draft_faults(sends: Sequence[Send], texts: Texts) -> Iterator[Fault]:
    """Edited texts of what the AI did not write."""
    written = {send.kind for send in sends if send.status == "draft"}
    for kind in texts:
        if kind not in written:
            yield Fault((kind,), f"No {_name(kind)} waits for approval: answer the comment instead.")


def edited(sends: Sequence[Send], texts: Texts) -> dict[ReplyKind, str]:
    """Those texts that differ from the drafts."""
    drafts = {send.kind: send.text for send in sends}
    return {kind: text for kind, text in texts.items() if text != drafts.get(kind)}


def _name(kind: str) -> str:
    return kind.replace("_", " ")


# --- accounts and their posts -----------------------------------------------------------------------------------------


def refuse_account(platform: Platform) -> Refusal | None:
    """Why there is nothing to say about an account's comments, or None."""
    if platform in LIMITS:
        return None
    return Refusal("no-comments", "A WhatsApp number has no comments: choose an Instagram account or a Page.")


def post_id_faults(platform: Platform, external_id: str) -> Iterator[Fault]:
    pattern, words = _POST_IDS[platform]
    if not pattern.fullmatch(external_id):
        yield Fault(("external_id",), f"This is not {words}.")


def policy_faults(platform: Platform, policy: CommentPolicy) -> Iterator[Fault]:
    """What the platform does not offer."""
    if platform is Platform.INSTAGRAM and policy.praise == "like":
        yield Fault(("praise",), "Instagram lets nobody like comments by program: choose answer or leave.")


_STATES = {
    CommentStatus.NEW: "is new, and being looked at",
    CommentStatus.LEFT: "is left alone",
    CommentStatus.REVIEW: "waits for approval",
    CommentStatus.ANSWERING: "is being answered",
    CommentStatus.ANSWERED: "is answered",
    CommentStatus.PERSON: "waits for a person",
    CommentStatus.FAILED: "could not be answered",
}
