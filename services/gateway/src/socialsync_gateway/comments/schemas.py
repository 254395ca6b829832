"""What the API of comments takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from socialsync_common.comment_policy import CommentPolicy, faults_of_rules
from socialsync_common.contracts import CommentReason, CommentStatus
from socialsync_gateway.api.schemas import AccountRef
from socialsync_gateway.comments.decide import REPLIES, ReplyKind
from socialsync_gateway.posts.schemas import Storable, Text

_DEFAULT = CommentPolicy()


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _not_blank(text: str) -> str:
    if not text:
        raise ValueError("must not be blank")
    return text


ReplyText = Annotated[Text, AfterValidator(_not_blank)]


class _Texts(_Request):
    public_reply: ReplyText | None = Field(default=None, description="Below the comment, for everybody")
    private_reply: ReplyText | None = Field(
        default=None, description="As a message to the author: once, within 7 days of the comment"
    )

    @property
    def texts(self) -> dict[ReplyKind, str]:
        """Those that are given."""
        given = {kind: getattr(self, kind) for kind in REPLIES}
        return {kind: text for kind, text in given.items() if text is not None}


class Approval(_Texts):
    """Texts that leave in place of the AI's; without them its own leave."""


class CommentAnswer(_Texts):
    """A person's answer: in public, in private, or both."""

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if not self.texts:
            raise ValueError("give a public_reply, a private_reply, or both")
        return self


class PostOfComment(BaseModel):
    """The post that a comment is on."""

    id: UUID
    external_id: str
    permalink: str | None
    caption: str | None


class Author(BaseModel):
    """Who wrote a comment, as far as the platform tells."""

    id: str | None
    name: str | None


class CommentSend(BaseModel):
    """One thing said or done about a comment: there is at most one of each kind."""

    kind: Literal["public_reply", "private_reply", "hide", "like"]
    author: Literal["ai", "person"]
    text: str | None
    model: str | None = Field(description="Which one wrote it")
    status: Literal["draft", "pending", "sending", "sent", "retry", "failed", "unknown", "superseded"] = (
        Field(
            description="draft: it waits for approval. unknown: it may have arrived, and is not repeated before that is known"
        )
    )
    attempt: int = Field(description="Failures so far that proved it not sent")
    platform_id: str | None
    reason: str | None
    created_at: datetime
    updated_at: datetime


class ThreadComment(BaseModel):
    """A comment. A deleted one keeps its place, without its text."""

    id: UUID
    external_id: str
    parent_external_id: str | None = Field(description="The comment that it answers")
    author: Author
    text: str | None
    written_at: datetime = Field(description="The platform's time")
    edited_at: datetime | None
    deleted_at: datetime | None
    hidden: bool
    status: CommentStatus
    reason: CommentReason | None = Field(description="Why it is where it is")


class Comment(ThreadComment):
    """A comment, and what is said or done about it."""

    account: AccountRef
    post: PostOfComment | None = Field(description="Null: it is on somebody else's post")
    kind: Literal["comment", "live", "mention"]
    received_at: datetime
    detail: str | None = Field(description="The reason in words")
    picture_note: str | None = Field(description="Why the AI did not see the post's picture")
    settled_at: datetime | None = Field(description="When it was left, answered or given to a person")
    sends: list[CommentSend]


class CommentInThread(Comment):
    """A comment with the other ones of its thread."""

    thread: list[ThreadComment] = Field(description="Oldest first: the first one, and the latest replies")


class CommentCounts(BaseModel):
    """Comments by status."""

    new: int = 0
    left: int = 0
    review: int = 0
    answering: int = 0
    answered: int = 0
    person: int = 0
    failed: int = 0


class MonitoredPost(BaseModel):
    """A post that got comments, or whose comments are watched."""

    id: UUID
    account: AccountRef
    external_id: str
    origin: Literal["published", "chosen", "seen"] = Field(
        description="published: by SocialSync. chosen: by a person. seen: it got a comment"
    )
    monitored: bool
    monitored_since: datetime | None = Field(description="Older comments are left alone")
    kind: str | None
    caption: str | None
    permalink: str | None
    published_at: datetime | None
    comments_count: int | None = Field(description="As the platform tells")
    unseen: int = Field(description="Comments that the platform counts and never shows")
    last_comment_at: datetime | None
    next_poll_at: datetime | None = Field(description="When its comments are read again; null: they are not")
    failures: int = Field(description="Reads that failed in a row")
    reason: str | None = Field(description="Why the last one failed")
    pictures_note: str | None = Field(description="Why the AI sees no picture of it")
    counts: CommentCounts


class PostToMonitor(_Request):
    """A post of an account, by the platform's id."""

    account: UUID
    external_id: Storable = Field(description="Instagram media id, or a Page's post id")


class MonitoredPostChange(_Request):
    """Whether its comments are watched from now on."""

    monitored: bool


def _known_rules(rules: dict[str, Any]) -> dict[str, Any]:
    faults = [
        InitErrorDetails(
            type=PydanticCustomError("rule", "{detail}", {"detail": detail}),
            loc=_location(pointer),
            input=None,
        )
        for pointer, detail in faults_of_rules(rules)
    ]
    if faults:
        raise ValidationError.from_exception_data("rules", faults)
    return rules


def _location(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


PerHour = Annotated[int, Field(ge=1, le=750)]


class Policy(BaseModel):
    """What a business wants to happen with an account's comments."""

    enabled: bool = Field(default=_DEFAULT.enabled, description="False: comments are stored, and left alone")
    review: bool = Field(
        default=_DEFAULT.review, description="A person approves each answer before it leaves"
    )
    reply: Literal["public", "private", "both"] = Field(
        default=_DEFAULT.reply, description="both: a message, and a public reply that announces it"
    )
    praise: Literal["answer", "like", "leave"] = Field(
        default=_DEFAULT.praise, description="like: on Pages only"
    )
    spam: Literal["leave", "hide"] = _DEFAULT.spam
    watch: Literal["published", "all"] = Field(
        default=_DEFAULT.watch, description="Posts that SocialSync published, or all that get comments"
    )
    within_hours: int = Field(
        default=_DEFAULT.within_hours, ge=1, le=168, description="Older comments are left alone"
    )
    account_per_hour: PerHour = Field(default=_DEFAULT.account_per_hour, description="Answers at most")
    post_per_hour: PerHour = Field(default=_DEFAULT.post_per_hour, description="Answers on one post at most")
    author_per_hour: PerHour = Field(
        default=_DEFAULT.author_per_hour, description="Answers to one person at most"
    )
    rules: dict[str, Any] = Field(
        default_factory=dict, description="What differs from the rules that come with the system"
    )


class NewPolicy(Policy):
    """The whole policy: what is left out gets its default."""

    model_config = ConfigDict(extra="forbid")

    rules: Annotated[dict[str, Any], AfterValidator(_known_rules)] = Field(
        default_factory=dict,
        description="What differs from the rules that come with the system",
        examples=[{"off": ["emoji_only"], "complaint": {"add": ["late order"]}, "answer": ["menu"]}],
    )
