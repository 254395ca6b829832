from __future__ import annotations

from typing import Any

import pytest

from socialsync_common.contracts import Action, Identity, IdentityKind, Platform, WebhookItem
from socialsync_gateway.webhooks.parsing import parse

PHONE, USER_ID = IdentityKind.PHONE, IdentityKind.USER_ID
PARENT, SCOPED = IdentityKind.PARENT_USER_ID, IdentityKind.SCOPED_ID


def wa_value(**value: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1000"}, **value}


def wa_body(value: Any, field: str = "messages") -> dict[str, Any]:
    change = {"field": field, "value": value}
    return {"object": "whatsapp_business_account", "entry": [{"id": "waba", "changes": [change]}]}


def wa_message(kind: str = "text", **fields: Any) -> dict[str, Any]:
    message = {"from": "4915100", "id": "wamid.1", "timestamp": "1700000000", "type": kind}
    return {**message, **({"text": {"body": "hello"}} if kind == "text" else {}), **fields}


def wa(kind: str = "text", **fields: Any) -> WebhookItem:
    return only(wa_body(wa_value(messages=[wa_message(kind, **fields)])))


def ig_body(*events: Any, entry_id: str = "200", object_: str = "instagram") -> dict[str, Any]:
    return {"object": object_, "entry": [{"id": entry_id, "time": 1700000000000, "messaging": list(events)}]}


def ig_event(**fields: Any) -> dict[str, Any]:
    return {"sender": {"id": "77"}, "recipient": {"id": "200"}, "timestamp": 1700000000500, **fields}


def ig(**fields: Any) -> WebhookItem:
    return only(ig_body(ig_event(**fields)))


def only(body: Any, platform: Platform = Platform.WHATSAPP) -> WebhookItem:
    items = parse(platform, body)
    assert len(items) == 1, items
    return items[0]


def ids(item: WebhookItem) -> list[tuple[IdentityKind, str]]:
    return [(identity.kind, identity.value) for identity in item.identities]


# Routing


@pytest.mark.parametrize(
    ("name", "platform"),
    [("instagram", Platform.INSTAGRAM), ("page", Platform.MESSENGER), ("permissions", Platform.MESSENGER)],
)
def test_object_decides_the_platform_where_known(name: str, platform: Platform) -> None:
    items = parse(Platform.MESSENGER, ig_body(ig_event(message={"mid": "m", "text": "hi"}), object_=name))
    assert items[0].platform is platform
    assert items[0].action is Action.REPLY


def test_leading_item_first_and_otherwise_in_order() -> None:
    value = wa_value(
        statuses=[{"id": "wamid.out", "status": "sent", "timestamp": "1700000000"}, 5],
        messages=[wa_message(id="a"), wa_message("reaction", id="b"), wa_message(id="c")],
        news={"x": 1},
    )
    items = parse(Platform.WHATSAPP, wa_body(value))
    assert [item.action for item in items] == [
        Action.REPLY,
        Action.REPLY,
        Action.STATUS,
        Action.STORE,
        Action.INVALID,
        Action.IGNORE,
    ]
    assert [item.platform_message_id for item in items[:2]] == ["a", "c"]


@pytest.mark.parametrize("body", [None, 5, "x", [], [{}], {}, {"entry": None}, {"entry": {"id": "1"}}])
def test_body_of_another_shape_is_kept_whole(body: Any) -> None:
    item = only(body)
    assert (item.action, item.raw) == (Action.INVALID, {"body": body})
    assert item.reason


# WhatsApp


def test_text_message() -> None:
    contact = {"wa_id": "4915100", "user_id": "DE.77", "profile": {"name": "Ada"}}
    message = wa_message()
    item = only(wa_body(wa_value(contacts=[contact], messages=[message])))
    assert item == WebhookItem(
        platform=Platform.WHATSAPP,
        kind="text",
        action=Action.REPLY,
        raw={
            "entry": {"id": "waba"},
            "metadata": {"phone_number_id": "1000"},
            "message": message,
            "contact": contact,
        },
        receiving_id="1000",
        platform_message_id="wamid.1",
        sent_at=1700000000.0,
        identities=(Identity(USER_ID, "DE.77"), Identity(PHONE, "4915100")),
        contact_name="Ada",
        text="hello",
    )
    assert item.raw["message"] is message


@pytest.mark.parametrize(
    ("kind", "part", "said"),
    [
        ("text", {"body": ""}, "[text]"),
        ("button", {"text": "Yes", "payload": "y"}, "Yes"),
        ("button", {"payload": "y"}, "y"),
        ("interactive", {"type": "list_reply", "list_reply": {"id": "1", "title": "Red"}}, "Red"),
        ("interactive", None, "[interactive]"),
        (
            "interactive",
            {
                "type": "nfm_reply",
                "nfm_reply": {"body": "Sent", "response_json": '{"flow_token": "t", "age": 7, "x": []}'},
            },
            "Sent\nage: 7",
        ),
        ("interactive", {"type": "nfm_reply", "nfm_reply": {"response_json": "[" * 5000}}, "[interactive]"),
        (
            "location",
            {"name": "Mill", "address": "1 High St", "latitude": 51.123456, "longitude": -2},
            "[location] Mill, 1 High St (51.12346, -2)",
        ),
        ("location", {"latitude": "x", "longitude": True}, "[location]"),
        (
            "order",
            {
                "text": "Thanks",
                "product_items": [
                    {"product_retailer_id": "mug", "quantity": 2, "item_price": 4.5, "currency": "EUR"},
                    {"product_retailer_id": "tea"},
                    7,
                ],
            },
            "Thanks\n[order] 2 x mug (4.5 EUR), tea",
        ),
        (
            "contacts",
            [
                {"name": {"formatted_name": "Bo"}, "phones": [{"phone": "+1 5"}]},
                {"phones": [{"phone": "+1 6"}]},
                1,
            ],
            "[contacts] Bo (+1 5), +1 6",
        ),
    ],
)
def test_what_the_customer_said(kind: str, part: Any, said: str) -> None:
    item = wa(kind, **{kind: part})
    assert (item.action, item.text) == (Action.REPLY, said)


def test_media_with_message_errors_is_still_answered() -> None:
    part = {"id": 5, "mime_type": "audio/ogg", "voice": True, "caption": "listen", "url": 3, "sha256": "x"}
    item = wa("audio", audio=part, errors=[{"code": 131052}])
    assert (item.action, item.text, item.error) == (Action.REPLY, "listen", {"code": 131052})
    assert item.attachments == [
        {"type": "audio", "id": "5", "mime_type": "audio/ogg", "caption": "listen", "voice": True}
    ]


@pytest.mark.parametrize(
    ("fields", "contacts", "expected"),
    [
        ({"from": 4915100}, None, [(PHONE, "4915100")]),
        ({"from": "", "from_user_id": "DE.1"}, None, [(USER_ID, "DE.1")]),
        ({"from_user_id": "not an id"}, None, [(PHONE, "4915100")]),
        (
            {"from_user_id": "DE.1", "from_parent_user_id": "DE.ENT.2"},
            None,
            [(USER_ID, "DE.1"), (PARENT, "DE.ENT.2"), (PHONE, "4915100")],
        ),
        ({"from": ""}, [{"wa_id": "", "user_id": "DE.1"}], [(USER_ID, "DE.1")]),
        # a contact who is somebody else lends no id
        ({}, [{"wa_id": "999", "user_id": "DE.9"}], [(PHONE, "4915100")]),
        (
            {"from_user_id": "DE.1"},
            [{"wa_id": "4915100", "user_id": "DE.9"}],
            [(USER_ID, "DE.1"), (PHONE, "4915100")],
        ),
        (
            {"from": "", "from_user_id": "DE.2"},
            [{"wa_id": "1", "user_id": "DE.1"}, {"wa_id": "2", "user_id": "DE.2"}],
            [(USER_ID, "DE.2"), (PHONE, "2")],
        ),
    ],
)
def test_identities(fields: dict[str, Any], contacts: Any, expected: list[tuple[IdentityKind, str]]) -> None:
    items = parse(
        Platform.WHATSAPP, wa_body(wa_value(messages=[wa_message(**fields)], contacts=contacts or []))
    )
    assert (items[0].action, ids(items[0])) == (Action.REPLY, expected)


@pytest.mark.parametrize(
    ("fields", "action", "reason"),
    [
        ({"from": "bla"}, Action.INVALID, "no usable contact identity"),
        ({"from": "٣٤٥"}, Action.INVALID, "no usable contact identity"),
        ({"from": "1" * 21}, Action.INVALID, "no usable contact identity"),
        ({"timestamp": "soon"}, Action.INVALID, "unreadable timestamp"),
        ({"timestamp": "nan"}, Action.INVALID, "unreadable timestamp"),
        ({"text": "hello"}, Action.INVALID, "text has the wrong shape"),
        ({"type": 5}, Action.INVALID, "type is not text"),
        ({"id": "x" * 513}, Action.INVALID, "an id is longer than 512 characters"),
        ({"id": ""}, Action.STORE, "no message id"),
        ({"group_id": "g"}, Action.STORE, "group message"),
        ({"type": "hologram"}, Action.STORE, "unknown message type"),
        ({"type": None}, Action.STORE, "unknown message type"),
    ],
)
def test_message_that_cannot_be_answered(fields: dict[str, Any], action: Action, reason: str) -> None:
    item = wa(**fields)
    assert (item.action, item.reason) == (action, reason)


def test_message_without_metadata_is_stored() -> None:
    item = only(wa_body({"messages": [wa_message()]}))
    assert (item.action, item.reason, item.text) == (Action.STORE, "no receiving account id", "hello")


def test_edit_revoke_reaction_name_their_target_whoever_they_are_from() -> None:
    edited = {"type": "image", "image": {"caption": "new"}}
    edit = wa("edit", edit={"original_message_id": "wamid.0", "message": edited}, **{"from": "?"})
    revoke = wa("revoke", revoke={"original_message_id": "wamid.0"}, timestamp="?")
    reaction = wa("reaction", reaction={"message_id": "wamid.0", "emoji": "👍"})
    assert [(one.kind, one.text) for one in (edit, revoke, reaction)] == [
        ("edit", "new"),
        ("revoke", None),
        ("reaction", "👍"),
    ]
    assert {(one.action, one.target_id) for one in (edit, revoke, reaction)} == {(Action.STORE, "wamid.0")}


def test_unsupported_is_answered_and_call_permission_is_not() -> None:
    permission = {"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}}
    assert wa("unsupported", errors=[{"code": 131051}]).action is Action.REPLY
    assert wa("interactive", interactive=permission).action is Action.STORE


@pytest.mark.parametrize(
    ("sender", "system", "expected"),
    [
        # the old number only in the sentence, the new one in three places
        (
            {"from": "222"},
            {
                "type": "user_changed_number",
                "new_wa_id": "222",
                "body": "User changed number from 111 to 222",
            },
            [(PHONE, "222"), (PHONE, "111")],
        ),
        (
            {"from": "111"},
            {"type": "user_changed_number", "wa_id": "222", "user_id": "DE.2", "body": "moved"},
            [(USER_ID, "DE.2"), (PHONE, "222"), (PHONE, "111")],
        ),
        (
            {"from": "222"},
            {"type": "customer_changed_number", "customer": "111"},
            [(PHONE, "222"), (PHONE, "111")],
        ),
        (
            {"from": ""},
            {"type": "user_changed_user_id", "user_id": "DE.2", "previous_user_id": "DE.1"},
            [(USER_ID, "DE.2"), (USER_ID, "DE.1")],
        ),
        # a name cannot pretend to be a change
        (
            {"from": "222"},
            {"type": "user_changed_number", "body": "User from 888 to 999 changed from 111 to 222"},
            [(PHONE, "222"), (PHONE, "111")],
        ),
        ({"from": "222"}, {"type": "customer_identity_changed", "body": "from 1 to 2"}, [(PHONE, "222")]),
    ],
)
def test_changed_identities_new_first(
    sender: dict[str, Any], system: dict[str, Any], expected: list[tuple[IdentityKind, str]]
) -> None:
    item = only(wa_body(wa_value(messages=[wa_message("system", system=system, **sender)])))
    assert (item.action, ids(item)) == (Action.IDENTITY, expected)


def test_user_id_update_field() -> None:
    update = {"wa_id": "222", "user_id": {"previous": "DE.1", "current": "DE.2"}, "timestamp": "1700000000"}
    items = parse(Platform.WHATSAPP, wa_body(wa_value(user_id_update=[update]), "user_id_update"))
    assert items[0].action is Action.IDENTITY
    assert ids(items[0]) == [(USER_ID, "DE.2"), (PHONE, "222"), (USER_ID, "DE.1")]


def test_status() -> None:
    error = {"code": 131047, "title": "Re-engagement message"}
    status = {"id": "wamid.out", "status": "failed", "timestamp": 1700000000, "errors": [error]}
    item = only(wa_body(wa_value(statuses=[{**status, "biz_opaque_callback_data": "send-1"}])))
    assert (item.action, item.status, item.target_id) == (Action.STATUS, "failed", "wamid.out")
    assert (item.callback_data, item.error, item.sent_at) == ("send-1", error, 1700000000.0)
    assert only(wa_body(wa_value(statuses=[{**status, "status": "in_orbit"}]))).action is Action.IGNORE
    assert only(wa_body(wa_value(statuses=[status]), "calls")).action is Action.IGNORE


@pytest.mark.parametrize("field", ["messages", "smb_message_echoes"])
def test_echo_is_a_person(field: str) -> None:
    echo = wa_message(**{"from": "1000", "to": "4915100", "to_user_id": "DE.1"})
    item = only(wa_body(wa_value(message_echoes=[echo]), field))
    assert (item.action, item.text) == (Action.PERSON, "hello")
    assert ids(item) == [(USER_ID, "DE.1"), (PHONE, "4915100")]


def test_contacts_of_no_message_are_kept() -> None:
    contacts = [{"wa_id": "4915100"}, {"wa_id": "5"}, 7]
    items = parse(Platform.WHATSAPP, wa_body(wa_value(messages=[wa_message()], contacts=contacts)))
    assert [item.action for item in items] == [Action.REPLY, Action.IGNORE]
    assert items[1].raw["contacts"] == [{"wa_id": "5"}, 7]


# Instagram and Messenger


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ({"text": "hi"}, "text", "hi"),
        ({"text": "Yes", "quick_reply": {"payload": "Y"}}, "quick_reply", "Yes"),
        ({"attachments": [{"type": "like_heart"}]}, "like_heart", None),
        ({"is_unsupported": True}, "unsupported", None),
        (
            {"attachments": [{"type": "location", "payload": {"coordinates": {"lat": 1.5, "long": 2}}}]},
            "location",
            "[location] (1.5, 2)",
        ),
        (
            {"attachments": [{"type": "fallback", "payload": {"url": "https://a.example", "title": "A"}}]},
            "fallback",
            "[link] A https://a.example",
        ),
    ],
)
def test_direct_message(message: dict[str, Any], kind: str, said: str | None) -> None:
    item = ig(message={"mid": "m1", **message})
    assert (item.action, item.kind, item.text) == (Action.REPLY, kind, said)
    assert (item.receiving_id, item.platform_message_id) == ("200", "m1")
    assert (ids(item), item.sent_at) == ([(SCOPED, "77")], 1700000000.5)


