"""Faults come first in, first out, to whom they were ordered for, and accept or refuse as their names say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

PAGE = "1000000000001"


async def texts(meta: Any) -> list[str]:
    return [record["text"] for record in await meta.get("sent", kind="text")]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("rate", 429, 130429),
        ("throttled", 400, 4),
        ("pair_rate", 400, 131056),
        ("window", 400, 131047),
        ("expired_token", 401, 190),
        ("server_error", 500, 2),
    ],
)
async def test_a_refused_text_is_not_recorded(meta: Any, kind: str, status: int, code: int) -> None:
    await meta.post("faults", kind=kind)
    answer = await meta.whatsapp("1", "refused")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await texts(meta) == []
    assert (await meta.whatsapp("1", "again")).status_code == 200
    assert await texts(meta) == ["again"]


async def test_a_closed_window_is_worded_differently_for_direct_messages(meta: Any) -> None:
    await meta.post("faults", kind="window")
    answer = await meta.send(PAGE, {"recipient": {"id": "7"}, "message": {"text": "late"}})
    error = answer.json()["error"]
    assert (error["code"], error["error_subcode"]) == (10, 2534022)


async def test_faults_are_matched_counted_and_taken_in_order(meta: Any) -> None:
    await meta.post("faults", kind="rate", contact="1", times=2)
    await meta.post("faults", kind="throttled", account="other")
    await meta.post("faults", kind="pair_rate")
    assert [(await meta.whatsapp(to, "x")).status_code for to in ("2", "1", "1", "1")] == [400, 429, 429, 200]
    assert [fault["kind"] for fault in (await meta.get("faults"))["faults"]] == ["throttled"]
    await meta.http.delete("/sandbox/faults")
    assert (await meta.get("faults")) == {"faults": [], "held": 0}
    assert (await meta.http.post("/sandbox/faults", json={"kind": "nonsense"})).status_code == 422


async def test_signals_use_no_fault_up(meta: Any) -> None:
    await meta.post("faults", kind="rate")
    answer = await meta.send(PAGE, {"recipient": {"id": "7"}, "sender_action": "typing_on"})
    assert answer.status_code == 200
    assert (await meta.whatsapp("1", "x")).status_code == 429


async def test_accepted_but_answered_with_an_error(meta: Any, gateway: Any) -> None:
    await meta.post("faults", kind="server_error_after_accept")
    assert (await meta.whatsapp("1", "said", biz_opaque_callback_data="k")).status_code == 500
    await meta.settled()
    assert gateway.values[0]["statuses"][0]["biz_opaque_callback_data"] == "k"
    assert await texts(meta) == ["said"]


async def test_timeout_after_accept_answers_late(meta: Any, gateway: Any) -> None:
    await meta.post("faults", kind="timeout_after_accept", seconds=60)
    call = asyncio.create_task(meta.whatsapp("1", "said"))
    await gateway.until(1)
    assert not call.done()
    assert await texts(meta) == ["said"]
    call.cancel()
    await meta.post("faults", kind="timeout_after_accept", seconds=0.01)
    assert (await meta.whatsapp("1", "said late")).status_code == 200


@pytest.mark.parametrize(("kind", "accepted"), [("hold", ["said"]), ("hold_before_accept", [])])
async def test_held_until_released(meta: Any, kind: str, accepted: list[str]) -> None:
    await meta.post("faults", kind=kind)
    call = asyncio.create_task(meta.whatsapp("1", "said"))
    await meta.until("faults", lambda faults: faults["held"] == 1)
    assert await texts(meta) == accepted
    assert not call.done()
    await meta.post("release")
    assert (await call).status_code == 200
    assert await texts(meta) == ["said"]


async def test_slow_is_only_slow(meta: Any) -> None:
    await meta.post("faults", kind="slow", seconds=0.01)
    assert (await meta.whatsapp("1", "said")).status_code == 200
    assert await texts(meta) == ["said"]
