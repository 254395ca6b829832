"""What a contact can say, and how each platform's webhook words it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from socialsync_common.contracts import Platform
from socialsync_sandbox import bodies
from socialsync_sandbox.media import IMAGE, VOICE, Media

# the member of the webhook item, and what is in it and beside it
Content = tuple[str, dict[str, Any]]


class Location(BaseModel):
    model_config = ConfigDict(extra="forbid")

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class Utterance(BaseModel):
    """One message. ``text`` beside ``image`` is its caption; ``reaction`` "" takes ``target``'s reaction back."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    image: bool = False
    voice: bool = False
    location: Location | None = None
    reaction: str | None = None
    target: str | None = None
    reply_to: str | None = None
    unsupported: bool = False

    @model_validator(mode="after")
    def _is_one_thing(self) -> Utterance:
        things = (self.image, self.voice, self.location, self.reaction is not None, self.unsupported)
        count = sum(map(bool, things))
        caption_only = self.text is None or self.image or count == 0
        if count > 1 or (count == 0 and self.text is None) or not caption_only:
            raise ValueError("one of text, image, voice, location, reaction, unsupported")
        if self.reaction is not None and not self.target:
            raise ValueError("a reaction needs its target")
        return self

    @property
    def media(self) -> Media | None:
        if self.image:
            return IMAGE
        return VOICE if self.voice else None


@dataclass(slots=True, frozen=True)
class Said:
    """An utterance with its id, its time (Unix seconds) and its wording."""

    message_id: str
    at: float
    content: Content


def render(
    platform: Platform, utterance: Utterance, message_id: str, media_id: str, base_url: str
) -> Content:
    if platform is Platform.WHATSAPP:
        kind, content = _whatsapp(utterance, media_id)
        if utterance.reply_to:
            content["context"] = {"id": utterance.reply_to}
        return kind, content
    if utterance.reaction is not None:
        reaction = {"mid": utterance.target, "action": "react" if utterance.reaction else "unreact"}
        if utterance.reaction:
            reaction |= {"reaction": "other", "emoji": utterance.reaction}
        return "reaction", {"reaction": reaction}
    message = {"mid": message_id, **_messaging(utterance, f"{base_url}sandbox/cdn/{media_id}")}
    if utterance.reply_to:
        message["reply_to"] = {"mid": utterance.reply_to}
    return "message", {"message": message}


def entry(platform: Platform, account: str, person: bodies.Person, said: list[Said]) -> bodies.Entry:
    if platform is Platform.WHATSAPP:
        messages = [bodies.whatsapp_message(person, one.message_id, one.at, *one.content) for one in said]
        return bodies.whatsapp_inbound(account, person, messages)
    items = [bodies.messaging_item(person.key, account, one.at, one.content[1]) for one in said]
    return bodies.messaging_entry(account, items, max(one.at for one in said))


def summary(utterance: Utterance) -> str:
    """For people to read."""
    if utterance.reaction is not None:
        return f"[reaction {utterance.reaction or 'removed'}]"
    for name in ("image", "voice", "location", "unsupported"):
        if getattr(utterance, name):
            return f"[{name}] {utterance.text or ''}".rstrip()
    return utterance.text or ""


def _whatsapp(utterance: Utterance, media_id: str) -> Content:
    if media := utterance.media:
        described: dict[str, Any] = {
            "mime_type": media.mime_type,
            "sha256": media.sha256_base64,
            "id": media_id,
        }
        if utterance.voice:
            return "audio", {"audio": described | {"voice": True}}
        caption = {"caption": utterance.text} if utterance.text else {}
        return "image", {"image": described | caption}
    if utterance.location:
        return "location", {"location": utterance.location.model_dump(exclude_none=True)}
    if utterance.reaction is not None:
        return "reaction", {"reaction": {"message_id": utterance.target, "emoji": utterance.reaction}}
    if utterance.unsupported:
        title = "Message type unknown"
        details = {"details": "Message type is currently not supported."}
        error = {"code": 131051, "title": title, "message": title, "error_data": details}
        return "unsupported", {"errors": [error]}
    return "text", {"text": {"body": utterance.text}}


def _messaging(utterance: Utterance, url: str) -> dict[str, Any]:
    if utterance.unsupported:
        return {"is_unsupported": True}
    message: dict[str, Any] = {}
    if utterance.text is not None:
        message["text"] = utterance.text
    if utterance.location:
        coordinates = {"lat": utterance.location.latitude, "long": utterance.location.longitude}
        message["attachments"] = [{"type": "location", "payload": {"coordinates": coordinates}}]
    elif utterance.media:
        kind = "audio" if utterance.voice else "image"
        message["attachments"] = [{"type": kind, "payload": {"url": url}}]
    return message