def test_attachment_url_in_either_place() -> None:
    story = {"type": "ig_story", "payload": {"story_media_url": "https://s.example"}}
    image = {"type": "image", "payload": {"url": "https://i.example"}}
    item = ig(message={"mid": "m", "attachments": [story, 5, image]})
    assert item.attachments == [
        {"type": "ig_story", "url": "https://s.example"},
        {"type": "image", "url": "https://i.example"},
    ]


def test_echo_from_this_account_is_a_person_and_any_other_is_not() -> None:
    message = {"mid": "m", "text": "hello", "is_echo": True}
    ours = only(ig_body({"sender": {"id": "200"}, "recipient": {"id": "77"}, "message": message}))
    assert (ours.action, ours.receiving_id, ids(ours)) == (Action.PERSON, "200", [(SCOPED, "77")])
    assert ig(message=message).action is Action.IGNORE


@pytest.mark.parametrize(
    ("fields", "action", "kind"),
    [
        ({"message": {"mid": "m", "is_deleted": True}}, Action.STORE, "revoke"),
        ({"message": {"mid": "m", "is_self": True, "text": "x"}}, Action.IGNORE, "message"),
        ({"message": {"text": "x"}}, Action.STORE, "text"),
        ({"message": {"mid": "m"}}, Action.STORE, "text"),
        ({"message": {"mid": "m", "attachments": "x"}}, Action.INVALID, "text"),
        ({"message": []}, Action.INVALID, "message"),
        ({"message": {"mid": "m", "text": "x"}, "sender": {}}, Action.INVALID, "text"),
        ({"message": {"mid": "m", "text": "x"}, "recipient": {"id": "201"}}, Action.STORE, "text"),
        ({"reaction": {"mid": "m", "emoji": "❤"}}, Action.STORE, "reaction"),
        ({"read": {"mid": "m"}}, Action.STATUS, "read"),
        ({"read": {"watermark": 5}}, Action.STATUS, "read"),
        ({"message_edit": {"mid": "m", "text": "y"}}, Action.STORE, "edit"),
        ({"referral": {"ref": "ad"}}, Action.STORE, "referral"),
        ({"optin": {"ref": "x"}}, Action.IGNORE, "optin"),
    ],
)
def test_other_events(fields: dict[str, Any], action: Action, kind: str) -> None:
    item = ig(**fields)
    assert (item.action, item.kind) == (action, kind)


