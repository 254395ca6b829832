"""What a WhatsApp message says: its text, or a short plain description of it, and its attachments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from socialsync_common.contracts import WebhookItem
from socialsync_gateway.webhooks.parsing.values import ident, mapping, place, text

MAX_LISTED = 20

_ATTACHMENT_TEXTS = ("url", "mime_type", "caption", "filename")
_FLOW_INTERNALS = frozenset({"flow_token", "wa_flow_response_params"})


def read(kind: str, message: dict[str, Any], item: WebhookItem) -> str | None:
    """Set the item's text and attachments; returns what is wrong with the message, if anything is."""
    part = message.get(kind)
    if kind == "text":
        return _read_text(part, item)
    if kind in MEDIA:
        return _read_media(kind, part, item)
    if part is None:
        item.text = f"[{kind}]"
        return None
    if type(part) is not (list if kind == "contacts" else dict):
        return f"{kind} has the wrong shape"
    item.text = _DESCRIBE[kind](part) or f"[{kind}]"
    return None


def _read_text(part: Any, item: WebhookItem) -> str | None:
    if type(part) is dict:
        item.text = text(part.get("body")) or "[text]"
        return None
    item.text = "[text]"
    return None if part is None else "text has the wrong shape"


def _read_media(kind: str, part: Any, item: WebhookItem) -> str | None:
    attachment: dict[str, Any] = {"type": kind}
    item.attachments.append(attachment)
    if type(part) is not dict:
        return None if part is None else f"{kind} has the wrong shape"
    media_id = ident(part.get("id"))
    if media_id is not None:
        attachment["id"] = media_id
    for key in _ATTACHMENT_TEXTS:
        value = text(part.get(key))
        if value is not None:
            attachment[key] = value
    if type(part.get("voice")) is bool:
        attachment["voice"] = part["voice"]
    item.text = attachment.get("caption")
    return None


def _location(part: dict[str, Any]) -> str | None:
    names = [name for name in (text(part.get("name")), text(part.get("address"))) if name]
    where = place(part.get("latitude"), part.get("longitude"))
    said = " ".join(piece for piece in (", ".join(names), where) if piece)
    return f"[location] {said}" if said else None


def _contacts(part: list[Any]) -> str | None:
    people = [described for described in map(_contact, part[:MAX_LISTED]) if described]
    if len(part) > MAX_LISTED:
        people.append("…")
    return f"[contacts] {', '.join(people)}" if people else None


def _contact(part: Any) -> str | None:
    person = mapping(part)
    name = text(mapping(person.get("name")).get("formatted_name"))
    phones = person.get("phones")
    numbers = [text(mapping(one).get("phone")) for one in phones[:MAX_LISTED]] if type(phones) is list else []
    number = next((one for one in numbers if one), None)
    return f"{name} ({number})" if name and number else name or number


def _order(part: dict[str, Any]) -> str | None:
    products = part.get("product_items")
    listed: list[str] = []
    if type(products) is list:
        listed = [described for described in map(_product, products[:MAX_LISTED]) if described]
        if len(products) > MAX_LISTED:
            listed.append("…")
    lines = [text(part.get("text")), f"[order] {', '.join(listed)}" if listed else None]
    return "\n".join(line for line in lines if line) or None


def _product(part: Any) -> str | None:
    product = mapping(part)
    name = ident(product.get("product_retailer_id"))
    if name is None:
        return None
    quantity = _number(product.get("quantity"))
    price, currency = _number(product.get("item_price")), text(product.get("currency"))
    said = f"{quantity} x {name}" if quantity else name
    return f"{said} ({price} {currency})" if price and currency else said


def _number(value: Any) -> str | None:
    return str(value) if type(value) is float else ident(value)


def _button(part: dict[str, Any]) -> str | None:
    return text(part.get("text")) or text(part.get("payload"))


def _interactive(part: dict[str, Any]) -> str | None:
    kind = text(part.get("type"))
    answer = mapping(part.get(kind)) if kind else {}
    if kind == "nfm_reply":
        return _flow(answer)
    return text(answer.get("title")) or text(answer.get("id"))


def _flow(answer: dict[str, Any]) -> str | None:
    """A filled-in form: its flat fields, without those that only the platform understands."""
    said = [text(answer.get("body"))]
    form = text(answer.get("response_json"))
    if form:
        try:
            fields = mapping(orjson.loads(form))
        except ValueError:
            fields = {}
        said.extend(
            f"{key}: {value}"
            for key, value in list(fields.items())[:MAX_LISTED]
            if key not in _FLOW_INTERNALS and type(value) in (str, int, float, bool)
        )
    return "\n".join(line for line in said if line) or None


MEDIA = frozenset({"image", "video", "audio", "document", "sticker"})
_DESCRIBE: dict[str, Callable[[Any], str | None]] = {
    "location": _location,
    "contacts": _contacts,
    "order": _order,
    "interactive": _interactive,
    "button": _button,
}
ANSWERED = MEDIA | _DESCRIBE.keys() | {"text"}
