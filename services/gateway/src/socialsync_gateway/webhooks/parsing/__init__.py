"""From a webhook body of any shape to decided items. Pure, and never raises.

All of a body ends up in some item's ``raw``, which is always an object that names its pieces: ``entry`` (id and
time), then ``message`` with its ``contact`` and ``metadata``, or ``status``, ``event``, ``standby``, ``change``;
what has no known place is an item of its own, under its own key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from socialsync_common.contracts import Action, Platform, WebhookItem
from socialsync_gateway.webhooks.parsing import comments, messaging, whatsapp
from socialsync_gateway.webhooks.parsing.values import Entry, ignored, invalid

__all__ = ["parse"]

_Reader = Callable[[Entry, Any, list[WebhookItem]], None]

_PLATFORMS = {
    "whatsapp_business_account": Platform.WHATSAPP,
    "instagram": Platform.INSTAGRAM,
    "page": Platform.MESSENGER,
}
_WHATSAPP: Mapping[str, _Reader] = {"changes": whatsapp.read_change}
_META: Mapping[str, _Reader] = {
    "changes": comments.read_change,
    "messaging": messaging.read_event,
    "standby": messaging.read_standby,
}
_READERS: Mapping[Platform, Mapping[str, _Reader]] = {
    Platform.WHATSAPP: _WHATSAPP,
    Platform.INSTAGRAM: _META,
    Platform.MESSENGER: _META,
}
_RANK = {action: rank for rank, action in enumerate(Action)}


def parse(platform: Platform, body: Any) -> list[WebhookItem]:
    """Decide each item of one body; the item that asks for most comes first, otherwise in the body's order.

    The body's ``object`` says which format it has, since one callback URL may get all products; ``platform`` is
    what the URL says, for bodies that do not say it.
    """
    if type(body) is not dict:
        return [invalid(Entry(platform, {}), "body", {"body": body}, "the body is not an object")]
    items: list[WebhookItem] = []
    name = body.get("object")
    known = _PLATFORMS.get(name) if type(name) is str else None
    if known is not None:
        platform = known
    elif "object" in body:
        items.append(ignored(Entry(platform, {}), "object", {"object": name}, "unknown object"))
    _read_entries(platform, body, items)
    for key, value in body.items():
        if key != "object" and key != "entry":
            items.append(ignored(Entry(platform, {}), key, {key: value}, "unknown field of the body"))
    if len(items) > 1:
        items.sort(key=_rank)
    return items


def _rank(item: WebhookItem) -> int:
    return _RANK[item.action]


def _read_entries(platform: Platform, body: dict[str, Any], items: list[WebhookItem]) -> None:
    entries = body.get("entry")
    if type(entries) is not list:
        items.append(invalid(Entry(platform, {}), "body", {"body": body}, "entry is not a list"))
    elif not entries:
        items.append(ignored(Entry(platform, {}), "body", {"body": body}, "no entries"))
    else:
        readers = _READERS[platform]
        for entry in entries:
            if type(entry) is dict:
                _read_entry(platform, readers, entry, items)
            else:
                reason = "the entry is not an object"
                items.append(invalid(Entry(platform, {}), "entry", {"entry": entry}, reason))


def _read_entry(
    platform: Platform, readers: Mapping[str, _Reader], body: dict[str, Any], items: list[WebhookItem]
) -> None:
    count = len(items)
    raw = {"id": body.get("id")}
    if "time" in body:
        raw["time"] = body["time"]
    entry = Entry(platform, raw)
    flat = "changes" not in body and "field" in body
    if flat:
        # comments also come as an entry that is itself its only change
        change = (
            {"field": body["field"], "value": body["value"]} if "value" in body else {"field": body["field"]}
        )
        readers["changes"](entry, change, items)
    for key, value in body.items():
        reader = readers.get(key)
        if reader is not None:
            if type(value) is list:
                for piece in value:
                    reader(entry, piece, items)
            else:
                items.append(invalid(entry, key, {"entry": raw, key: value}, f"{key} is not a list"))
        elif not (key == "id" or key == "time" or (flat and (key == "field" or key == "value"))):
            reason = "unknown field of the entry"
            items.append(ignored(entry, key, {"entry": raw, key: value}, reason, entry.account_id))
    if len(items) == count:
        items.append(ignored(entry, "entry", {"entry": body}, "nothing in the entry"))
