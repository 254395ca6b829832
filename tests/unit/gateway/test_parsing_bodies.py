"""What holds for every body: recorded ones, any JSON, and mutations of realistic ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_common.contracts import Action, Platform, WebhookItem
from socialsync_gateway.webhooks.parsing import parse

PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"
RANK = {action: rank for rank, action in enumerate(Action)}


def check(items: list[WebhookItem]) -> None:
    """What later stages rely on."""
    assert items
    assert [RANK[item.action] for item in items] == sorted(RANK[item.action] for item in items)
    for item in items:
        assert isinstance(item.raw, dict)
        assert item.kind
        assert len(item.kind) <= 64
        for value in (
            item.receiving_id,
            item.platform_message_id,
            item.target_id,
            item.text,
            item.contact_name,
        ):
            assert value is None or (isinstance(value, str) and value)
        for value in (item.receiving_id, item.platform_message_id, item.target_id, item.callback_data):
            assert value is None or len(value) <= 512
        assert item.sent_at is None or 0 <= item.sent_at < 253_402_300_800
        if item.action in (Action.REPLY, Action.PERSON):
            assert item.receiving_id
            assert item.platform_message_id
            assert item.identities
        if item.action is Action.REPLY:
            assert item.text or item.attachments or item.kind == "unsupported"
        if item.action in (Action.STATUS, Action.IDENTITY, Action.COMMENT):
            assert item.receiving_id
        if item.action is Action.INVALID:
            assert item.reason


def labelled() -> list[Any]:
    index = PAYLOADS / "index.json"
    if not index.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"no payloads at {PAYLOADS}"))]
    entries = [entry for entry in json.loads(index.read_text(encoding="utf-8")) if "action" in entry]
    return [pytest.param(entry, id=entry["file"]) for entry in entries]


@pytest.mark.parametrize("entry", labelled())
def test_recorded_body_leads_to_its_action(entry: dict[str, Any]) -> None:
    body = json.loads((PAYLOADS / entry["file"]).read_text(encoding="utf-8"))
    items = parse(Platform.WHATSAPP, body)
    assert items[0].action in entry["action"], items[0]
    check(items)


def wa_value(**value: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1000"}, **value}


def wa_body(value: Any, field: str = "messages") -> dict[str, Any]:
    change = {"field": field, "value": value}
    return {"object": "whatsapp_business_account", "entry": [{"id": "waba", "changes": [change]}]}


def wa_message(kind: str = "text", **fields: Any) -> dict[str, Any]:
    message = {"from": "4915100", "id": "wamid.1", "timestamp": "1700000000", "type": kind}
    return {**message, **({"text": {"body": "hello"}} if kind == "text" else {}), **fields}


def ig_body(*events: Any, entry_id: str = "200", object_: str = "instagram") -> dict[str, Any]:
    return {"object": object_, "entry": [{"id": entry_id, "time": 1700000000000, "messaging": list(events)}]}


def ig_event(**fields: Any) -> dict[str, Any]:
    return {"sender": {"id": "77"}, "recipient": {"id": "200"}, "timestamp": 1700000000500, **fields}


MEDIA_ID = {"id": "media", "mime_type": "image/png", "caption": "look"}
REALISTIC: list[dict[str, Any]] = [
    wa_body(
        wa_value(
            contacts=[{"wa_id": "4915100", "user_id": "DE.1", "profile": {"name": "Ada"}}, {"wa_id": "5"}],
            messages=[
                wa_message(),
                wa_message("image", image=MEDIA_ID),
                wa_message("system", system={"type": "user_changed_number", "body": "from 1 to 2"}),
                wa_message(
                    "edit",
                    edit={"original_message_id": "w", "message": {"type": "text", "text": {"body": "a"}}},
                ),
                wa_message(
                    "contacts", contacts=[{"name": {"formatted_name": "Bo"}, "phones": [{"phone": "1"}]}]
                ),
                wa_message("order", order={"product_items": [{"product_retailer_id": "mug", "quantity": 1}]}),
                wa_message(
                    "interactive", interactive={"type": "nfm_reply", "nfm_reply": {"response_json": "{}"}}
                ),
                wa_message("location", location={"latitude": 1.0, "longitude": 2.0}),
            ],
            statuses=[{"id": "w", "status": "failed", "timestamp": "1", "errors": [{"code": 1}]}],
            message_echoes=[wa_message(to="4915100")],
        )
    ),
    wa_body(wa_value(contacts=[{"wa_id": "4915100"}], messages=[wa_message()])),
    wa_body(
        wa_value(user_id_update=[{"user_id": {"current": "DE.1", "previous": "DE.2"}}]), "user_id_update"
    ),
    ig_body(
        ig_event(
            message={"mid": "m", "text": "hi", "attachments": [{"type": "image", "payload": {"url": "u"}}]}
        ),
        ig_event(message={"mid": "m", "attachments": [{"type": "location", "payload": {"coordinates": {}}}]}),
        ig_event(sender={"id": "200"}, message={"mid": "m", "text": "hi", "is_echo": True}),
        ig_event(postback={"payload": "GO"}),
        ig_event(delivery={"mids": ["a", "b"]}),
        ig_event(read={"mid": "m"}),
    ),
    {
        "object": "instagram",
        "entry": [
            {"id": "200", "changes": [{"field": "comments", "value": {"id": "c", "from": {"id": "7"}}}]}
        ],
    },
    {
        "object": "page",
        "entry": [{"id": "200", "field": "feed", "value": {"item": "comment", "verb": "add"}}],
    },
]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ODD = JSON | st.sampled_from(
    [10**400, -(10**400), 1e308, float("nan"), "x" * 600, "\ud800", "0" * 60, [[]], {"id": []}]
)
PLATFORMS = st.sampled_from(Platform)


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        keys = container.keys() if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                waiting.append(container[key])
    return found


def mutate(data: st.DataObject, body: dict[str, Any], piece: Any) -> None:
    if not body:
        return
    container, key = data.draw(st.sampled_from(nodes(body)))
    how = data.draw(st.sampled_from(["replace", "add", "drop"]))
    if how == "replace":
        container[key] = piece
    elif how == "add" and isinstance(container, dict):
        container[data.draw(st.sampled_from(["extra", "value", "messages", "changes", "id"]))] = piece
    elif how == "add":
        container.insert(key, piece)
    else:
        del container[key]


@given(PLATFORMS, JSON)
def test_any_json_is_parsed(platform: Platform, body: Any) -> None:
    check(parse(platform, body))


@given(PLATFORMS, st.sampled_from(REALISTIC), st.data())
@settings(max_examples=500, deadline=None)
def test_mutated_bodies_are_parsed(platform: Platform, body: dict[str, Any], data: st.DataObject) -> None:
    body = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 4))):
        mutate(data, body, copy.deepcopy(data.draw(ODD)))
    check(parse(platform, body))


@given(PLATFORMS, st.sampled_from(REALISTIC), st.data())
@settings(max_examples=500, deadline=None)
def test_nothing_a_body_brings_is_dropped(
    platform: Platform, body: dict[str, Any], data: st.DataObject
) -> None:
    """Every leaf is marked; the few that a body must keep to be understood are found in the item itself."""
    body = copy.deepcopy(body)
    marks = []
    for index in range(data.draw(st.integers(1, 3))):
        marks.append(f"mark-{index}")
        piece = data.draw(
            st.sampled_from([marks[-1], [marks[-1]], {"id": marks[-1]}, [{"x": {"y": marks[-1]}}]])
        )
        mutate(data, body, piece)
    items = parse(platform, body)
    check(items)
    kept, brought = json.dumps([item.raw for item in items]), json.dumps(body)
    assert [mark for mark in marks if mark in brought and mark not in kept] == []
    for container, key in nodes(body):
        value = container[key]
        if key not in ("object", "field", "messaging_product") and isinstance(value, str | int | float):
            assert json.dumps(value) in kept, (key, value)


def test_deep_nesting_is_not_followed() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    check(parse(Platform.WHATSAPP, wa_body(wa_value(messages=[deep, wa_message(text=deep)], contacts=deep))))
    check(parse(Platform.INSTAGRAM, ig_body(deep, ig_event(message=deep))))
    while isinstance(deep, list):  # taken apart by hand: freeing it recurses
        deep = deep.pop()


@pytest.mark.parametrize("shape", ["messages", "deliveries"])
def test_what_is_kept_grows_with_the_body_and_not_with_its_square(shape: str) -> None:
    def kept(count: int) -> int:
        numbers = [str(10**9 + index) for index in range(count)]
        if shape == "messages":
            messages = [wa_message(**{"from": number}) for number in numbers]
            body = wa_body(wa_value(messages=messages, contacts=[{"wa_id": number} for number in numbers]))
        else:
            body = ig_body(ig_event(delivery={"mids": numbers}))
        return len(json.dumps([item.raw for item in parse(Platform.WHATSAPP, body)]))

    assert kept(400) < 4.2 * kept(100)
