"""Reading values of any shape, and the kinds of item that every format shares. Nothing here raises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from socialsync_common.contracts import Action, Identity, Platform, WebhookItem

MAX_ID_LENGTH = 512
MAX_KIND_LENGTH = 64

_LATEST = 253_402_300_799  # the end of 9999, as far as datetime goes
_MILLISECONDS_FROM = 100_000_000_000  # 5138 in seconds, 1973 in milliseconds

_REPLY, _PERSON, _IDENTITY, _COMMENT = Action.REPLY, Action.PERSON, Action.IDENTITY, Action.COMMENT
_STORE, _INVALID, _IGNORE = Action.STORE, Action.INVALID, Action.IGNORE


@dataclass(slots=True)
class Entry:
    """What is known of the entry that an item comes from; ``raw`` is its id and time, kept with each item."""

    platform: Platform
    raw: dict[str, Any]

    @property
    def account_id(self) -> str | None:
        return ident(self.raw.get("id"))


def text(value: Any) -> str | None:
    """A text that is one and not empty."""
    return value if type(value) is str and value else None


def ident(value: Any) -> str | None:
    """An id as text. ``""`` is absent; an integer is an id that somebody's JSON writer took for a number."""
    if type(value) is str:
        return value or None
    if type(value) is int and -(1 << 63) <= value < 1 << 64:
        return str(value)
    return None


def mapping(value: Any) -> dict[str, Any]:
    """An object, or an empty one in its place."""
    return value if type(value) is dict else {}


def first_mapping(value: Any) -> dict[str, Any] | None:
    """The first element of a list of objects, such as ``errors``."""
    return value[0] if type(value) is list and value and type(value[0]) is dict else None


def kind_of(value: Any, default: str) -> str:
    return value[:MAX_KIND_LENGTH] if type(value) is str and value else default


def timestamp(value: Any) -> float | None:
    """Unix seconds from seconds, milliseconds or ISO 8601, each as a number or as text."""
    if type(value) is str:
        if len(value) > 40:
            return None
        try:
            seconds = float(value)
        except ValueError:
            return _from_iso(value)
    elif type(value) is int or type(value) is float:
        # compared before converted: float() of a huge integer raises
        if not 0 <= value <= _LATEST * 1000:
            return None
        seconds = float(value)
    else:
        return None
    if seconds >= _MILLISECONDS_FROM:
        seconds /= 1000
    return seconds if 0 <= seconds <= _LATEST else None


def _from_iso(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= _LATEST else None


def place(latitude: Any, longitude: Any) -> str | None:
    """``(37.44222, -122.16166)``: five digits are about a metre."""
    if not (_is_degrees(latitude) and _is_degrees(longitude)):
        return None
    return f"({round(latitude, 5)}, {round(longitude, 5)})"


def _is_degrees(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and -360 <= value <= 360


def invalid(
    entry: Entry, kind: str, raw: dict[str, Any], reason: str, receiving_id: str | None = None
) -> WebhookItem:
    return _kept(entry.platform, kind, _INVALID, raw, reason, receiving_id)


def ignored(
    entry: Entry, kind: str, raw: dict[str, Any], reason: str | None = None, receiving_id: str | None = None
) -> WebhookItem:
    return _kept(entry.platform, kind, _IGNORE, raw, reason, receiving_id)


def _kept(
    platform: Platform,
    kind: str,
    action: Action,
    raw: dict[str, Any],
    reason: str | None,
    receiving_id: str | None,
) -> WebhookItem:
    if receiving_id is not None and len(receiving_id) > MAX_ID_LENGTH:
        receiving_id = None
    return WebhookItem(
        platform, kind_of(kind, "unknown"), action, raw, receiving_id=receiving_id, reason=reason
    )


def settle(item: WebhookItem) -> WebhookItem:
    """Take back what an item promises but cannot keep.

    Afterwards a REPLY or PERSON has a receiving id, a message id and an identity; an IDENTITY has a receiving id
    and an identity; a COMMENT has a receiving id and its own id; a STATUS has a receiving id; no id is too long.
    """
    if _has_long_id(item):
        return _refuse_long_ids(item)
    action = item.action
    if action is _INVALID or action is _IGNORE:
        return item
    if item.receiving_id is None:
        return decide(item, _STORE, "no receiving account id")
    if action is _REPLY or action is _PERSON:
        if item.platform_message_id is None:
            return decide(item, _STORE, "no message id")
        if not item.identities:
            return decide(item, _INVALID, "no usable contact identity")
    elif action is _IDENTITY and not item.identities:
        return decide(item, _INVALID, "no usable contact identity")
    elif action is _COMMENT and (item.platform_message_id is None or item.post_id is None):
        return decide(item, _STORE, "no comment id" if item.platform_message_id is None else "no post id")
    return item


def decide(item: WebhookItem, action: Action, reason: str) -> WebhookItem:
    """Set another action; the first reason stays, since it is nearer to the cause."""
    item.action = action
    if item.reason is None:
        item.reason = reason
    return item


def _has_long_id(item: WebhookItem) -> bool:
    for value in (item.receiving_id, item.platform_message_id, item.target_id, item.post_id):
        if value is not None and len(value) > MAX_ID_LENGTH:
            return True
    return any(_is_long(one) for one in item.identities)


def _is_long(identity: Identity) -> bool:
    return len(identity.value) > MAX_ID_LENGTH


def _refuse_long_ids(item: WebhookItem) -> WebhookItem:
    """The long ids are left to ``raw``, so that no index ever meets them."""
    for name in ("receiving_id", "platform_message_id", "target_id", "post_id"):
        value = getattr(item, name)
        if value is not None and len(value) > MAX_ID_LENGTH:
            setattr(item, name, None)
    item.identities = tuple(one for one in item.identities if not _is_long(one))
    item.action, item.reason = _INVALID, f"an id is longer than {MAX_ID_LENGTH} characters"
    return item
