"""WhatsApp: messages, statuses, and echoes of what a person sent from the Business app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from socialsync_common.contracts import Action, WebhookItem
from socialsync_gateway.webhooks.parsing import content
from socialsync_gateway.webhooks.parsing.identities import (
    Contacts,
    identities,
    name_of,
    of_change,
    of_contact,
    phone,
    user_id,
)
from socialsync_gateway.webhooks.parsing.values import (
    MAX_ID_LENGTH,
    Entry,
    decide,
    first_mapping,
    ident,
    ignored,
    invalid,
    kind_of,
    mapping,
    settle,
    text,
    timestamp,
)

_REPLY, _STORE, _INVALID = Action.REPLY, Action.STORE, Action.INVALID

STATUSES = frozenset({"sent", "delivered", "read", "played", "failed"})
_ID_CHANGES = frozenset({"user_changed_number", "customer_changed_number", "user_changed_user_id"})
_MESSAGE_FIELDS = frozenset({"messages", "smb_message_echoes"})


class _Scope:
    """What the items of one change share."""

    __slots__ = ("contacts", "entry", "metadata", "receiving_id")

    def __init__(self, entry: Entry, value: dict[str, Any]) -> None:
        self.entry = entry
        self.metadata = value.get("metadata")
        self.receiving_id = ident(mapping(self.metadata).get("phone_number_id"))
        contacts = value.get("contacts")
        self.contacts = Contacts(contacts if type(contacts) is list else [])

    def raw(self, name: str, piece: Any) -> dict[str, Any]:
        return {"entry": self.entry.raw, "metadata": self.metadata, name: piece}


def read_change(entry: Entry, change: Any, items: list[WebhookItem]) -> None:
    """Add the items of one element of ``changes[]``."""
    if type(change) is not dict:
        reason = "the change is not an object"
        items.append(invalid(entry, "change", {"entry": entry.raw, "change": change}, reason))
        return
    field, value = change.get("field"), change.get("value")
    # some bodies leave the field out
    if not (field is None or (type(field) is str and field in _MESSAGE_FIELDS)):
        _read_other(entry, change, items)
        return
    if type(value) is not dict:
        reason = "value is not an object"
        items.append(invalid(entry, kind_of(field, "change"), {"entry": entry.raw, "change": change}, reason))
        return
    count = len(items)
    _read_value(_Scope(entry, value), value, items)
    for key, part in change.items():
        if key != "field" and key != "value":
            items.append(ignored(entry, key, {"entry": entry.raw, key: part}, "unknown field of the change"))
    if len(items) == count:
        raw = {"entry": entry.raw, "change": change}
        items.append(ignored(entry, kind_of(field, "change"), raw, "nothing in the change"))


def _read_value(scope: _Scope, value: dict[str, Any], items: list[WebhookItem]) -> None:
    for key, part in value.items():
        reader = _LISTS.get(key)
        if reader is not None and type(part) is list:
            for piece in part:
                items.append(reader(scope, piece))  # noqa: PERF401 - a loop is cheaper than a list for one message
        elif reader is not None or (key == "contacts" and type(part) is not list):
            reason = f"{key} is not a list"
            items.append(invalid(scope.entry, key, scope.raw(key, part), reason, scope.receiving_id))
        elif key not in ("metadata", "contacts") and not (key == "messaging_product" and part == "whatsapp"):
            items.append(ignored(scope.entry, key, scope.raw(key, part), None, scope.receiving_id))
    unused = scope.contacts.unused()
    if unused:
        reason = "contacts without a message"
        items.append(
            ignored(scope.entry, "contacts", scope.raw("contacts", unused), reason, scope.receiving_id)
        )


def _read_other(entry: Entry, change: dict[str, Any], items: list[WebhookItem]) -> None:
    """A field that brings no messages: kept whole."""
    field, value = change["field"], mapping(change.get("value"))
    raw = {"entry": entry.raw, "change": change}
    receiving_id = ident(mapping(value.get("metadata")).get("phone_number_id"))
    if type(field) is not str:
        items.append(invalid(entry, "change", raw, "field is not text", receiving_id))
    elif field == "user_preferences":
        item = WebhookItem(entry.platform, field, _STORE, raw, receiving_id=receiving_id)
        items.append(settle(item))
    elif field == "user_id_update" and type(value.get("user_id_update")) is list and value["user_id_update"]:
        for update in value["user_id_update"]:
            items.append(_read_user_id_update(entry, receiving_id, value, update))  # noqa: PERF401
        rest = {key: part for key, part in value.items() if key not in ("user_id_update", "metadata")}
        items.append(ignored(entry, field, {"entry": entry.raw, "change": {**change, "value": rest}}))
    else:
        items.append(ignored(entry, field, raw, None, receiving_id))


def _read_user_id_update(
    entry: Entry, receiving_id: str | None, value: dict[str, Any], update: Any
) -> WebhookItem:
    raw = {"entry": entry.raw, "metadata": value.get("metadata"), "user_id_update": update}
    if type(update) is not dict:
        return invalid(entry, "user_id_update", raw, "the update is not an object", receiving_id)
    user, parent = mapping(update.get("user_id")), mapping(update.get("parent_user_id"))
    number = phone(update.get("wa_id"))
    found = (
        *identities(user_id(user.get("current")), user_id(parent.get("current")), number),
        *identities(user_id(user.get("previous")), user_id(parent.get("previous")), None),
    )
    return settle(
        WebhookItem(
            entry.platform,
            "user_id_update",
            Action.IDENTITY,
            raw,
            receiving_id=receiving_id,
            sent_at=timestamp(update.get("timestamp")),
            identities=tuple(dict.fromkeys(found)),
        )
    )


def _read_message(scope: _Scope, message: Any) -> WebhookItem:
    raw = scope.raw("message", message)
    if type(message) is not dict:
        return invalid(scope.entry, "message", raw, "the message is not an object", scope.receiving_id)
    number, user = phone(message.get("from")), user_id(message.get("from_user_id"))
    contact = scope.contacts.find(number, user)
    if contact is not None:
        raw["contact"] = contact
    kind = message.get("type")
    item = WebhookItem(
        platform=scope.entry.platform,
        kind=kind_of(kind, "unknown"),
        action=_STORE,
        raw=raw,
        receiving_id=scope.receiving_id,
        platform_message_id=ident(message.get("id")),
        sent_at=timestamp(message.get("timestamp")),
        identities=of_contact(number, user, user_id(message.get("from_parent_user_id")), contact),
        contact_name=name_of(contact) if contact is not None else None,
        error=first_mapping(message.get("errors")) if "errors" in message else None,
    )
    if type(kind) is not str and kind is not None:
        decide(item, _INVALID, "type is not text")
    else:
        _decide_message(item, message)
        if item.action is _REPLY:
            if "group_id" in message:
                decide(item, _STORE, "group message")
            elif item.sent_at is None:
                decide(item, _INVALID, "unreadable timestamp")
    return settle(item)


def _decide_message(item: WebhookItem, message: dict[str, Any]) -> None:
    kind = item.kind
    if kind in content.ANSWERED:
        fault = content.read(kind, message, item)
        if fault:
            decide(item, _INVALID, fault)
        elif kind != "interactive" or not _is_call_permission(message):
            item.action = _REPLY
    elif kind == "unsupported":
        item.action = _REPLY
    elif kind in _TARGETED:
        _TARGETED[kind](item, message)
    elif kind == "system":
        _read_system(item, message)
    else:
        item.reason = "unknown message type"


def _is_call_permission(message: dict[str, Any]) -> bool:
    return mapping(message.get("interactive")).get("type") == "call_permission_reply"


def _read_system(item: WebhookItem, message: dict[str, Any]) -> None:
    system = mapping(message.get("system"))
    change = system.get("type")
    if type(change) is str and change in _ID_CHANGES:
        item.action, item.identities = Action.IDENTITY, of_change(message, system)
    elif change == "customer_identity_changed":
        item.action = Action.IDENTITY
    else:
        item.reason = "unknown system message"
    item.text = text(system.get("body"))


def _read_reaction(item: WebhookItem, message: dict[str, Any]) -> None:
    reaction = mapping(message.get("reaction"))
    item.target_id, item.text = ident(reaction.get("message_id")), text(reaction.get("emoji"))


def _read_revoke(item: WebhookItem, message: dict[str, Any]) -> None:
    item.target_id = ident(mapping(message.get("revoke")).get("original_message_id"))


def _read_edit(item: WebhookItem, message: dict[str, Any]) -> None:
    edit = mapping(message.get("edit"))
    item.target_id = ident(edit.get("original_message_id"))
    edited = mapping(edit.get("message"))
    kind = text(edited.get("type"))
    part = mapping(edited.get(kind)) if kind else {}
    item.text = text(part.get("body")) or text(part.get("caption"))


_TARGETED: dict[str, Callable[[WebhookItem, dict[str, Any]], None]] = {
    "reaction": _read_reaction,
    "revoke": _read_revoke,
    "edit": _read_edit,
}


def _read_echo(scope: _Scope, echo: Any) -> WebhookItem:
    """A person answered from the Business app: whatever it is, the AI has to know."""
    raw = scope.raw("message_echo", echo)
    if type(echo) is not dict:
        return invalid(scope.entry, "message_echo", raw, "the echo is not an object", scope.receiving_id)
    number, user = phone(echo.get("to")), user_id(echo.get("to_user_id"))
    contact = scope.contacts.find(number, user)
    if contact is not None:
        raw["contact"] = contact
    item = WebhookItem(
        platform=scope.entry.platform,
        kind=kind_of(echo.get("type"), "unknown"),
        action=Action.PERSON,
        raw=raw,
        receiving_id=scope.receiving_id,
        platform_message_id=ident(echo.get("id")),
        sent_at=timestamp(echo.get("timestamp")),
        identities=of_contact(number, user, user_id(echo.get("to_parent_user_id")), contact),
        contact_name=name_of(contact) if contact is not None else None,
    )
    if item.kind in content.ANSWERED:
        item.reason = content.read(item.kind, echo, item)
    elif item.kind in _TARGETED:
        _TARGETED[item.kind](item, echo)
    if "group_id" in echo:
        decide(item, _STORE, "group message")
    return settle(item)


def _read_status(scope: _Scope, status: Any) -> WebhookItem:
    raw = scope.raw("status", status)
    if type(status) is not dict:
        return invalid(scope.entry, "status", raw, "the status is not an object", scope.receiving_id)
    contact = scope.contacts.find(phone(status.get("recipient_id")), user_id(status.get("recipient_user_id")))
    if contact is not None:
        raw["contact"] = contact
    state = status.get("status")
    callback_data = text(status.get("biz_opaque_callback_data"))
    item = WebhookItem(
        platform=scope.entry.platform,
        kind="status",
        action=Action.STATUS,
        raw=raw,
        receiving_id=scope.receiving_id,
        sent_at=timestamp(status.get("timestamp")),
        target_id=ident(status.get("id")),
        callback_data=callback_data if callback_data and len(callback_data) <= MAX_ID_LENGTH else None,
        error=first_mapping(status.get("errors")) if "errors" in status else None,
    )
    if type(state) is not str:
        decide(item, _INVALID, "no status")
    elif state not in STATUSES:
        decide(item, Action.IGNORE, "unknown status")
    elif item.target_id is None:
        decide(item, _INVALID, "no message id")
    else:
        item.status = state
    return settle(item)


_LISTS: dict[str, Callable[[_Scope, Any], WebhookItem]] = {
    "messages": _read_message,
    "message_echoes": _read_echo,
    "statuses": _read_status,
}
