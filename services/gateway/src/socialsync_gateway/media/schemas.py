"""What the API takes and gives of media."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Media(BaseModel):
    """A picture or a video that posts may use."""

    id: UUID
    kind: Literal["image", "video"]
    mime_type: str = Field(description="By its content", examples=["image/jpeg"])
    size: int = Field(description="Bytes")
    sha256: str = Field(description="Hexadecimal")
    width: int = Field(description="Pixels, as it is shown")
    height: int
    duration_seconds: float | None = Field(description="Of videos")
    name: str
    created_at: datetime


class MediaFromUrl(BaseModel):
    """Where to fetch a file from, once and now."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, StringConstraints(min_length=1, max_length=4000)] = Field(
        description="https:// or http://, on the internet; at most three redirects",
        examples=["https://example.com/bread.jpg"],
    )
