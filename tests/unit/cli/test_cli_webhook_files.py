"""Which files are webhook bodies, where they are posted, and for which accounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from socialsync_cli.webhook_files import Skipped, WebhookFile, platform_of, read, receiving_ids, why_not
from socialsync_common.contracts import Platform
from socialsync_common.errors import ConfigError


def whatsapp(*numbers: Any) -> dict[str, Any]:
    changes = [{"value": {"metadata": {"phone_number_id": number}}} for number in numbers]
    return {"object": "whatsapp_business_account", "entry": [{"id": "waba", "changes": changes}]}


def messaging(entry_id: Any, *items: Any, kind: str = "page", key: str = "messaging") -> dict[str, Any]:
    return {"object": kind, "entry": [{"id": entry_id, key: list(items)}]}


TO_SHOP = {"sender": {"id": "7"}, "recipient": {"id": "shop"}, "message": {"mid": "m"}}
ECHO = {"sender": {"id": "shop"}, "recipient": {"id": "7"}, "message": {"mid": "m", "is_echo": True}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (whatsapp("11", "12", "11"), ["11", "12"]),
        (whatsapp(11), ["11"]),
        (whatsapp("", None, True), []),
        (messaging("42", TO_SHOP), ["42"]),
        (messaging(42, TO_SHOP), ["42"]),
        (messaging("page-id", TO_SHOP, TO_SHOP), ["shop"]),
        (messaging("page-id", ECHO, kind="instagram"), ["shop"]),
        (messaging("page-id", TO_SHOP, key="standby"), ["shop"]),
        ({"object": "instagram", "entry": [{"id": "page-id", "changes": []}]}, ["page-id"]),
        ({"object": "instagram", "entry": {}}, []),
        ({"object": "page", "entry": [None, 1, {"id": None, "messaging": [None, {"recipient": 1}]}]}, []),
        ({"object": "whatsapp_business_account", "entry": [{"changes": [{"value": []}, "x"]}]}, []),
        ({"entry": whatsapp("13")["entry"]}, ["13"]),
    ],
)
def test_receiving_ids(body: dict[str, Any], expected: list[str]) -> None:
    assert receiving_ids(body) == expected


@pytest.mark.parametrize(
    ("kind", "platform"),
    [
        ("whatsapp_business_account", Platform.WHATSAPP),
        ("instagram", Platform.INSTAGRAM),
        ("page", Platform.MESSENGER),
        ("user", Platform.WHATSAPP),
        (["page"], Platform.WHATSAPP),
    ],
)
def test_the_object_chooses_the_path(kind: Any, platform: Platform) -> None:
    assert platform_of({"object": kind}) is platform
    assert platform_of({}) is Platform.WHATSAPP


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"object": "page", "entry": []}, None),
        ({"entry": []}, None),
        ({"http_status": 400, "body": {}}, "a Graph answer"),
        ({"hello": 1}, "not a webhook body"),
        ([], "not a webhook body"),
        (None, "not a webhook body"),
    ],
)
def test_what_is_not_a_webhook_body_is_named(body: Any, reason: str | None) -> None:
    assert why_not(body) == reason


def test_folders_are_read_in_order_and_what_is_no_body_is_said(tmp_path: Path) -> None:
    raw = json.dumps(whatsapp("11"), indent=3).encode()
    (tmp_path / "b.json").write_bytes(raw)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_text('{"http_status": 200}', "utf-8")
    (tmp_path / "broken.json").write_text("{", "utf-8")
    (tmp_path / "index.json").write_text("[]", "utf-8")
    (tmp_path / "notes.txt").write_text("not read", "utf-8")
    assert list(read([tmp_path, tmp_path / "b.json"])) == [
        Skipped("a/x.json", "a Graph answer"),
        WebhookFile("b.json", raw, Platform.WHATSAPP, ("11",)),
        Skipped("broken.json", "not JSON"),
        Skipped("index.json", "an index"),
        WebhookFile("b.json", raw, Platform.WHATSAPP, ("11",)),
    ]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such file or folder"):
        list(read([tmp_path / "nowhere"]))