def test_postback_without_id_gets_the_same_one_each_time() -> None:
    first, again = ig(postback={"title": "Start", "payload": "GO"}), ig(postback={"payload": "GO"})
    other = ig(postback={"title": "Start", "payload": "GO"}, timestamp=1700000000501)
    assert (first.action, first.text, again.text) == (Action.REPLY, "Start", "GO")
    assert first.platform_message_id == again.platform_message_id != other.platform_message_id
    assert ig(postback={"mid": "m", "payload": "GO"}).platform_message_id == "m"


def test_delivery_of_several_is_one_status_each() -> None:
    items = parse(Platform.MESSENGER, ig_body(ig_event(delivery={"mids": ["a", "b", {}], "watermark": 1})))
    assert [(item.action, item.status, item.target_id) for item in items] == [
        (Action.STATUS, "delivered", "a"),
        (Action.STATUS, "delivered", "b"),
        (Action.INVALID, "delivered", None),
    ]


def test_standby_and_dashboard_test() -> None:
    entry = {"id": "200", "standby": [ig_event(message={"mid": "m", "text": "hi"})]}
    item = only({"object": "instagram", "entry": [entry]})
    assert (item.action, item.kind, item.text) == (Action.STORE, "standby", "hi")
    test = {"field": "messages", "value": ig_event(message={"mid": "m", "text": "hi"})}
    item = only({"object": "instagram", "entry": [{"id": "0", "changes": [test]}]})
    assert (item.action, item.kind) == (Action.IGNORE, "test")


