"""What the API takes and gives. Times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from socialsync_common.contracts import Platform

Handler = Literal["ai", "person"]
SendStatus = Literal["pending", "sending", "sent", "retry", "failed", "unknown", "superseded"]


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    if not text.strip():
        raise ValueError("must not be blank")
    return text


class Quota(BaseModel):
    """Posts of the last 24 hours, as the platform counts them."""

    used: int
    total: int
    read_at: datetime


class Account(BaseModel):
    """A connected account."""

    id: UUID
    platform: Platform
    external_id: str = Field(description="Phone number id, Instagram account id or Page id")
    name: str
    instructions: str
    status: Literal["active", "needs_reconnect"]
    status_reason: str | None
    created_at: datetime
    token_expires_at: datetime | None = Field(description="Null: it does not expire, as far as is known")
    subscribed: bool | None = Field(description="Its webhooks come here; null: not looked at yet")
    quota: Quota | None = Field(description="Null until a post of the account has come near")


class Contact(BaseModel):
    """Whom the conversation is with."""

    id: UUID
    name: str | None


class AccountRef(BaseModel):
    """The account that a conversation runs on."""

    id: UUID
    name: str
    platform: Platform


class Preview(BaseModel):
    """The latest message, shortened."""

    direction: Literal["in", "out"]
    author: Literal["contact", "ai", "person"]
    kind: str
    text: str | None = Field(description="At most 200 characters; null where there is none, or it is revoked")
    revoked: bool
    sent_at: datetime


class Conversation(BaseModel):
    """A conversation with one contact of an account."""

    id: UUID
    contact: Contact
    account: AccountRef
    handler: Handler = Field(description="Who answers")
    handler_reason: str | None
    handler_since: datetime | None
    last_activity_at: datetime
    last_message: Preview | None
    awaiting_reply: bool = Field(description="A message of the contact waits for an answer")
    needs_check: bool = Field(
        description="Nobody knows whether a send arrived, or one failed and nothing was sent since"
    )


class Message(BaseModel):
    """A message of either direction. A revoked one keeps its place, without its content."""

    id: int
    direction: Literal["in", "out"]
    author: Literal["contact", "ai", "person"]
    kind: str = Field(description="The platform's word for it: text, image, reaction …")
    text: str | None
    attachments: list[dict[str, Any]] = Field(description="As the platform describes them")
    sent_at: datetime = Field(description="The platform's time")
    received_at: datetime
    awaiting_reply: bool
    skip_reason: str | None = Field(description="Why no reply was sent")
    status: Literal["sent", "delivered", "read", "played", "failed"] | None = Field(
        description="Of outbound messages"
    )
    error: dict[str, Any] | None = Field(description="The platform's account of a failure")
    edited_at: datetime | None
    revoked: bool


class Send(BaseModel):
    """One text on its way to the contact."""

    id: UUID
    part: int = Field(description="From 1: a long text leaves in several parts")
    author: Literal["ai", "person"]
    text: str
    status: SendStatus
    reason: str | None
    attempt: int
    retry_at: datetime | None
    created_at: datetime
    updated_at: datetime


class UsageOfAccount(BaseModel):
    """What one account used in a month."""

    account: AccountRef
    service_messages: int
    ai_replies: int
    input_tokens: int
    output_tokens: int
    comment_answers: int
    free_service_messages: int | None = Field(
        description="How many service messages WhatsApp does not bill for a number in a month; null elsewhere"
    )


class Usage(BaseModel):
    """Counts of one month (UTC), one item for each account."""

    month: str = Field(examples=["2026-11"])
    items: list[UsageOfAccount]


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list; ``next`` is the cursor of the page after it."""

    items: list[Item]
    next: str | None


class MessagePage(Page[Message]):
    """Messages, newest first, with the sends that are open, failed, or of unknown outcome."""

    sends: list[Send]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Answer(_Request):
    """A person's answer to the contact."""

    text: Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_storable)]


class Accepted(BaseModel):
    """The sends that the answer became."""

    sends: list[Send]


class Handoff(_Request):
    """Who shall answer from now on."""

    to: Handler
    reason: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)] | None = None


class Resolution(_Request):
    """What a person found out about a send whose outcome is unknown."""

    outcome: Literal["sent", "not_sent"]
