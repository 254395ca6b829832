"""From decided items to rows: pure. The repository's statements say what each row's keys mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from socialsync_common.contracts import Action, Platform, WebhookItem

_EARLIEST = 1_100_000_000.0  # 2004: nothing real is older, and Postgres' own range is far wider
_CHANGE_KINDS = frozenset({"edit", "revoke"})
_COMMENT_CHANGES = {
    "comment_edit": "edit",
    "comment_remove": "remove",
    "comment_hide": "hide",
    "comment_unhide": "unhide",
}
NO_ACCOUNT = "no connected account has this id"
DUPLICATE = "already stored"
NOT_OURS = "not a message that we sent"


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Whom an item is for."""

    account_id: UUID
    tenant_id: UUID


@dataclass(slots=True)
class Decision:
    """What became of one item: the explanation that ``socialsync replay`` shows."""

    item: WebhookItem
    action: Action
    stored: bool = True
    reason: str | None = None


@dataclass(slots=True)
class Rows:
    """All rows of one transaction. ``n`` of a row is the position of its decision."""

    decisions: list[Decision] = field(default_factory=list)
    tenants: set[UUID] = field(default_factory=set)
    messages: list[dict[str, Any]] = field(default_factory=list)
    echoes: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    relinks: list[dict[str, Any]] = field(default_factory=list)
    confirmed: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    comment_changes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, item: WebhookItem, account: AccountRef | None, now: float) -> Decision:
        """Add one item's rows; ``now`` in Unix seconds stands in for a time that cannot be right."""
        n = len(self.decisions)
        decision = Decision(item, item.action, reason=item.reason)
        self.decisions.append(decision)
        if account is None:
            if item.action in (Action.REPLY, Action.PERSON, Action.STATUS, Action.IDENTITY, Action.COMMENT):
                decision.action, decision.reason = Action.STORE, NO_ACCOUNT
            self.events.append(_event(item, decision, None))
            return decision
        self.tenants.add(account.tenant_id)
        if item.action is Action.REPLY:
            self.messages.append(_message(n, item, account, now))
        elif item.action is Action.PERSON:
            self.echoes.append(_message(n, item, account, now))
        elif item.action is Action.STATUS and item.target_id:
            self._add_status(n, item, account)
        elif item.action is Action.COMMENT:
            self._add_comment(n, item, account, now)
        else:
            self._add_event(n, item, decision, account, now)
        return decision

    def _add_status(self, n: int, item: WebhookItem, account: AccountRef) -> None:
        row = {
            "n": n,
            "account": account.account_id,
            "target_id": item.target_id,
            "status": item.status,
            "error": item.error,
        }
        self.statuses.append(row)
        send = _uuid(item.callback_data)
        if send is None:
            return
        if item.status == "failed":
            self.failed.append({"send": send, "reason": _explain(item.error)})
        else:
            self.confirmed.append({"send": send, "mid": item.target_id})

    def _add_comment(self, n: int, item: WebhookItem, account: AccountRef, now: float) -> None:
        self.comments.append(_comment(n, item, account, now))
        if item.kind in _COMMENT_CHANGES:
            self.comment_changes.append(_comment_change(n, item, account))

    def _add_event(
        self, n: int, item: WebhookItem, decision: Decision, account: AccountRef, now: float
    ) -> None:
        self.events.append(_event(item, decision, account))
        if item.kind in _CHANGE_KINDS and item.action is Action.STORE and item.target_id:
            self.changes.append(
                {
                    "account": account.account_id,
                    "target_id": item.target_id,
                    "kind": item.kind,
                    "text": item.text,
                }
            )
        elif item.kind in _COMMENT_CHANGES and item.action is Action.STORE and item.platform_message_id:
            self.comment_changes.append(_comment_change(n, item, account))
        elif item.kind == "mention" and item.platform_message_id:
            self.comments.append(_comment(n, item, account, now))
        elif item.action is Action.IDENTITY:
            identities = [{"kind": one.kind, "value": one.value} for one in item.identities]
            self.relinks.append(
                {"n": n, "tenant": account.tenant_id, "account": account.account_id, "identities": identities}
            )


def _message(n: int, item: WebhookItem, account: AccountRef, now: float) -> dict[str, Any]:
    outbound = item.action is Action.PERSON
    best = item.identities[0] if item.identities else None
    return {
        "n": n,
        "tenant": account.tenant_id,
        "account": account.account_id,
        "platform": item.platform,
        "contact": contact_id(account.account_id, best.kind, best.value) if best else account.account_id,
        "name": item.contact_name,
        "mid": item.platform_message_id,
        "kind": item.kind,
        "text": item.text,
        "attachments": item.attachments or None,
        "sent_at": _time_of(item, now),
        "direction": "out" if outbound else "in",
        "author": "person" if outbound else "contact",
        "awaiting": not outbound,
        "identities": [{"kind": one.kind, "value": one.value} for one in item.identities],
        "raw": item.raw,
    }


def _comment(n: int, item: WebhookItem, account: AccountRef, now: float) -> dict[str, Any]:
    author = item.identities[0].value if item.identities else None
    kind = {"live_comments": "live", "mention": "mention"}.get(item.kind, "comment")
    return {
        "n": n,
        "tenant": account.tenant_id,
        "account": account.account_id,
        "post": None if kind == "mention" else item.post_id,
        "cid": item.platform_message_id,
        "parent": item.target_id if item.target_id != item.post_id else None,
        "kind": kind,
        "author": author,
        "name": item.contact_name,
        "text": item.text,
        "written_at": _time_of(item, now),
        "raw": item.raw,
    }


def _comment_change(n: int, item: WebhookItem, account: AccountRef) -> dict[str, Any]:
    return {
        "n": n,
        "account": account.account_id,
        "cid": item.platform_message_id,
        "change": _COMMENT_CHANGES[item.kind],
        "text": item.text,
    }


def _time_of(item: WebhookItem, now: float) -> float:
    """The platform's time, where it can be right."""
    sent_at = item.sent_at
    return sent_at if sent_at is not None and _EARLIEST <= sent_at <= now + 86_400 else now


def _event(item: WebhookItem, decision: Decision, account: AccountRef | None) -> dict[str, Any]:
    return {
        "tenant": account.tenant_id if account else None,
        "account": account.account_id if account else None,
        "platform": item.platform,
        "kind": item.kind,
        "action": decision.action,
        "receiving_id": item.receiving_id,
        "target_id": item.target_id,
        "reason": decision.reason,
        "raw": item.raw,
    }


def contact_id(account_id: UUID, kind: str, value: str) -> UUID:
    """The id of a contact first met under this identity: the same in every gateway."""
    return uuid5(account_id, f"{kind}:{value}")


def explanation(decision: Decision) -> dict[str, Any]:
    """A decision as ``socialsync replay`` prints it."""
    item = decision.item
    return {
        "id": item.platform_message_id or item.target_id,
        "kind": item.kind,
        "action": decision.action,
        "stored": decision.stored,
        "reason": decision.reason,
    }


def unstorable(platform: Platform, body: bytes, fault: str) -> dict[str, Any]:
    """An event row that keeps a body which Postgres refused as it is."""
    return {
        "tenant": None,
        "account": None,
        "platform": platform,
        "kind": "body",
        "action": Action.INVALID,
        "receiving_id": None,
        "target_id": None,
        "reason": fault,
        "raw": {"body_hex": body.hex()},
    }


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _explain(error: dict[str, Any] | None) -> str:
    if not error:
        return "the platform says that it failed"
    return (
        f"{error.get('code', 'no code')}: {error.get('title') or error.get('message') or 'no reason given'}"
    )
