"""Comments on Instagram media and Page posts, and the other fields of ``changes[]``."""

from __future__ import annotations

from typing import Any

from socialsync_common.contracts import Action, Identity, IdentityKind, WebhookItem
from socialsync_gateway.webhooks.parsing.values import (
    Entry,
    ident,
    ignored,
    invalid,
    mapping,
    settle,
    text,
    timestamp,
)

# kinds of an item, by the verb of a Page's feed
_WRITTEN = {"add": "comment", "edited": "comment_edit", "edit": "comment_edit"}
_CHANGED = {"remove": "comment_remove", "hide": "comment_hide", "unhide": "comment_unhide"}


def read_change(entry: Entry, change: Any, items: list[WebhookItem]) -> None:
    """Add the item of one element of ``changes[]``, or of an entry that is itself a change."""
    raw = {"entry": entry.raw, "change": change}
    if type(change) is not dict:
        items.append(invalid(entry, "change", raw, "the change is not an object", entry.account_id))
        return
    field, value = change.get("field"), change.get("value")
    if type(field) is not str:
        items.append(invalid(entry, "change", raw, "field is not text", entry.account_id))
    elif field == "messages":
        # real messages come in messaging[]
        items.append(ignored(entry, "test", raw, "the dashboard's test", entry.account_id))
    elif field == "mentions":
        items.append(_mention(entry, mapping(value), raw))
    elif field not in ("comments", "live_comments", "feed"):
        items.append(ignored(entry, field, raw, None, entry.account_id))
    elif type(value) is not dict:
        items.append(invalid(entry, field, raw, "value is not an object", entry.account_id))
    elif field == "feed":
        items.append(_read_feed(entry, value, raw))
    else:
        media_id = ident(mapping(value.get("media")).get("id")) or ident(value.get("media_id"))
        comment_id = ident(value.get("id")) or ident(value.get("comment_id"))
        items.append(settle(_comment(entry, field, value, raw, comment_id, media_id)))


def _read_feed(entry: Entry, value: dict[str, Any], raw: dict[str, Any]) -> WebhookItem:
    verb = value.get("verb")
    if value.get("item") != "comment" or type(verb) is not str:
        return ignored(entry, "feed", raw, "not a comment", entry.account_id)
    kind = _WRITTEN.get(verb) or _CHANGED.get(verb)
    if kind is None:
        return ignored(entry, "comment", raw, "nothing to do for this verb", entry.account_id)
    item = _comment(entry, kind, value, raw, ident(value.get("comment_id")), ident(value.get("post_id")))
    if verb in _CHANGED:
        item.action, item.target_id = Action.STORE, item.platform_message_id
    return settle(item)


def _mention(entry: Entry, value: dict[str, Any], raw: dict[str, Any]) -> WebhookItem:
    """The account is named in a comment on somebody else's post: people may see it, and nothing is answered there."""
    item = ignored(entry, "mention", raw, None, entry.account_id)
    item.platform_message_id, item.post_id = ident(value.get("comment_id")), ident(value.get("media_id"))
    return settle(item)


def _comment(
    entry: Entry,
    kind: str,
    value: dict[str, Any],
    raw: dict[str, Any],
    comment_id: str | None,
    on: str | None,
) -> WebhookItem:
    """``target_id`` is the comment that it answers, else the media or post that it is on."""
    author = mapping(value.get("from"))
    author_id = ident(author.get("id"))
    return WebhookItem(
        entry.platform,
        kind,
        Action.COMMENT,
        raw,
        receiving_id=entry.account_id,
        platform_message_id=comment_id,
        sent_at=timestamp(value.get("created_time") or value.get("timestamp") or entry.raw.get("time")),
        identities=(Identity(IdentityKind.SCOPED_ID, author_id),) if author_id else (),
        contact_name=text(author.get("username")) or text(author.get("name")),
        text=text(value.get("text")) or text(value.get("message")),
        target_id=ident(value.get("parent_id")) or on,
        post_id=on,
    )
