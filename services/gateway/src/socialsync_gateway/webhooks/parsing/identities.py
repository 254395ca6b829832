"""Whom a WhatsApp message is from: phone number, business-scoped user id, or both, each of which may be absent."""

from __future__ import annotations

import re
from typing import Any

from socialsync_common.contracts import Identity, IdentityKind
from socialsync_gateway.webhooks.parsing.values import text

MAX_PHONE_LENGTH = 20

_PHONE, _USER_ID, _PARENT = IdentityKind.PHONE, IdentityKind.USER_ID, IdentityKind.PARENT_USER_ID
_is_user_id = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,128}").fullmatch
# "User Ada changed from 4911 to 4922": the name may say anything, so only the last pair counts
_from_to = re.compile(r"\bfrom (\S{1,160}) to (\S{1,160})")
_MAX_BODY = 2000


def phone(value: Any) -> str | None:
    """A WhatsApp id: digits, as text or as a number."""
    if type(value) is int and 0 <= value < 10**MAX_PHONE_LENGTH:
        value = str(value)
    if type(value) is str and value.isdigit() and len(value) <= MAX_PHONE_LENGTH and value.isascii():
        return value
    return None


def user_id(value: Any) -> str | None:
    """A business-scoped user id, such as ``US.1349``."""
    return value if type(value) is str and value and _is_user_id(value) else None


class Contacts:
    """``contacts[]`` of one change, found by id in constant time."""

    __slots__ = ("_all", "_by_id", "_used")

    def __init__(self, contacts: list[Any]) -> None:
        self._all = contacts
        self._used: set[int] = set()
        self._by_id: dict[str, int] = {}
        if len(contacts) > 1:
            for index, contact in enumerate(contacts):
                if type(contact) is dict:
                    for value in (phone(contact.get("wa_id")), user_id(contact.get("user_id"))):
                        if value is not None:
                            self._by_id.setdefault(value, index)

    def find(self, number: str | None, user: str | None) -> dict[str, Any] | None:
        """The contact with one of these ids; a single one is always the contact of the message beside it."""
        if len(self._all) == 1:
            index: int | None = 0
        else:
            index = self._by_id.get(user) if user else None
            if index is None and number:
                index = self._by_id.get(number)
        if index is None:
            return None
        contact = self._all[index]
        if type(contact) is not dict:
            return None
        self._used.add(index)
        return contact

    def unused(self) -> list[Any]:
        """Contacts that belong to no message or status."""
        if len(self._used) == len(self._all):
            return []
        return [contact for index, contact in enumerate(self._all) if index not in self._used]


def name_of(contact: dict[str, Any]) -> str | None:
    profile = contact.get("profile")
    return text(profile.get("name")) if type(profile) is dict else None


def of_contact(
    number: str | None, user: str | None, parent: str | None, contact: dict[str, Any] | None
) -> tuple[Identity, ...]:
    """User id, parent user id, phone number, best first.

    The contact adds what the message leaves out, but only where it has one of the message's ids, or where the
    message has none: two people must never become one.
    """
    if contact is not None:
        contact_number, contact_user = phone(contact.get("wa_id")), user_id(contact.get("user_id"))
        # one id in common, and none against
        agrees = (number is None or contact_number is None or number == contact_number) and (
            user is None or contact_user is None or user == contact_user
        )
        shares = (number is not None and number == contact_number) or (
            user is not None and user == contact_user
        )
        if agrees and (shares or (number is None and user is None)):
            number, user = number or contact_number, user or contact_user
            parent = parent or user_id(contact.get("parent_user_id"))
    return identities(user, parent, number)


def identities(user: str | None, parent: str | None, number: str | None) -> tuple[Identity, ...]:
    found = []
    if user:
        found.append(Identity(_USER_ID, user))
    if parent:
        found.append(Identity(_PARENT, parent))
    if number:
        found.append(Identity(_PHONE, number))
    return tuple(found)


def of_change(message: dict[str, Any], system: dict[str, Any]) -> tuple[Identity, ...]:
    """All ids that a system message about changed ids names, the new ones first and the oldest last.

    They are one contact's: whoever owns one of them owns all of them from now on, and where several are owned
    already, the last one's owner is the contact who wrote before. The old number may be only in ``from``, in
    ``system.customer`` or in the sentence ``system.body``; the new one only in the latter.
    """
    old, new = _from_body(system.get("body"))
    found = (
        *identities(
            user_id(system.get("user_id")),
            user_id(system.get("parent_user_id")),
            phone(system.get("new_wa_id")) or phone(system.get("wa_id")),
        ),
        *identities(user_id(new), None, phone(new)),
        *identities(
            user_id(message.get("from_user_id")),
            user_id(message.get("from_parent_user_id")),
            phone(message.get("from")),
        ),
        *identities(
            user_id(system.get("previous_user_id")),
            user_id(system.get("previous_parent_user_id")),
            phone(system.get("customer")),
        ),
        *identities(user_id(old), None, phone(old)),
    )
    return tuple(dict.fromkeys(found))


def _from_body(value: Any) -> tuple[str | None, str | None]:
    if type(value) is not str:
        return None, None
    pairs = _from_to.findall(value[-_MAX_BODY:])
    return pairs[-1] if pairs else (None, None)
