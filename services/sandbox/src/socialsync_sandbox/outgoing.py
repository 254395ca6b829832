"""Reads what a client asks of the messages edge. Pure: no state, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from socialsync_common.contracts import Platform
from socialsync_sandbox.graph_errors import GraphError, bad_parameter

WHATSAPP_MAX_CHARACTERS = 4096
INSTAGRAM_MAX_BYTES = 1000
MESSENGER_MAX_CHARACTERS = 2000

_PHONE_DRESSING = re.compile(r"[\s()+.\-]")


class Kind(StrEnum):
    TEXT = "text"
    READ = "read"
    TYPING = "typing"


@dataclass(slots=True, frozen=True)
class Text:
    """``dropped``: answered with 200 and never delivered, as Meta does with a user id in ``to``."""

    contact: str
    text: str
    by_user_id: bool = False
    callback_data: str | None = None
    dropped: bool = False


@dataclass(slots=True, frozen=True)
class Signal:
    """Signs of life; ``read_id`` is the WhatsApp message that was read, and so names the contact."""

    kinds: tuple[Kind, ...]
    contact: str | None = None
    read_id: str | None = None


def parse_whatsapp(body: dict[str, Any]) -> Text | Signal:
    """Raises:
    GraphError: code 100, with the reason in ``error_data.details``.
    """
    if body.get("messaging_product") != "whatsapp":
        raise _whatsapp_fault("messaging_product must be whatsapp")
    if body.get("status") == "read":
        read_id = body.get("message_id")
        if not isinstance(read_id, str) or not read_id:
            raise _whatsapp_fault("message_id is required")
        kinds = (Kind.READ, Kind.TYPING) if body.get("typing_indicator") else (Kind.READ,)
        return Signal(kinds, read_id=read_id)
    if body.get("type", "text") != "text":
        raise _whatsapp_fault(f"type {body['type']!r} is not known to the sandbox")
    content = body.get("text")
    text = content.get("body") if isinstance(content, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= WHATSAPP_MAX_CHARACTERS:
        raise _whatsapp_fault(f"text.body must have 1 to {WHATSAPP_MAX_CHARACTERS} characters")
    callback_data = body.get("biz_opaque_callback_data")
    if to := body.get("to"):
        phone = _PHONE_DRESSING.sub("", str(to))
        if phone.isascii() and phone.isdigit():
            return Text(phone, text, callback_data=callback_data)
        return Text(str(to), text, callback_data=callback_data, dropped=True)
    if recipient := body.get("recipient"):
        return Text(str(recipient), text, by_user_id=True, callback_data=callback_data)
    raise _whatsapp_fault("to or recipient is required")


def parse_messaging(platform: Platform, body: dict[str, Any]) -> Text | Signal:
    """Instagram and Messenger.

    Raises:
        GraphError: code 100.
    """
    recipient = body.get("recipient")
    contact = recipient.get("id") if isinstance(recipient, dict) else None
    if not contact:
        raise bad_parameter("The parameter recipient is required.")
    contact = str(contact)
    match body.get("sender_action"):
        case "typing_on":
            return Signal((Kind.TYPING,), contact)
        case "mark_seen":
            return Signal((Kind.READ,), contact)
        case "typing_off":
            return Signal((), contact)
    message = body.get("message")
    text = message.get("text") if isinstance(message, dict) else None
    if not isinstance(text, str) or not text:
        raise bad_parameter("The parameter message.text is required.")
    if platform is Platform.INSTAGRAM and len(text.encode()) > INSTAGRAM_MAX_BYTES:
        raise bad_parameter(f"Length of param message[text] must be at most {INSTAGRAM_MAX_BYTES} bytes.")
    if platform is Platform.MESSENGER and len(text) > MESSENGER_MAX_CHARACTERS:
        raise bad_parameter(
            f"Length of param message[text] must be less than or equal to {MESSENGER_MAX_CHARACTERS}"
        )
    return Text(contact, text)


def _whatsapp_fault(what: str) -> GraphError:
    return bad_parameter(what, whatsapp=True)