# Comments

COMMENT = {"text": "Price?", "from": {"id": "77", "username": "ada"}, "media": {"id": "m1"}}


@pytest.mark.parametrize(
    "entry",
    [
        {"changes": [{"field": "comments", "value": {"id": "c1", **COMMENT}}]},
        {"changes": [{"field": "live_comments", "value": {"comment_id": "c1", **COMMENT}}]},
        {"field": "comments", "value": {"id": "c1", **COMMENT}},
    ],
)
def test_comment_in_each_shape(entry: dict[str, Any]) -> None:
    item = only({"object": "instagram", "entry": [{"id": "200", "time": 1700000000, **entry}]})
    assert (item.action, item.platform_message_id, item.receiving_id) == (Action.COMMENT, "c1", "200")
    assert (ids(item), item.contact_name) == ([(SCOPED, "77")], "ada")
    assert (item.text, item.target_id, item.sent_at) == ("Price?", "m1", 1700000000.0)
    assert item.post_id == "m1"


def test_a_comment_without_its_post_is_stored_only() -> None:
    item = only({"object": "instagram", "entry": [{"id": "200", "field": "comments", "value": {"id": "c1"}}]})
    assert (item.action, item.reason) == (Action.STORE, "no post id")


def test_a_mention_is_ignored_and_names_its_comment() -> None:
    change = {"field": "mentions", "value": {"comment_id": "c1", "media_id": "m1"}}
    item = only({"object": "instagram", "entry": [{"id": "200", "changes": [change]}]})
    assert (item.action, item.kind) == (Action.IGNORE, "mention")
    assert (item.platform_message_id, item.post_id) == ("c1", "m1")


