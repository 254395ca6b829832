"""Entries of webhook bodies, as Meta writes them. A body is ``{"object": …, "entry": [entry, …]}``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from socialsync_common.contracts import Platform

Entry = dict[str, Any]

OBJECT = {
    Platform.WHATSAPP: "whatsapp_business_account",
    Platform.INSTAGRAM: "instagram",
    Platform.MESSENGER: "page",
}


@dataclass(slots=True, frozen=True)
class Person:
    """A contact as a platform names it: WhatsApp by ``phone``, ``user_id`` or both, others by ``scoped_id``."""

    name: str | None = None
    phone: str | None = None
    user_id: str | None = None
    scoped_id: str | None = None

    @property
    def key(self) -> str:
        """The id under which the contact is logged: the one that a reply is addressed to."""
        return self.phone or self.user_id or self.scoped_id or ""


def body(platform: Platform, entries: Sequence[Entry]) -> bytes:
    return orjson.dumps({"object": OBJECT[platform], "entry": entries})


def display_phone_number(account: str) -> str:
    return f"1555{account[-7:].rjust(7, '0')}"


# WhatsApp -------------------------------------------------------------------------------------------


def whatsapp_entry(account: str, value: dict[str, Any], field: str = "messages") -> Entry:
    """One change of one phone number; its business account id is derived from the number's."""
    metadata = {"display_phone_number": display_phone_number(account), "phone_number_id": account}
    change = {"value": {"messaging_product": "whatsapp", "metadata": metadata, **value}, "field": field}
    return {"id": f"10{account[-13:]}", "changes": [change]}


def whatsapp_contact(person: Person) -> dict[str, Any]:
    profile: dict[str, Any] = {"name": person.name or "Sandbox Contact"}
    contact: dict[str, Any] = {"profile": profile}
    if person.phone:
        contact["wa_id"] = person.phone
    else:
        profile["username"] = f"contact{person.key[-6:]}"
    if person.user_id:
        contact["user_id"] = person.user_id
    return contact


def whatsapp_message(
    person: Person, message_id: str, at: float, kind: str, content: dict[str, Any]
) -> dict[str, Any]:
    """``content`` holds the member named after ``kind``, and what goes beside it (context, errors)."""
    message: dict[str, Any] = {"id": message_id, "timestamp": str(int(at)), "type": kind, **content}
    if person.phone:
        message["from"] = person.phone
    if person.user_id:
        message["from_user_id"] = person.user_id
    return message


def whatsapp_inbound(account: str, person: Person, messages: list[dict[str, Any]]) -> Entry:
    return whatsapp_entry(account, {"contacts": [whatsapp_contact(person)], "messages": messages})


def whatsapp_status(
    account: str,
    contact: str,
    message_id: str,
    status: str,
    at: float,
    *,
    by_user_id: bool = False,
    callback_data: str | None = None,
) -> Entry:
    item: dict[str, Any] = {
        "id": message_id,
        "status": status,
        "timestamp": str(int(at)),
        "recipient_user_id" if by_user_id else "recipient_id": contact,
        "pricing": {
            "billable": False,
            "pricing_model": "PMP",
            "type": "free_customer_service",
            "category": "service",
        },
    }
    if callback_data is not None:
        item["biz_opaque_callback_data"] = callback_data
    return whatsapp_entry(account, {"statuses": [item]})


def whatsapp_echo(account: str, person: Person, message_id: str, at: float, text: str) -> Entry:
    """A person of the business wrote from the WhatsApp Business app."""
    echo: dict[str, Any] = {
        "from": display_phone_number(account),
        "id": message_id,
        "timestamp": str(int(at)),
        "type": "text",
        "text": {"body": text},
    }
    if person.phone:
        echo["to"] = person.phone
    if person.user_id:
        echo["to_user_id"] = person.user_id
    return whatsapp_entry(account, {"message_echoes": [echo]}, field="smb_message_echoes")


# Instagram and Messenger ----------------------------------------------------------------------------


def messaging_entry(account: str, items: list[dict[str, Any]], at: float) -> Entry:
    return {"id": account, "time": int(at * 1000), "messaging": items}


def messaging_item(sender: str, recipient: str, at: float, content: dict[str, Any]) -> dict[str, Any]:
    """``content``: one member, ``message``, ``reaction`` or ``message_edit``."""
    return {
        "sender": {"id": sender},
        "recipient": {"id": recipient},
        "timestamp": int(at * 1000),
        **content,
    }


def messaging_echo(account: str, contact: str, mid: str, at: float, text: str) -> Entry:
    """What the account itself said, by whichever app: sender and recipient are swapped."""
    message = {"mid": mid, "text": text, "is_echo": True}
    return messaging_entry(account, [messaging_item(account, contact, at, {"message": message})], at)
