"""What the API of posts takes and gives."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from socialsync_common.contracts import Platform, PostKind
from socialsync_gateway.posts.limits import MAX_ALT_TEXT
from socialsync_gateway.posts.model import Decision

Status = Literal["queued", "publishing", "published", "failed", "needs_check", "cancelled"]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("must not contain the NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must not contain half of a surrogate pair") from None
    return value


def _as_platforms_keep_it(text: str) -> str:
    """They cut blanks off and end lines with LF; what is stored must be found again in what they show."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _blank_is_absent(text: str | None) -> str | None:
    return text or None


Storable = Annotated[str, BeforeValidator(_storable)]
Text = Annotated[Storable, AfterValidator(_as_platforms_keep_it)]
OptionalText = Annotated[Text | None, AfterValidator(_blank_is_absent)]
# not UUID: what is no id is treated as the id of nothing, beside all other faults
Id = Annotated[Storable, Field(json_schema_extra={"format": "uuid"})]
Time = Annotated[
    Storable,
    Field(
        description="RFC 3339, to the second, with the offset that `zone` has then; `Z` names the moment in UTC",
        examples=["2026-12-01T09:00:00+01:00"],
    ),
]
Zone = Annotated[Storable, Field(description="IANA time zone", examples=["Europe/Paris"])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MediaRef(_Request):
    """A file to attach."""

    id: Id
    alt_text: Annotated[OptionalText, Field(max_length=MAX_ALT_TEXT)] = None


class NewPost(_Request):
    """A post for one or more accounts."""

    kind: PostKind
    text: Text = ""
    first_comment: Annotated[
        OptionalText, Field(description="Written below the post as soon as it is live")
    ] = None
    media: list[MediaRef] = []
    accounts: list[Id]
    due_at: Time
    zone: Zone


class PostChange(_Request):
    """What shall be different; what is absent stays."""

    text: Text = ""
    first_comment: Annotated[OptionalText, Field(description="null: none")] = None
    media: list[MediaRef] = []
    accounts: list[Id] = []
    due_at: Time = ""
    zone: Zone = ""


class TargetDecision(_Request):
    """What a person found out, or wants."""

    decision: Decision = Field(
        description="published: it is live. publish: it is not, and shall go out now. abandon: it is given up."
    )


class Media(BaseModel):
    """A file of a post."""

    id: UUID
    alt_text: str | None
    kind: Literal["image", "video"]
    mime_type: str
    width: int
    height: int
    duration_seconds: float | None
    name: str


class PostAccount(BaseModel):
    """The account that a target is for."""

    id: UUID
    name: str
    platform: Platform


class Target(BaseModel):
    """The post on one account."""

    id: UUID
    account: PostAccount
    status: Status
    phase: Literal["creating", "container_ready", "publish_called", "confirmed"] | None = Field(
        description="How far the publishing has come"
    )
    due_at: datetime
    published_at: datetime | None
    permalink: str | None
    media_id: str | None = Field(description="The platform's id of the live post")
    attempt: int = Field(description="Failures so far that proved it not published")
    retry_at: datetime | None
    comment_status: Literal["pending", "sending", "sent", "failed", "unknown"] | None
    warning: str | None = Field(description="What may keep it from going out")
    reason: str | None = Field(description="Why it failed, waits or has to be checked")


class Post(BaseModel):
    """A scheduled post."""

    id: UUID
    kind: PostKind
    text: str
    first_comment: str | None
    media: list[Media]
    due_at: datetime = Field(description="In UTC")
    local_due_at: str = Field(description="In `zone`", examples=["2026-12-01T09:00:00+01:00"])
    zone: str
    status: Status = Field(description="Open as long as a target is, then the worst that became of them")
    targets: list[Target]
    created_at: datetime
    updated_at: datetime


class CancelledPost(Post):
    """The post as it is now."""

    note: str | None = Field(description="What could not be cancelled any more")


class CalendarDay(BaseModel):
    """One day of the calendar's zone, with what is due on it."""

    date: date
    posts: list[Post]


class Calendar(BaseModel):
    """Every day from the first to the last, also those without posts."""

    zone: str
    days: list[CalendarDay]
