"""Ids in the shape that each platform gives them."""

from __future__ import annotations

import base64
import secrets

from socialsync_common.contracts import Platform

_WAMID_HEAD = b"\x1c\x18"
_WAMID_INBOUND = b"\x15\x02\x00\x12\x18\x14"
_WAMID_OUTBOUND = b"\x15\x02\x00\x11\x18\x14"


def message_id(platform: Platform, contact: str, *, inbound: bool) -> str:
    """A new message id; a WhatsApp one carries its contact, as Meta's do."""
    match platform:
        case Platform.WHATSAPP:
            who = contact.encode()[:255]
            direction = _WAMID_INBOUND if inbound else _WAMID_OUTBOUND
            unique = secrets.token_hex(10).upper().encode()
            packed = _WAMID_HEAD + bytes([len(who)]) + who + direction + unique + b"\x00"
            return f"wamid.{base64.b64encode(packed).decode()}"
        case Platform.INSTAGRAM:
            return f"aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlE{secrets.token_urlsafe(48)}"
        case Platform.MESSENGER:
            return f"m_{secrets.token_urlsafe(64)}"


def numeric_id() -> str:
    """Sixteen digits, as media ids have."""
    return str(secrets.randbelow(9 * 10**15) + 10**15)


def trace_id() -> str:
    return f"A{secrets.token_urlsafe(16)}"
