"""Instagram and Messenger direct messages: ``messaging[]`` and ``standby[]``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from socialsync_common.contracts import Action, Identity, IdentityKind, WebhookItem
from socialsync_gateway.webhooks.parsing.values import (
    Entry,
    decide,
    ident,
    ignored,
    invalid,
    kind_of,
    mapping,
    place,
    settle,
    text,
    timestamp,
)

_ENVELOPE = frozenset({"sender", "recipient", "timestamp"})


def read_event(entry: Entry, event: Any, items: list[WebhookItem]) -> None:
    """Add the items of one element of ``messaging[]``."""
    raw = {"entry": entry.raw, "event": event}
    if type(event) is not dict:
        items.append(invalid(entry, "event", raw, "the event is not an object", entry.account_id))
        return
    for kind in _KINDS:
        if kind in event:
            _read_kind(entry, kind, event, raw, items)
            return
    kind = next((key for key in event if key not in _ENVELOPE), "event")
    items.append(ignored(entry, kind, raw, "unknown event", ident(mapping(event.get("recipient")).get("id"))))


def _read_kind(
    entry: Entry, kind: str, event: dict[str, Any], raw: dict[str, Any], items: list[WebhookItem]
) -> None:
    item, part = _item(entry, kind, event, raw), event[kind]
    if type(part) is not dict:
        decide(item, Action.INVALID, f"{kind} is not an object")
    elif kind == "message":
        _read_message(entry, item, event, part)
    elif kind == "delivery" and part.get("mids"):
        items.extend(_deliveries(entry, item, event, part))
        return
    else:
        _READERS[kind](item, part)
    items.append(settle(_only_for_this_account(entry, item)))


def read_standby(entry: Entry, event: Any, items: list[WebhookItem]) -> None:
    """Add one element of ``standby[]``: another app has the conversation, and answers."""
    raw = {"entry": entry.raw, "standby": event}
    if type(event) is not dict:
        items.append(invalid(entry, "standby", raw, "the event is not an object", entry.account_id))
        return
    item = _item(entry, "standby", event, raw)
    message = mapping(event.get("message"))
    if message.get("is_echo") is True:
        _swap_sides(item, event)
    item.platform_message_id, item.text = ident(message.get("mid")), text(message.get("text"))
    items.append(settle(item))


def _item(entry: Entry, kind: str, event: dict[str, Any], raw: dict[str, Any]) -> WebhookItem:
    return WebhookItem(
        entry.platform,
        kind,
        Action.STORE,
        raw,
        receiving_id=ident(mapping(event.get("recipient")).get("id")),
        sent_at=timestamp(event.get("timestamp")),
        identities=_scoped(event.get("sender")),
    )


def _scoped(party: Any) -> tuple[Identity, ...]:
    value = ident(mapping(party).get("id"))
    return (Identity(IdentityKind.SCOPED_ID, value),) if value else ()


def _swap_sides(item: WebhookItem, event: dict[str, Any]) -> None:
    """An echo is from the account to the contact."""
    item.receiving_id = ident(mapping(event.get("sender")).get("id"))
    item.identities = _scoped(event.get("recipient"))


def _read_message(entry: Entry, item: WebhookItem, event: dict[str, Any], message: dict[str, Any]) -> None:
    item.platform_message_id = ident(message.get("mid"))
    is_echo = message.get("is_echo") is True
    if is_echo:
        _swap_sides(item, event)
    if message.get("is_deleted") is True:
        item.kind, item.target_id = "revoke", item.platform_message_id
    elif message.get("is_self") is True:
        decide(item, Action.IGNORE, "the account wrote to itself")
    elif message.get("is_unsupported") is True and not is_echo:
        item.kind, item.action = "unsupported", Action.REPLY
    else:
        fault = _read_content(item, message)
        if is_echo:
            _decide_echo(entry, item, fault)
        elif fault:
            decide(item, Action.INVALID, fault)
        elif item.text or item.attachments:
            item.action = Action.REPLY
        else:
            item.reason = "nothing in the message"


def _decide_echo(entry: Entry, item: WebhookItem, fault: str | None) -> None:
    if item.receiving_id is not None and item.receiving_id == entry.account_id:
        item.action, item.reason = Action.PERSON, fault
    else:
        decide(item, Action.IGNORE, "echo not sent by this account")


def _only_for_this_account(entry: Entry, item: WebhookItem) -> WebhookItem:
    """An entry of one account with a message to another is not answered by either: both ids are then numbers."""
    account_id, receiving_id = entry.account_id, item.receiving_id
    if (
        item.action is Action.REPLY
        and account_id is not None
        and receiving_id is not None
        and account_id != receiving_id
        and account_id.isdigit()
        and receiving_id.isdigit()
    ):
        return decide(item, Action.STORE, "the recipient is another account than the entry's")
    return item


def _read_content(item: WebhookItem, message: dict[str, Any]) -> str | None:
    """Set kind, text and attachments; returns what is wrong with the message, if nothing of it can be read."""
    item.kind, item.text = "text", text(message.get("text"))
    attachments = message.get("attachments")
    parts = [one for one in attachments if type(one) is dict] if type(attachments) is list else []
    item.attachments = [_attachment(one) for one in parts]
    wrong = attachments and not parts
    if item.attachments and item.text is None:
        item.kind = item.attachments[0]["type"]
        item.text = "\n".join(filter(None, map(_describe, parts))) or None
    if type(message.get("quick_reply")) is dict:
        item.kind = "quick_reply"
        item.text = item.text or text(message["quick_reply"].get("payload"))
    return "attachments have the wrong shape" if wrong and item.text is None else None


def _attachment(part: dict[str, Any]) -> dict[str, Any]:
    payload = mapping(part.get("payload"))
    attachment = {"type": kind_of(part.get("type"), "unknown")}
    url = text(payload.get("url")) or text(payload.get("story_media_url")) or text(part.get("url"))
    title = text(payload.get("title")) or text(part.get("title"))
    if url:
        attachment["url"] = url
    if title:
        attachment["caption"] = title
    return attachment


def _describe(attachment: dict[str, Any]) -> str | None:
    """What a customer says with an attachment that is no media file: a place or a link."""
    kind, payload = attachment.get("type"), mapping(attachment.get("payload"))
    if kind == "location":
        at = mapping(payload.get("coordinates"))
        where = place(at.get("lat"), at.get("long"))
        return f"[location] {where}" if where else "[location]"
    if kind == "fallback":
        link = _attachment(attachment)
        said = " ".join(link[key] for key in ("caption", "url") if key in link)
        return f"[link] {said}" if said else None
    return None


def _read_postback(item: WebhookItem, postback: dict[str, Any]) -> None:
    payload = text(postback.get("payload"))
    item.action, item.text = Action.REPLY, text(postback.get("title")) or payload or "[postback]"
    item.platform_message_id = ident(postback.get("mid")) or _postback_id(item, payload or item.text)


def _postback_id(item: WebhookItem, payload: str) -> str:
    """Old postbacks have no id: the same press delivered twice must still get the same one."""
    sender = item.identities[0].value if item.identities else ""
    press = f"{sender}\n{item.sent_at}\n{payload}".encode("utf-8", "surrogatepass")
    return f"postback:{hashlib.sha256(press).hexdigest()[:32]}"


def _read_reaction(item: WebhookItem, reaction: dict[str, Any]) -> None:
    item.target_id, item.text = ident(reaction.get("mid")), text(reaction.get("emoji"))


def _read_seen(item: WebhookItem, read: dict[str, Any]) -> None:
    item.action, item.status, item.target_id = Action.STATUS, "read", ident(read.get("mid"))


def _read_delivered(item: WebhookItem, _: dict[str, Any]) -> None:
    item.action, item.status = Action.STATUS, "delivered"


def _deliveries(
    entry: Entry, whole: WebhookItem, event: dict[str, Any], delivery: dict[str, Any]
) -> Iterator[WebhookItem]:
    mids = delivery["mids"]
    if type(mids) is not list:
        yield settle(decide(whole, Action.INVALID, "mids is not a list"))
        return
    for mid in mids:
        # each with its own mid alone, or the raw of many would grow with their square
        alone = {**event, "delivery": {**delivery, "mids": [mid]}}
        item = _item(entry, whole.kind, event, {"entry": entry.raw, "event": alone})
        _read_delivered(item, delivery)
        item.target_id = ident(mid)
        if item.target_id is None:
            decide(item, Action.INVALID, "the mid is not an id")
        yield settle(item)


def _read_edit(item: WebhookItem, edit: dict[str, Any]) -> None:
    item.kind, item.target_id, item.text = "edit", ident(edit.get("mid")), text(edit.get("text"))


def _read_referral(item: WebhookItem, referral: dict[str, Any]) -> None:
    item.text = text(referral.get("ref"))


_READERS: dict[str, Callable[[WebhookItem, dict[str, Any]], None]] = {
    "postback": _read_postback,
    "reaction": _read_reaction,
    "read": _read_seen,
    "delivery": _read_delivered,
    "message_edit": _read_edit,
    "referral": _read_referral,
}
_KINDS = ("message", *_READERS)
