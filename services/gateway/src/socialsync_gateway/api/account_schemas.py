"""What the API takes and gives about connecting accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from socialsync_common.contracts import NoticeKind
from socialsync_gateway.api.schemas import Account, AccountRef


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if not text.isprintable():
        raise ValueError("must be one line without control characters")
    return text.strip()


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


def _fits_a_header(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a token as Meta shows it: visible ASCII characters, no spaces")
    return token


_MetaId = Annotated[str, Field(pattern=r"^[0-9]{1,32}$")]


class NumberToConnect(BaseModel):
    """A WhatsApp number, as WhatsApp Manager shows it."""

    model_config = ConfigDict(extra="forbid")

    external_id: _MetaId = Field(description="The phone number id (not the phone number)")
    business_account_id: _MetaId = Field(description="The id of its WhatsApp Business Account")
    token: Annotated[SecretStr, Field(min_length=1, max_length=1000), AfterValidator(_fits_a_header)] = Field(
        description="A system user's token. It is kept encrypted, and never shown"
    )
    token_expires_at: AwareDatetime | None = Field(
        default=None, description="When the token ends, so that you are told in time; absent: never"
    )
    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)] | None = Field(
        default=None, description="Absent: as WhatsApp shows it"
    )
    instructions: Annotated[str, Field(max_length=20_000), AfterValidator(_storable)] | None = Field(
        default=None, description="What the AI answers by; absent: those that the account has"
    )


class ConnectedNumber(Account):
    """The number as it is connected now."""

    fault: str | None = Field(
        description="Why its webhooks do not come here yet; this is tried again within the hour"
    )


class Notice(BaseModel):
    """Something that people have to know or do. Each is told once."""

    id: UUID
    kind: NoticeKind
    message: str
    account: AccountRef | None
    post_id: UUID | None
    created_at: datetime
    resolved_at: datetime | None