@pytest.mark.parametrize(
    ("value", "action", "kind"),
    [
        ({"item": "comment", "verb": "add"}, Action.COMMENT, "comment"),
        ({"item": "comment", "verb": "edited"}, Action.COMMENT, "comment_edit"),
        ({"item": "comment", "verb": "remove"}, Action.STORE, "comment_remove"),
        ({"item": "comment", "verb": "hide"}, Action.STORE, "comment_hide"),
        ({"item": "comment", "verb": "unhide"}, Action.STORE, "comment_unhide"),
        ({"item": "comment", "verb": "pin"}, Action.IGNORE, "comment"),
        ({"item": "reaction", "verb": "add"}, Action.IGNORE, "feed"),
        ("x", Action.INVALID, "feed"),
    ],
)
def test_page_feed(value: Any, action: Action, kind: str) -> None:
    if isinstance(value, dict):
        value = {
            **value,
            "comment_id": "c1",
            "post_id": "p1",
            "message": "Nice",
            "from": {"id": "7", "name": "Al"},
        }
    item = only({"object": "page", "entry": [{"id": "200", "changes": [{"field": "feed", "value": value}]}]})
    assert (item.action, item.kind, item.platform) == (action, kind, Platform.MESSENGER)
    if action is Action.COMMENT:
        assert (item.target_id, item.contact_name, item.text) == ("p1", "Al", "Nice")
    elif kind.startswith("comment_"):
        assert item.target_id == "c1"
